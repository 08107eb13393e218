"""Losses of scores for C classes."""

from __future__ import annotations

from typing import Any

import ranvier.nn.functional as F
import ranvier.ops
from ranvier.nn.loss.base import WeightedLoss
from ranvier.nn.loss.functional import put_public_name
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.dtypes import int64
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import ArrayLike, TensorLike

__all__ = LAYERS["loss.classes"]
ops: Any = ranvier.ops  # mypy finds no type of a decorated function in a cycle of imports
# {name in `nn.functional`: the library's function}: by it a loss sees whether a program has replaced the
# function.
_OWN = F._OWN


class _ClassWeightedLoss(WeightedLoss):
    """Base of losses for x (N, C) and class indices, the target (N,)."""

    def _example(self) -> tuple[Tensor, ...] | None:
        if self.weight is None:
            classes = 1
        else:
            classes = self.weight.numel()
        return empty(0, classes), empty(0, dtype=int64)


class CrossEntropyLoss(_ClassWeightedLoss):
    """-log(softmax(x)) of the true class: x (N, C), (N, C, d1, ...) or (C,) are logits, target holds class
    indices (N, d1, ...) of any integer dtype, or probabilities in the shape of x.

    ``weight`` (C,) multiplies the classes' losses, and 'mean' divides by the weights of the targets;
    ``ignore_index`` has loss 0; ``label_smoothing`` e mixes the target with e / C for each class.

    Raises ValueError for a class index outside [0, C).

    >>> import ranvier as rv
    >>> rv.nn.CrossEntropyLoss()(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0]))
    tensor(0.4170)
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.cross_entropy is not _OWN["cross_entropy"]:
            return F.cross_entropy(
                input,
                target,
                weight=self.weight,
                ignore_index=self.ignore_index,
                reduction=self.reduction,
                label_smoothing=self.label_smoothing,
            )
        return ops.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(_ClassWeightedLoss):
    """-x of the true class, for log-probabilities x. The rest is as in CrossEntropyLoss.

    >>> import ranvier as rv
    >>> rv.nn.NLLLoss()(rv.tensor([[-0.5, -1.0]]), rv.tensor([0]))
    tensor(0.5000)
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.nll_loss is not _OWN["nll_loss"]:
            return F.nll_loss(
                input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction
            )
        try:
            return ops.nll(input, target, self.weight, self.ignore_index, self.reduction)
        except Exception as error:
            put_public_name(error, "nll", "nll_loss")
            raise
