"""Losses as layers. The formulas are in :mod:`ranvier.ops.loss`.

``reduction``: 'mean' (the sum divided by the number of losses), 'sum' or 'none'. Predictions and targets of
different shapes raise ValueError; they are not broadcast.
"""

from __future__ import annotations

from typing import Any

from ranvier import ops
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module


class _Loss(Module):
    """A loss whose only argument is the reduction."""

    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def extra_repr(self) -> str:
        return "" if self.reduction == "mean" else f"reduction={self.reduction!r}"


class MSELoss(_Loss):
    """(x - target)^2.

    >>> import ranvier as rv
    >>> rv.nn.MSELoss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.3750)
    """

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.mse(x, target, self.reduction)


class BCELoss(_Loss):
    """-(t log x + (1 - t) log(1 - x)) for probabilities x, each logarithm at least -100.

    Raises ValueError for x outside [0, 1].

    >>> import ranvier as rv
    >>> rv.nn.BCELoss()(rv.tensor([0.9, 0.1, 0.8, 0.7]), rv.tensor([1.0, 0, 1, 1]))
    tensor(0.1976)
    """

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.bce(x, target, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """BCELoss of sigmoid(x), computed so that nothing overflows.

    >>> import ranvier as rv
    >>> rv.nn.BCEWithLogitsLoss()(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(0.6931)
    """

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.bce_with_logits(x, target, self.reduction)


class CrossEntropyLoss(_Loss):
    """-log(softmax(x)) of the true class: x (N, C) or (N, C, d1, ...) are logits, target holds class indices
    (N, d1, ...) of any integer dtype, or probabilities in the shape of x.

    Raises ValueError for a class index outside [0, C).

    >>> import ranvier as rv
    >>> rv.nn.CrossEntropyLoss()(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0]))
    tensor(0.4170)
    """

    def forward(self, x: Any, target: Any) -> Tensor:
        return ops.cross_entropy(x, target, self.reduction)
