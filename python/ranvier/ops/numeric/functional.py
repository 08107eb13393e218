"""Functions of layers and losses that few networks use: normalize, bilinear, ctc_loss and others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.autograd.function import Function
from ranvier.autograd.random_tensors import rand
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation.smooth import logsigmoid
from ranvier.ops.elementwise.arithmetic import add, div, mul, sub
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.dtypes import Array, as_tensor, floating, is_floating
from ranvier.ops.elementwise.extrema import maximum, minimum
from ranvier.ops.elementwise.functions import log, log1p
from ranvier.ops.elementwise.where import where
from ranvier.ops.index import gather, index_array, index_select
from ranvier.ops.layers.distance import pairwise_distance
from ranvier.ops.layers.einsum import einsum
from ranvier.ops.layers.embedding import embedding
from ranvier.ops.layers.loss.arguments import constant, reduction_of
from ranvier.ops.norms import norm
from ranvier.ops.reduce import amax, mean
from ranvier.ops.reduce import sum as total
from ranvier.ops.scatter import index_add
from ranvier.ops.shape import reshape, unsqueeze
from ranvier.ops.softmax import softmax


def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """x divided by its p-norm along dim, at least eps.

    >>> import ranvier as rv
    >>> rv.nn.functional.normalize(rv.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    input = as_tensor("normalize", input)
    return div(input, maximum(norm(input, p, dim, True), eps))


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else the value.

    >>> import ranvier as rv
    >>> rv.nn.functional.threshold(rv.tensor([0.0, 2.0]), 1.0, -1.0)
    tensor([-1.,  2.])
    """
    from ranvier.ops.unary import replaced

    input = as_tensor("threshold", input)
    number = value if is_floating(input) else int(value)
    y = where(input <= threshold, number, input)
    return replaced("threshold", input, y, inplace)


def rrelu(
    input: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """x where x >= 0, else a x: a is uniform in [lower, upper] while training, else their mean
    (Xu et al. 2015).

    >>> import ranvier as rv
    >>> rv.nn.functional.rrelu(rv.tensor([-6.0, 2.0]), 0.0, 1.0)
    tensor([-3.,  2.])
    """
    from ranvier.autograd.random_tensors import rand
    from ranvier.ops.unary import replaced

    input = as_tensor("rrelu", input)
    if not lower <= upper:
        raise ValueError(f"[rrelu] got lower {lower} and upper {upper}; expected lower <= upper")
    slope: Any = (lower + upper) / 2
    if training:
        slope = rand(input.shape, dtype=input.dtype) * (upper - lower) + lower
    return replaced("rrelu", input, where(input >= 0, input, mul(input, slope)), inplace)


def bilinear(input1: Any, input2: Any, weight: Any, bias: Any = None) -> Tensor:
    """y[.., o] = x1^T W[o] x2 + b[o]: x1 (..., i), x2 (..., j), W (o, i, j), b (o).

    >>> import ranvier as rv
    >>> rv.nn.functional.bilinear(rv.ones(2, 3), rv.ones(2, 4), rv.ones(5, 3, 4)).shape
    (2, 5)
    """
    input1, input2, weight = (as_tensor("bilinear", t) for t in (input1, input2, weight))
    fits = weight.ndim == 3 and input1.shape[:-1] == input2.shape[:-1]
    if not fits or input1.shape[-1] != weight.shape[1] or input2.shape[-1] != weight.shape[2]:
        raise ValueError(
            f"[bilinear] got x1 of shape {input1.shape}, x2 of {input2.shape} and weight of {weight.shape}; "
            "expected (..., i), (..., j) and (o, i, j)"
        )
    y = einsum("...i,oij,...j->...o", input1, weight, input2)
    return y if bias is None else add(y, bias)


def embedding_bag(
    input: Any,
    weight: Any,
    offsets: Any = None,
    max_norm: Any = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sum, mean or greatest of the rows of each bag: indices (bags, k), or a vector cut at offsets.

    Rows padding_idx do not count; an empty bag gives 0. The gradient is dense; max_norm is refused.

    >>> import ranvier as rv
    >>> rv.nn.functional.embedding_bag(rv.tensor([0, 1, 1]), rv.eye(2), rv.tensor([0, 1]), mode="sum")
    tensor([[1., 0.],
            [0., 2.]])
    """
    index, table = index_array("embedding_bag", input), as_tensor("embedding_bag", weight)
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"[embedding_bag] got mode {mode!r}; expected 'sum', 'mean' or 'max'")
    if max_norm is not None:
        raise ValueError("[embedding_bag] got max_norm; expected None: clip the weight yourself")
    if (per_sample_weights is not None) and mode != "sum":
        raise ValueError(f"[embedding_bag] got per_sample_weights and mode {mode!r}; expected mode 'sum'")
    bags, count = _bags(index, offsets, include_last_offset)
    flat = index.reshape(-1)
    rows = embedding(flat, table, scale_grad_by_freq=scale_grad_by_freq)
    if per_sample_weights is not None:
        rows = mul(rows, reshape(as_tensor("embedding_bag", per_sample_weights), (-1, 1)))
    if padding_idx is not None:
        kept = np.flatnonzero(flat != padding_idx % table.shape[0])
        rows, bags = index_select(rows, 0, kept), bags[kept]
    sizes = np.bincount(bags, minlength=count).astype(table.dtype)[:, None]
    start = wrap(np.zeros((count, table.shape[1]), table.dtype))
    if mode == "max":
        from ranvier.ops.numeric.places import scatter_reduce

        at = np.ascontiguousarray(np.broadcast_to(bags[:, None], rows.shape))
        return scatter_reduce(start, 0, at, rows, "amax", include_self=False)
    y = index_add(start, 0, bags, rows)
    return y if mode == "sum" else div(y, wrap(np.maximum(sizes, 1)))


def _bags(index: Any, offsets: Any, include_last: bool) -> tuple[Any, int]:
    """The number of the bag of each index, and how many bags there are."""
    if index.ndim == 2:
        if offsets is not None:
            raise ValueError("[embedding_bag] got offsets for indices of two dimensions; expected None")
        return np.repeat(np.arange(index.shape[0]), index.shape[1]), index.shape[0]
    if index.ndim != 1 or offsets is None:
        raise ValueError("[embedding_bag] got indices of one dimension without offsets; expected offsets")
    starts = index_array("embedding_bag", offsets)
    if starts.ndim != 1 or (starts.size and (starts[0] != 0 or (np.diff(starts) < 0).any())):
        raise ValueError(
            "[embedding_bag] got offsets that do not start at 0 or decrease; expected 0, ... in order"
        )
    if starts.size and starts[-1] > index.size:
        raise ValueError(
            f"[embedding_bag] got offset {starts[-1]} for {index.size} indices; expected at most that"
        )
    count = starts.size - include_last
    ends = np.append(starts[1:], index.size)[:count] if not include_last else starts[1:]
    return np.repeat(np.arange(count), ends - starts[:count]), count


def pdist(input: Any, p: float = 2.0) -> Tensor:
    """The p-norm between each two rows i < j of x (n, d): a vector of n (n - 1) / 2.

    >>> import ranvier as rv
    >>> rv.nn.functional.pdist(rv.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]]))
    tensor([5.0000, 1.0000, 4.2426])
    """
    input = as_tensor("pdist", input)
    if input.ndim != 2:
        raise ValueError(f"[pdist] got x of shape {input.shape}; expected (n, d)")
    i, j = np.triu_indices(input.shape[0], 1)
    return norm(sub(index_select(input, 0, i), index_select(input, 0, j)), p, 1)


def _reduced(name: str, x: Tensor, reduction: str) -> Tensor:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"[{name}] got reduction {reduction!r}; expected 'none', 'mean' or 'sum'")
    return x if reduction == "none" else mean(x) if reduction == "mean" else total(x)


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
    d = pairwise_distance if distance_function is None else distance_function
    near, far = d(anchor, positive), d(anchor, negative)
    if swap:
        far = minimum(far, d(positive, negative))
    return _reduced("triplet_margin_with_distance_loss", maximum(near - far + margin, 0), reduction)


def gumbel_softmax(
    logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """softmax((logits + g) / tau) of Gumbel noise g = -log(-log(u)): a soft sample of softmax(logits).

    hard: the sample itself, 1 at the greatest and else 0, with the gradient of the soft one. eps has no
    effect, as in PyTorch.

    Source: Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax" (2017).

    >>> import ranvier as rv
    >>> rv.nn.functional.gumbel_softmax(rv.zeros(3), hard=True).sum()
    tensor(1.)
    """
    logits = floating(as_tensor("gumbel_softmax", logits))
    u = rand(logits.shape, dtype=logits.dtype)
    noise = -log(-log1p(-u) + float(np.finfo(logits.dtype).tiny))
    soft = softmax(div(add(logits, noise), tau), dim)
    if not hard:
        return soft
    one = eq(soft, amax(soft.detach(), dim, True)).to(soft.dtype)
    return add(sub(one, soft.detach()), soft)


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
    return _reduced(name, mean(loss, -1), reduction)


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
    if input.ndim not in (1, 2) or labels.shape != input.shape:
        raise ValueError(
            f"[multilabel_margin_loss] got x of shape {input.shape} and target of {labels.shape}; expected "
            "equal shapes (n, c) or (c)"
        )
    if input.ndim == 1:
        row = multilabel_margin_loss(unsqueeze(input, 0), labels[None], reduction="none")
        return _reduced("multilabel_margin_loss", row[0], reduction)
    n, c = input.shape
    if labels.size and (labels.min() < -1 or labels.max() >= c):
        raise IndexError(
            f"[multilabel_margin_loss] got a label outside 0 ... {c - 1}; expected one inside, or -1"
        )
    used = np.cumprod(labels >= 0, 1).astype(bool)
    is_label = np.zeros((n, c), bool)
    rows = np.broadcast_to(np.arange(n)[:, None], labels.shape)
    is_label[rows[used], labels[used]] = True
    own = gather(input, 1, np.where(used, labels, 0))
    margins = maximum(1 - sub(unsqueeze(own, 2), unsqueeze(input, 1)), 0)  # (n, label, class)
    mask = (used[:, :, None] & ~is_label[:, None, :]).astype(input.dtype)
    return _reduced("multilabel_margin_loss", total(mul(margins, wrap(mask)), (1, 2)) / c, reduction)


class CTC(Function):
    """-log of the probability of all paths that give the target: Graves et al. 2006, sections 4.1 and 4.2.

    log_probs (t, n, c); the target with blanks between its labels is (2 s + 1) long.
    """

    def __init__(self, targets: list[Array], lengths: Array, blank: int) -> None:
        self.targets, self.lengths, self.blank = targets, lengths, blank

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
            if not np.isfinite(logp):
                return math.inf, dx
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
    of its target first. inf where a target does not fit, 0 with zero_infinity.

    >>> import ranvier as rv
    >>> log_probs = rv.full((2, 1, 2), 0.5).log()
    >>> rv.nn.functional.ctc_loss(log_probs, rv.tensor([[1]]), rv.tensor([2]), rv.tensor([1]))
    tensor(0.2877)
    """
    x = as_tensor("ctc_loss", log_probs)
    if x.ndim == 2:
        found = ctc_loss(
            unsqueeze(x, 1), targets, input_lengths, target_lengths, blank, "none", zero_infinity
        )
        return found[0] if reduction != "mean" else found[0] / max(int(np.max(np.asarray(target_lengths))), 1)
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
    loss = CTC(rows, inputs, blank).apply(x)
    if zero_infinity:
        loss = where(loss == math.inf, 0.0, loss)
    if reduction == "mean":
        return mean(div(loss, wrap(np.maximum(sizes, 1).astype(x.dtype))))
    return _reduced("ctc_loss", loss, reduction)
