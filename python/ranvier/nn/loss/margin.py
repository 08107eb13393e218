"""Functions and layers: losses of margins, for targets 1 and -1."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.tensor import Tensor
from ranvier.nn.loss.base import Loss, documented_as
from ranvier.ops.loss.base import reduction_of

__all__ = [
    "CosineEmbeddingLoss",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "SoftMarginLoss",
    "TripletMarginLoss",
]


@documented_as(ops.soft_margin)
def soft_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    reduction = reduction_of("soft_margin_loss", size_average, reduce, reduction)
    return ops.soft_margin(input, target, reduction)


class SoftMarginLoss(Loss):
    """log(1 + exp(-target x)).

    >>> import ranvier as rv
    >>> rv.nn.SoftMarginLoss()(rv.tensor([0.0, 2.0]), rv.tensor([1.0, -1.0]))
    tensor(1.4100)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.soft_margin(input, target, self.reduction)


@documented_as(ops.hinge_embedding)
def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("hinge_embedding_loss", size_average, reduce, reduction)
    return ops.hinge_embedding(input, target, margin, reduction)


class HingeEmbeddingLoss(Loss):
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> import ranvier as rv
    >>> rv.nn.HingeEmbeddingLoss()(rv.tensor([0.25, 0.25]), rv.tensor([1.0, -1.0]))
    tensor(0.5000)
    """

    def __init__(
        self, margin: float = 1.0, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.hinge_embedding(input, target, self.margin, self.reduction)


class _OfThree(Loss):
    def _example(self) -> tuple[Any, ...]:
        return (empty(0, 1),) * 3


@documented_as(ops.margin_ranking)
def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("margin_ranking_loss", size_average, reduce, reduction)
    return ops.margin_ranking(input1, input2, target, margin, reduction)


class MarginRankingLoss(_OfThree):
    """max(0, margin - target (x1 - x2)); called with x1, x2 and target.

    >>> import ranvier as rv
    >>> rv.nn.MarginRankingLoss()(rv.tensor([1.0]), rv.tensor([1.5]), rv.tensor([1.0]))
    tensor(0.5000)
    """

    def __init__(
        self, margin: float = 0.0, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return ops.margin_ranking(input1, input2, target, self.margin, self.reduction)


@documented_as(ops.cosine_embedding)
def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("cosine_embedding_loss", size_average, reduce, reduction)
    return ops.cosine_embedding(input1, input2, target, margin, reduction)


class CosineEmbeddingLoss(Loss):
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1; called with x1, x2
    (N, D) and target (N,).

    >>> import ranvier as rv
    >>> rv.nn.CosineEmbeddingLoss()(rv.tensor([[1.0, 0.0]]), rv.tensor([[1.0, 1.0]]), rv.tensor([1.0]))
    tensor(0.2929)
    """

    def __init__(
        self, margin: float = 0.0, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def _example(self) -> tuple[Any, ...]:
        return empty(0, 1), empty(0, 1), empty(0)

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        return ops.cosine_embedding(input1, input2, target, self.margin, self.reduction)


@documented_as(ops.triplet_margin)
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("triplet_margin_loss", size_average, reduce, reduction)
    return ops.triplet_margin(anchor, positive, negative, margin, p, eps, swap, reduction)


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
