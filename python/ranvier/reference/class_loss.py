"""Losses of scores x (N, C, d1, ...) for C classes against class indices t (N, d1, ...).

Lines whose index is ``ignore_index`` have loss 0. ``weight`` (C,) holds a factor for each class, or is None.
A mean is divided by the sum of the lines' shares: 1, or where a loss says so the weight of the line's class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ranvier.reference.softmax import log_softmax

Array = np.ndarray[Any, Any]


def reduce(losses: Array, shares: Array, reduction: str) -> Array:
    if reduction == "none":
        return losses
    total = np.asarray(losses.sum())
    with np.errstate(invalid="ignore"):  # the mean of nothing is NaN
        return total if reduction == "sum" else total / shares.sum()


def spread(dy: Array, shares: Array, reduction: str) -> Array:
    """The gradient of each line's loss (N, 1, d1, ...), from that of the reduced one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        dy = dy / shares.sum() if reduction == "mean" else dy
    return np.broadcast_to(dy, shares.shape)[:, None]


def one_hot(t: Array, x: Array) -> Array:
    """Class indices as probabilities in the shape of x; all 0 for an index that is no class."""
    return (t[:, None] == _column(np.arange(x.shape[1]), x)).astype(x.dtype)


def _column(per_class: Array, x: Array) -> Array:
    """(C,) as (C, 1, ...), which broadcasts against x."""
    return per_class.reshape(-1, *[1] * (x.ndim - 2))


def _weights(x: Array, weight: Array | None) -> Array:
    return _column(np.ones(x.shape[1]) if weight is None else weight, x)


# --- cross-entropy: x are logits; t may also be probabilities in the shape of x


def _coefficients(
    x: Array, t: Array, weight: Array | None, ignore_index: int, label_smoothing: float
) -> tuple[Array, Array]:
    """q of the loss -sum_c q_c log(softmax(x)_c), and the lines' shares of the divisor."""
    w, uniform = _weights(x, weight), label_smoothing / max(x.shape[1], 1)
    if t.dtype.kind == "f":
        return w * ((1 - label_smoothing) * t + uniform), np.ones((x.shape[0], *x.shape[2:]))
    used = (t != ignore_index)[:, None]  # (N, 1, d1, ...)
    target = one_hot(t, x)
    return used * w * ((1 - label_smoothing) * target + uniform), (used * w * target).sum(1)


def cross_entropy(
    x: Array,
    t: Array,
    reduction: str = "mean",
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Array:
    q, shares = _coefficients(x, t, weight, ignore_index, label_smoothing)
    return reduce(-(q * log_softmax(x, 1)).sum(1), shares, reduction)


def cross_entropy_backward(
    dy: Array,
    x: Array,
    t: Array,
    reduction: str = "mean",
    weight: Array | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> tuple[Array, Array | None]:
    q, shares = _coefficients(x, t, weight, ignore_index, label_smoothing)
    dy, log_y = spread(dy, shares, reduction), log_softmax(x, 1)
    dx = dy * (np.exp(log_y) * q.sum(1, keepdims=True) - q)
    return dx, -dy * _weights(x, weight) * (1 - label_smoothing) * log_y if t.dtype.kind == "f" else None


# --- negative log-likelihood: x are log-probabilities


def _nll_coefficients(x: Array, t: Array, weight: Array | None, ignore_index: int) -> Array:
    return (t != ignore_index)[:, None] * _weights(x, weight) * one_hot(t, x)


def nll(
    x: Array, t: Array, reduction: str = "mean", weight: Array | None = None, ignore_index: int = -100
) -> Array:
    q = _nll_coefficients(x, t, weight, ignore_index)
    return reduce(-(q * x).sum(1), q.sum(1), reduction)


def nll_backward(
    dy: Array,
    x: Array,
    t: Array,
    reduction: str = "mean",
    weight: Array | None = None,
    ignore_index: int = -100,
) -> tuple[Array, None]:
    q = _nll_coefficients(x, t, weight, ignore_index)
    return -spread(dy, q.sum(1), reduction) * q, None


# --- focal loss: cross-entropy times (1 - p)^gamma; p is the probability of the class, alpha its weight


def focal(
    x: Array,
    t: Array,
    reduction: str = "mean",
    gamma: float = 2.0,
    alpha: Array | None = None,
    ignore_index: int = -100,
) -> Array:
    used, target = (t != ignore_index)[:, None], one_hot(t, x)
    log_p = log_softmax(x, 1)
    losses = -_weights(x, alpha) * (1 - np.exp(log_p)) ** gamma * log_p
    return reduce((used * target * losses).sum(1), used[:, 0].astype(x.dtype), reduction)


def focal_backward(
    dy: Array,
    x: Array,
    t: Array,
    reduction: str = "mean",
    gamma: float = 2.0,
    alpha: Array | None = None,
    ignore_index: int = -100,
) -> tuple[Array, None]:
    """With l = log p of the class: dl / dx = one_hot - softmax, and the loss -(1 - e^l)^gamma l has the slope
    gamma (1 - p)^(gamma - 1) p l - (1 - p)^gamma by l."""
    used, target = (t != ignore_index)[:, None], one_hot(t, x)
    log_y = log_softmax(x, 1)
    log_p = (target * log_y).sum(1, keepdims=True)
    weight = (used * target * _weights(x, alpha)).sum(1, keepdims=True)
    miss = -np.expm1(log_p)
    by_log = weight * (gamma * miss ** (gamma - 1) * np.exp(log_p) * log_p - miss**gamma)
    dy = spread(dy, used[:, 0].astype(x.dtype), reduction)
    return dy * by_log * (target - np.exp(log_y)), None


# --- the hinge loss of scores x (N, C)


def multi_margin(
    x: Array,
    t: Array,
    reduction: str = "mean",
    p: int = 1,
    margin: float = 1.0,
    weight: Array | None = None,
) -> Array:
    target = one_hot(t, x)
    of_class = (x * target).sum(1, keepdims=True)
    violation = (1 - target) * np.maximum(0, margin - of_class + x) ** p
    losses = (violation * (target * _weights(x, weight)).sum(1, keepdims=True)).sum(1) / max(x.shape[1], 1)
    return reduce(losses, np.ones(len(x)), reduction)


def multi_margin_backward(
    dy: Array,
    x: Array,
    t: Array,
    reduction: str = "mean",
    p: int = 1,
    margin: float = 1.0,
    weight: Array | None = None,
) -> tuple[Array, None]:
    target = one_hot(t, x)
    z = margin - (x * target).sum(1, keepdims=True) + x
    slope = (1 - target) * (z > 0) * (1 if p == 1 else 2 * z)
    slope = slope - target * slope.sum(1, keepdims=True)
    w = (target * _weights(x, weight)).sum(1, keepdims=True)
    return spread(dy, np.ones(len(x)), reduction) * w * slope / max(x.shape[1], 1), None
