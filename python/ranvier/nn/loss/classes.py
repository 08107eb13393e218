"""Functions and layers: losses of scores for classes."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.creation import empty, int64
from ranvier.autograd.tensor import Tensor
from ranvier.nn.loss.base import Loss, documented_as
from ranvier.ops.loss.base import reduction_of

__all__ = ["CrossEntropyLoss", "FocalLoss", "MultiMarginLoss", "NLLLoss"]


class _OfClasses(Loss):
    """x (N, C), target class indices (N,)"""

    def _example(self) -> tuple[Any, ...]:
        weight = getattr(self, "alpha" if isinstance(self, FocalLoss) else "weight")
        return empty(0, 1 if weight is None else weight.numel()), empty(0, dtype=int64)


@documented_as(ops.cross_entropy)
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    reduction = reduction_of("cross_entropy", size_average, reduce, reduction)
    return ops.cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)


class CrossEntropyLoss(_OfClasses):
    """-log(softmax(x)) of the true class: x (N, C), (N, C, d1, ...) or (C,) are logits, target holds class
    indices (N, d1, ...) of any integer dtype, or probabilities in the shape of x.

    ``weight`` (C,) multiplies the classes' losses, and 'mean' divides by the weights of the targets;
    ``ignore_index`` has loss 0; ``label_smoothing`` e mixes the target with e / C for each class.

    Raises ValueError for a class index outside [0, C).

    >>> import ranvier as rv
    >>> rv.nn.CrossEntropyLoss()(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0]))
    tensor(0.4170)
    """

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


@documented_as(ops.nll)
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("nll_loss", size_average, reduce, reduction)
    return ops.nll(input, target, weight, ignore_index, reduction)


class NLLLoss(_OfClasses):
    """-x of the true class, for log-probabilities x; else as CrossEntropyLoss.

    >>> import ranvier as rv
    >>> rv.nn.NLLLoss()(rv.tensor([[-0.5, -1.0]]), rv.tensor([0]))
    tensor(0.5000)
    """

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

    >>> import ranvier as rv
    >>> rv.nn.FocalLoss()(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0]))
    tensor(0.0485)
    """

    alpha: Tensor | None

    def __init__(
        self, gamma: float = 2.0, alpha: Any = None, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self._register_weight("alpha", alpha)
        self.gamma, self.ignore_index = gamma, ignore_index

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.focal(input, target, self.gamma, self.alpha, self.ignore_index, self.reduction)


@documented_as(ops.multi_margin)
def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("multi_margin_loss", size_average, reduce, reduction)
    return ops.multi_margin(input, target, p, margin, weight, reduction)


class MultiMarginLoss(_OfClasses):
    """The hinge loss of C scores: sum over c != t of max(0, margin - x_t + x_c)^p / C, t the true class.

    >>> import ranvier as rv
    >>> rv.nn.MultiMarginLoss()(rv.tensor([[0.1, 0.2, 0.4, 0.8]]), rv.tensor([3]))
    tensor(0.3250)
    """

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
