"""Pooling: the maximum or the mean of windows of images and signals. The ops are max_pool, avg_pool,
adaptive_max_pool and adaptive_avg_pool, each for one axis (1d) and for two (2d).

The core has a kernel for each, and one for each backward. forward saves shapes, and of maxima the place of
each in its window.

x is (N, C, H, W), or (C, H, W) for one image; for the 1d pools (N, C, L), or (C, L). x is of floats, for
max_pool2d also of integers up to 2^53. The result is channels-last in memory if x is. Sizes are a number for
all axes, or one for each (height, width); a stride of () counts as None. A wrong shape or size raises
ValueError, another dtype TypeError.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np

import ranvier._core as _core
from ranvier.observe import refuse
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.gradient_rules import linear_rule
from ranvier.ops.layout import AtMaxima
from ranvier.tape.function import TakesHalves, by_kernel
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Shape, ShapeLike, TensorLike

OutputSize: TypeAlias = int | Sequence[int | None] | None
"""The size of the result: a number, or one for each axis; None keeps the size of x."""


class Pool(TakesHalves):
    """The base class of the pools. A single image is a batch of one."""

    dimensions: ClassVar[int]  # the number of dimensions of a batch: batch, channels, axes
    kernel: Callable[..., Any]
    kernel_backward: Callable[..., Array]
    of: Callable[..., Any]  # the op, which the core answers by the kernel where it can

    adaptive = False  # True: the arguments are the output's size, from which the windows follow

    def __init__(self, *arguments: Any) -> None:
        # the arguments of the kernel after x; the subclasses list them
        self.arguments = arguments

    def window(self) -> tuple[Any, ...]:
        """The settings that the kernel of backward takes: none for adaptive pools, where they follow from the
        shapes."""
        if self.adaptive:
            return ()
        return self.arguments

    def batch(self, x: Array) -> Array:
        """x as a batch; notes whether x was a single image, and the batch's shape."""
        self.single = x.ndim == self.dimensions - 1
        if self.single:
            x = x[None]
        self.shape = x.shape
        return x

    def gradient(self, dy: Array, *arguments: Any) -> Array:
        """The gradient of x by the kernel of backward, without the batch axis that a single image lacks."""
        if self.single:
            return self.kernel_backward(dy[None], *arguments)[0]
        return self.kernel_backward(dy, *arguments)


class MaxPool(Pool):
    """A pool of maxima. Its kernel also returns `where`, the offset of each maximum in its window.

    arguments: kernel_size, stride, padding, dilation, ceil_mode, or the output_size of adaptive pools; then
    whether indices are returned.
    """

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments[:-1]
        self.return_indices = arguments[-1]

    def forward(self, x: Array) -> Any:
        y, self.where, *indices = self.kernel(self.batch(x), *self.arguments, self.return_indices)
        if self.single:
            y = y[0]
            indices = [places[0] for places in indices]
        if indices:
            return (y, *indices)
        return y

    def backward(self, dy: Array, *_: Array | None) -> Array | AtMaxima:
        return self.gradient(dy, self.where, self.shape, *self.window())


class WindowedMaxPool(MaxPool):
    """A max-pool with windows of a fixed size. If they do not overlap, its gradient is an `AtMaxima`."""

    def backward(self, dy: Array, *_: Array | None) -> Array | AtMaxima:
        windows = self.side_by_side(dy)
        if windows is None:
            return super().backward(dy)
        if self.single:
            dy = dy[None]
        pool = (self.kernel, self.kernel_backward, self.shape, self.arguments, self.single)
        return AtMaxima(dy, self.where, windows, pool)

    def side_by_side(self, dy: Array) -> tuple[int, ...] | None:
        """The sizes of the windows, if the windows neither overlap nor reach beyond the image; else None."""
        size, stride, padding, dilation, _ = self.arguments
        axes = self.dimensions - 2
        if any(_for_each_axis(padding, axes)) or any(n != 1 for n in _for_each_axis(dilation, axes)):
            return None
        sizes = _for_each_axis(size, axes)
        if stride is not None and stride != size and _for_each_axis(stride, axes) != sizes:
            return None
        outs = dy.shape[2 - self.single :]
        extents = self.shape[2:]
        fits = all(0 < n * out <= extent for n, out, extent in zip(sizes, outs, extents, strict=False))
        # `where` has bytes for windows of up to 256 places, which the kernels for AtMaxima read
        if fits and self.where.dtype == "uint8":
            return sizes
        return None


def _for_each_axis(setting: ShapeLike, axes: int) -> tuple[int, ...]:
    """A setting as a tuple with a number for each axis; one number stands for all axes."""
    if isinstance(setting, Sequence):
        return tuple(setting) * (1 + axes - len(setting))
    return (setting,) * axes


class AvgPool(Pool):
    """arguments: kernel_size, stride, padding, ceil_mode, count_include_pad (and divisor_override)"""

    def forward(self, x: Array) -> Any:
        images = self.batch(x)
        y = self.kernel(images, *self.arguments)
        self.channels_last = _core.pools_over_channels(images)
        if self.single:
            return y[0]
        return y

    def backward(self, dy: Array) -> Array:
        return self.gradient(dy, self.shape, *self.window(), self.channels_last)


def _pool(name: str, base: type[Pool], axes: int, adaptive: bool = False) -> type[Pool]:
    """Makes the Function of a pool, with the kernels that its name says: AvgPool1d has avg_pool1d."""
    kernel_name = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    kernel = getattr(_core, kernel_name)
    members = {
        "dimensions": axes + 2,
        "kernel": kernel,
        "kernel_backward": getattr(_core, f"{kernel_name}_backward"),
        "adaptive": adaptive,
    }
    function: type[Pool] = type(name, (base,), members)

    def of_batch(x: Array, *arguments: Any) -> Any:
        """The result for a batch off the tape, without the `where` that only backward reads. NotImplemented
        for a single image: then the core calls `in_python`."""
        if x.ndim != axes + 2:
            return NotImplemented
        y = kernel(x, *arguments)
        if type(y) is not tuple:
            return y
        # of maxima: y, where, and indices if they are asked for
        return_indices = arguments[-1]
        if return_indices:
            return y[::2]
        return y[0]

    def in_python(x: TensorLike, *arguments: Any) -> Any:
        return function(*arguments).apply(x)

    function.of = by_kernel(of_batch, function)(in_python)
    return function


MaxPool1d = _pool("MaxPool1d", WindowedMaxPool, 1)
MaxPool2d = _pool("MaxPool2d", WindowedMaxPool, 2)
AvgPool1d = _pool("AvgPool1d", AvgPool, 1)
AvgPool2d = _pool("AvgPool2d", AvgPool, 2)
AdaptiveMaxPool1d = _pool("AdaptiveMaxPool1d", MaxPool, 1, adaptive=True)
AdaptiveMaxPool2d = _pool("AdaptiveMaxPool2d", MaxPool, 2, adaptive=True)
AdaptiveAvgPool1d = _pool("AdaptiveAvgPool1d", AvgPool, 1, adaptive=True)
AdaptiveAvgPool2d = _pool("AdaptiveAvgPool2d", AvgPool, 2, adaptive=True)


def max_pool1d(
    input: TensorLike,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    padding: ShapeLike = 0,
    dilation: ShapeLike = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """y[o] = max over s of x[o stride - padding + s dilation], for signals (N, C, L) -> (N, C, O).

    Settings and indices as in :func:`max_pool2d`, for one axis.

    >>> import ranvier as rv
    >>> rv.max_pool1d(rv.tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    tensor([[[3., 2.]]])
    """
    return MaxPool1d.of(input, kernel_size, _stride(stride), padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: TensorLike,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    padding: ShapeLike = 0,
    dilation: ShapeLike = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """y[oh, ow] = max over r, s of x[oh stride - padding + r dilation, ow stride - padding + s dilation].

    stride: kernel_size where it is None. padding: at most half of the window, never the maximum itself.
    ceil_mode: a last window that is only partly inside the image counts, too. A NaN in a window gives NaN.
    The gradient goes to the maximum, of equal ones to the first. With return_indices the result is (y,
    indices): the place of each maximum in its image, h W + w, as int64.

    Shapes: (N, C, H, W) -> (N, C, OH, OW),
    OH = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1.
    Source: Riesenhuber and Poggio, "Hierarchical Models of Object Recognition in Cortex" (1999).

    >>> import numpy as np, ranvier as rv
    >>> x = rv.tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    >>> rv.max_pool2d(x, 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    >>> rv.max_pool2d(x, 2, return_indices=True)[1].flatten().tolist()
    [5, 7, 13, 15]
    """
    arguments = (kernel_size, _stride(stride), padding, dilation, ceil_mode, return_indices)
    try:
        return MaxPool2d.of(input, *arguments)
    except TypeError:  # Integers are looked for only here, since floats are the common case.
        input = as_tensor("max_pool2d", input)
        if input.dtype.kind not in "iu":
            raise
    array = input._array  # Integers are computed in float64, which holds them exactly up to 2^53.
    if not _are_exact(array):
        raise OpError("[max_pool2d] got integers beyond 2^53; expected smaller ones, or floats")
    y = MaxPool2d.of(input.double(), *arguments)
    if isinstance(y, tuple):
        return (y[0].to(input.dtype), *y[1:])
    return y.to(input.dtype)


def _are_exact(integers: Array) -> bool:
    """True if float64 holds these integers exactly: all are at most 2^53 in size."""
    if not integers.size or integers.dtype.itemsize < 8:  # only 64 bits hold larger ones
        return True
    if integers.dtype.kind == "u":
        return bool(integers.max() <= 2**53)
    return bool(_core.inside(integers, -(2**53), 2**53))


def _stride(stride: ShapeLike | None) -> ShapeLike | None:
    """An empty stride, which PyTorch allows, is None."""
    if isinstance(stride, (tuple, list)) and not stride:
        return None
    return stride


def adaptive_max_pool1d(input: TensorLike, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The maximum of windows that divide signals (N, C, L) evenly into output_size.

    See :func:`adaptive_avg_pool2d` for the windows, :func:`max_pool2d` for the indices.

    >>> import ranvier as rv
    >>> rv.adaptive_max_pool1d(rv.tensor([[[1.0, 3.0, 2.0]]]), 2)
    tensor([[[3., 3.]]])
    """
    return AdaptiveMaxPool1d.of(input, output_size, return_indices)


def adaptive_max_pool2d(input: TensorLike, output_size: OutputSize, return_indices: bool = False) -> Any:
    """The maximum of windows that divide images (N, C, H, W) evenly into output_size.

    See :func:`adaptive_avg_pool2d` for the windows, :func:`max_pool2d` for gradient and indices.

    >>> import ranvier as rv
    >>> rv.adaptive_max_pool2d(rv.arange(16.0).reshape(1, 1, 4, 4), (1, 2))
    tensor([[[[13., 15.]]]])
    """
    return AdaptiveMaxPool2d.of(input, output_size, return_indices)


def avg_pool1d(
    input: TensorLike,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    padding: ShapeLike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """y[o] = the mean of x over the window that begins at o stride - padding: (N, C, L) -> (N, C, O).

    Settings as in :func:`avg_pool2d`, for one axis.

    >>> import ranvier as rv
    >>> rv.avg_pool1d(rv.tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    tensor([[[2., 1.]]])
    """
    return AvgPool1d.of(input, kernel_size, _stride(stride), padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: TensorLike,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    padding: ShapeLike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """y[oh, ow] = the mean of x over the window that begins at (oh stride - padding, ow stride - padding).

    stride: kernel_size where it is None. count_include_pad: the padding's zeros count as elements of the
    window. divisor_override: divide the sums by this number instead. ceil_mode: a last window that is only
    partly inside the image counts too.

    Shapes: (N, C, H, W) -> (N, C, OH, OW), OH = floor((H + 2 padding - kernel_size) / stride) + 1.
    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998).

    >>> import ranvier as rv
    >>> rv.avg_pool2d(rv.arange(16.0).reshape(1, 1, 4, 4), 2)
    tensor([[[[ 2.5000,  4.5000],
              [10.5000, 12.5000]]]])
    """
    arguments = (kernel_size, _stride(stride), padding, ceil_mode, count_include_pad, divisor_override)
    return AvgPool2d.of(input, *arguments)


def adaptive_avg_pool1d(input: TensorLike, output_size: OutputSize) -> Tensor:
    """The mean of windows that divide signals (N, C, L) evenly into output_size.

    See :func:`adaptive_avg_pool2d` for the windows.

    >>> import ranvier as rv
    >>> rv.adaptive_avg_pool1d(rv.tensor([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    tensor([[[2., 1.]]])
    """
    return AdaptiveAvgPool1d.of(input, output_size)


def adaptive_avg_pool2d(input: TensorLike, output_size: OutputSize) -> Tensor:
    """The mean of windows that divide the image evenly into output_size; 1 is the global average.

    Window o along an axis of length n is [floor(o n / out), ceil((o + 1) n / out)). None in a pair keeps that
    axis.

    Shapes: (N, C, H, W) -> (N, C, *output_size).
    Source: Lin, Chen and Yan, "Network In Network" (2013), for the global average.

    >>> import ranvier as rv
    >>> rv.adaptive_avg_pool2d(rv.arange(16.0).reshape(1, 1, 4, 4), 1).item()
    7.5
    """
    return AdaptiveAvgPool2d.of(input, output_size)


# --- the rules of create_graph


def _shape(node: Pool, dy: Tensor) -> Shape:
    """The shape of the node's input."""
    if node.single:
        return node.shape[1:]
    return node.shape


# With `shape`, the second gradient of x is 0, as in PyTorch, instead of None.
linear_rule(AvgPool, shape=_shape)


# --- max pooling as a linear function: backward adds dy at the places of the maxima, and forward reads x
# there


def _at_maxima(node: MaxPool, x: Array) -> Array:
    """The elements of x at the places at which the maxima of the node's input were."""
    refuse("the second derivative of max pooling", "call the step without rv.compile")
    images = x
    if node.single:
        images = x[None]
    axes = images.shape[2:]  # (H, W), or (L,)
    # node.where numbers the elements of a window row by row: row times the window's length, plus column. From
    # the last axis on, the remainder by the length is the place along the axis, and the quotient is left for
    # the axes before it.
    offset = node.where.astype(np.int64)
    places = np.zeros(node.where.shape, np.int64)  # in the image, numbered row by row: h W + w
    for d in reversed(range(len(axes))):
        windows = _windows(node, d, axes[d], node.where.shape[2 + d])
        tap = offset
        if d > 0:
            offset, tap = np.divmod(offset, windows.length)
        starts = windows.starts.reshape(-1, *(1,) * (len(axes) - 1 - d))  # along axis d of (OH, OW)
        row_length = math.prod(axes[d + 1 :])  # how many elements a step along axis d passes
        places += (starts + tap * windows.dilation) * row_length
    flat = images.reshape(*images.shape[:2], math.prod(axes))
    of_each = places.reshape(*places.shape[:2], math.prod(places.shape[2:]))
    y = np.take_along_axis(flat, of_each, -1).reshape(places.shape)
    if node.single:
        return y[0]
    return y


class _Windows:
    """The windows along an axis: where each starts, how many elements it has, and the step between these."""

    def __init__(self, starts: Array, length: int, dilation: int) -> None:
        self.starts = starts
        self.length = length
        self.dilation = dilation


def _windows(node: MaxPool, d: int, n: int, out: int) -> _Windows:
    """The `out` windows along axis d, which has length n."""
    o = np.arange(out)
    if node.adaptive:
        length = min(n // max(out, 1) + 2, n)  # the core computes the length in the same way
        return _Windows(o * n // out, length, 1)
    size, stride, padding, dilation, _ = node.arguments
    if stride is None:
        stride = size

    def here(setting: ShapeLike) -> int:
        """The setting along axis d."""
        return int(_for_each_axis(setting, node.dimensions - 2)[d])

    return _Windows(o * here(stride) - here(padding), here(size), here(dilation))


linear_rule(MaxPool, WindowedMaxPool, backward=MaxPool.backward, forward=_at_maxima, shape=_shape)
