"""Losses of scores for C classes: x is (N, C) or (N, C, d1, ...), or (C,) for a single sample."""

from __future__ import annotations

from typing import Any

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor
from ranvier.ops.layers.loss.arguments import constant, in_dtype_of
from ranvier.ops.shape import squeeze, unsqueeze

__all__ = ["cross_entropy", "focal", "multi_margin", "nll"]


def _is_float(target: Any) -> bool:
    return getattr(getattr(target, "dtype", None), "kind", "") == "f"


def _apply(function: Function, x: Any, target: Any, reduction: str) -> Tensor:
    """The loss of (N, C, ...), or of a single sample (C,) as a batch of one."""
    if len(getattr(x, "shape", ())) != 1:
        return function.apply(x, target)
    loss = function.apply(unsqueeze(x, 0), unsqueeze(target, 0))
    return squeeze(loss, 0) if reduction == "none" else loss


def _scores(x: Any, target: Any) -> tuple[Any, Any]:
    """Scores () as those of one class; scores (C,) with a target (1,) as a batch of one."""
    shapes = [getattr(value, "shape", None) for value in (x, target)]
    x = unsqueeze(x, 0) if shapes[0] == () else x
    return (unsqueeze(x, 0), target) if len(x.shape) == 1 and shapes[1] == (1,) else (x, target)


class ClassLoss(Function):
    """A loss of scores. Its kernel returns the loss, and arrays that the backward kernel reads."""

    loss: Any
    gradient: Any

    def __init__(self, *settings: Any) -> None:
        self.settings = settings

    def forward(self, x: Any, target: Any) -> Any:
        self.x, self.target = x, target
        loss, *self.saved = self.loss(x, target, *self.settings)
        return loss

    def backward(self, dy: Any) -> Any:
        return self.gradient(dy, self.x, self.target, *self.saved, *self.settings), None


class CrossEntropy(ClassLoss):
    loss, gradient = _core.cross_entropy, _core.cross_entropy_backward

    def backward(self, dy: Any) -> Any:
        gradient: Any = _core.cross_entropy_backward
        arguments = (dy, self.x, self.target, *self.saved, *self.settings)
        dx = gradient(*arguments) if self.needs[0] else None
        return dx, gradient(*arguments, True) if self.needs[1] else None


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
        raise ValueError(
            f"[cross_entropy] got ignore_index {ignore_index} and a target of probabilities; expected class "
            "indices"
        )
    weight = constant("cross_entropy", "weight", weight, x)
    function = CrossEntropy(reduction, weight, ignore_index, label_smoothing)
    return _apply(function, x, in_dtype_of(x, target) if _is_float(target) else target, reduction)


class Nll(ClassLoss):
    loss, gradient = _core.nll, _core.nll_backward


def nll(x: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Tensor:
    """-x of the true class: of log-probabilities x, the negative log-likelihood.

    Shapes, ``weight``, ``ignore_index``, 'mean' and errors as in :func:`cross_entropy` of class indices,
    which is this loss of log_softmax(x) in one pass.

    >>> import ranvier as rv
    >>> x = rv.log_softmax(rv.tensor([[2.0, 1.0, 0.1]]), dim=1)
    >>> rv.nn.functional.nll_loss(x, rv.tensor([0]))
    tensor(0.4170)
    """
    weight = constant("nll", "weight", weight, x)
    return _apply(Nll(reduction, weight, ignore_index), x, target, reduction)


class Focal(ClassLoss):
    loss, gradient = _core.focal, _core.focal_backward


def focal(
    x: Any,
    target: Any,
    gamma: float = 2.0,
    alpha: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """alpha_t (1 - p)^gamma (-log p) with p = softmax(x) of the true class t: classes that are already right
    count little. gamma = 0 without alpha is cross-entropy.

    x: logits (N, C), (N, C, d1, ...) or (C,); target: class indices (N, d1, ...). ``alpha`` (C,): a factor
    for each class. 'mean' divides by the number of targets that are not ``ignore_index``, with or without
    alpha. :func:`sigmoid_focal` is the form for independent yes-or-no targets.

    Raises ValueError for gamma < 0, else as :func:`cross_entropy`.

    Source: Lin et al., "Focal Loss for Dense Object Detection" (2017), equation 5.

    >>> import ranvier as rv
    >>> rv.nn.functional.focal_loss(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0]))
    tensor(0.0485)
    """
    function = Focal(reduction, gamma, constant("focal", "alpha", alpha, x), ignore_index)
    return _apply(function, x, target, reduction)


class MultiMargin(ClassLoss):
    loss, gradient = _core.multi_margin, _core.multi_margin_backward


def multi_margin(
    x: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """sum over c != t of weight_t max(0, margin - x_t + x_c)^p / C, the hinge loss of scores x (N, C), (C,)
    or (), one score, for C classes; t is the true class, p 1 or 2.

    'mean' divides by N. Raises ValueError for another p, shapes that do not fit, a class index outside [0, C)
    or another reduction, TypeError for dtypes that differ or are not floating.

    Source: Crammer and Singer, "On the Algorithmic Implementation of Multiclass Kernel-based Vector
    Machines" (2001), with the sum of Weston and Watkins (1999) in place of its maximum.

    >>> import ranvier as rv
    >>> rv.nn.functional.multi_margin_loss(rv.tensor([[0.1, 0.2, 0.4, 0.8]]), rv.tensor([3]))
    tensor(0.3250)
    """
    function = MultiMargin(reduction, p, margin, constant("multi_margin", "weight", weight, x))
    x, target = _scores(x, target) if hasattr(x, "shape") else (x, target)
    return _apply(function, x, target, reduction)
