"""interpolate: images and signals at other sizes."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.memory import cast
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.image.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.rules import linear

__all__ = ["interpolate"]


class Interpolate(Function):
    def __init__(self, size: Any, scale_factor: Any, mode: str, align_corners: bool) -> None:
        self.arguments = (size, scale_factor, mode, align_corners)

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        return _core.interpolate(x, *self.arguments)

    def backward(self, dy: Any) -> Any:
        return _core.interpolate_backward(dy, self.shape, *self.arguments[1:])


linear(Interpolate)


def interpolate(
    input: Any,
    size: Any = None,
    scale_factor: Any = None,
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
    Coordinates are computed in float64. The result is channels-last in memory where x is.

    antialias ('bilinear' and 'bicubic'): along an axis that gets shorter, the triangle (or the cubic, with
    a = -1/2) is scale inputs wide in place of one, so that every input counts. Two products with matrices
    (out, in) compute it.

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
        raise ValueError(
            f"[interpolate] got size {size!r} and scale_factor {scale_factor!r}; expected one of them"
        )
    if size is None and scale_factor is not None and (recompute_scale_factor or mode == "area"):
        size, scale_factor = _size_of(input, scale_factor), None
    if mode == "area" and not antialias:
        return _area(input, size, align_corners)
    if scale_factor is not None and (
        mode in ("linear", "bilinear") or (mode == "nearest" and input.ndim == 4)
    ):
        scale_factor = _of_unequal_sizes(input, scale_factor)
    if antialias:
        return _smoothed(input, size, scale_factor, mode, bool(align_corners))
    return Interpolate(size, scale_factor, mode, bool(align_corners)).apply(input)


def _of_unequal_sizes(x: Tensor, scale_factor: Any) -> Any:
    """The factors, 1 for axes that keep their length: PyTorch copies along them."""
    axes = x.shape[2:]
    factors = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * len(axes)
    if len(factors) != len(axes) or not all(isinstance(f, (int, float)) and f > 0 for f in factors):
        return scale_factor  # refused below
    return tuple(1.0 if n <= n * f < n + 1 else f for n, f in zip(axes, factors, strict=True))


def _smoothed(x: Tensor, size: Any, scale_factor: Any, mode: str, align_corners: bool) -> Tensor:
    if mode not in ("bilinear", "bicubic"):
        raise ValueError(f"[interpolate] got antialias and mode {mode!r}; expected 'bilinear' or 'bicubic'")
    shape = tuple(x.shape)
    # the result's sizes, and all checks: the call for no image
    sizes = _core.interpolate(x._array[:0], size, scale_factor, mode, align_corners).shape[2:]
    factors = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * 2
    for axis, (old, new, factor) in enumerate(zip(shape[2:], sizes, factors, strict=True)):
        if old == new:  # as it is, also where the factor is not 1
            continue
        scale = 1 / factor if factor else old / new
        if align_corners:
            scale = (old - 1) / (new - 1) if new > 1 else 0.0
        matrix = wrap(cast(filters(old, new, scale, mode), x.dtype))
        x = matmul(matrix, x) if axis == 0 else matmul(x, matrix.T)
    return x


@functools.lru_cache(maxsize=64)
def filters(old: int, new: int, scale: float, mode: str) -> Array:
    """(new, old): the share of each input in each output; a filter as wide as the new pixels.

    Source: bilinear, a triangle; bicubic, R. Keys, "Cubic convolution interpolation for digital image
    processing", 1981, with a = -1/2.
    """
    widened = max(scale, 1.0)
    reach = widened * (1 if mode == "bilinear" else 2)
    centre = (np.arange(new)[:, None] + 0.5) * scale
    at = np.arange(old)
    first = np.maximum((centre - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + reach + 0.5).astype(np.int64), old)
    t = np.abs(at + 0.5 - centre) / widened
    if mode == "bilinear":
        w = np.maximum(1 - t, 0)
    else:
        near, far = (1.5 * t - 2.5) * t * t + 1, ((-0.5 * t + 2.5) * t - 4) * t + 2
        w = np.where(t < 1, near, np.where(t < 2, far, 0))
    w = np.where((at >= first) & (at < last), w, 0)
    w /= w.sum(1, keepdims=True)
    w.flags.writeable = False
    return w


def _area(x: Tensor, size: Any, align_corners: bool | None) -> Tensor:
    if align_corners is not None or size is None or x.ndim not in (3, 4):
        raise ValueError(
            f"[interpolate] got mode 'area', x of shape {tuple(x.shape)}, size {size!r} and align_corners "
            f"{align_corners!r}; expected (N, C, L) or (N, C, H, W), a size or scale_factor, and no "
            "align_corners"
        )
    return adaptive_avg_pool1d(x, size) if x.ndim == 3 else adaptive_avg_pool2d(x, size)


def _size_of(x: Any, scale_factor: Any) -> tuple[int, ...]:
    axes = x.shape[2:]
    factors = scale_factor if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * len(axes)
    try:
        return tuple(math.floor(n * float(f)) for n, f in zip(axes, factors, strict=True))
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"[interpolate] got scale_factor {scale_factor!r} for {len(axes)} axes; expected positive numbers"
        ) from error
