"""Rules of losses: dy, divided as the reduction says, times the slopes of the loss of each element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.autograd.graph import of_input, rule
from ranvier.autograd.memory import keep
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation.smooth import logsigmoid, sigmoid
from ranvier.ops.elementwise.arithmetic import neg
from ranvier.ops.elementwise.compare import eq, ne
from ranvier.ops.elementwise.extrema import clip
from ranvier.ops.elementwise.functions import exp, expm1, log, log1p, sign
from ranvier.ops.elementwise.power import pow
from ranvier.ops.elementwise.where import where
from ranvier.ops.layers.loss import classes, margin, probability, regression
from ranvier.ops.reduce import sum as total
from ranvier.ops.second.maps import near, none
from ranvier.ops.shape import reshape, unsqueeze
from ranvier.ops.softmax import log_softmax

Slope = Callable[..., Any]

# For each loss the slopes by its inputs, functions of the inputs and settings; None: it is 0.
SLOPES: dict[Any, tuple[Slope | None, ...]] = {
    regression.Mse: (lambda x, t: (x - t) * 2.0, lambda x, t: (t - x) * 2.0),
    regression.L1: (lambda x, t: sign(x - t), lambda x, t: sign(t - x)),
    regression.Huber: (
        lambda x, t, delta: _huber(x - t, delta),
        lambda x, t, delta: _huber(t - x, delta),
    ),
    probability.KlDiv: (
        lambda x, t, logs: neg(exp(t) if logs else t),
        lambda x, t, logs: _kl_by_log_target(x, t) if logs else log(t) - x + 1.0,
    ),
    margin.SoftMargin: (
        lambda x, t: neg(sigmoid(neg(t * x)) * t),
        lambda x, t: neg(sigmoid(neg(t * x)) * x),
    ),
    margin.HingeEmbedding: (lambda x, t, m: _hinge_by_x(x, t, m), None),
    margin.CosineMargin: (lambda x, t, m: _cosine_by_x(x, t, m), None),
    margin.MarginRanking: (
        lambda x1, x2, t, m: neg(_violated(x1, x2, t, m) * t),
        lambda x1, x2, t, m: _violated(x1, x2, t, m) * t,
        lambda x1, x2, t, m: _violated(x1, x2, t, m) * (x2 - x1),
    ),
}


def slopes(kind: Any, *functions: Slope) -> None:
    SLOPES[kind] = functions


def zero(x: Tensor) -> Tensor:
    return none(x.shape, x)


def _violated(x1: Tensor, x2: Tensor, t: Tensor, m: float) -> Tensor:
    return where(m - t * (x1 - x2) >= 0.0, 1.0, zero(x1))


def _hinge_by_x(x: Tensor, t: Tensor, m: float) -> Tensor:
    near = where(m - x >= 0.0, -1.0, zero(x))
    return where(ne(t, 1.0), near, 0.0) + where(ne(t, -1.0), 1.0, zero(x))


def _cosine_by_x(x: Tensor, t: Tensor, m: float) -> Tensor:
    far = where(eq(t, -1.0) & (x >= m), 1.0, zero(x))
    return where(eq(t, 1.0), -1.0, far)


def _kl_by_log_target(x: Tensor, t: Tensor) -> Tensor:
    never = eq(exp(wrap(t._array)), 0.0)
    return where(never, 0.0, exp(t) * (where(never, 0.0, t) - x + 1.0))


def _huber(d: Tensor, delta: float) -> Tensor:
    return where(d.abs() < delta, d, sign(d) * delta)


def _smooth_l1(x: Tensor, t: Tensor, beta: float) -> Tensor:
    d = x - t
    return where(d.abs() < beta, d / (beta or 1.0), sign(d))


slopes(regression.SmoothL1, _smooth_l1, lambda x, t, beta: _smooth_l1(t, x, beta))


def _number(weight: Any) -> Any:
    """A weight of elements as a factor."""
    return 1.0 if weight is None else wrap(weight)


def _bce_by_x(x: Tensor, t: Tensor, weight: Any) -> Tensor:
    return (x - t) / clip(x * (1.0 - x), 1e-12) * _number(weight)


def _bce_by_t(x: Tensor, t: Tensor, weight: Any) -> Tensor:
    return (clip(log1p(neg(x)), -100.0) - clip(log(x), -100.0)) * _number(weight)


def _logits_by_x(x: Tensor, t: Tensor, weight: Any, positive: Any) -> Tensor:
    slope = (1.0 - t) * sigmoid(x) - t * sigmoid(neg(x)) * _number(positive)
    return slope * _number(weight)


def _logits_by_t(x: Tensor, t: Tensor, weight: Any, positive: Any) -> Tensor:
    return (logsigmoid(neg(x)) - logsigmoid(x) * _number(positive)) * _number(weight)


slopes(probability.Bce, _bce_by_x, _bce_by_t)
slopes(probability.BceWithLogits, _logits_by_x, _logits_by_t)


def _focal_parts(x: Tensor, t: Tensor, alpha: float, gamma: float) -> tuple[Any, ...]:
    """The weight, (1 - p_t)^gamma and its slope, the cross-entropy and the probability."""
    p, cross_entropy = sigmoid(x), neg(logsigmoid(neg(x))) - x * t
    miss = t * sigmoid(neg(x)) + (1.0 - t) * p
    weight: Any = t * alpha + (1.0 - t) * (1.0 - alpha) if alpha >= 0 else 1.0
    some = wrap(miss._array) > 0.0
    safe = where(some, miss, 1.0)
    return weight, pow(miss, gamma), where(some, pow(safe, gamma - 1.0) * gamma, 0.0), cross_entropy, p


def _focal_by_x(x: Tensor, t: Tensor, alpha: float, gamma: float) -> Tensor:
    weight, power, slope, cross_entropy, p = _focal_parts(x, t, alpha, gamma)
    return (power * (p - t) + slope * (1.0 - t * 2.0) * p * (1.0 - p) * cross_entropy) * weight


def _focal_by_t(x: Tensor, t: Tensor, alpha: float, gamma: float) -> Tensor:
    weight, power, slope, cross_entropy, p = _focal_parts(x, t, alpha, gamma)
    by_t = (slope * (1.0 - p * 2.0) * cross_entropy - power * x) * weight
    return by_t + power * cross_entropy * (2 * alpha - 1.0) if alpha >= 0 else by_t


slopes(probability.SigmoidFocal, _focal_by_x, _focal_by_t)


def _poisson_by_x(x: Tensor, t: Tensor, logs: bool, full: bool, eps: float) -> Tensor:
    return exp(x) - t if logs else 1.0 - t / (x + eps)


def _poisson_by_t(x: Tensor, t: Tensor, logs: bool, full: bool, eps: float) -> Tensor:
    by_t = neg(x if logs else log(x + eps))
    if full:  # Stirling's formula, where t > 1
        large = wrap(t._array) > 1.0
        safe = where(large, t, 1.0)
        by_t = by_t + where(large, log(safe) + 0.5 / safe, 0.0)
    return by_t


slopes(regression.PoissonNll, _poisson_by_x, _poisson_by_t)


def _variance(var: Tensor, eps: float) -> Tensor:
    """max(var, eps) with the gradient of var also where eps is larger."""
    raw = wrap(var._array)
    return var + (clip(raw, eps) - raw)


def _gaussian_by_var(x: Tensor, t: Tensor, var: Tensor, full: bool, eps: float) -> Tensor:
    v, d = _variance(var, eps), x - t
    return (1.0 - d * d / v) / (v * 2.0)


slopes(
    regression.GaussianNll,
    lambda x, t, var, full, eps: (x - t) / _variance(var, eps),
    lambda x, t, var, full, eps: (t - x) / _variance(var, eps),
    _gaussian_by_var,
)


@rule(*SLOPES)
def _loss(node: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    arrays = node.arrays if hasattr(node, "arrays") else (node.x, node.target)
    xs = [of_input(node, i, array) for i, array in enumerate(arrays)]
    shape = xs[0].shape
    if node.reduction == "mean":
        dy = dy / max(xs[0].numel(), 1)
    elif node.reduction == "batchmean":
        dy = dy / max(shape[0], 1)
    found: list[Tensor | None] = []
    for slope, needed in zip(SLOPES[type(node)], node.needs, strict=True):
        if not needed:
            found.append(None)
        else:
            found.append(zero(xs[0]) if slope is None else dy * slope(*xs, *node.settings))
    return tuple(found)


# --- scores of classes


def _column(weight: Any, x: Tensor) -> Any:
    """Weights (C,) as a factor for x (N, C, ...)."""
    return 1.0 if weight is None else wrap(weight.reshape(-1, *(1,) * (x.ndim - 2)))


def _one_hot(node: Any, x: Tensor) -> Tensor:
    """Class indices as probabilities in the shape of x; all 0 for an index that is no class."""
    count = keep(np.arange(x.shape[1]).reshape(-1, *(1,) * (x.ndim - 2)))
    return eq(unsqueeze(of_input(node, 1, node.target), 1), wrap(count)).to(x.dtype)


def _used(node: Any, x: Tensor, ignored: int) -> Tensor:
    """1 for each target that is not ignored, (N, 1, ...)."""
    return ne(unsqueeze(of_input(node, 1, node.target), 1), ignored).to(x.dtype)


def _shared(dy: Tensor, shares: Tensor, reduction: str) -> Tensor:
    """dy as (N, 1, ...), divided by the sum of the shares (N, 1, ...) for 'mean'."""
    if reduction == "none":
        return reshape(dy, shares.shape)
    return dy / total(shares) if reduction == "mean" else dy


@rule(classes.CrossEntropy)
def _cross_entropy(node: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
    reduction, weight, ignored, smoothing = node.settings
    x, t = of_input(node, 0, node.x), of_input(node, 1, node.target)
    w, uniform = _column(weight, x), smoothing / max(x.shape[1], 1)
    log_y = log_softmax(x, 1)
    if node.target.dtype.kind == "f":
        q = (t * (1 - smoothing) + uniform) * w
        dy = _shared(dy, wrap(np.ones((x.shape[0], 1, *x.shape[2:]), x.dtype)), reduction)
    else:
        used, target = _used(node, x, ignored) * w, _one_hot(node, x)
        q = (target * (1 - smoothing) + uniform) * used
        dy = _shared(dy, total(target * used, 1, keepdim=True), reduction)
    dx = dy * (exp(log_y) * total(q, 1, keepdim=True) - q) if node.needs[0] else None
    return dx, neg(dy * log_y * w) * (1 - smoothing) if node.needs[1] else None


@rule(classes.Nll)
def _nll(node: Any, dy: Tensor) -> tuple[Tensor, None]:
    reduction, weight, ignored = node.settings
    x = of_input(node, 0, node.x)
    q = _one_hot(node, x) * _used(node, x, ignored) * _column(weight, x)
    return near(node, neg(_shared(dy, total(q, 1, keepdim=True), reduction) * q), x), None


@rule(classes.Focal)
def _focal(node: Any, dy: Tensor) -> tuple[Tensor, None]:
    reduction, gamma, alpha, ignored = node.settings
    x, used = of_input(node, 0, node.x), _used(node, wrap(node.x), ignored)
    target, log_y = _one_hot(node, x), log_softmax(x, 1)
    log_p = total(target * log_y, 1, keepdim=True)
    weight = total(target * _column(alpha, x), 1, keepdim=True) * used
    miss = neg(expm1(log_p))
    by_log = neg(pow(miss, gamma))
    if gamma:
        by_log = pow(miss, gamma - 1.0) * exp(log_p) * log_p * gamma + by_log
    return _shared(dy, used, reduction) * weight * by_log * (target - exp(log_y)), None


@rule(classes.MultiMargin)
def _multi_margin(node: Any, dy: Tensor) -> tuple[Tensor, None]:
    reduction, p, margin, weight = node.settings
    x = of_input(node, 0, node.x)
    target = _one_hot(node, x)
    z = x - total(x * target, 1, keepdim=True) + margin
    w = total(target * _column(weight, x), 1, keepdim=True) / max(x.shape[1], 1)
    slope = (1.0 - target) * where(z > 0.0, zero(x) + 1.0 if p == 1 else z * 2.0, 0.0)
    slope = slope - target * total(slope, 1, keepdim=True)
    ones = wrap(np.ones((x.shape[0], 1), x.dtype))
    return _shared(dy, ones, reduction) * w * slope, None
