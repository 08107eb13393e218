"""Elements in order along an axis in plain NumPy. Equal ones keep their order; NaN comes last.

Each result is some elements of x: shape.moved_backward is the gradient of the values.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def argsort(x: Array, axis: int, descending: bool = False) -> Array:
    if not descending:
        return np.argsort(x, axis, kind="stable")
    backwards = np.argsort(np.flip(x, axis), axis, kind="stable")  # NaN first, of equals the first last
    return x.shape[axis] - 1 - np.flip(backwards, axis)


def sort(x: Array, axis: int, descending: bool = False) -> tuple[Array, Array]:
    order = argsort(x, axis, descending)
    return np.take_along_axis(x, order, axis), order


def topk(x: Array, k: int, axis: int, largest: bool = True) -> tuple[Array, Array]:
    """The first k in order."""
    order = np.take(argsort(x, axis, largest), range(k), axis)
    return np.take_along_axis(x, order, axis), order


def kthvalue(x: Array, k: int, axis: int, keepdims: bool = False) -> tuple[Array, Array]:
    """The k-th in rising order, counted from 1."""
    values, order = (np.take(part, [k - 1], axis) for part in sort(x, axis))
    return (values, order) if keepdims else (values.squeeze(axis), order.squeeze(axis))


def median(x: Array, axis: int, keepdims: bool = False) -> tuple[Array, Array]:
    """The middle one, the lower of two (for x without NaN)."""
    return kthvalue(x, (x.shape[axis] + 1) // 2, axis, keepdims)
