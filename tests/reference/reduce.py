"""Reductions over any axes (None, an int or a tuple of ints), running sums and products, and sorting in plain
NumPy."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Axis = int | tuple[int, ...] | None


def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return np.mean(x, axis=axis, keepdims=keepdims)


def var(x: Array, axis: Axis = None, keepdims: bool = False, correction: int = 1) -> Array:
    """sum of (x - mean)^2 / (n - correction)"""
    return np.var(x, axis=axis, keepdims=keepdims, ddof=correction)


def std(x: Array, axis: Axis = None, keepdims: bool = False, correction: int = 1) -> Array:
    return np.sqrt(var(x, axis, keepdims, correction))


def norm(x: Array, p: float = 2, axis: Axis = None, keepdims: bool = False) -> Array:
    """(sum of |x|^p)^(1/p); inf: the greatest |x|, -inf: the least, 0: how many are not 0."""
    size = np.abs(x)
    if np.isinf(p):
        return (np.max if p > 0 else np.min)(size, axis=axis, keepdims=keepdims)
    if p == 0:
        return np.sum(size != 0, axis=axis, keepdims=keepdims).astype(x.dtype)
    return np.asarray(np.sum(size**p, axis=axis, keepdims=keepdims) ** (1 / p))


def logsumexp(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """log(sum of exp(x)), computed relative to the maximum."""
    top = np.max(x, axis=axis, keepdims=True, initial=np.finfo(x.dtype).min)
    with np.errstate(divide="ignore"):  # log(0) of an empty sum
        y = top + np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True))
    return y if keepdims else y.reshape(np.sum(x, axis=axis).shape)


def prod(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.prod(x, axis=axis, keepdims=keepdims)


def argmax(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """The place of the first maximum."""
    return np.argmax(x, axis=axis, keepdims=keepdims)


def argmin(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.argmin(x, axis=axis, keepdims=keepdims)


# Running sums and products along an axis in plain NumPy: y[i] is the sum or product of x[0] ... x[i].

cumsum, cumprod = np.cumsum, np.cumprod


def cumprod_backward(dy: Array, x: Array, axis: int) -> Array:
    """dx[i] = sum over j >= i of dy[j] times the product of x[0] ... x[j] without x[i]."""
    dx = np.zeros(x.shape)
    last, dy, lines = np.moveaxis(dx, axis, 0), np.moveaxis(dy, axis, 0), np.moveaxis(x, axis, 0)
    for i in range(len(lines)):
        others = lines.copy()
        others[i] = 1
        last[i] = (dy * np.cumprod(others, 0))[i:].sum(0)
    return dx


# Elements in order along an axis in plain NumPy. Equal ones keep their order; NaN comes last.
#
# Each result is some elements of x: shape.moved_backward is the gradient of the values.


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
