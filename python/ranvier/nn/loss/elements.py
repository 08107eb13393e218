"""Layers: losses of elements, of values and of probabilities."""

from __future__ import annotations

from inspect import Parameter
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.failures import OpError
from ranvier.autograd.tensor import Tensor
from ranvier.nn.loss import Loss, WeightedLoss
from ranvier.ops.rows import examples

_NAMES = """
    BCELoss BCEWithLogitsLoss GaussianNLLLoss HuberLoss KLDivLoss L1Loss MSELoss
    PoissonNLLLoss SmoothL1Loss
"""
__all__ = _NAMES.split()


class MSELoss(Loss):
    """(x - target)^2.
    | rv.nn.MSELoss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8])) -> tensor(0.3750)"""

    _op = "mse"


class L1Loss(Loss):
    """|x - target|.
    | rv.nn.L1Loss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8])) -> tensor(0.5000)"""

    _op = "l1"


class SmoothL1Loss(Loss):
    """d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2.
    | rv.nn.SmoothL1Loss()(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0])) -> tensor(1.3125)"""

    _op = "smooth_l1"


class HuberLoss(Loss):
    """d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2).
    | rv.nn.HuberLoss(delta=2.0)(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0])) -> tensor(2.0625)"""

    _op = "huber"


class PoissonNLLLoss(Loss):
    """exp(x) - target x, of counts ``target`` and logarithms x of their rates; of rates x, with ``log_input``
    False, x - target log(x + eps). ``full`` adds Stirling's log(target!).
    | rv.nn.PoissonNLLLoss()(rv.tensor([0.0, 1.0]), rv.tensor([1.0, 2.0])) -> tensor(0.8591)"""

    _op = "poisson_nll"

    def forward(self, log_input: Any, target: Any) -> Tensor:
        return ops.poisson_nll(log_input, target, self.log_input, self.full, self.eps, self.reduction)


class GaussianNLLLoss(Loss):
    """(log v + (x - target)^2 / v) / 2 of the variance v = max(var, eps); called with x, target and var.
    ``full`` adds log(2 pi) / 2.
    | rv.nn.GaussianNLLLoss()(rv.tensor([1.0]), rv.tensor([3.0]), rv.tensor([4.0])) -> tensor(1.1931)"""

    _op, _kind = "gaussian_nll", Parameter.KEYWORD_ONLY


class _Weighted(WeightedLoss):
    def _example(self) -> tuple[Any, ...]:
        weights = {name: tuple(weight.shape) for name, weight in self.named_buffers()}
        try:
            x = empty(0, *np.broadcast_shapes(*weights.values()))
        except ValueError:
            raise OpError(
                f"[{type(self).__name__}] got weights of shapes {weights}; expected shapes that broadcast"
            ) from None
        return x, x


class BCELoss(_Weighted):
    """-(t log x + (1 - t) log(1 - x)) for probabilities x, each logarithm at least -100; times ``weight``.

    Raises ValueError for x outside [0, 1].
    | rv.nn.BCELoss()(rv.tensor([0.9, 0.1, 0.8, 0.7]), rv.tensor([1.0, 0, 1, 1])) -> tensor(0.1976)"""

    _op = "bce"


class BCEWithLogitsLoss(_Weighted):
    """BCELoss of sigmoid(x), without overflow; ``pos_weight`` multiplies the part of positive targets.

    >>> import ranvier as rv
    >>> rv.nn.BCEWithLogitsLoss()(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(0.6931)
    >>> rv.nn.BCEWithLogitsLoss(pos_weight=[3.0])(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(2.0794)
    """

    _op = "bce_with_logits"


class KLDivLoss(Loss):
    """target (log target - x) of log-probabilities x; ``reduction`` 'batchmean' gives the divergence.

    >>> import ranvier as rv
    >>> x = rv.log_softmax(rv.tensor([[1.0, 2.0]]), dim=1)
    >>> rv.nn.KLDivLoss(reduction="batchmean")(x, rv.tensor([[0.5, 0.5]]))
    tensor(0.1201)
    """

    _op = "kl_div"


examples(globals())
