"""Computes convolutions and pooling, for signals and images by the library's kernels.

Settings that the kernels lack are padding of different sizes at the two ends, more than two axes, and dilated
means. For these the input is padded first, and axes are computed one after another from strided slices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.operators.shapes import padded
from ranvier.onnx.registry import operator
from ranvier.onnx.values import (
    Value,
    array_of,
    cast,
    in_float,
    is_exact,
    on_tensors,
    raw,
    shape_of,
    tensor_of,
)

Sizes = tuple[int, ...]

WINDOW = ("auto_pad", "dilations", "pads", "strides")  # attributes that `geometry` takes


class Window(NamedTuple):
    """The window of a convolution or a pool. Each field has a number for each axis after the first two (N,
    C).

    kernel: the elements of the window.
    before, after: the padding at the two ends of the axis.
    """

    kernel: Sizes
    strides: Sizes
    before: Sizes
    after: Sizes
    dilations: Sizes

    @property
    def reach(self) -> list[int]:
        """The elements of the input that a window spans, along each axis."""
        return [d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]

    @property
    def is_even(self) -> bool:
        """True if the kernels take this window: at most two axes, and equal padding at both ends."""
        return len(self.kernel) <= 2 and self.before == self.after

    def beyond(self, x: Value) -> Window:
        """The window for ceil_mode: more padding after the image, to the end of the last window.

        The last window begins in the image or in the padding before it.
        """
        after = []
        axes = zip(shape_of(x)[2:], self.before, self.after, self.strides, self.reach, strict=True)
        for n, low, high, s, reach in axes:
            total = n + low + high
            last = -(-(total - reach) // s) * s  # where the last window begins: rounded up to a multiple of s
            if last >= n + low:  # in the padding after the image
                last -= s
            after.append(high + max(last + reach - total, 0))
        return self._replace(after=tuple(after))

    def padded(self, x: Value, value: float = 0) -> Any:
        """x (N, C, ...) with the window's padding."""
        return padded(x, (0, 0, *self.before, 0, 0, *self.after), value=value)


def geometry(
    name: str,
    x: Value,
    kernel: Any,
    *,
    strides: Any = None,
    pads: Any = None,
    dilations: Any = None,
    auto_pad: str = "NOTSET",
) -> Window:
    """The Window of an operator's attributes for an input x (N, C, ...).

    SAME_UPPER and SAME_LOWER: the result has ceil(n / stride) elements along each axis. If the total padding
    is odd, its larger half is at the end, or with SAME_LOWER at the start.
    """
    axes = raw(x).ndim - 2
    kernel = tuple(kernel)
    strides = tuple(strides or (1,) * axes)
    dilations = tuple(dilations or (1,) * axes)
    if axes < 1 or not len(kernel) == len(strides) == len(dilations) == axes:
        raise ValueError(
            f"[onnx {name}] got a value of shape {shape_of(x)}, kernel_shape {kernel}, strides {strides} and "
            f"dilations {dilations}; expected a number for each axis after the first two"
        )
    if min((*kernel, *strides, *dilations)) < 1:
        raise ValueError(f"[onnx {name}] got kernel {kernel}, strides {strides}, dilations {dilations}")
    if auto_pad not in ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"):
        raise ValueError(f"[onnx {name}] got auto_pad {auto_pad!r}")
    if auto_pad != "NOTSET" or not pads:
        pads = (0,) * (2 * axes)
    else:
        pads = tuple(pads)
    if len(pads) != 2 * axes or min(pads) < 0:
        raise ValueError(f"[onnx {name}] got pads {pads} for {axes} axes")
    window = Window(kernel, strides, pads[:axes], pads[axes:], dilations)
    if auto_pad.startswith("SAME"):
        sizes = zip(shape_of(x)[2:], strides, window.reach, strict=True)
        totals = [max((-(-n // s) - 1) * s + reach - n, 0) for n, s, reach in sizes]
        smaller = tuple([total // 2 for total in totals])
        larger = tuple([total - total // 2 for total in totals])
        if auto_pad == "SAME_UPPER":
            window = window._replace(before=smaller, after=larger)
        else:
            window = window._replace(before=larger, after=smaller)
    return window


def _pair(sizes: Sizes) -> int | Sizes:
    """The setting as the library's ops take it: a number for one axis, else a tuple."""
    if len(sizes) == 1:
        return sizes[0]
    return sizes


def elements_along(x: Value, axis: int, window: Window) -> list[Any]:
    """For each place of the window along an axis: the elements of x at this place of all windows."""
    k = window.kernel[axis - 2]
    s = window.strides[axis - 2]
    d = window.dilations[axis - 2]
    last = (shape_of(x)[axis] - d * (k - 1) - 1) // s * s  # where the last window begins
    if last < 0:
        raise ValueError(f"[onnx] got a window of {window.kernel} for a padded image of {shape_of(x)[2:]}")
    lead = (slice(None),) * axis
    keys = [(*lead, slice(i * d, i * d + last + 1, s)) for i in range(k)]
    return [x[key] for key in keys]


# --- convolutions
def _slices(x: Tensor) -> Tensor:
    """(N, C, n, ...) as a batch (N n, C, ...)."""
    return ops.flatten(ops.movedim(x, 2, 1), 0, 1)


def _joined(x: Tensor, batch: int, count: int) -> Tensor:
    """The reverse of `_slices`."""
    return ops.movedim(ops.unflatten(x, 0, (batch, count)), 1, 2)


def _inner(window: Window) -> Window:
    """The window without its first axis."""
    return Window(*[sizes[1:] for sizes in window])


@operator("Conv", more=WINDOW)
def conv(
    x: Value, w: Value, b: Value | None = None, *, group: int = 1, kernel_shape: Any = None, **window: Any
) -> Any:
    at = geometry("Conv", x, shape_of(w)[2:], **window)
    return in_float(partial(_convolved, group, at), x, w, b)


def _convolved(group: int, window: Window, x: Tensor, w: Tensor, b: Tensor | None) -> Any:
    """A convolution. With more than two axes, for each index of the kernel's first axis a convolution over
    the other axes is computed, with slices of the image as batch; the sum of these is the result."""
    if not window.is_even:
        x = window.padded(x)
        window = window._replace(before=(0,) * len(window.kernel))
    if len(window.kernel) <= 2:
        function: Any = ops.conv2d
        if len(window.kernel) == 1:
            function = ops.conv1d
        strides = _pair(window.strides)
        padding = _pair(window.before)
        dilations = _pair(window.dilations)
        return function(x, w, b, strides, padding, dilations, group)
    # more than two axes are never even, so x is padded by now along all of them
    inner = _inner(window)._replace(after=(0,) * (len(window.kernel) - 1))
    images = elements_along(x, 2, window)
    parts = [_convolved(group, inner, _slices(image), w[:, :, i], None) for i, image in enumerate(images)]
    y = _joined(reduce(ops.add, parts), x.shape[0], images[0].shape[2])
    if b is None:
        return y
    return y + ops.reshape(b, (-1, *(1,) * len(window.kernel)))


def _conv_transpose(
    halved: tuple[str, ...],
    x: Value,
    w: Value,
    b: Value | None = None,
    /,
    *,
    auto_pad: str = "NOTSET",
    group: int = 1,
    kernel_shape: Any = None,
    output_padding: Any = None,
    output_shape: Any = None,
    **settings: Any,
) -> Any:
    """A transposed convolution. Where the kernels lack the padding, the result is computed without padding,
    and cropped; elements that are missing then are the bias.

    halved: values of auto_pad. Where the pads follow from output_shape, with these values the start gets
    total // 2 and the end the rest, and with other values the end gets total // 2.
    """
    same = auto_pad.startswith("SAME")
    if same:
        settings["pads"] = None  # they follow from the sizes below
    else:
        settings["auto_pad"] = auto_pad
    window = geometry("ConvTranspose", x, shape_of(w)[2:], **settings)
    axes = len(window.kernel)
    strides = window.strides
    before = window.before
    # Along an axis of n elements the result without padding has (n - 1) stride + reach elements. `before` of
    # them are cropped at the start, and `ends` are added at the end, or cropped where it is negative.
    added = tuple(output_padding or (0,) * axes)
    ends = [m - a for m, a in zip(added, window.after, strict=True)]
    if output_shape or same:
        # totals: the pads of both ends together, for which the result has the wanted size; may be negative
        sizes = list(zip(shape_of(x)[2:], strides, window.reach, added, strict=True))
        wanted = output_shape or [n * s for n, s, *_ in sizes]
        pairs = zip(sizes, wanted[-axes:], strict=True)
        totals = [(n - 1) * s + reach + m - out for (n, s, reach, m), out in pairs]
        cuts = [max(t, 0) for t in totals]
        if auto_pad in halved:
            before = tuple([cut // 2 for cut in cuts])
        else:
            before = tuple([cut - cut // 2 for cut in cuts])
        ends = [m + b - t for m, b, t in zip(added, before, totals, strict=True)]

    def of_tensors(x: Tensor, w: Tensor, b: Tensor | None) -> Any:
        # The kernels crop `before` at both ends and add output_padding (`extra`) at the end, which has to be
        # less than the stride or the dilation.
        extra = [end + low for end, low in zip(ends, before, strict=True)]
        limits = [max(pair) for pair in zip(strides, window.dilations, strict=True)]
        if axes <= 2 and all(0 <= e < limit for e, limit in zip(extra, limits, strict=True)):
            return _transposed(group, window, x, w, b, before, tuple(extra))
        y = _transposed(group, window, x, w, None, (0,) * axes, (0,) * axes)
        y = padded(y, (0, 0, *(-p for p in before), 0, 0, *ends))
        if b is None:
            return y
        return y + ops.reshape(b, (-1, *(1,) * axes))

    return in_float(of_tensors, x, w, b)


def _transposed(
    group: int, window: Window, x: Tensor, w: Tensor, b: Tensor | None, cut: Sizes, extra: Sizes
) -> Any:
    """A transposed convolution; cut, extra: padding and output_padding of the kernels.

    With more than two axes the result is a sum over the indices of the kernel's first axis.
    """
    if len(window.kernel) <= 2:
        function: Any = ops.conv_transpose2d
        if len(window.kernel) == 1:
            function = ops.conv_transpose1d
        strides = _pair(window.strides)
        dilations = _pair(window.dilations)
        return function(x, w, b, strides, _pair(cut), _pair(extra), group, dilations)
    s = window.strides[0]
    d = window.dilations[0]
    reach = window.reach[0]
    none = (0,) * (len(cut) - 1)
    total: Any = 0
    for i in range(window.kernel[0]):
        y = _transposed(group, _inner(window), _slices(x), w[:, :, i], None, none, none)
        y = ops.unsqueeze(_joined(y, x.shape[0], x.shape[2]), 3)
        y = _padded_along(3, 0, s - 1, y)  # zeros between slices
        # up to (n - 1) s + reach elements for each i; a negative pad crops zeros after the last slice
        total = _padded_along(2, i * d, reach - i * d - s, ops.flatten(y, 2, 3)) + total
    return total


def _padded_along(axis: int, low: int, high: int, x: Tensor) -> Tensor:
    """x with zeros before and after an axis; negative sizes crop."""
    pads = [0] * (2 * x.ndim)
    pads[axis] = low
    pads[axis + x.ndim] = high
    return padded(x, tuple(pads))


# Up to version 10 the specification's equations split the pads in the opposite way of version 11. For
# SAME_UPPER and SAME_LOWER they contradict its text on auto_pad, which is the same in all versions and which
# runtimes follow.
operator("ConvTranspose", more=WINDOW)(partial(_conv_transpose, ("NOTSET", "VALID", "SAME_UPPER")))
operator("ConvTranspose", 11, WINDOW)(partial(_conv_transpose, ("SAME_UPPER",)))


# --- pooling
def _pooled(combine: Any, x: Value, window: Window) -> Any:
    """The elements of each window combined by a function of two operands, along one axis after another."""
    for axis in reversed(range(2, len(window.kernel) + 2)):
        x = reduce(combine, elements_along(x, axis, window))
    return x


def _fits(window: Window) -> bool:
    """True if the library's pools take the window: its padding is at most half of the kernel."""
    return window.is_even and all(2 * p <= k for p, k in zip(window.before, window.kernel, strict=True))


@operator("MaxPool", more=WINDOW)
def max_pool(
    x: Value,
    *,
    kernel_shape: Any,
    ceil_mode: int = 0,
    storage_order: int = 0,
    outputs: int = 1,
    **window: Any,
) -> Any:
    at = geometry("MaxPool", x, kernel_shape, **window)
    image = shape_of(x)[2:]
    dtype = raw(x).dtype
    function: Any = {1: ops.max_pool1d, 2: ops.max_pool2d}.get(len(image))
    if _fits(at) and not (ceil_mode and set(at.dilations) != {1}):
        settings = (*map(_pair, (at.kernel, at.strides, at.before, at.dilations)), bool(ceil_mode))
        if outputs == 1:
            images = x
            if is_exact(dtype):  # ONNX has bytes alone, which float32 holds
                images = cast(x, np.dtype(np.float32))

            def by_kernel(x: Tensor) -> Tensor:
                return function(x, *settings)

            return cast(in_float(by_kernel, images), dtype)
        y, where = function(tensor_of(x), *settings, return_indices=True)
        return y, _in_batch(raw(where), shape_of(x), storage_order)
    if ceil_mode:
        at = at.beyond(x)
    least = -math.inf
    if is_exact(dtype):
        least = int(np.iinfo(dtype).min)

    def of_tensors(x: Tensor) -> Any:
        if function is None or is_exact(dtype):
            return _pooled(ops.maximum, at.padded(x, least), at)
        return function(at.padded(x, least), _pair(at.kernel), _pair(at.strides), 0, _pair(at.dilations))

    if outputs == 1:
        return in_float(of_tensors, x)
    # pairs (value, flat index in the image) are pooled together; index -1 is padding
    places = raw(at.padded(np.arange(math.prod(image)).reshape(1, 1, *image), -1))
    pairs = np.empty(shape_of(x)[:2] + places.shape[2:], "f8,i8")
    pairs["f0"] = raw(at.padded(array_of(x), least))
    pairs["f1"] = places
    where = _in_batch(_pooled(_larger, pairs, at)["f1"], shape_of(x), storage_order)
    return in_float(of_tensors, x), where


def _larger(a: Value, b: Value) -> Any:
    """The pair (value, index) with the larger value; of equal values the first that is no padding."""
    is_larger = b["f0"] > a["f0"]
    is_behind_padding = (a["f1"] < 0) & (b["f0"] == a["f0"])
    return np.where(is_larger | is_behind_padding, b, a)


def _in_batch(places: Value, shape: Sizes, column_major: int) -> Any:
    """Flat indices in an image as flat indices in the whole batch, as ONNX returns them."""
    image = shape[2:]
    if column_major:
        places = np.ravel_multi_index(np.unravel_index(places, image), image, order="F")
    planes = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * len(image))
    return tensor_of(places + planes * math.prod(image))


@operator("AveragePool", more=WINDOW)
def average_pool(
    x: Value, *, kernel_shape: Any, ceil_mode: int = 0, count_include_pad: int = 0, **window: Any
) -> Any:
    at = geometry("AveragePool", x, kernel_shape, **window)
    if _fits(at) and set(at.dilations) == {1}:
        function: Any = ops.avg_pool2d
        if len(at.kernel) == 1:
            function = ops.avg_pool1d

        def by_kernel(x: Tensor) -> Tensor:
            return function(
                x,
                _pair(at.kernel),
                _pair(at.strides),
                _pair(at.before),
                bool(ceil_mode),
                bool(count_include_pad),
            )

        return in_float(by_kernel, x)
    # 1 for the elements that count, 0 for others: the image, its padding if that counts, and what ceil_mode
    # adds after the padding
    counted = at.padded(np.ones((1, 1, *shape_of(x)[2:]), np.float32), int(bool(count_include_pad)))
    widened = at
    if ceil_mode:
        widened = at.beyond(x)
    beyond_padding = [w - a for w, a in zip(widened.after, at.after, strict=True)]
    no_pads = (0,) * (2 + len(beyond_padding))
    counts = _pooled(ops.add, tensor_of(padded(counted, (*no_pads, 0, 0, *beyond_padding))), at)

    def by_sums(x: Tensor) -> Tensor:
        return _pooled(ops.add, widened.padded(x), at) / counts.to(x.dtype)

    return in_float(by_sums, x)


@operator("LpPool", more=WINDOW)
def lp_pool(x: Value, *, kernel_shape: Any, ceil_mode: int = 0, p: int = 2, **window: Any) -> Any:
    at = geometry("LpPool", x, kernel_shape, **window)
    if ceil_mode:
        at = at.beyond(x)

    def root_of_sums(x: Tensor) -> Tensor:
        powers = ops.pow(ops.abs(at.padded(x)), float(p))
        return ops.pow(_pooled(ops.add, powers, at), 1.0 / p)

    return in_float(root_of_sums, x)


def _image_axes(x: Tensor) -> Sequence[int]:
    """All axes after the first two. Raises ValueError for a value without these."""
    if raw(x).ndim < 3:
        raise ValueError(f"[onnx global pooling] got a value of shape {shape_of(x)}")
    return tuple(range(2, raw(x).ndim))


@operator("GlobalAveragePool")
@on_tensors
def global_average_pool(x: Tensor) -> Tensor:
    return ops.mean(x, _image_axes(x), True)


@operator("GlobalMaxPool")
@on_tensors
def global_max_pool(x: Tensor) -> Tensor:
    return ops.amax(x, _image_axes(x), True)


@operator("MaxUnpool")
def max_unpool(
    x: Value,
    where: Value,
    size: Value | None = None,
    *,
    kernel_shape: Any,
    pads: Any = None,
    strides: Any = None,
) -> Any:
    """Zeros, except for x at the flat indices `where` that MaxPool returned.

    size: the shape of the result.
    """
    window = geometry("MaxUnpool", x, kernel_shape, strides=strides, pads=pads)
    sizes = zip(shape_of(x)[2:], window.strides, window.kernel, window.before, window.after, strict=True)
    inner = (*shape_of(x)[:2], *[(n - 1) * s + k - low - high for n, s, k, low, high in sizes])
    outer = inner
    if size is not None:
        outer = tuple(raw(size).tolist())
    places = raw(where).reshape(-1)
    if outer != inner:
        places = np.ravel_multi_index(np.unravel_index(places, inner), outer)

    def of_tensors(x: Tensor) -> Any:
        zeros = tensor_of(np.zeros(math.prod(outer), x.dtype))
        return ops.reshape(ops.scatter(zeros, 0, tensor_of(places), ops.reshape(x, -1)), outer)

    return in_float(of_tensors, x)
