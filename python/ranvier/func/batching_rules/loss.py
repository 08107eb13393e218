"""Batching rules of losses: the losses of all samples at once, then the reduction of each slice."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.func.batching import Operand, batching_rule, run_on_slices
from ranvier.ops.elementwise.dtypes import is_floating
from ranvier.ops.loss.base import ElementLoss
from ranvier.ops.loss.classification import CrossEntropy, Nll
from ranvier.ops.loss.probability import Bce, BceWithLogits, KlDiv
from ranvier.ops.loss.regression import L1, Huber, Mse, SmoothL1
from ranvier.tensors.batched import BatchedArray
from ranvier.tensors.tensor import Tensor, wrap


def _reduce_slices(losses: Tensor, reduction: str, rows: int = 1) -> Tensor:
    """The reduction of each slice of losses (slices, ...). rows: the divisor of "batchmean"."""
    if reduction == "none":
        return losses
    of_slice = losses.flatten(1) if losses.ndim > 1 else losses.unsqueeze(1)
    if reduction == "mean":
        y: Tensor = of_slice.mean(1)
    else:
        y = of_slice.sum(1)
    if reduction == "batchmean":
        y = y / max(rows, 1)
    return y


@batching_rule(Bce, BceWithLogits, Huber, KlDiv, L1, Mse, SmoothL1)
def _element_loss(node: ElementLoss, x: Operand, target: Operand) -> Any:
    if x.shape != target.shape:
        return run_on_slices(node, [x.tensor(), target.tensor()], x.level)
    node.settings = tuple([_for_all_slices(setting, x) for setting in node.settings])
    reduction = node.reduction
    node.reduction = "none"
    losses = node.apply(x.stacked(), target.stacked())
    return _reduce_slices(losses, reduction, x.shape[0] if x.ndim else 1)


def _for_all_slices(setting: Any, x: Operand) -> Any:
    """A setting; an array, of weights that broadcast to a slice, in the shape of all slices."""
    if not isinstance(setting, np.ndarray):
        return setting
    values = setting
    if isinstance(setting, BatchedArray):
        missing = x.ndim - setting.ndim
        values = setting.value._array.reshape(x.level.size, *(1,) * missing, *setting.shape)
    return np.broadcast_to(values, (x.level.size, *x.shape))


@batching_rule(CrossEntropy, Nll)
def _class_loss(node: Any, x: Operand, target: Operand) -> Any:
    reduction, weight, ignored, *smoothing = node.settings
    fits = x.ndim > 1 and x.shape[0] == target.shape[0]
    if not fits or not _is_plain(weight):
        return run_on_slices(node, [x.tensor(), target.tensor()], x.level)
    size = x.level.size
    samples = size * x.shape[0]
    targets = target.stacked()
    node.settings = ("none", weight, ignored, *smoothing)
    losses = node.apply(
        x.stacked().reshape(samples, *x.shape[1:]), targets.reshape(samples, *target.shape[1:])
    )
    losses = losses.reshape(size, x.shape[0], *losses.shape[1:])
    if reduction != "mean" or is_floating(targets):
        return _reduce_slices(losses, reduction)
    shares = targets.ne(ignored).to(losses.dtype)
    if weight is not None:
        of_targets = wrap(weight)[targets.clamp(0, len(weight) - 1)]
        shares = shares * of_targets
    return _reduce_slices(losses, "sum") / _reduce_slices(shares, "sum")


def _is_plain(weight: Any) -> bool:
    """True without weights, or with an array that all slices share."""
    return weight is None or type(weight) is np.ndarray
