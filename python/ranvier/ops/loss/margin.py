"""Losses of margins, for targets 1 and -1."""

from __future__ import annotations

from typing import Any

from ranvier import _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor
from ranvier.ops.loss.arguments import ElementLoss, in_dtype_of


class SoftMargin(ElementLoss):
    loss, gradient = _core.soft_margin, _core.soft_margin_backward


def soft_margin(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target x)), the logistic loss for targets 1 and -1.

    Raises ValueError for different shapes or another reduction, TypeError for dtypes that differ or are not
    floating.

    >>> import ranvier as rv
    >>> rv.nn.functional.soft_margin_loss(rv.tensor([0.0, 2.0]), rv.tensor([1.0, -1.0]), reduction="none")
    tensor([0.6931, 2.1269])
    """
    return SoftMargin(reduction).apply(x, in_dtype_of(x, target))


class HingeEmbedding(ElementLoss):
    loss, gradient = _core.hinge_embedding, _core.hinge_embedding_backward


def hinge_embedding(x: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1: x is a distance, small for what belongs
    together. With x = -score target and targets -1, the hinge loss of a support vector machine.

    Errors as in :func:`soft_margin`.

    >>> import ranvier as rv
    >>> rv.nn.functional.hinge_embedding_loss(rv.tensor([0.3, 0.3]), rv.tensor([1.0, -1.0]), reduction="none")
    tensor([0.3000, 0.7000])
    """
    return HingeEmbedding(reduction, margin).apply(x, in_dtype_of(x, target))


class MarginRanking(Function):
    def __init__(self, reduction: str, margin: float) -> None:
        self.reduction, self.margin = reduction, margin

    def forward(self, x1: Any, x2: Any, target: Any) -> Any:
        self.arrays = x1, x2, target
        return _core.margin_ranking(x1, x2, target, self.reduction, self.margin)

    def backward(self, dy: Any) -> Any:
        return tuple(
            _core.margin_ranking_backward(dy, *self.arrays, self.reduction, of, self.margin)
            if needed
            else None
            for of, needed in zip(("x1", "x2", "target"), self.needs, strict=True)
        )


def margin_ranking(x1: Any, x2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Tensor:
    """max(0, margin - target (x1 - x2)): target 1 asks for x1 above x2 by ``margin``, -1 for the contrary.

    Errors as in :func:`soft_margin`.

    >>> import ranvier as rv
    >>> x1, x2 = rv.tensor([1.0, 1.0]), rv.tensor([0.5, 0.5])
    >>> rv.nn.functional.margin_ranking_loss(x1, x2, rv.tensor([1.0, -1.0]), margin=0.2, reduction="none")
    tensor([0.0000, 0.7000])
    """
    return MarginRanking(reduction, margin).apply(x1, in_dtype_of(x1, x2), in_dtype_of(x1, target))
