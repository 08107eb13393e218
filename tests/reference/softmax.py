"""Softmax and its logarithm over one axis.

y_i = exp(x_i) / sum_j exp(x_j). Subtracting the maximum changes nothing in the ratio, and no exponential
overflows.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def softmax(x: Array, axis: int = -1) -> Array:
    if x.size == 0:
        return x.copy()
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """dy_i/dx_j = y_i ([i = j] - y_j), so dx = y (dy - sum_i dy_i y_i)."""
    return y * (dy - (dy * y).sum(axis, keepdims=True))


def log_softmax(x: Array, axis: int = -1) -> Array:
    if x.size == 0:
        return x.copy()
    shifted = x - x.max(axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
