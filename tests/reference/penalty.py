"""Penalties on the weights: the sum of their magnitudes (L1) and of their squares (L2), times a strength."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def weight_penalty(p: Array, l1: float, l2: float) -> float:
    """l1 sum |p| + l2 sum p^2, as Keras's L1L2."""
    p = p.astype(np.float64)
    return float(l1 * np.abs(p).sum() + l2 * (p**2).sum())


def weight_penalty_backward(p: Array, l1: float, l2: float) -> Array:
    """Its gradient, with 0 as the slope of |p| at 0."""
    return l1 * np.sign(p) + 2 * l2 * p
