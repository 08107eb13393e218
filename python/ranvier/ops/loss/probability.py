"""Losses of probabilities: binary cross-entropy (bce, bce_with_logits), and the divergence of distributions
(kl_div). The core has a kernel for each. The functions _..._slope_x and _..._slope_target are the derivatives
of an element's loss by x and by target, for gradients of gradients.
"""

from __future__ import annotations

from typing import Any

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import is_floating
from ranvier.ops.loss.base import constant, element_loss, in_dtype_of, in_one_shape, promoted
from ranvier.ops.namespaces import Operations, Value
from ranvier.tape.function import watched
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike


def _factor(weight: Array | None) -> Tensor | float:
    """A weight as a factor: a Tensor, or 1.0 for None."""
    if weight is None:
        return 1.0
    return wrap(weight)


def _bce_slope_x(f: Operations, x: Tensor, t: Tensor, weight: Array | None) -> Tensor:
    """The slope of bce by x. Its value is the kernel's; its derivatives are the derivatives of a function
    whose poles are moved slightly outside of [0, 1], as in PyTorch."""
    slope = (1.0 - t) / (1.0 - x + 1e-12) - t / (x + 1e-12)
    value = (x - t) / f.clip(x * (1.0 - x), 1e-12)
    return (value.detach() + (slope - slope.detach())) * _factor(weight)


def _bce_slope_target(f: Operations, x: Value, t: Value, weight: Array | None) -> Value:
    # The logarithms are at least -100, as in the loss, so that it is finite for x of 0 and 1.
    is_false = f.clip(f.log1p(-x), -100.0)
    is_true = f.clip(f.log(x), -100.0)
    return (is_false - is_true) * _factor(weight)


Bce = element_loss("Bce", _core.bce, _bce_slope_x, _bce_slope_target)


def bce(
    x: TensorLike, target: TensorLike, weight: TensorLike | None = None, reduction: str = "mean"
) -> Tensor:
    """The op of :func:`ranvier.nn.functional.binary_cross_entropy`, which describes it."""
    y = Bce(reduction, constant("bce", "weight", weight, x)).apply(x, in_dtype_of(x, target))
    return watched(y, weight)


def _logits_slope_x(f: Operations, x: Value, t: Value, weight: Array | None, positive: Array | None) -> Value:
    """(1 - t) sigmoid(x) - t sigmoid(-x), which does not cancel where x is right, unlike sigmoid(x) - t."""
    return ((1.0 - t) * f.sigmoid(x) - t * f.sigmoid(-x) * _factor(positive)) * _factor(weight)


def _logits_slope_target(
    f: Operations, x: Value, t: Value, weight: Array | None, positive: Array | None
) -> Value:
    return (f.logsigmoid(-x) - f.logsigmoid(x) * _factor(positive)) * _factor(weight)


BceWithLogits = element_loss("BceWithLogits", _core.bce_with_logits, _logits_slope_x, _logits_slope_target)


def bce_with_logits(
    x: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    reduction: str = "mean",
    pos_weight: TensorLike | None = None,
) -> Tensor:
    """The op of :func:`ranvier.nn.functional.binary_cross_entropy_with_logits`, which describes it."""
    x, t = promoted(x, target)
    weights = constant("bce_with_logits", "weight", weight, x)
    positive = constant("bce_with_logits", "pos_weight", pos_weight, x)
    losses = BceWithLogits(reduction, weights, positive).apply(x, t)
    y: Tensor = watched(losses, weight, pos_weight)
    if t is not target and is_floating(target):  # in a block of autocast half targets are float32, too
        return y.to(_core._autocast_cast("float32", target)._array.dtype)
    return y


def _kl_div_slope_x(f: Operations, x: Value, t: Value, log_target: bool) -> Value:
    if log_target:
        return -f.exp(t)
    return -t


def _kl_div_slope_target(f: Operations, x: Value, t: Value, log_target: bool) -> Value:
    if not log_target:
        return f.log(t) - x + 1.0
    never = f.exp(t) == 0.0  # probability 0, whose logarithm t is -inf
    return f.where(never, 0.0, f.exp(t) * (f.where(never, 0.0, t) - x + 1.0))


KlDiv = element_loss("KlDiv", _core.kl_div, _kl_div_slope_x, _kl_div_slope_target)


def kl_div(x: TensorLike, target: TensorLike, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """The op of :func:`ranvier.nn.functional.kl_div`, which describes it."""
    shape: Any = getattr(x, "shape", None)
    if str(reduction) == "batchmean" and shape == ():  # no batch
        reduction = "sum"
    x, target = in_one_shape(*promoted(x, target))
    if str(reduction) == "batchmean" and shape != getattr(x, "shape", None):
        # As in PyTorch the batch is that of x before it is broadcast.
        return KlDiv("sum", log_target).apply(x, target) / shape[0]
    return KlDiv(reduction, log_target).apply(x, target)
