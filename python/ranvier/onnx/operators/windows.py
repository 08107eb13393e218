"""Convolutions and pooling: of signals and images by the library's kernels.

Settings that the kernels lack (padding of different sizes, three dimensions, dilated means) are computed by
padding first, or as sums over the elements of a window.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.operators.shapes import padded
from ranvier.onnx.registry import operator, operators
from ranvier.onnx.values import in_float, raw, shape_of, tensor_of

Sizes = tuple[int, ...]

_MOST_ELEMENTS = 2**16  # a larger window is not computed as a sum over its elements


WINDOW = ("auto_pad", "dilations", "pads", "strides")  # attributes that `geometry` takes


def geometry(
    name: str,
    x: Any,
    kernel: Any,
    *,
    strides: Any = None,
    pads: Any = None,
    dilations: Any = None,
    auto_pad: str = "NOTSET",
) -> tuple[Sizes, Sizes, Sizes, Sizes]:
    """kernel, strides, pads and dilations, one number (pads: two) for each axis of the image."""
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
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        low, high = [], []
        for n, k, s, d in zip(shape_of(x)[2:], kernel, strides, dilations, strict=True):
            total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            less = total // 2
            low.append(less if auto_pad == "SAME_UPPER" else total - less)
            high.append(total - low[-1])
        pads = (*low, *high)
    elif auto_pad not in ("NOTSET", "VALID"):
        raise ValueError(f"[onnx {name}] got auto_pad {auto_pad!r}")
    pads = (0,) * (2 * axes) if auto_pad == "VALID" or not pads else tuple(pads)
    if len(pads) != 2 * axes or min(pads) < 0:
        raise ValueError(f"[onnx {name}] got pads {pads} for {axes} axes")
    return kernel, strides, pads, dilations


def _is_even(pads: Sizes) -> bool:
    half = len(pads) // 2
    return pads[:half] == pads[half:]


def _around(pads: Sizes) -> Sizes:
    """Pads of the image's axes as those of all axes."""
    half = len(pads) // 2
    return (0, 0, *pads[:half], 0, 0, *pads[half:])


@operator("Conv", more=WINDOW)
def conv(x: Any, w: Any, b: Any = None, *, group: int = 1, kernel_shape: Any = None, **window: Any) -> Any:
    kernel, strides, pads, dilations = geometry("Conv", x, shape_of(w)[2:], **window)
    if len(kernel) > 2:
        raise ValueError(f"[onnx Conv] got a kernel of shape {kernel}; expected one or two dimensions")
    if not _is_even(pads):
        x, pads = padded(x, _around(pads)), (0,) * len(pads)
    function = ops.conv1d if len(kernel) == 1 else ops.conv2d
    settings = (_pair(strides), _pair(pads[: len(kernel)]), _pair(dilations), group)
    return in_float(lambda x, w, b: function(x, w, b, *settings), x, w, b)


def _pair(sizes: Sizes) -> Any:
    return sizes[0] if len(sizes) == 1 else sizes


def _conv_transpose(
    halved: tuple[str, ...],
    x: Any,
    w: Any,
    b: Any = None,
    /,
    *,
    auto_pad: str = "NOTSET",
    group: int = 1,
    kernel_shape: Any = None,
    output_padding: Any = None,
    output_shape: Any = None,
    **window: Any,
) -> Any:
    """Computed without padding; then the pads are cut off, and missing elements are the bias.

    halved: where output_shape leads to pads, the values of auto_pad with which the start gets total // 2 and
    the end the rest; with others the end gets total // 2.
    """
    same = auto_pad if auto_pad.startswith("SAME") else ""
    window |= {"pads": None} if same else {"auto_pad": auto_pad}  # the pads follow from the sizes below
    kernel, strides, pads, dilations = geometry("ConvTranspose", x, shape_of(w)[2:], **window)
    axes = len(kernel)
    if axes > 2:
        raise ValueError(
            f"[onnx ConvTranspose] got a kernel of shape {kernel}; expected one or two dimensions"
        )
    extra = tuple(output_padding or (0,) * axes)
    full = [
        (n - 1) * s + d * (k - 1) + 1
        for n, s, d, k in zip(shape_of(x)[2:], strides, dilations, kernel, strict=True)
    ]
    ends = list(extra)
    if output_shape or same:
        wanted = output_shape or [n * s for n, s in zip(shape_of(x)[2:], strides, strict=True)]
        totals = [f + e - n for f, e, n in zip(full, extra, wanted[-axes:], strict=True)]
        ends = [e + max(-t, 0) for e, t in zip(extra, totals, strict=True)]
        less = [max(t, 0) // 2 for t in totals]
        more = [max(t, 0) - h for t, h in zip(totals, less, strict=True)]
        pads = (*less, *more) if auto_pad in halved else (*more, *less)
    ends = [e - p for e, p in zip(ends, pads[axes:], strict=True)]
    function = ops.conv_transpose1d if axes == 1 else ops.conv_transpose2d

    def of_tensors(x: Tensor, w: Tensor, b: Any) -> Any:
        if (
            _is_even(pads)
            and ends == [e - p for e, p in zip(extra, pads, strict=False)]
            and all(e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True))
        ):
            return function(
                x, w, b, _pair(strides), _pair(pads[:axes]), _pair(extra), group, _pair(dilations)
            )
        y = function(x, w, None, _pair(strides), 0, 0, group, _pair(dilations))
        y = padded(y, (0, 0, *(-p for p in pads[:axes]), 0, 0, *ends))
        return y if b is None else y + ops.reshape(b, (-1, *(1,) * axes))

    return in_float(of_tensors, x, w, b)


# The equations up to version 10 have the reverse of 11 in all cases; with SAME_UPPER and SAME_LOWER they
# contradict the text of auto_pad beside them, which all versions have, and which runtimes follow.
operator("ConvTranspose", more=WINDOW)(partial(_conv_transpose, ("NOTSET", "VALID", "SAME_UPPER")))
operator("ConvTranspose", 11, WINDOW)(partial(_conv_transpose, ("SAME_UPPER",)))


# --- pooling
def _overhang(x: Any, kernel: Sizes, strides: Sizes, pads: Sizes, dilations: Sizes) -> list[int]:
    """With ceil_mode: by how much the last window of each axis reaches beyond the padded image."""
    half, beyond = len(kernel), []
    for i, n in enumerate(shape_of(x)[2:]):
        reach = dilations[i] * (kernel[i] - 1) + 1
        total = n + pads[i] + pads[i + half]
        count = -(-(total - reach) // strides[i]) + 1
        if (count - 1) * strides[i] >= n + pads[i]:  # it would begin in the padding after the image
            count -= 1
        beyond.append(max((count - 1) * strides[i] + reach - total, 0))
    return beyond


def _elements(x: Any, kernel: Sizes, strides: Sizes, dilations: Sizes) -> list[Any]:
    """For each element of the window: that element of all windows, (N, C, *out)."""
    outs = [
        (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[2:], kernel, strides, dilations, strict=True)
    ]
    if min(outs) < 1 or math.prod(kernel) > _MOST_ELEMENTS:
        raise ValueError(f"[onnx pooling] got a window of {kernel} for a padded image of {x.shape[2:]}")
    elements = []
    for places in itertools.product(*map(range, kernel)):
        key = [slice(None), slice(None)]
        for p, d, s, out in zip(places, dilations, strides, outs, strict=True):
            key.append(slice(p * d, p * d + (out - 1) * s + 1, s))
        elements.append(x[tuple(key)])
    return elements


@operator("MaxPool", more=WINDOW)
def max_pool(
    x: Any, *, kernel_shape: Any, ceil_mode: int = 0, storage_order: int = 0, outputs: int = 1, **window: Any
) -> Any:
    kernel, strides, pads, dilations = geometry("MaxPool", x, kernel_shape, **window)
    axes = len(kernel)
    half = all(2 * p <= k for p, k in zip(pads, kernel * 2, strict=True))
    if axes <= 2 and _is_even(pads) and half and not (ceil_mode and dilations != (1,) * axes):
        function = ops.max_pool1d if axes == 1 else ops.max_pool2d
        arguments = (_pair(kernel), _pair(strides), _pair(pads[:axes]), _pair(dilations), bool(ceil_mode))
        if outputs == 1:
            if raw(x).dtype.kind in "ui":
                y = ops.max_pool2d(tensor_of(raw(x).astype(np.float32)), *arguments)
                return tensor_of(raw(y).astype(raw(x).dtype))
            return in_float(lambda x: function(x, *arguments), x)
        y, where = function(tensor_of(x), *arguments, return_indices=True)
        return y, _in_batch(raw(where), shape_of(x), storage_order)
    beyond = _overhang(x, kernel, strides, pads, dilations) if ceil_mode else [0] * axes
    pads = (*pads[:axes], *(p + b for p, b in zip(pads[axes:], beyond, strict=True)))

    def of_tensors(x: Tensor) -> Any:
        elements = _elements(padded(x, _around(pads), value=-math.inf), kernel, strides, dilations)
        y = reduce(ops.maximum, elements)
        if outputs == 1:
            return y
        image = shape_of(x)[2:]
        places = padded(np.arange(math.prod(image)).reshape(1, 1, *image), _around(pads), value=-1)
        where = np.full(raw(y).shape, -1)
        for element, place in zip(elements, _elements(places, kernel, strides, dilations), strict=True):
            where = np.where((where < 0) & (place >= 0) & (raw(element) == raw(y)), place, where)
        return y, _in_batch(where, shape_of(x), storage_order)

    return in_float(of_tensors, x)


def _in_batch(places: Any, shape: Sizes, column_major: int) -> Any:
    """Places in the image as places in the whole batch."""
    image = shape[2:]
    if column_major:
        places = np.ravel_multi_index(np.unravel_index(places, image), image, order="F")
    planes = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * len(image))
    return tensor_of(places + planes * math.prod(image))


@operator("AveragePool", more=WINDOW)
def average_pool(
    x: Any, *, kernel_shape: Any, ceil_mode: int = 0, count_include_pad: int = 0, **window: Any
) -> Any:
    kernel, strides, pads, dilations = geometry("AveragePool", x, kernel_shape, **window)
    axes = len(kernel)
    half = all(2 * p <= k for p, k in zip(pads, kernel * 2, strict=True))
    if axes <= 2 and _is_even(pads) and half and dilations == (1,) * axes:
        function = ops.avg_pool1d if axes == 1 else ops.avg_pool2d
        sizes = (_pair(kernel), _pair(strides), _pair(pads[:axes]))
        arguments = (*sizes, bool(ceil_mode), bool(count_include_pad))
        return in_float(lambda x: function(x, *arguments), x)
    beyond = _overhang(x, kernel, strides, pads, dilations) if ceil_mode else [0] * axes
    last = (0,) * axes + tuple(beyond)

    def of_tensors(x: Tensor) -> Any:
        counted = np.ones((1, 1, *x.shape[2:]), x.dtype)
        counted = padded(counted, _around(pads), value=1 if count_include_pad else 0)
        counted = padded(counted, _around(last))
        x = padded(padded(x, _around(pads)), _around(last))
        total = reduce(ops.add, _elements(x, kernel, strides, dilations))
        return total / reduce(ops.add, _elements(tensor_of(counted), kernel, strides, dilations))

    return in_float(of_tensors, x)


@operator("LpPool", more=WINDOW)
def lp_pool(x: Any, *, kernel_shape: Any, ceil_mode: int = 0, p: int = 2, **window: Any) -> Any:
    kernel, strides, pads, dilations = geometry("LpPool", x, kernel_shape, **window)
    beyond = _overhang(x, kernel, strides, pads, dilations) if ceil_mode else [0] * len(kernel)
    pads = (*pads[: len(kernel)], *(q + b for q, b in zip(pads[len(kernel) :], beyond, strict=True)))

    def of_tensors(x: Tensor) -> Any:
        powers = ops.pow(ops.abs(padded(x, _around(pads))), float(p))
        return ops.pow(reduce(ops.add, _elements(powers, kernel, strides, dilations)), 1.0 / p)

    return in_float(of_tensors, x)


def _image_axes(x: Any) -> Sequence[int]:
    if raw(x).ndim < 3:
        raise ValueError(f"[onnx global pooling] got a value of shape {shape_of(x)}")
    return tuple(range(2, raw(x).ndim))


operators(
    {
        ("GlobalAveragePool", 1): lambda x: in_float(lambda v: ops.mean(v, _image_axes(x), True), x),
        ("GlobalMaxPool", 1): lambda x: in_float(lambda v: ops.amax(v, _image_axes(x), True), x),
    }
)


@operator("MaxUnpool")
def max_unpool(
    x: Any, where: Any, size: Any = None, *, kernel_shape: Any, pads: Any = None, strides: Any = None
) -> Any:
    """Zeros but for x at the places that MaxPool found."""
    kernel, strides, pads, _ = geometry("MaxUnpool", x, kernel_shape, strides=strides, pads=pads)
    axes = len(kernel)
    shape = [
        (n - 1) * s + k - pads[i] - pads[i + axes]
        for i, (n, s, k) in enumerate(zip(shape_of(x)[2:], strides, kernel, strict=True))
    ]
    inner = (*shape_of(x)[:2], *shape)
    outer = inner if size is None else tuple(raw(size).tolist())
    places = raw(where).reshape(-1)
    if outer != inner:
        places = np.ravel_multi_index(np.unravel_index(places, inner), outer)

    def of_tensors(x: Tensor) -> Any:
        zeros = tensor_of(np.zeros(math.prod(outer), x.dtype))
        return ops.reshape(ops.scatter(zeros, 0, tensor_of(places), ops.reshape(x, -1)), outer)

    return in_float(of_tensors, x)
