"""Losses of scores for C classes: x is (N, C) or (N, C, d1, ...), or (C,) for a single sample."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.activation.softmax import log_softmax
from ranvier.ops.elementwise.arithmetic import neg
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.compare import eq, ne
from ranvier.ops.elementwise.dtypes import alike, as_tensor, is_floating
from ranvier.ops.elementwise.functions import exp
from ranvier.ops.loss.base import constant, promoted
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.rows import examples
from ranvier.ops.rules import with_zero_slope
from ranvier.ops.shape.reshape import reshape, squeeze, unsqueeze
from ranvier.ops.slopes import KERNELS, TENSORS, written_once
from ranvier.tape.function import Dtypes, Function, watched
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import keep
from ranvier.tensors.tensor import Tensor, wrap


def _is_float(target: Any) -> bool:
    """True for targets that are probabilities, not class indices."""
    return getattr(getattr(target, "dtype", None), "kind", "") == "f"


def _apply(function: Function, x: Any, target: Any, reduction: str, weight: Any) -> Tensor:
    """The loss of (N, C, ...), or of a single sample (C,) as a batch of one."""
    if len(getattr(x, "shape", ())) != 1:
        return watched(function.apply(x, target), weight)
    name = re.sub("(?<!^)([A-Z])", r"_\1", type(function).__name__).lower()
    x, target = (unsqueeze(as_tensor(name, value), 0) for value in (x, target))
    loss = watched(function.apply(x, target), weight)
    return squeeze(loss, 0) if reduction == "none" else loss


class ClassLoss(Function):
    """A loss of scores. Its kernel returns the loss, and arrays that the backward kernel reads."""

    loss: Any
    dtypes = Dtypes(autocast="float32")

    def __init__(self, *settings: Any) -> None:
        self.settings = settings

    def forward(self, x: Any, target: Any) -> Any:
        self.x, self.target = x, target
        loss, *self.saved = self.loss(x, target, *self.settings)
        return loss


# --- gradients by ops on Tensors, for create_graph=True, where the kernels are gradients on arrays


def _column(weight: Any, x: Tensor) -> Any:
    """Weights (C,) as a factor for x (N, C, ...)."""
    return 1.0 if weight is None else wrap(weight.reshape(-1, *(1,) * (x.ndim - 2)))


def _one_hot(target: Tensor, x: Tensor) -> Tensor:
    """Class indices as probabilities in the shape of x; all 0 for an index that is no class."""
    count = keep(np.arange(x.shape[1]).reshape(-1, *(1,) * (x.ndim - 2)))
    return eq(unsqueeze(target, 1), wrap(count)).to(x.dtype)


def _shared(dy: Tensor, shares: Tensor, reduction: str, used: Tensor | None = None) -> Tensor:
    """dy as a factor for x (N, C, ...): (N, 1, ...) for 'none', else one number.

    'mean' divides by the sum of the shares (N, 1, ...), with which the samples count. used (N, 1, ...): False
    for targets that are ignored; if all are, the gradient is 0.
    """
    if reduction == "none":
        return reshape(dy, shares.shape)
    if reduction != "mean":
        return dy
    return dy / total(shares) if used is None else dy / where(used.any(), total(shares), math.inf)


@written_once(x=0, target=1)
class CrossEntropy(ClassLoss):
    derived = True
    loss = _core.cross_entropy

    def backward(self, dy: Any, f: Any = KERNELS) -> Any:
        arguments = (dy, self.x, self.target, *self.saved, *self.settings)
        dx = f.cross_entropy_backward(*arguments) if self.needs[0] else None
        return dx, f.cross_entropy_backward(*arguments, True) if self.needs[1] else None


def _cross_entropy_backward(
    dy: Tensor,
    x: Tensor,
    target: Tensor,
    divisor: Any,
    tops_and_sums: Any,
    reduction: str,
    weight: Any,
    ignored: int,
    smoothing: float,
    of_target: bool = False,
) -> Tensor:
    # With the smoothed and weighted targets q: loss = -sum_c q_c log(softmax(x)_c), summed over classes.
    w, uniform = _column(weight, x), smoothing / max(x.shape[1], 1)
    used = None if is_floating(target) else ne(unsqueeze(target, 1), ignored)
    log_y = log_softmax(x if used is None else where(used, x, 0.0), 1)  # ignored rows may be infinite or NaN
    if used is None:
        q = (target * (1 - smoothing) + uniform) * w
        dy = _shared(dy, wrap(np.ones((x.shape[0], 1, *x.shape[2:]), x.dtype)), reduction)
    else:
        share, chosen = used.to(x.dtype) * w, _one_hot(target, x)
        q = (chosen * (1 - smoothing) + uniform) * share
        dy = _shared(dy, total(chosen * share, 1, keepdim=True), reduction, used)
    if of_target:  # the gradient of probabilities
        return neg(dy * log_y * w) * (1 - smoothing)
    dx = dy * (exp(log_y) * total(q, 1, keepdim=True) - q)
    return dx if used is None else where(used, dx, 0.0)


TENSORS.cross_entropy_backward = _cross_entropy_backward


def cross_entropy(
    x: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log(softmax(x)) of the true class, from logits x (N, C) or (N, C, d1, ...), or (C,) for one sample.

    ``target``: class indices (N, d1, ...) of any integer dtype, or probabilities in the shape of x, for which
    the loss is -sum_c target_c log(softmax(x)_c). ``weight`` (C,): a factor for each class's logarithm.
    ``ignore_index``: of this index the loss is 0. ``label_smoothing`` e mixes the target with the uniform
    distribution, (1 - e) target + e / C. 'mean' divides by the sum of the weights of the targets that are not
    ignored (NaN if all are), which is their number without weights; of probabilities, by N d1 ...

    Raises ValueError for shapes that do not fit, for a class index outside [0, C), label_smoothing outside
    [0, 1], an ignore_index >= 0 with probabilities or another reduction, TypeError for dtypes that differ or
    are not floating.

    Source: label smoothing: Szegedy et al., "Rethinking the Inception Architecture" (2016).

    >>> import ranvier as rv
    >>> rv.nn.functional.cross_entropy(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0]))
    tensor(0.4170)
    >>> x, target = rv.tensor([[2.0, 1.0], [0.0, 3.0]]), rv.tensor([0, -100])
    >>> rv.nn.functional.cross_entropy(x, target, weight=rv.tensor([1.0, 5.0]), label_smoothing=0.1)
    tensor(0.6259)
    """
    if _is_float(target) and isinstance(ignore_index, int) and ignore_index >= 0:
        raise OpError(
            f"[cross_entropy] got ignore_index {ignore_index} and a target of probabilities; expected class "
            "indices"
        )
    if _is_float(target) and _is_float(x):
        x, target = promoted(*alike(x, target, weight)[:2])
    factors = constant("cross_entropy", "weight", weight, x)
    function = CrossEntropy(reduction, factors, ignore_index, label_smoothing)
    return _apply(function, x, target, reduction, weight)


@written_once(x=0, target=1)
class Nll(ClassLoss):
    loss = _core.nll

    def backward(self, dy: Any, f: Any = KERNELS) -> Any:
        return f.nll_backward(dy, self.x, self.target, *self.saved, *self.settings), None


def _nll_backward(
    dy: Tensor, x: Tensor, target: Tensor, divisor: Any, reduction: str, weight: Any, ignored: int
) -> Tensor:
    used = ne(unsqueeze(target, 1), ignored)
    chosen = _one_hot(target, x) * used.to(x.dtype)
    q = chosen * _column(weight, x)
    dx = neg(_shared(dy, total(q, 1, keepdim=True), reduction, used) * q)
    return with_zero_slope(where(chosen.ne(0.0), dx, 0.0), x)


TENSORS.nll_backward = _nll_backward


def nll(x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """-x of the true class: of log-probabilities x, the negative log-likelihood.

    Shapes, ``weight``, ``ignore_index``, 'mean' and errors as in :func:`cross_entropy` of class indices,
    which is this loss of log_softmax(x) in one pass.
    | rv.nn.functional.nll_loss(rv.log_softmax(rv.tensor([[2.0, 1.0, 0.1]]), dim=1), rv.tensor([0]))
    -> tensor(0.4170)"""
    factors = constant("nll", "weight", weight, x)
    return _apply(Nll(reduction, factors, ignore_index), x, target, reduction, weight)


examples(globals())
