"""Losses, element by element: how far predictions x lie from targets t. ``reduction`` says what becomes of
them: 'none' keeps them, 'sum' adds them, 'mean' divides the sum by their number.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ranvier.reference.activation import sigmoid

Array = np.ndarray[Any, Any]


def reduce(losses: Array, reduction: str) -> Array:
    if reduction == "none":
        return losses
    total = np.asarray(losses.sum())
    with np.errstate(invalid="ignore"):  # the mean of nothing is NaN
        return total if reduction == "sum" else total / divisor(losses.shape, reduction)


def divisor(shape: tuple[int, ...], reduction: str) -> int:
    """What the sum of the elements' losses is divided by; 'batchmean' by the number of rows."""
    if reduction == "batchmean":
        return shape[0]
    return math.prod(shape) if reduction == "mean" else 1


def spread(dy: Array, shape: tuple[int, ...], reduction: str) -> Array:
    """The gradient of each element's loss, from that of the reduced one."""
    return dy / max(divisor(shape, reduction), 1)


# --- mean squared error


def mse(x: Array, t: Array, reduction: str = "mean") -> Array:
    return reduce((x - t) ** 2, reduction)


def mse_backward(dy: Array, x: Array, t: Array, reduction: str = "mean") -> tuple[Array, Array]:
    dx = spread(dy, x.shape, reduction) * 2 * (x - t)
    return dx, -dx


# --- absolute error, and two that are squared near 0


def l1(x: Array, t: Array, reduction: str = "mean") -> Array:
    return reduce(np.abs(x - t), reduction)


def l1_backward(dy: Array, x: Array, t: Array, reduction: str = "mean") -> tuple[Array, Array]:
    dx = spread(dy, x.shape, reduction) * np.sign(x - t)
    return dx, -dx


def smooth_l1(x: Array, t: Array, reduction: str = "mean", beta: float = 1.0) -> Array:
    d = np.abs(x - t)
    near = d < beta
    return reduce(np.where(near, d**2 / (2 * beta or 1), d - beta / 2), reduction)


def smooth_l1_backward(
    dy: Array, x: Array, t: Array, reduction: str = "mean", beta: float = 1.0
) -> tuple[Array, Array]:
    d = x - t
    dx = spread(dy, x.shape, reduction) * np.where(np.abs(d) < beta, d / (beta or 1), np.sign(d))
    return dx, -dx


def huber(x: Array, t: Array, reduction: str = "mean", delta: float = 1.0) -> Array:
    d = np.abs(x - t)
    return reduce(np.where(d <= delta, d**2 / 2, delta * (d - delta / 2)), reduction)


def huber_backward(
    dy: Array, x: Array, t: Array, reduction: str = "mean", delta: float = 1.0
) -> tuple[Array, Array]:
    dx = spread(dy, x.shape, reduction) * np.clip(x - t, -delta, delta)
    return dx, -dx


# --- binary cross-entropy: x is the probability that t is 1


def bce(x: Array, t: Array, reduction: str = "mean", weight: Any = 1.0) -> Array:
    """The logarithms are no lower than -100, so that a certain and wrong x costs 100, not infinity."""
    with np.errstate(divide="ignore"):
        log_x, log_rest = np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)
    return reduce(-weight * (t * log_x + (1 - t) * log_rest), reduction)


def bce_backward(
    dy: Array, x: Array, t: Array, reduction: str = "mean", weight: Any = 1.0
) -> tuple[Array, Array]:
    dy = spread(dy, x.shape, reduction) * weight
    with np.errstate(divide="ignore"):
        log_x, log_rest = np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)
    return dy * (x - t) / np.maximum(x * (1 - x), 1e-12), dy * (log_rest - log_x)


# --- the same of sigmoid(x), with a factor for the part of positive targets:
#     -pos_weight t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)), and -log(sigmoid(x)) = log(1 + exp(-x))


def bce_with_logits(
    x: Array, t: Array, reduction: str = "mean", weight: Any = 1.0, pos_weight: Any = 1.0
) -> Array:
    return reduce(weight * (pos_weight * t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)), reduction)


def bce_with_logits_backward(
    dy: Array, x: Array, t: Array, reduction: str = "mean", weight: Any = 1.0, pos_weight: Any = 1.0
) -> tuple[Array, Array]:
    dy = spread(dy, x.shape, reduction) * weight
    dx = dy * ((1 - t) * sigmoid(x) - pos_weight * t * sigmoid(-x))
    return dx, dy * (pos_weight * np.logaddexp(0, -x) - np.logaddexp(0, x))


# --- focal loss: binary cross-entropy times (1 - p_t)^gamma, p_t the probability of what is true


def _focal_parts(x: Array, t: Array, alpha: float) -> tuple[Array, Array, Array]:
    cross_entropy = np.logaddexp(0, x) - x * t
    miss = t * sigmoid(-x) + (1 - t) * sigmoid(x)
    weight = alpha * t + (1 - alpha) * (1 - t) if alpha >= 0 else np.ones_like(t)
    return cross_entropy, miss, weight


def sigmoid_focal(
    x: Array, t: Array, reduction: str = "none", alpha: float = 0.25, gamma: float = 2.0
) -> Array:
    cross_entropy, miss, weight = _focal_parts(x, t, alpha)
    return reduce(weight * miss**gamma * cross_entropy, reduction)


def sigmoid_focal_backward(
    dy: Array, x: Array, t: Array, reduction: str = "none", alpha: float = 0.25, gamma: float = 2.0
) -> tuple[Array, Array]:
    """The product rule over weight, miss^gamma and cross-entropy."""
    dy = spread(dy, x.shape, reduction)
    cross_entropy, miss, weight = _focal_parts(x, t, alpha)
    power, slope = miss**gamma, gamma * miss ** (gamma - 1)
    p = sigmoid(x)
    dx = weight * (power * (p - t) + slope * (1 - 2 * t) * p * (1 - p) * cross_entropy)
    dt = weight * (-power * x + slope * (1 - 2 * p) * cross_entropy)
    if alpha >= 0:
        dt += (2 * alpha - 1) * power * cross_entropy
    return dy * dx, dy * dt


# --- Kullback-Leibler divergence: x and, with log_target, t are logarithms


def kl_div(x: Array, t: Array, reduction: str = "mean", log_target: bool = False) -> Array:
    if log_target:
        return reduce(np.exp(t) * (t - x), reduction)
    with np.errstate(divide="ignore", invalid="ignore"):
        return reduce(np.where(t == 0, 0, t * (np.log(t) - x)), reduction)


def kl_div_backward(
    dy: Array, x: Array, t: Array, reduction: str = "mean", log_target: bool = False
) -> tuple[Array, Array]:
    dy = spread(dy, x.shape, reduction)
    if log_target:
        return dy * -np.exp(t), dy * np.exp(t) * (t - x + 1)
    return dy * -t, dy * (np.log(t) - x + 1)


# --- margins: t is 1 or -1


def soft_margin(x: Array, t: Array, reduction: str = "mean") -> Array:
    return reduce(np.logaddexp(0, -t * x), reduction)


def soft_margin_backward(dy: Array, x: Array, t: Array, reduction: str = "mean") -> tuple[Array, Array]:
    dy = spread(dy, x.shape, reduction) * -sigmoid(-t * x)
    return dy * t, dy * x


def hinge_embedding(x: Array, t: Array, reduction: str = "mean", margin: float = 1.0) -> Array:
    return reduce(np.where(t == 1, x, np.maximum(0, margin - x)), reduction)


def hinge_embedding_backward(
    dy: Array, x: Array, t: Array, reduction: str = "mean", margin: float = 1.0
) -> tuple[Array, None]:
    dy = spread(dy, x.shape, reduction)
    return dy * np.where(t == 1, 1, np.where(margin - x >= 0, -1, 0)), None


def margin_ranking(x1: Array, x2: Array, t: Array, reduction: str = "mean", margin: float = 0.0) -> Array:
    return reduce(np.maximum(0, margin - t * (x1 - x2)), reduction)


def margin_ranking_backward(
    dy: Array, x1: Array, x2: Array, t: Array, reduction: str = "mean", margin: float = 0.0
) -> tuple[Array, Array, Array]:
    dy = spread(dy, x1.shape, reduction) * (margin - t * (x1 - x2) >= 0)
    return -dy * t, dy * t, dy * (x2 - x1)


def cosine_margin(x: Array, t: Array, reduction: str = "mean", margin: float = 0.0) -> Array:
    """x is a cosine: 1 - x where t is 1, what exceeds the margin where it is -1."""
    return reduce(np.where(t == 1, 1 - x, np.maximum(0, x - margin)), reduction)


def cosine_margin_backward(
    dy: Array, x: Array, t: Array, reduction: str = "mean", margin: float = 0.0
) -> tuple[Array, None]:
    return spread(dy, x.shape, reduction) * np.where(t == 1, -1, np.where(x >= margin, 1, 0)), None


# --- negative log-likelihoods of a count and of a value


def _stirling(t: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(t > 1, t * np.log(t) - t + np.log(2 * np.pi * t) / 2, 0)


def poisson_nll(
    x: Array,
    t: Array,
    reduction: str = "mean",
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
) -> Array:
    losses = np.exp(x) - t * x if log_input else x - t * np.log(x + eps)
    return reduce(losses + _stirling(t) if full else losses, reduction)


def poisson_nll_backward(
    dy: Array,
    x: Array,
    t: Array,
    reduction: str = "mean",
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
) -> tuple[Array, Array]:
    dy = spread(dy, x.shape, reduction)
    dx = np.exp(x) - t if log_input else 1 - t / (x + eps)
    dt = -x if log_input else -np.log(x + eps)
    if full:
        with np.errstate(divide="ignore", invalid="ignore"):
            dt = dt + np.where(t > 1, np.log(t) + 1 / (2 * t), 0)
    return dy * dx, dy * dt


def gaussian_nll(
    x: Array, t: Array, var: Array, reduction: str = "mean", full: bool = False, eps: float = 1e-6
) -> Array:
    v = np.maximum(var, eps)
    losses = (np.log(v) + (x - t) ** 2 / v) / 2
    return reduce(losses + np.log(2 * np.pi) / 2 if full else losses, reduction)


def gaussian_nll_backward(
    dy: Array,
    x: Array,
    t: Array,
    var: Array,
    reduction: str = "mean",
    full: bool = False,
    eps: float = 1e-6,
) -> tuple[Array, Array, Array]:
    """The gradient of var is that of v, also where eps is larger."""
    dy, v, d = spread(dy, x.shape, reduction), np.maximum(var, eps), x - t
    return dy * d / v, -dy * d / v, dy * (1 - d**2 / v) / (2 * v)
