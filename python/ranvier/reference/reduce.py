"""Reductions over any axes in plain NumPy: sum, mean, variance, extremes.

axis is None for all axes, an int, or a tuple of ints. Every backward takes dy, the gradient of the output,
and x, and returns the gradient of x.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Axis = int | tuple[int, ...] | None


def _spread(values: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    """One value for each sum, repeated to the shape of x."""
    if not keepdims and axis is not None:
        values = np.expand_dims(values, axis)
    return np.broadcast_to(values, x.shape)


def _count(x: Array, axis: Axis) -> int:
    """How many elements go into one output element."""
    axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return int(np.prod([x.shape[d] for d in axes], dtype=int))


def sum(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return np.sum(x, axis=axis, keepdims=keepdims)


def sum_backward(dy: Array, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return _spread(dy, x, axis, keepdims)


def mean(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return np.mean(x, axis=axis, keepdims=keepdims)


def mean_backward(dy: Array, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return _spread(dy, x, axis, keepdims) / _count(x, axis)


def var(x: Array, axis: Axis = None, keepdims: bool = False, correction: int = 1) -> Array:
    """sum of (x - mean)^2 / (n - correction)"""
    return np.var(x, axis=axis, keepdims=keepdims, ddof=correction)


def var_backward(
    dy: Array, x: Array, axis: Axis = None, keepdims: bool = False, correction: int = 1
) -> Array:
    """d var / d x_i = 2 (x_i - mean) / (n - correction); the mean's own part cancels."""
    centred = x - np.mean(x, axis=axis, keepdims=True)
    return _spread(dy, x, axis, keepdims) * 2 * centred / (_count(x, axis) - correction)


def std(x: Array, axis: Axis = None, keepdims: bool = False, correction: int = 1) -> Array:
    return np.sqrt(var(x, axis, keepdims, correction))


def std_backward(
    dy: Array, x: Array, axis: Axis = None, keepdims: bool = False, correction: int = 1
) -> Array:
    """d std = d var / (2 std)"""
    return var_backward(dy / (2 * std(x, axis, keepdims, correction)), x, axis, keepdims, correction)


def amax(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return np.max(x, axis=axis, keepdims=keepdims)


def amax_backward(dy: Array, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    """Equal maxima share the gradient."""
    chosen = x == np.max(x, axis=axis, keepdims=True)
    return _spread(dy, x, axis, keepdims) * chosen / chosen.sum(axis=axis, keepdims=True)


def amin(x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return np.min(x, axis=axis, keepdims=keepdims)


def amin_backward(dy: Array, x: Array, axis: Axis = None, keepdims: bool = False) -> Array:
    return amax_backward(dy, -x, axis, keepdims)


def argmax(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    """The place of the first maximum."""
    return np.argmax(x, axis=axis, keepdims=keepdims)


def argmin(x: Array, axis: int | None = None, keepdims: bool = False) -> Array:
    return np.argmin(x, axis=axis, keepdims=keepdims)
