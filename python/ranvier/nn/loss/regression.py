"""Functions and layers: losses of values."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.tensor import Tensor
from ranvier.nn.loss.base import Loss, documented_as, weighted
from ranvier.ops.loss.base import reduction_of

__all__ = ["GaussianNLLLoss", "HuberLoss", "L1Loss", "MSELoss", "PoissonNLLLoss", "SmoothL1Loss"]


@documented_as(ops.mse)
def mse_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    reduction = reduction_of("mse_loss", size_average, reduce, reduction)
    if weight is not None:
        return weighted("mse_loss", ops.mse(input, target, "none"), weight, reduction)
    return ops.mse(input, target, reduction)


class MSELoss(Loss):
    """(x - target)^2.

    >>> import ranvier as rv
    >>> rv.nn.MSELoss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.3750)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.mse(input, target, self.reduction)


@documented_as(ops.l1)
def l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Any = None,
) -> Tensor:
    reduction = reduction_of("l1_loss", size_average, reduce, reduction)
    if weight is not None:
        return weighted("l1_loss", ops.l1(input, target, "none"), weight, reduction)
    return ops.l1(input, target, reduction)


class L1Loss(Loss):
    """|x - target|.

    >>> import ranvier as rv
    >>> rv.nn.L1Loss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.5000)
    """

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.l1(input, target, self.reduction)


@documented_as(ops.smooth_l1)
def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    reduction = reduction_of("smooth_l1_loss", size_average, reduce, reduction)
    return ops.smooth_l1(input, target, reduction, beta)


class SmoothL1Loss(Loss):
    """d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2.

    >>> import ranvier as rv
    >>> rv.nn.SmoothL1Loss()(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0]))
    tensor(1.3125)
    """

    def __init__(
        self, size_average: Any = None, reduce: Any = None, reduction: str = "mean", beta: float = 1.0
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.smooth_l1(input, target, self.reduction, self.beta)


@documented_as(ops.huber)
def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Tensor:
    if weight is not None:
        return weighted("huber_loss", ops.huber(input, target, "none", delta), weight, reduction)
    return ops.huber(input, target, reduction, delta)


class HuberLoss(Loss):
    """d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2).

    >>> import ranvier as rv
    >>> rv.nn.HuberLoss(delta=2.0)(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0]))
    tensor(2.0625)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Tensor:
        return ops.huber(input, target, self.reduction, self.delta)


@documented_as(ops.poisson_nll)
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    size_average: Any = None,
    eps: float = 1e-8,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("poisson_nll_loss", size_average, reduce, reduction)
    return ops.poisson_nll(input, target, log_input, full, eps, reduction)


class PoissonNLLLoss(Loss):
    """exp(x) - target x, of counts ``target`` and logarithms x of their rates; of rates x, with ``log_input``
    False, x - target log(x + eps). ``full`` adds Stirling's log(target!).

    >>> import ranvier as rv
    >>> rv.nn.PoissonNLLLoss()(rv.tensor([0.0, 1.0]), rv.tensor([1.0, 2.0]))
    tensor(0.8591)
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: Any = None,
        eps: float = 1e-8,
        reduce: Any = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def forward(self, log_input: Any, target: Any) -> Tensor:
        return ops.poisson_nll(log_input, target, self.log_input, self.full, self.eps, self.reduction)


@documented_as(ops.gaussian_nll)
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    return ops.gaussian_nll(input, target, var, full, eps, reduction)


class GaussianNLLLoss(Loss):
    """(log v + (x - target)^2 / v) / 2 of the variance v = max(var, eps); called with x, target and var.
    ``full`` adds log(2 pi) / 2.

    >>> import ranvier as rv
    >>> rv.nn.GaussianNLLLoss()(rv.tensor([1.0]), rv.tensor([3.0]), rv.tensor([4.0]))
    tensor(1.1931)
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full, self.eps = full, eps

    def _example(self) -> tuple[Any, ...]:
        return (empty(0, 1),) * 3

    def forward(self, input: Any, target: Any, var: Any) -> Tensor:
        return ops.gaussian_nll(input, target, var, self.full, self.eps, self.reduction)
