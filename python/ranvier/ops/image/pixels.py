"""Pixels of images at the points of a grid, for `grid_sample`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.recording import host
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.arithmetic import mul
from ranvier.ops.elementwise.choice import clip, where
from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.elementwise.functions import abs as absolute
from ranvier.ops.shape.index import gather
from ranvier.ops.shape.reshape import reshape


def cubic(distance: Tensor) -> Tensor:
    a, d = -0.75, absolute(distance)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    return where(d <= 1, near, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a)


def pixels(points: Tensor, size: int, align_corners: bool) -> Tensor:
    """Coordinates in [-1, 1] as pixels."""
    return (points + 1) * ((size - 1) / 2) if align_corners else ((points + 1) * size - 1) * 0.5


def limited(p: Tensor, size: int, padding_mode: str, align_corners: bool) -> Tensor:
    """Pixels within the image, unless padding_mode is 'zeros'."""
    if padding_mode == "zeros":
        return p
    if padding_mode == "reflection":
        low, span = (0.0, size - 1) if align_corners else (-0.5, size)
        if span == 0:
            return p * 0
        distance = absolute(p - low)
        turned, odd = map(wrap, host(_turns, distance._array, span))
        p = (distance - turned) * (1 - odd * 2) + odd * span + low
    inside = (p > 0) & (p < size - 1)  # beyond, and at the edge itself, the gradient is 0 as in PyTorch
    p = clip(p, 0, size - 1)
    return where(inside, p, wrap(p._array))


def _turns(distance: Array, span: float) -> tuple[Array, Array]:
    """The length of all turns at an edge before a point, and whether their number is odd."""
    turns = np.floor(distance / span)
    return (turns * span).astype(distance.dtype), (turns % 2).astype(distance.dtype)


def read_at(x: Tensor, rows: Array, columns: Array) -> Tensor:
    """x[n, :, rows, columns], 0 outside the image: rows and columns (n, p, q) of whole numbers."""
    n, c, h, w = x.shape
    at, inside = host(_places_of, rows, columns, c, h, w, x.dtype)
    values = gather(reshape(x, (n, c, h * w)), 2, at)
    return reshape(mul(values, wrap(inside)), (n, c, *rows.shape[1:]))


def _places_of(
    rows: Array, columns: Array, c: int, h: int, w: int, dtype: np.dtype[Any]
) -> tuple[Array, Array]:
    """The places of pixels in each channel of an image, and 1 for those inside it, else 0."""
    n, p, q = rows.shape
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    at = np.where(inside, rows * w + columns, 0).astype(np.int64).reshape(n, 1, p * q)
    return np.ascontiguousarray(np.broadcast_to(at, (n, c, p * q))), inside.astype(dtype).reshape(n, 1, p * q)
