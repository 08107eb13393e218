"""Losses that few networks use: margins of several labels, triplets with an own distance, CTC."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.errors import number, own_errors
from ranvier.autograd.failures import OpError
from ranvier.autograd.function import Function
from ranvier.autograd.recording import host
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation.piecewise import relu
from ranvier.ops.activation.smooth import logsigmoid
from ranvier.ops.elementwise.arithmetic import add, div, mul, sub
from ranvier.ops.elementwise.choice import clamp, minimum, where
from ranvier.ops.elementwise.dtypes import F64, Array, as_tensor
from ranvier.ops.loss.base import constant, reduced, reduction_of
from ranvier.ops.neural.distance import pairwise_distance
from ranvier.ops.reduction.reduce import mean
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.shape.index import gather, index_array
from ranvier.ops.shape.reshape import unsqueeze


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Any = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, d(anchor, positive) - d(anchor, negative) + margin) for a distance d, by default the 2-norm.

    >>> import ranvier as rv
    >>> a, p, n = rv.zeros(1, 2), rv.zeros(1, 2), rv.ones(1, 2)
    >>> rv.nn.functional.triplet_margin_with_distance_loss(a, p, n, margin=2.0)
    tensor(0.5858)
    """
    number("triplet_margin_with_distance_loss", "margin", margin, 0, above=True)
    d = pairwise_distance if distance_function is None else distance_function
    near, far = d(anchor, positive), d(anchor, negative)
    if swap:
        far = minimum(far, d(positive, negative))
    # with the gradient 1 where the loss begins, as in PyTorch
    return reduced("triplet_margin_with_distance_loss", clamp(near - far + margin, 0), reduction)


def multilabel_soft_margin_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over classes of the logistic loss of each label 0 or 1: x and target (..., c).

    >>> import ranvier as rv
    >>> rv.nn.functional.multilabel_soft_margin_loss(rv.tensor([[0.0, 0.0]]), rv.tensor([[1.0, 0.0]]))
    tensor(0.6931)
    """
    name = "multilabel_soft_margin_loss"
    reduction = reduction_of(name, size_average, reduce, reduction)
    input, target = as_tensor(name, input), as_tensor(name, target)
    if input.shape != target.shape:
        raise OpError(
            f"[multilabel_soft_margin_loss] got x of shape {input.shape} and target of {target.shape}; "
            "expected equal shapes"
        )
    loss = -add(mul(target, logsigmoid(input)), mul(1 - target, logsigmoid(-input)))
    if weight is not None:
        loss = mul(loss, constant(name, "weight", weight, input))
    return reduced(name, mean(loss, -1), reduction)


def multilabel_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    """sum over labels j and all other classes i of max(0, 1 - (x[j] - x[i])) / c; -1 ends a row's labels.

    >>> import ranvier as rv
    >>> rv.nn.functional.multilabel_margin_loss(rv.tensor([[0.5, 0.0]]), rv.tensor([[0, -1]]))
    tensor(0.2500)
    """
    reduction = reduction_of("multilabel_margin_loss", size_average, reduce, reduction)
    input, labels = as_tensor("multilabel_margin_loss", input), index_array("multilabel_margin_loss", target)
    if input.ndim > 2 or labels.shape != input.shape:
        raise OpError(
            f"[multilabel_margin_loss] got x of shape {input.shape} and target of {labels.shape}; expected "
            "equal shapes (n, c), (c) or ()"
        )
    if input.ndim == 0:
        input, labels = unsqueeze(input, 0), labels[None]
    if input.ndim == 1:
        row = multilabel_margin_loss(unsqueeze(input, 0), labels[None], reduction="none")
        return reduced("multilabel_margin_loss", row[0], reduction)
    c = input.shape[1]
    places, counted = host(_labels_and_others, labels, c)
    own = gather(input, 1, places)
    margins = relu(1 - sub(unsqueeze(own, 2), unsqueeze(input, 1)))  # (n, label, class)
    margins = where(wrap(counted), margins, 0.0)  # a product would make NaN of infinite ones
    return reduced("multilabel_margin_loss", total(margins, (1, 2)) / c, reduction)


def _labels_and_others(labels: Array, c: int) -> tuple[Array, Array]:
    """The labels before the first -1, else 0, and for each of them 1 at the classes that are no label."""
    if labels.size and (labels.min() < -1 or labels.max() >= c):
        raise IndexError(
            f"[multilabel_margin_loss] got a label outside 0 ... {c - 1}; expected one inside, or -1"
        )
    used = np.cumprod(labels >= 0, 1).astype(bool)
    is_label = np.zeros((labels.shape[0], c), bool)
    rows = np.broadcast_to(np.arange(labels.shape[0])[:, None], labels.shape)
    is_label[rows[used], labels[used]] = True
    return np.where(used, labels, 0), used[:, :, None] & ~is_label[:, None, :]


class CTC(Function):
    """-log of the probability of all paths that give the target: Graves et al. 2006, sections 4.1 and 4.2.

    log_probs (t, n, c); the target with blanks between its labels is (2 s + 1) long.
    """

    def __init__(self, blank: int, zero_infinity: bool) -> None:
        self.blank, self.at_infinity = blank, 0.0 if zero_infinity else math.nan

    def forward(self, log_probs: Array, labels: Array, lengths: Array, sizes: Array) -> Array:
        x = _core.cast(log_probs, F64, None)
        settings = self.blank, self.at_infinity, self.needs[0]
        self.dx: Any
        loss, self.dx = _core.ctc_loss(x, labels, lengths, sizes, *settings)
        return _core.cast(loss, log_probs.dtype, None)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        dx = _core.mul(self.dx, _core.cast(dy, F64, None)[:, None], None)
        return _core.cast(dx, dy.dtype, None), None, None, None


def _rows_of(labels: Array, sizes: Array) -> Array:
    """A row for each sample, of the labels of all one after another; 0 after its own."""
    rows = np.zeros((sizes.size, sizes.max(initial=0)), labels.dtype)
    rows[np.arange(rows.shape[1]) < sizes[:, None]] = labels[: sizes.sum()]
    return rows


def _are_inside(labels: Array, sizes: Array, classes: int) -> bool:
    used = labels[np.arange(labels.shape[1]) < sizes[:, None]]
    return bool(used.size == 0 or (used.min() >= 0 and used.max() < classes))


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Connectionist temporal classification: log_probs (t, n, c), targets (n, s) or one vector of all labels.

    -log of the probability of all alignments (Graves et al. 2006). 'mean' divides each loss by the length
    of its target first. Where a target does not fit the loss is inf and its gradient NaN; both are 0 with
    zero_infinity.

    >>> import ranvier as rv
    >>> log_probs = rv.full((2, 1, 2), 0.5).log()
    >>> rv.nn.functional.ctc_loss(log_probs, rv.tensor([[1]]), rv.tensor([2]), rv.tensor([1]))
    tensor(0.2877)
    """
    x = as_tensor("ctc_loss", log_probs)
    if x.ndim == 2:
        x = unsqueeze(x, 1)
        loss = ctc_loss(x, targets, input_lengths, target_lengths, blank, "none", zero_infinity)[0]
        return loss if reduction != "mean" else loss / max(int(np.max(np.asarray(target_lengths))), 1)
    labels = index_array("ctc_loss", targets)
    inputs, sizes = (
        np.atleast_1d(np.asarray(getattr(v, "_array", v))) for v in (input_lengths, target_lengths)
    )
    if x.ndim != 3 or inputs.shape != (x.shape[1],) or sizes.shape != inputs.shape:
        raise OpError(
            f"[ctc_loss] got log_probs of shape {x.shape} and {inputs.size} and {sizes.size} lengths; "
            "expected (t, n, c) and n lengths"
        )
    if inputs.size and (inputs.max() > x.shape[0] or inputs.min() < 0 or sizes.min() < 0):
        raise OpError(f"[ctc_loss] got input_lengths up to {inputs.max()}; expected at most {x.shape[0]}")
    if labels.ndim == 2:
        if labels.shape[0] != inputs.size or (sizes.size and sizes.max() > labels.shape[1]):
            raise OpError(f"[ctc_loss] got targets of shape {labels.shape}; expected a row for each sample")
    else:
        if labels.size < sizes.sum():
            raise OpError(f"[ctc_loss] got {labels.size} labels; expected {sizes.sum()}")
        labels = host(_rows_of, labels, sizes)
    classes = x.shape[2]
    if not 0 <= blank < classes or not _are_inside(labels, sizes, classes):
        raise OpError(f"[ctc_loss] got a label or blank outside 0 ... {classes - 1}; expected one inside")
    loss = CTC(blank, zero_infinity).apply(x, labels, inputs, sizes)
    if zero_infinity:
        loss = where(loss == math.inf, 0.0, loss)
    if reduction == "mean":
        return mean(div(loss, wrap(np.maximum(sizes, 1).astype(x.dtype))))
    return reduced("ctc_loss", loss, reduction)


own_errors(globals())
