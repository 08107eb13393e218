"""Losses, element by element: how far predictions x are from targets t.

Each function gives the loss of every element, and its slopes by x, t, ... (None where no gradient is wanted).
`Loss` adds what is the same for all: ``mse(x, t, reduction=...)``, ``mse.backward(dy, x, t, reduction=...)``.
The reduction 'none' keeps the elements, 'sum' adds them, 'mean' divides the sum by their number and
'batchmean' by the number of rows.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from reference.activation import sigmoid

Array = np.ndarray[Any, Any]
Slopes = tuple[Array | None, ...]
Parts = tuple[Array, Slopes]


class Loss:
    def __init__(self, parts: Callable[..., Parts]) -> None:
        self.parts = parts
        functools.update_wrapper(self, parts)

    def __call__(self, *arrays: Array, reduction: str = "mean", **settings: Any) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):  # the mean of nothing is NaN
            losses, _ = self.parts(*arrays, **settings)
            return losses if reduction == "none" else losses.sum() / divisor(losses.shape, reduction)

    def backward(
        self, dy: Array, x: Array, *arrays: Array, reduction: str = "mean", **settings: Any
    ) -> Slopes:
        """The gradients: dy, divided like the loss, times each slope."""
        dy = dy / max(divisor(x.shape, reduction), 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            _, slopes = self.parts(x, *arrays, **settings)
        return tuple(None if slope is None else dy * slope for slope in slopes)


def divisor(shape: tuple[int, ...], reduction: str) -> Any:
    """The divisor of the sum of the losses."""
    if reduction == "batchmean":
        return shape[0]
    return np.float64(math.prod(shape) if reduction == "mean" else 1)


@Loss
def mse(x: Array, t: Array) -> Parts:
    """The squared error."""
    d = x - t
    return d**2, (2 * d, -2 * d)


@Loss
def l1(x: Array, t: Array) -> Parts:
    """The absolute error."""
    d = x - t
    return np.abs(d), (np.sign(d), -np.sign(d))


@Loss
def smooth_l1(x: Array, t: Array, beta: float = 1.0) -> Parts:
    """The absolute error, squared below beta."""
    d, size = x - t, np.abs(x - t)
    slope = np.where(size < beta, d / (beta or 1), np.sign(d))
    return np.where(size < beta, d**2 / (2 * beta or 1), size - beta / 2), (slope, -slope)


@Loss
def huber(x: Array, t: Array, delta: float = 1.0) -> Parts:
    d, size = x - t, np.abs(x - t)
    slope = np.clip(d, -delta, delta)
    return np.where(size <= delta, d**2 / 2, delta * (size - delta / 2)), (slope, -slope)


@Loss
def bce(x: Array, t: Array, weight: Any = 1.0) -> Parts:
    """Binary cross-entropy: x is the probability that t is 1.

    The logarithms are at least -100, so that a certain and wrong x costs 100, not infinity.
    """
    log_x, log_rest = np.maximum(np.log(x), -100), np.maximum(np.log1p(-x), -100)
    by_x = (x - t) / np.maximum(x * (1 - x), 1e-12)
    return -weight * (t * log_x + (1 - t) * log_rest), (weight * by_x, weight * (log_rest - log_x))


@Loss
def bce_with_logits(x: Array, t: Array, weight: Any = 1.0, pos_weight: Any = 1.0) -> Parts:
    """bce of sigmoid(x), with a factor for positive targets:

    -pos_weight t log(sigmoid(x)) - (1 - t) log(1 - sigmoid(x)), and -log(sigmoid(x)) = log(1 + exp(-x))
    """
    positive, negative = pos_weight * np.logaddexp(0, -x), np.logaddexp(0, x)
    by_x = (1 - t) * sigmoid(x) - pos_weight * t * sigmoid(-x)
    return weight * (t * positive + (1 - t) * negative), (weight * by_x, weight * (positive - negative))


@Loss
def kl_div(x: Array, t: Array, log_target: bool = False) -> Parts:
    """Kullback-Leibler divergence: x and, with log_target, t are logarithms."""
    if log_target:
        return np.exp(t) * (t - x), (-np.exp(t), np.exp(t) * (t - x + 1))
    return np.where(t == 0, 0, t * (np.log(t) - x)), (-t, np.log(t) - x + 1)


# --- margins: t is 1 or -1


@Loss
def margin_ranking(x1: Array, x2: Array, t: Array, margin: float = 0.0) -> Parts:
    excess = margin - t * (x1 - x2)
    violated = np.where(excess >= 0, 1.0, 0.0)
    return np.maximum(0, excess), (-violated * t, violated * t, violated * (x2 - x1))


@Loss
def cosine_margin(x: Array, t: Array, margin: float = 0.0) -> Parts:
    """x is a cosine: 1 - x where t is 1, what exceeds the margin where it is -1."""
    slope = np.where(t == 1, -1, np.where(x >= margin, 1, 0))
    return np.where(t == 1, 1 - x, np.maximum(0, x - margin)), (slope, None)


# --- negative log-likelihoods of a count and of a value


@Loss
def poisson_nll(x: Array, t: Array, log_input: bool = True, full: bool = False, eps: float = 1e-8) -> Parts:
    """full: with Stirling's formula for log(t!), where t > 1."""
    if log_input:
        losses, by_x, by_t = np.exp(x) - t * x, np.exp(x) - t, -x
    else:
        losses, by_x, by_t = x - t * np.log(x + eps), 1 - t / (x + eps), -np.log(x + eps)
    if full:
        losses = losses + np.where(t > 1, t * np.log(t) - t + np.log(2 * np.pi * t) / 2, 0)
        by_t = by_t + np.where(t > 1, np.log(t) + 1 / (2 * t), 0)
    return losses, (by_x, by_t)


@Loss
def gaussian_nll(x: Array, t: Array, var: Array, full: bool = False, eps: float = 1e-6) -> Parts:
    """The gradient of var is that of v, also where eps is larger."""
    v, d = np.maximum(var, eps), x - t
    losses = (np.log(v) + d**2 / v) / 2 + (np.log(2 * np.pi) / 2 if full else 0)
    return losses, (d / v, -d / v, (1 - d**2 / v) / (2 * v))


# --- losses that nn.functional alone has: values, no slopes


def reduced(losses: Array, reduction: str) -> Array:
    return losses if reduction == "none" else losses.sum() / divisor(losses.shape, reduction)


def hinge_embedding(x: Array, t: Array, margin: float = 1.0, reduction: str = "mean") -> Array:
    """x where t is 1, and what x lacks to the margin where it is -1; for any other t both."""
    return reduced(np.where(t == -1, 0, x) + np.where(t == 1, 0, np.maximum(0, margin - x)), reduction)


def soft_margin(x: Array, t: Array, reduction: str = "mean") -> Array:
    return reduced(np.logaddexp(0, -t * x), reduction)
