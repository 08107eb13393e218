"""Losses: how far predictions x lie from targets t. ``reduction`` says what becomes of the elements' losses:
'none' keeps them, 'sum' adds them, 'mean' divides the sum by their number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ranvier.reference.activation import sigmoid
from ranvier.reference.softmax import log_softmax

Array = np.ndarray[Any, Any]


def reduce(losses: Array, reduction: str) -> Array:
    if reduction == "none":
        return losses
    total = np.asarray(losses.sum())
    with np.errstate(invalid="ignore"):  # the mean of nothing is NaN
        return total if reduction == "sum" else total / losses.size


def spread(dy: Array, losses: int, reduction: str) -> Array:
    """The gradient of each element's loss, from that of the reduced one."""
    return dy / max(losses, 1) if reduction == "mean" else dy


# --- mean squared error


def mse(x: Array, t: Array, reduction: str = "mean") -> Array:
    return reduce((x - t) ** 2, reduction)


def mse_backward(dy: Array, x: Array, t: Array, reduction: str = "mean") -> tuple[Array, Array]:
    dx = spread(dy, x.size, reduction) * 2 * (x - t)
    return dx, -dx


# --- binary cross-entropy: x is the probability that t is 1


def bce(x: Array, t: Array, reduction: str = "mean") -> Array:
    """The logarithms are no lower than -100, so that a certain and wrong x costs 100, not infinity."""
    with np.errstate(divide="ignore"):
        log_x, log_rest = np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)
    return reduce(-(t * log_x + (1 - t) * log_rest), reduction)


def bce_backward(dy: Array, x: Array, t: Array, reduction: str = "mean") -> tuple[Array, Array]:
    dy = spread(dy, x.size, reduction)
    with np.errstate(divide="ignore"):
        log_x, log_rest = np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)
    return dy * (x - t) / np.maximum(x * (1 - x), 1e-12), dy * (log_rest - log_x)


# --- the same of sigmoid(x): -t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)) = log(1 + exp(x)) - x t


def bce_with_logits(x: Array, t: Array, reduction: str = "mean") -> Array:
    return reduce(np.logaddexp(0, x) - x * t, reduction)


def bce_with_logits_backward(dy: Array, x: Array, t: Array, reduction: str = "mean") -> tuple[Array, Array]:
    dy = spread(dy, x.size, reduction)
    return dy * (sigmoid(x) - t), dy * -x


# --- cross-entropy: x (N, C, d1, ...) are logits; t class indices (N, d1, ...) or probabilities like x


def one_hot(t: Array, x: Array) -> Array:
    """Class indices as probabilities in the shape of x."""
    classes = np.arange(x.shape[1]).reshape(-1, *[1] * (x.ndim - 2))  # (C, 1, ...)
    return (t[:, None] == classes).astype(x.dtype)


def cross_entropy(x: Array, t: Array, reduction: str = "mean") -> Array:
    p = t if t.dtype.kind == "f" else one_hot(t, x)
    return reduce(-(p * log_softmax(x, 1)).sum(1), reduction)


def cross_entropy_backward(
    dy: Array, x: Array, t: Array, reduction: str = "mean"
) -> tuple[Array, Array | None]:
    p = t if t.dtype.kind == "f" else one_hot(t, x)
    dy = spread(dy, x.size // max(x.shape[1], 1), reduction)
    if reduction == "none":
        dy = dy[:, None]  # (N, 1, d1, ...)
    log_y = log_softmax(x, 1)
    dx = dy * (np.exp(log_y) * p.sum(1, keepdims=True) - p)
    return dx, -dy * log_y if t.dtype.kind == "f" else None
