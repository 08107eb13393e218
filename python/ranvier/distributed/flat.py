"""Flat: many arrays in one buffer, so that one message carries them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.memory import keep

__all__ = ["Flat", "in_order_of", "memory"]

Array = npt.NDArray[Any]


def memory(count: int, dtype: Any) -> Array:
    """Zeros that begin at a cache line."""
    size = count * np.dtype(dtype).itemsize
    whole = np.zeros(size + 64, np.uint8)
    start = -whole.ctypes.data % 64
    return keep(whole)[start : start + size].view(dtype)


def in_order_of(part: Array, like: Array) -> Array:
    """A view of a flat array with the shape and the memory order of another."""
    order = sorted(range(like.ndim), key=lambda axis: -like.strides[axis])
    inverse = [order.index(axis) for axis in range(like.ndim)]
    return part.reshape([like.shape[axis] for axis in order]).transpose(inverse)


class Flat:
    """One buffer of a dtype for some numbers and the values of several arrays.

    Attributes:
        values: all of it, one-dimensional.
        numbers: the first `count` elements.
        rest: the elements after them.
        views: the part of each array, in its shape and memory order.
    """

    def __init__(self, arrays: Sequence[Array], dtype: Any, count: int = 0) -> None:
        sizes = [array.size for array in arrays]
        self.values = memory(count + sum(sizes), dtype)
        self.numbers, self.rest = self.values[:count], self.values[count:]
        ends = np.cumsum(sizes).tolist()
        self.views = [
            in_order_of(self.rest[end - size : end], array)
            for array, size, end in zip(arrays, sizes, ends, strict=True)
        ]
