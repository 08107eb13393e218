"""Means, variances and norms over any axes (None, an int or a tuple of ints) in plain NumPy."""

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
