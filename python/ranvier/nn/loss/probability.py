"""Functions and layers: losses of probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.tensor import Tensor
from ranvier.nn.loss.base import Loss, documented_as
from ranvier.ops.loss.base import reduction_of

__all__ = ["BCELoss", "BCEWithLogitsLoss", "KLDivLoss", "SigmoidFocalLoss"]


class _Weighted(Loss):
    def _example(self) -> tuple[Any, ...]:
        weights = {name: tuple(weight.shape) for name, weight in self.named_buffers()}
        try:
            x = empty(0, *np.broadcast_shapes(*weights.values()))
        except ValueError:
            raise ValueError(
                f"[{type(self).__name__}] got weights of shapes {weights}; expected shapes that broadcast"
            ) from None
        return x, x


@documented_as(ops.bce)
def binary_cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("binary_cross_entropy", size_average, reduce, reduction)
    return ops.bce(input, target, weight, reduction)


class BCELoss(_Weighted):
    """-(t log x + (1 - t) log(1 - x)) for probabilities x, each logarithm at least -100; times ``weight``.

    Raises ValueError for x outside [0, 1].

    >>> import ranvier as rv
    >>> rv.nn.BCELoss()(rv.tensor([0.9, 0.1, 0.8, 0.7]), rv.tensor([1.0, 0, 1, 1]))
    tensor(0.1976)
    """

    weight: Tensor | None

    def __init__(
        self, weight: Any = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._register_weight("weight", weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.bce(input, target, self.weight, self.reduction)


@documented_as(ops.bce_with_logits)
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Any = None,
) -> Tensor:
    reduction = reduction_of("binary_cross_entropy_with_logits", size_average, reduce, reduction)
    return ops.bce_with_logits(input, target, weight, reduction, pos_weight)


class BCEWithLogitsLoss(_Weighted):
    """BCELoss of sigmoid(x), without overflow; ``pos_weight`` multiplies the part of positive targets.

    >>> import ranvier as rv
    >>> rv.nn.BCEWithLogitsLoss()(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(0.6931)
    >>> rv.nn.BCEWithLogitsLoss(pos_weight=[3.0])(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(2.0794)
    """

    weight: Tensor | None
    pos_weight: Tensor | None

    def __init__(
        self,
        weight: Any = None,
        size_average: Any = None,
        reduce: Any = None,
        reduction: str = "mean",
        pos_weight: Any = None,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._register_weight("weight", weight)
        self._register_weight("pos_weight", pos_weight)

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.bce_with_logits(input, target, self.weight, self.reduction, self.pos_weight)


class SigmoidFocalLoss(Loss):
    """BCEWithLogitsLoss times a (1 - p_t)^gamma, p_t the probability of the target, a = alpha for targets 1
    and 1 - alpha for 0: see :func:`ranvier.ops.sigmoid_focal`.

    >>> import ranvier as rv
    >>> rv.nn.SigmoidFocalLoss()(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(0.0433)
    """

    def __init__(self, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.alpha, self.gamma = alpha, gamma

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.sigmoid_focal(input, target, self.alpha, self.gamma, self.reduction)


@documented_as(ops.kl_div)
def kl_div(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    reduction = reduction_of("kl_div", size_average, reduce, reduction)
    return ops.kl_div(input, target, reduction, log_target)


class KLDivLoss(Loss):
    """target (log target - x) of log-probabilities x; ``reduction`` 'batchmean' gives the divergence.

    >>> import ranvier as rv
    >>> x = rv.log_softmax(rv.tensor([[1.0, 2.0]]), dim=1)
    >>> rv.nn.KLDivLoss(reduction="batchmean")(x, rv.tensor([[0.5, 0.5]]))
    tensor(0.1201)
    """

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", log_target: bool = False
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.kl_div(input, target, self.reduction, self.log_target)
