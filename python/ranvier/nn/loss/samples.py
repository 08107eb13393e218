"""Layers: losses of samples, by scores for classes, vectors, several labels or sequences."""

from __future__ import annotations

from typing import Any

from ranvier.autograd.creation import empty
from ranvier.autograd.dtypes import int64
from ranvier.nn.loss import Loss, WeightedLoss
from ranvier.ops.rows import examples

_NAMES = """
    CosineEmbeddingLoss CrossEntropyLoss MarginRankingLoss NLLLoss TripletMarginLoss
"""
__all__ = _NAMES.split()


class _OfClasses(WeightedLoss):
    """x (N, C), target class indices (N,)"""

    def _example(self) -> tuple[Any, ...]:
        weight = getattr(self, self._weights[0])
        return empty(0, 1 if weight is None else weight.numel()), empty(0, dtype=int64)


class CrossEntropyLoss(_OfClasses):
    """-log(softmax(x)) of the true class: x (N, C), (N, C, d1, ...) or (C,) are logits, target holds class
    indices (N, d1, ...) of any integer dtype, or probabilities in the shape of x.

    ``weight`` (C,) multiplies the classes' losses, and 'mean' divides by the weights of the targets;
    ``ignore_index`` has loss 0; ``label_smoothing`` e mixes the target with e / C for each class.

    Raises ValueError for a class index outside [0, C).
    | rv.nn.CrossEntropyLoss()(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0])) -> tensor(0.4170)"""

    _op = "cross_entropy"


class NLLLoss(_OfClasses):
    """-x of the true class, for log-probabilities x; else as CrossEntropyLoss.
    | rv.nn.NLLLoss()(rv.tensor([[-0.5, -1.0]]), rv.tensor([0])) -> tensor(0.5000)"""

    _op = "nll"


class MarginRankingLoss(Loss):
    """max(0, margin - target (x1 - x2)); called with x1, x2 and target.
    | rv.nn.MarginRankingLoss()(rv.tensor([1.0]), rv.tensor([1.5]), rv.tensor([1.0])) -> tensor(0.5000)"""

    _op = "margin_ranking"


class CosineEmbeddingLoss(Loss):
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1; called with x1, x2
    (N, D) and target (N,).
    | rv.nn.CosineEmbeddingLoss()(rv.tensor([[1.0, 0]]), rv.tensor([[0.0, 1]]), rv.tensor([1]))
    -> tensor(1.)"""

    _op = "cosine_embedding"

    def _example(self) -> tuple[Any, ...]:
        return empty(0, 1), empty(0, 1), empty(0)


class TripletMarginLoss(Loss):
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) of distances in the p-norm; called with
    anchor, positive and negative (N, D).

    >>> import ranvier as rv
    >>> anchor, near, far = (rv.tensor([[x, 0.0]]) for x in (0.0, 1.0, 1.5))
    >>> rv.nn.TripletMarginLoss()(anchor, near, far)
    tensor(0.5000)
    """

    _op = "triplet_margin"


examples(globals())
