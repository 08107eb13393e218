"""Losses that few networks use: margins of several labels, triplets with an own distance, CTC."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.autograd.errors import number, own_errors
from ranvier.autograd.function import Function
from ranvier.autograd.recording import host
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation.piecewise import relu
from ranvier.ops.activation.smooth import logsigmoid
from ranvier.ops.elementwise.arithmetic import add, div, mul, sub
from ranvier.ops.elementwise.choice import clamp, minimum, where
from ranvier.ops.elementwise.dtypes import Array, as_tensor
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
        raise ValueError(
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
        raise ValueError(
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

    def __init__(self, targets: list[Array], lengths: Array, blank: int, zero_infinity: bool) -> None:
        self.targets, self.lengths, self.blank, self.zero_infinity = targets, lengths, blank, zero_infinity

    def forward(self, log_probs: Array) -> Array:
        x = log_probs.astype(np.float64)
        loss, self.dx = np.zeros(x.shape[1]), np.zeros_like(x)
        for n, (labels, length) in enumerate(zip(self.targets, self.lengths, strict=True)):
            loss[n], self.dx[:, n] = self._one(x[:, n], labels, int(length))
        return loss.astype(log_probs.dtype)

    def _one(self, x: Array, labels: Array, length: int) -> tuple[float, Array]:
        """The loss of one sample, and its gradient (t, c)."""
        extended = np.full(2 * labels.size + 1, self.blank)
        extended[1::2] = labels
        dx = np.zeros_like(x)
        if length == 0:
            return (0.0 if labels.size == 0 else math.inf), dx
        # a path may skip the blank between two different labels
        skips = np.zeros(extended.size, bool)
        skips[2:] = (extended[2:] != self.blank) & (extended[2:] != extended[:-2])
        p = x[:length][:, extended]
        with np.errstate(divide="ignore", invalid="ignore"):
            alpha = self._sums(p, skips)
            later = np.append(skips[2:], [False, False])[: skips.size]
            beta = self._sums(p[::-1, ::-1], later[::-1])[::-1, ::-1]
            logp = np.logaddexp.reduce(alpha[-1, -2:])
            if not np.isfinite(logp):  # no path gives the target, or a probability is NaN
                dx[:length] = 0 if self.zero_infinity and np.isneginf(logp) else np.nan
                return -float(logp), dx
            share = np.exp(alpha + beta - p - logp)  # that a path is at (t, position)
        for position, label in enumerate(extended):
            dx[:length, label] -= share[:, position]
        return -float(logp), dx

    @staticmethod
    def _sums(p: Array, skips: Array) -> Array:
        alpha = np.full(p.shape, -np.inf)
        alpha[0, :2] = p[0, :2]
        for t in range(1, p.shape[0]):
            before = alpha[t - 1]
            total = before.copy()
            total[1:] = np.logaddexp(total[1:], before[:-1])
            total[2:] = np.where(skips[2:], np.logaddexp(total[2:], before[:-2]), total[2:])
            alpha[t] = total + p[t]
        return alpha

    def backward(self, dy: Array) -> Array:
        return (self.dx * dy[:, None]).astype(dy.dtype)


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
        raise ValueError(
            f"[ctc_loss] got log_probs of shape {x.shape} and {inputs.size} and {sizes.size} lengths; "
            "expected (t, n, c) and n lengths"
        )
    if inputs.size and (inputs.max() > x.shape[0] or inputs.min() < 0 or sizes.min() < 0):
        raise ValueError(f"[ctc_loss] got input_lengths up to {inputs.max()}; expected at most {x.shape[0]}")
    if labels.ndim == 2:
        if labels.shape[0] != inputs.size or (sizes.size and sizes.max() > labels.shape[1]):
            raise ValueError(
                f"[ctc_loss] got targets of shape {labels.shape}; expected a row for each sample"
            )
        rows = [labels[n, :s] for n, s in enumerate(sizes)]
    else:
        if labels.size < sizes.sum():
            raise ValueError(f"[ctc_loss] got {labels.size} labels; expected {sizes.sum()}")
        rows = np.split(labels[: sizes.sum()], np.cumsum(sizes)[:-1])
    if not 0 <= blank < x.shape[2] or any(r.size and (r.min() < 0 or r.max() >= x.shape[2]) for r in rows):
        raise ValueError(
            f"[ctc_loss] got a label or blank outside 0 ... {x.shape[2] - 1}; expected one inside"
        )
    loss = CTC(rows, inputs, blank, bool(zero_infinity)).apply(x)
    if zero_infinity:
        loss = where(loss == math.inf, 0.0, loss)
    if reduction == "mean":
        return mean(div(loss, wrap(np.maximum(sizes, 1).astype(x.dtype))))
    return reduced("ctc_loss", loss, reduction)


own_errors(globals(), "triplet_margin_with_distance_loss")
