"""Losses of values element by element, of pairs of predictions and targets of one shape."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.nn.functional as F
import ranvier.ops
from ranvier.nn.loss.base import Loss, WeightedLoss
from ranvier.nn.loss.functional import put_public_name
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import ArrayLike, TensorLike

__all__ = LAYERS["loss.elements"]
ops: Any = ranvier.ops  # mypy finds no type of a decorated function in a cycle of imports
# {name in `nn.functional`: the library's function}: by it a loss sees whether a program has replaced the
# function.
_OWN = F._OWN


class MSELoss(Loss):
    """(x - target)^2.

    >>> import ranvier as rv
    >>> rv.nn.MSELoss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.3750)
    """

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.mse_loss is not _OWN["mse_loss"]:
            return F.mse_loss(input, target, reduction=self.reduction)
        try:
            return ops.mse(input, target, self.reduction)
        except Exception as error:
            put_public_name(error, "mse", "mse_loss")
            raise


class L1Loss(Loss):
    """|x - target|.

    >>> import ranvier as rv
    >>> rv.nn.L1Loss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.5000)
    """

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.l1_loss is not _OWN["l1_loss"]:
            return F.l1_loss(input, target, reduction=self.reduction)
        try:
            return ops.l1(input, target, self.reduction)
        except Exception as error:
            put_public_name(error, "l1", "l1_loss")
            raise


class SmoothL1Loss(Loss):
    """d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2.

    >>> import ranvier as rv
    >>> rv.nn.SmoothL1Loss()(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0]))
    tensor(1.3125)
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.smooth_l1_loss is not _OWN["smooth_l1_loss"]:
            return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)
        try:
            return ops.smooth_l1(input, target, self.reduction, self.beta)
        except Exception as error:
            put_public_name(error, "smooth_l1", "smooth_l1_loss")
            raise


class HuberLoss(Loss):
    """d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2).

    >>> import ranvier as rv
    >>> rv.nn.HuberLoss(delta=2.0)(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0]))
    tensor(2.0625)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.huber_loss is not _OWN["huber_loss"]:
            return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)
        try:
            return ops.huber(input, target, self.reduction, self.delta)
        except Exception as error:
            put_public_name(error, "huber", "huber_loss")
            raise


class PoissonNLLLoss(Loss):
    """exp(x) - target x, for counts ``target`` and the logarithms x of their rates; with ``log_input=False``
    x are the rates, and the loss is x - target log(x + eps). ``full`` adds Stirling's log(target!).

    >>> import ranvier as rv
    >>> rv.nn.PoissonNLLLoss()(rv.tensor([0.0, 1.0]), rv.tensor([1.0, 2.0]))
    tensor(0.8591)
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: TensorLike, target: TensorLike) -> Tensor:
        if F.poisson_nll_loss is not _OWN["poisson_nll_loss"]:
            return F.poisson_nll_loss(
                log_input,
                target,
                log_input=self.log_input,
                full=self.full,
                eps=self.eps,
                reduction=self.reduction,
            )
        try:
            return ops.poisson_nll(log_input, target, self.log_input, self.full, self.eps, self.reduction)
        except Exception as error:
            put_public_name(error, "poisson_nll", "poisson_nll_loss")
            raise


class GaussianNLLLoss(Loss):
    """(log v + (x - target)^2 / v) / 2 with the variance v = max(var, eps); called with x, target and var.
    ``full`` adds log(2 pi) / 2.

    >>> import ranvier as rv
    >>> rv.nn.GaussianNLLLoss()(rv.tensor([1.0]), rv.tensor([3.0]), rv.tensor([4.0]))
    tensor(1.1931)
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def _example(self) -> tuple[Tensor, ...] | None:
        x = empty(0, 1)
        return x, x, x

    def forward(self, input: TensorLike, target: TensorLike, var: TensorLike) -> Tensor:
        if F.gaussian_nll_loss is not _OWN["gaussian_nll_loss"]:
            return F.gaussian_nll_loss(
                input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
            )
        try:
            return ops.gaussian_nll(input, target, var, self.full, self.eps, self.reduction)
        except Exception as error:
            put_public_name(error, "gaussian_nll", "gaussian_nll_loss")
            raise


class _ElementWeightedLoss(WeightedLoss):
    """Base of losses whose weights broadcast to the shape of x."""

    def _example(self) -> tuple[Tensor, ...] | None:
        weights = {name: tuple(weight.shape) for name, weight in self.named_buffers()}
        try:
            x = empty(0, *np.broadcast_shapes(*weights.values()))
        except ValueError:
            raise OpError(
                f"[{type(self).__name__}] got weights of shapes {weights}; expected shapes that broadcast"
            ) from None
        return x, x


class BCELoss(_ElementWeightedLoss):
    """-(t log x + (1 - t) log(1 - x)) times ``weight``, for probabilities x; each logarithm is at least -100.

    Raises ValueError for x outside [0, 1].

    >>> import ranvier as rv
    >>> rv.nn.BCELoss()(rv.tensor([0.9, 0.1, 0.8, 0.7]), rv.tensor([1.0, 0, 1, 1]))
    tensor(0.1976)
    """

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.binary_cross_entropy is not _OWN["binary_cross_entropy"]:
            return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)
        try:
            return ops.bce(input, target, self.weight, self.reduction)
        except Exception as error:
            put_public_name(error, "bce", "binary_cross_entropy")
            raise


class BCEWithLogitsLoss(_ElementWeightedLoss):
    """BCELoss of sigmoid(x), without overflow; ``pos_weight`` multiplies the part of positive targets.

    >>> import ranvier as rv
    >>> rv.nn.BCEWithLogitsLoss()(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(0.6931)
    >>> rv.nn.BCEWithLogitsLoss(pos_weight=[3.0])(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(2.0794)
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: ArrayLike | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: ArrayLike | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self._register_weight("pos_weight", pos_weight)

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.binary_cross_entropy_with_logits is not _OWN["binary_cross_entropy_with_logits"]:
            return F.binary_cross_entropy_with_logits(
                input, target, weight=self.weight, reduction=self.reduction, pos_weight=self.pos_weight
            )
        try:
            return ops.bce_with_logits(input, target, self.weight, self.reduction, self.pos_weight)
        except Exception as error:
            put_public_name(error, "bce_with_logits", "binary_cross_entropy_with_logits")
            raise


class KLDivLoss(Loss):
    """target (log target - x), for log-probabilities x. ``reduction='batchmean'`` gives the divergence.

    >>> import ranvier as rv
    >>> x = rv.log_softmax(rv.tensor([[1.0, 2.0]]), dim=1)
    >>> rv.nn.KLDivLoss(reduction="batchmean")(x, rv.tensor([[0.5, 0.5]]))
    tensor(0.1201)
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.kl_div is not _OWN["kl_div"]:
            return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
        return ops.kl_div(input, target, self.reduction, self.log_target)
