"""Losses of two or three inputs whose distance or order has a margin."""

from __future__ import annotations

from typing import Any

import ranvier.nn.functional as F
import ranvier.ops
from ranvier.nn.loss.base import Loss
from ranvier.nn.loss.functional import put_public_name
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = LAYERS["loss.margins"]
ops: Any = ranvier.ops  # mypy finds no type of a decorated function in a cycle of imports
# {name in `nn.functional`: the library's function}: by it a loss sees whether a program has replaced the
# function.
_OWN = F._OWN


class MarginRankingLoss(Loss):
    """max(0, margin - target (x1 - x2)); called with x1, x2 and target.

    >>> import ranvier as rv
    >>> rv.nn.MarginRankingLoss()(rv.tensor([1.0]), rv.tensor([1.5]), rv.tensor([1.0]))
    tensor(0.5000)
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def _example(self) -> tuple[Tensor, ...] | None:
        x = empty(0, 1)
        return x, x, x

    def forward(self, input1: TensorLike, input2: TensorLike, target: TensorLike) -> Tensor:
        if F.margin_ranking_loss is not _OWN["margin_ranking_loss"]:
            return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)
        try:
            return ops.margin_ranking(input1, input2, target, self.margin, self.reduction)
        except Exception as error:
            put_public_name(error, "margin_ranking", "margin_ranking_loss")
            raise


class CosineEmbeddingLoss(Loss):
    """1 - cos(x1, x2) if the target is 1, max(0, cos(x1, x2) - margin) if it is -1; called with x1, x2 (N, D)
    and target (N,).

    >>> import ranvier as rv
    >>> rv.nn.CosineEmbeddingLoss()(rv.tensor([[1.0, 0]]), rv.tensor([[0.0, 1]]), rv.tensor([1]))
    tensor(1.)
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: TensorLike, input2: TensorLike, target: TensorLike) -> Tensor:
        if F.cosine_embedding_loss is not _OWN["cosine_embedding_loss"]:
            return F.cosine_embedding_loss(
                input1, input2, target, margin=self.margin, reduction=self.reduction
            )
        try:
            return ops.cosine_embedding(input1, input2, target, self.margin, self.reduction)
        except Exception as error:
            put_public_name(error, "cosine_embedding", "cosine_embedding_loss")
            raise

    def _example(self) -> tuple[Tensor, ...] | None:
        return empty(0, 1), empty(0, 1), empty(0)


class TripletMarginLoss(Loss):
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), with d the distance in the p-norm; called
    with anchor, positive and negative (N, D).

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
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def _example(self) -> tuple[Tensor, ...] | None:
        x = empty(0, 1)
        return x, x, x

    def forward(self, anchor: TensorLike, positive: TensorLike, negative: TensorLike) -> Tensor:
        if F.triplet_margin_loss is not _OWN["triplet_margin_loss"]:
            return F.triplet_margin_loss(
                anchor,
                positive,
                negative,
                margin=self.margin,
                p=self.p,
                eps=self.eps,
                swap=self.swap,
                reduction=self.reduction,
            )
        try:
            return ops.triplet_margin(
                anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction
            )
        except Exception as error:
            put_public_name(error, "triplet_margin", "triplet_margin_loss")
            raise
