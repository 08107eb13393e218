"""interpolate, which gives images and signals another size, and pad, which adds values around a tensor.

The core has kernels `interpolate` and `pad`, and one for each backward. Both ops are linear, so forward saves
shapes and settings alone. Some modes are composed of other ops: 'area' of pools, antialias of products of
matrices.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import Array, as_number, as_tensor
from ranvier.ops.gradient_rules import linear_rule
from ranvier.ops.image.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.shape.reshape import reshape
from ranvier.tape.function import Dtypes, Function, in_dtypes
from ranvier.tensors.errors import truth
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import cast, keep
from ranvier.tensors.tensor import Tensor, by_numpy, wrap
from ranvier.tensors.types import Shape, ShapeLike, TensorLike

Factors: TypeAlias = float | Sequence[float]
"""A scale factor for all axes, or one for each."""


class Interpolate(Function):
    """The weighted sums of `interpolate`, by the kernel; its docstring has the settings."""

    def __init__(
        self, size: ShapeLike | None, scale_factor: Factors | None, mode: str, align_corners: bool
    ) -> None:
        self.arguments = (size, scale_factor, mode, align_corners)

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return _core.interpolate(x, *self.arguments)

    def backward(self, dy: Array) -> Array:
        settings = self.arguments[1:]  # without size: the kernel has it from dy
        return _core.interpolate_backward(dy, self.shape, *settings)


linear_rule(Interpolate)


def interpolate(
    input: TensorLike,
    size: int | Sequence[Any] | None = None,
    scale_factor: Factors | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """x at another size: each output is a weighted sum of the inputs around its position.

    x (N, C, L) or (N, C, H, W). Either size (a number for all axes, or one for each) or scale_factor, with
    out = floor(in scale_factor). With scale = 1 / scale_factor, or in / out where size is given (and with
    recompute_scale_factor), output o is at

    - 'nearest': input floor(o scale); 'nearest-exact': input floor((o + 1/2) scale)
    - 'linear' (N, C, L), 'bilinear' and 'bicubic' (N, C, H, W): (o + 1/2) scale - 1/2, or with align_corners
      o (in - 1) / (out - 1), between two inputs along each axis, or four (cubic convolution, a = -3/4)
    - 'area': the mean of the inputs that o covers (:func:`adaptive_avg_pool2d`)

    'linear', 'bilinear' and, of images, 'nearest' copy along an axis whose length stays, as in PyTorch.
    Coordinates are computed in float64, those of 'nearest' and 'nearest-exact' in float32 as in PyTorch. The
    result is channels-last in memory where x is.

    antialias ('bilinear' and 'bicubic'): along an axis that gets shorter, the triangle (or the cubic, with
    a = -1/2) is `scale` times as wide, so that every input counts. It is computed by two products with
    matrices (out, in). Bytes (uint8) are rounded to bytes after each product, as in PyTorch.

    Raises ValueError where shape, size and mode do not fit together.
    Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981).

    >>> import ranvier as rv
    >>> rv.interpolate(rv.tensor([[[1.0, 3.0]]]), scale_factor=2)
    tensor([[[1., 1., 3., 3.]]])
    >>> rv.interpolate(rv.tensor([[[1.0, 3.0]]]), size=4, mode="linear")
    tensor([[[1.0000, 1.5000, 2.5000, 3.0000]]])
    """
    input = as_tensor("interpolate", input)
    if size is not None and scale_factor is not None:
        raise OpError(
            f"[interpolate] got size {size!r} and scale_factor {scale_factor!r}; expected one of them"
        )
    if input._array.dtype.char == "B" and mode in ("nearest", "nearest-exact"):  # float32 holds bytes exactly
        floats: Any = input.float()
        return interpolate(floats, size, scale_factor, mode, align_corners, antialias=antialias).byte()
    if size is None and scale_factor is not None and (recompute_scale_factor or mode == "area"):
        size = _size_of(input, scale_factor)
        scale_factor = None
    if mode == "area" and not antialias:
        return _area(input, size, align_corners)
    copies = mode in ("linear", "bilinear") or (mode == "nearest" and input.ndim == 4)
    if scale_factor is not None and copies:
        scale_factor = _of_unequal_sizes(input, scale_factor)
    if antialias:
        return _smoothed(input, size, scale_factor, mode, bool(align_corners))
    return Interpolate(size, scale_factor, mode, bool(align_corners)).apply(input)


def _of_unequal_sizes(x: Tensor, scale_factor: Factors) -> Factors:
    """The factor of each axis, but 1 for axes that keep their length, along which PyTorch copies."""
    axes = x.shape[2:]
    factors = _for_each_axis(scale_factor, len(axes))
    if len(factors) != len(axes) or not all(isinstance(f, (int, float)) and f > 0 for f in factors):
        return scale_factor  # The kernel raises the error.
    changed = []
    for n, factor in zip(axes, factors, strict=True):
        if n <= n * factor < n + 1:  # the new length, floor(n factor), is n
            factor = 1.0
        changed.append(factor)
    return tuple(changed)


def _for_each_axis(scale_factor: Factors, axes: int) -> Sequence[float]:
    """The factor of each axis: one number stands for all of them."""
    if isinstance(scale_factor, Sequence):
        return scale_factor
    return (scale_factor,) * axes


def _smoothed(
    x: Tensor, size: ShapeLike | None, scale_factor: Factors | None, mode: str, align_corners: bool
) -> Tensor:
    """interpolate with antialias: a product with a matrix of `filters` along each axis."""
    if mode not in ("bilinear", "bicubic"):
        raise OpError(f"[interpolate] got antialias and mode {mode!r}; expected 'bilinear' or 'bicubic'")
    shape = tuple(x.shape)
    # A call with an empty batch makes all checks, and gives the sizes of the result.
    dtype = x._array.dtype
    if dtype == np.uint8:
        dtype = np.dtype(np.float32)
    none = np.empty((0, *shape[1:]), dtype)
    sizes = _core.interpolate(none, size, scale_factor, mode, align_corners).shape[2:]
    factors: Sequence[float | None] = (None, None)
    if scale_factor is not None:
        factors = _for_each_axis(scale_factor, 2)
    # The last axis comes first, as in PyTorch. The order matters, since bytes are rounded after each axis.
    for axis in (1, 0):
        old = shape[2 + axis]
        new = sizes[axis]
        factor = factors[axis]
        if old == new:  # this axis stays as it is, even if the factor is not 1
            continue
        if align_corners and new > 1:
            scale = (old - 1) / (new - 1)
        elif align_corners:
            scale = 0.0
        elif factor:
            scale = 1 / factor
        else:
            scale = old / new
        if x._array.dtype == np.uint8:
            x = wrap(keep(_of_bytes(x._array, filters(old, new, scale, mode), axis + 2)))
            continue
        matrix = wrap(cast(filters(old, new, scale, mode), x.dtype))
        if axis == 0:
            x = _core._without_autocast(matmul, matrix, x)
        else:
            x = _core._without_autocast(matmul, x, matrix.T)
    return x


def _of_bytes(x: Array, weights: Array, axis: int) -> Array:
    """The weighted sums of bytes along an axis, as PyTorch and Pillow compute them: with weights as integers
    of 16 bits. weights: (new, old) from `filters`."""
    # the most fractional bits, up to 22, with which the greatest weight stays below 2^15
    bits = 0
    while bits < 22 and int(0.5 + weights.max() * 2.0 ** (bits + 1)) < 1 << 15:
        bits += 1
    integers = np.trunc(weights * 2.0**bits + np.copysign(0.5, weights))
    sums = np.tensordot(integers, x.astype(np.float64), (1, axis))  # exact
    sums = np.moveaxis(sums, 0, axis)
    half = 2.0 ** (bits - 1)
    return np.clip(np.floor((sums + half) / 2.0**bits), 0, 255).astype(np.uint8)


@functools.lru_cache(maxsize=64)
def filters(old: int, new: int, scale: float, mode: str) -> Array:
    """(new, old): the share of each input in each output, by a filter that is as wide as the new pixels.

    Bilinear: a triangle. Bicubic: R. Keys, "Cubic convolution interpolation for digital image processing"
    (1981), with a = -1/2. scale: old pixels for each new pixel.
    """
    widened = max(scale, 1.0)
    reach = widened
    if mode == "bicubic":
        reach = widened * 2
    centre = (np.arange(new)[:, None] + 0.5) * scale
    at = np.arange(old)
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), old)
    t = np.abs(at + 0.5 - centre) / widened
    if mode == "bilinear":
        w = np.maximum(1 - t, 0)
    else:
        near = (1.5 * t - 2.5) * t * t + 1
        far = ((-0.5 * t + 2.5) * t - 4) * t + 2
        beyond = np.where(t < 2, far, 0)
        w = np.where(t < 1, near, beyond)
    w = np.where((at >= first) & (at < last), w, 0)
    w /= w.sum(1, keepdims=True)
    w.flags.writeable = False
    return w


def _area(x: Tensor, size: ShapeLike | None, align_corners: bool | None) -> Tensor:
    """interpolate in the mode 'area'."""
    if align_corners is not None or size is None or x.ndim not in (3, 4):
        raise OpError(
            f"[interpolate] got mode 'area', x of shape {tuple(x.shape)}, size {size!r} and align_corners "
            f"{align_corners!r}; expected (N, C, L) or (N, C, H, W), a size or scale_factor, and no "
            "align_corners"
        )
    if x.ndim == 3:
        return adaptive_avg_pool1d(x, size)
    return adaptive_avg_pool2d(x, size)


def _size_of(x: Tensor, scale_factor: Factors) -> Shape:
    """The sizes of the result for a scale_factor."""
    axes = x.shape[2:]
    factors = _for_each_axis(scale_factor, len(axes))
    try:
        return tuple(math.floor(n * float(f)) for n, f in zip(axes, factors, strict=True))
    except (TypeError, ValueError, OverflowError) as error:
        raise OpError(
            f"[interpolate] got scale_factor {scale_factor!r} for {len(axes)} axes; expected positive numbers"
        ) from error


class Pad(Function):
    """`pad` of floats, by the kernel. sizes: (before, after) of the last dimension, then of the one before
    it."""

    def __init__(self, sizes: Sequence[int], mode: str, value: float) -> None:
        self.sizes = sizes
        self.mode = mode
        self.value = value
        if mode in ("reflect", "replicate"):
            self.dtypes = Dtypes(autocast="float32")

    def forward(self, x: Array) -> Array:
        return _core.pad(x, self.sizes, self.mode, self.value)

    def backward(self, dy: Array) -> Array:
        return _core.pad_backward(dy, self.sizes, self.mode)


# For create_graph: pad with another value is not linear, its derivative pads with 0.
def _pad_with_zeros(node: Pad, x: Array) -> Array:
    return _core.pad(x, node.sizes, node.mode, 0.0)


linear_rule(Pad, forward=_pad_with_zeros)


def pad(input: TensorLike, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """x with values added around it: pad = (before, after) of the last dimension, then of the one before it,
    and so on. Negative sizes crop.

    mode 'constant' (any shape): the added elements are value, or 0 if value is None. The other modes repeat
    x's own values, in the last dimension of (N, C, L), the last two of (N, C, H, W), or the last three of
    volumes; N may be missing. 'reflect' mirrors at the edge, which is not repeated (sizes must be less than
    the axis), 'replicate' repeats the edge, 'circular' continues at the other side (sizes at most the axis).
    The gradient of an element is the sum over its copies. x has floats, integers or bools; the result keeps
    the memory order of x.

    Raises ValueError where sizes, shape and mode do not fit together.

    >>> import ranvier as rv
    >>> rv.pad(rv.tensor([[1.0, 2.0, 3.0]]), (1, 2), value=9.0)
    tensor([[9., 1., 2., 3., 9., 9.]])
    >>> rv.pad(rv.tensor([[1.0, 2.0, 3.0]]), (1, 2), "reflect")
    tensor([[2., 1., 2., 3., 2., 1.]])
    """
    input = as_tensor("pad", input)
    if str(mode) != "constant" and value is not None and truth("pad", "value", value):
        raise OpError(f"[pad] got value {value!r} for mode {mode!r}; expected it for 'constant' alone")
    if str(mode) != "constant" and input.ndim in (4, 5) and np.shape(pad) == (6,):  # x has volumes
        if mode == "replicate":  # autocast lists no other
            return in_dtypes(Dtypes(halves="own", autocast="float32"))(_of_volumes)(input, pad, mode)
        return _core._without_autocast(_of_volumes, input, pad, mode)
    if value is None:
        value = 0.0
    return _padded(input, pad, mode, value)


@in_dtypes()
def _of_volumes(x: Tensor, sizes: Sequence[int], mode: str) -> Tensor:
    """Pads volumes (.., d, h, w): first the images (h, w) of all layers, then along the layers d."""
    d, h, w = x.shape[-3:]
    image_sizes = sizes[:4]
    layer_sizes = sizes[4:]
    volumes = reshape(x, (math.prod(x.shape[:-3]), d, h, w))
    images = _padded(volumes, image_sizes, mode)
    pixels = images.shape[-2] * images.shape[-1]
    # each layer as a row of pixels, so that d is the last axis but one: (volumes, 1, d, pixels)
    rows = reshape(images, (len(images), 1, d, pixels))
    layers = _padded(rows, (0, 0, *layer_sizes), mode)
    return reshape(layers, (*x.shape[:-3], layers.shape[2], *images.shape[-2:]))


def _padded(x: Tensor, sizes: Sequence[int], mode: str, value: float = 0.0) -> Tensor:
    """pad of floats by the kernel, of integers and bools by NumPy."""
    if x._array.dtype.kind not in "biu":
        return Pad(sizes, mode, value).apply(x)
    if mode == "constant":
        return by_numpy(_pad_integers, x._array, sizes, value)
    return by_numpy(_picked, x._array, sizes, mode)


def _picked(x: Array, sizes: Sequence[int], mode: str) -> Array:
    """pad of integers in the modes that repeat values: the indices along each axis are padded by the kernel,
    and the elements at these indices are taken."""
    _core.pad(np.broadcast_to(np.float32(0), x.shape), sizes, mode)  # makes the checks
    for k in range(len(sizes) // 2):
        axis = x.ndim - 1 - k  # sizes begin with the last axis
        line = np.arange(x.shape[axis], dtype=np.float64).reshape(1, 1, -1)
        places = _core.pad(line, sizes[2 * k : 2 * k + 2], mode).reshape(-1)
        x = np.take(x, places.astype(np.int64), axis)
    return x


def _pad_integers(x: Array, sizes: Sequence[int], value: float) -> Array:
    """pad of integers and bools in mode "constant", by NumPy."""
    # The kernel makes the checks, and gives the shape.
    frame = _core.pad(np.broadcast_to(np.float32(0), x.shape), sizes, "constant", value)
    y = np.full(frame.shape, as_number("pad", value, x.dtype), x.dtype)
    target = [slice(None)] * x.ndim
    source = [slice(None)] * x.ndim
    for k in range(len(sizes) // 2):
        axis = x.ndim - 1 - k
        before = sizes[2 * k]
        after = sizes[2 * k + 1]
        # a negative size crops x; a positive one leaves room before it in y
        first = max(-before, 0)
        end = x.shape[axis] + min(after, 0)
        source[axis] = slice(first, end)
        start = max(before, 0)
        target[axis] = slice(start, start + max(end - first, 0))
    y[tuple(target)] = x[tuple(source)]
    return y
