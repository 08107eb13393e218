"""Running sums and products along an axis in plain NumPy: y[i] is the sum or product of x[0] ... x[i]."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

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
