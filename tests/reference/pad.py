"""pad: values around an array, one axis after another; a negative size crops.

Along an axis, ``positions`` gives the input of each output; -1 is the constant. The modes differ only in
this list, and the gradient adds each dy at the place of its input.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def positions(n: int, before: int, after: int, mode: str) -> Array:
    """The input at each of the n + before + after outputs."""
    i = np.arange(-before, n + after)
    if mode == "constant":
        return np.where((i >= 0) & (i < n), i, -1)
    if mode == "replicate":
        return np.clip(i, 0, n - 1)
    if mode == "circular":
        first, last = max(-before, 0), n + min(after, 0)  # what is cropped is not repeated
        return first + (i - first) % (last - first)
    return np.where(i < 0, -i, np.where(i < n, i, 2 * (n - 1) - i))  # reflect: the edge is not repeated


def pad(x: Array, sizes: Sequence[int], mode: str = "constant", value: float = 0) -> Array:
    """sizes: (before, after) of the last axis, then of the one before it ..."""
    for k in range(len(sizes) // 2):
        axis = x.ndim - 1 - k
        found = positions(x.shape[axis], sizes[2 * k], sizes[2 * k + 1], mode)
        known = found >= 0
        y = np.full((*x.shape[:axis], len(found), *x.shape[axis + 1 :]), value, x.dtype)
        y[_along(axis, known)] = x[_along(axis, found[known])]
        x = y
    return x


def pad_backward(dy: Array, shape: tuple[int, ...], sizes: Sequence[int], mode: str = "constant") -> Array:
    """dx[i] = the sum of dy over the outputs with input i; shape: x's."""
    for k in reversed(range(len(sizes) // 2)):
        axis = len(shape) - 1 - k
        found = positions(shape[axis], sizes[2 * k], sizes[2 * k + 1], mode)
        known = found >= 0
        dx = np.zeros((*dy.shape[:axis], shape[axis], *dy.shape[axis + 1 :]), dy.dtype)
        np.add.at(dx, _along(axis, found[known]), dy[_along(axis, known)])
        dy = dx
    return dy


def _along(axis: int, index: Array) -> Any:
    return (*(slice(None),) * axis, index)
