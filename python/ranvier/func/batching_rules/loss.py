"""Batching rules of losses: the losses of all samples at once, then the reduction of each slice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.func.batching import Operand, batching_rule, host_rule, run_on_slices, stacked_array
from ranvier.ops.elementwise.dtypes import is_floating
from ranvier.ops.loss.base import ElementLoss
from ranvier.ops.loss.classification import CrossEntropy, Nll
from ranvier.ops.loss.ctc import CTC, _divisors, _rows
from ranvier.ops.loss.probability import Bce, BceWithLogits, KlDiv
from ranvier.ops.loss.regression import L1, Huber, Mse, SmoothL1
from ranvier.tensors.batched import BatchedArray, Level, batched_array, on_each_slice
from ranvier.tensors.memory import HALVES, Array
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
    weights_differ = isinstance(weight, BatchedArray)
    if not fits or (weights_differ and (any(smoothing) or is_floating(target.value))):
        return run_on_slices(node, [x.tensor(), target.tensor()], x.level)
    size = x.level.size
    samples = size * x.shape[0]
    targets = target.stacked()
    node.settings = ("none", None if weights_differ else weight, ignored, *smoothing)
    values = x.stacked()
    dtype = values.dtype
    if reduction != "none" and values._array.dtype in HALVES:
        values = values.float()  # rounded once, after the reduction
        if is_floating(targets):
            targets = targets.float()
    losses = node.apply(values.reshape(samples, *x.shape[1:]), targets.reshape(samples, *target.shape[1:]))
    losses = losses.reshape(size, x.shape[0], *losses.shape[1:])
    of_targets = None
    if weight is not None and not is_floating(targets):
        of_targets = _weights_of_targets(weight, targets).to(losses.dtype)
    if weights_differ:
        losses = losses * of_targets
    if reduction != "mean" or is_floating(targets):
        return _reduce_slices(losses, reduction).to(dtype)
    shares = targets.ne(ignored).to(losses.dtype)
    if of_targets is not None:
        shares = shares * of_targets
    return (_reduce_slices(losses, "sum") / _reduce_slices(shares, "sum")).to(dtype)


def _weights_of_targets(weight: Any, targets: Tensor) -> Tensor:
    """The weights of the classes (slices, ...) that are the targets; of targets that are ignored, of any."""
    classes = targets.clamp(0, len(weight) - 1)
    if not isinstance(weight, BatchedArray):
        return wrap(weight)[classes]
    flat = classes.reshape(len(classes), -1).to(np.int64)
    return weight.value.gather(1, flat).reshape(classes.shape)


# --- connectionist temporal classification


@batching_rule(CTC)
def _ctc(node: CTC, x: Operand, rows: Operand, lengths: Operand, sizes: Operand) -> Tensor:
    size = x.level.size
    steps, n, classes = x.shape
    sequences = x.stacked().transpose(0, 1).reshape(steps, size * n, classes)
    targets = rows.stacked().reshape(size * n, *rows.shape[1:])
    losses = node.apply(sequences, targets, lengths.stacked().reshape(-1), sizes.stacked().reshape(-1))
    return losses.reshape(size, n)


@host_rule(_rows)
def _ctc_rows(
    run: Callable[..., Array], level: Level, shape: Any, labels: Any, lengths: Any, sizes: Any, blank: int
) -> Any:
    if labels.ndim != 2 or not lengths.shape == sizes.shape == (shape[1],):
        return on_each_slice("ctc_loss", run, (shape, labels, lengths, sizes, blank), {})
    samples = level.size * shape[1]
    flat = [stacked_array(x, level) for x in (labels, lengths, sizes)]
    flat = [x.reshape((x.shape[0] * x.shape[1], *x.shape[2:])) for x in flat]
    rows = run((shape[0], samples, shape[2]), *flat, blank)
    return batched_array(wrap(rows.reshape((level.size, shape[1], *rows.shape[1:]))), level)


@host_rule(_divisors)
def _ctc_divisors(run: Callable[..., Array], level: Level, sizes: Any, dtype: Any, single: bool) -> Any:
    divisors = run(sizes.value._array, dtype, False)
    if single:
        divisors = divisors.reshape((level.size,))
    return batched_array(wrap(divisors), level)
