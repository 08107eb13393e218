"""Layers: losses of samples, by scores for classes, vectors, several labels or sequences."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.creation import empty, int64
from ranvier.autograd.tensor import Tensor
from ranvier.nn.loss import Loss
from ranvier.ops.rows import examples

_NAMES = """
    CosineEmbeddingLoss CrossEntropyLoss FocalLoss MarginRankingLoss MultiMarginLoss NLLLoss
    TripletMarginLoss
"""
__all__ = _NAMES.split()


class _OfClasses(Loss):
    """x (N, C), target class indices (N,)"""

    def _example(self) -> tuple[Any, ...]:
        weight = getattr(self, "alpha" if isinstance(self, FocalLoss) else "weight")
        return empty(0, 1 if weight is None else weight.numel()), empty(0, dtype=int64)


class CrossEntropyLoss(_OfClasses):
    """-log(softmax(x)) of the true class: x (N, C), (N, C, d1, ...) or (C,) are logits, target holds class
    indices (N, d1, ...) of any integer dtype, or probabilities in the shape of x.

    ``weight`` (C,) multiplies the classes' losses, and 'mean' divides by the weights of the targets;
    ``ignore_index`` has loss 0; ``label_smoothing`` e mixes the target with e / C for each class.

    Raises ValueError for a class index outside [0, C).
    | rv.nn.CrossEntropyLoss()(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0])) -> tensor(0.4170)"""

    weight: Tensor | None

    def __init__(
        self,
        weight: Any = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._register_weight("weight", weight)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(_OfClasses):
    """-x of the true class, for log-probabilities x; else as CrossEntropyLoss.
    | rv.nn.NLLLoss()(rv.tensor([[-0.5, -1.0]]), rv.tensor([0])) -> tensor(0.5000)"""

    weight: Tensor | None

    def __init__(
        self,
        weight: Any = None,
        size_average: Any = None,
        ignore_index: int = -100,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._register_weight("weight", weight)
        self.ignore_index = ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.nll(input, target, self.weight, self.ignore_index, self.reduction)


class FocalLoss(_OfClasses):
    """Cross-entropy of logits x (N, C, ...) times (1 - p)^gamma, p the probability of the true class, and
    ``alpha`` (C,) of the class: see :func:`ranvier.ops.focal`.
    | rv.nn.FocalLoss()(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0])) -> tensor(0.0485)"""

    alpha: Tensor | None

    def __init__(
        self, gamma: float = 2.0, alpha: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self._register_weight("alpha", alpha)
        self.gamma, self.ignore_index = gamma, ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.focal(input, target, self.gamma, self.alpha, self.ignore_index, self.reduction)


class MultiMarginLoss(_OfClasses):
    """The hinge loss of C scores: sum over c != t of max(0, margin - x_t + x_c)^p / C, t the true class.
    | rv.nn.MultiMarginLoss()(rv.tensor([[0.1, 0.2, 0.4, 0.8]]), rv.tensor([3])) -> tensor(0.3250)"""

    weight: Tensor | None

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Any = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._register_weight("weight", weight)
        self.p, self.margin = p, margin

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.multi_margin(input, target, self.p, self.margin, self.weight, self.reduction)


class _OfThree(Loss):
    """Called with three tensors."""

    def _example(self) -> tuple[Any, ...]:
        return (empty(0, 1),) * 3


class _WithMargin(_OfThree):
    def __init__(
        self, margin: float = 0.0, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin


class MarginRankingLoss(_WithMargin):
    """max(0, margin - target (x1 - x2)); called with x1, x2 and target.
    | rv.nn.MarginRankingLoss()(rv.tensor([1.0]), rv.tensor([1.5]), rv.tensor([1.0])) -> tensor(0.5000)"""

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return ops.margin_ranking(input1, input2, target, self.margin, self.reduction)


class CosineEmbeddingLoss(_WithMargin):
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1; called with x1, x2
    (N, D) and target (N,).

    >>> import ranvier as rv
    >>> rv.nn.CosineEmbeddingLoss()(rv.tensor([[1.0, 0.0]]), rv.tensor([[1.0, 1.0]]), rv.tensor([1.0]))
    tensor(0.2929)
    """

    def _example(self) -> tuple[Any, ...]:
        return empty(0, 1), empty(0, 1), empty(0)

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return ops.cosine_embedding(input1, input2, target, self.margin, self.reduction)


class TripletMarginLoss(_OfThree):
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) of distances in the p-norm; called with
    anchor, positive and negative (N, D).

    >>> import ranvier as rv
    >>> anchor, near, far = (rv.tensor([[x, 0.0]]) for x in (0.0, 1.0, 1.5))
    >>> rv.nn.TripletMarginLoss()(anchor, near, far)
    tensor(0.5000)
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        return ops.triplet_margin(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction
        )


examples(globals())
