"""Losses: how far predictions lie from targets.

``reduction`` is 'mean' (the sum of the elements' losses divided by their number), 'sum' or 'none'. Shapes
are not broadcast: (n,) against (n, 1) raises ValueError.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier import _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor


def _in_dtype_of(x: Any, target: Any) -> Any:
    """A NumPy target in the dtype of x, so that float64 data trains a float32 model; Tensors as they are."""
    dtype = getattr(x, "dtype", None)
    if (
        dtype is not None
        and isinstance(target, np.ndarray)
        and target.dtype.kind in "biuf"
        and target.dtype != dtype
    ):
        return target.astype(dtype)
    return target


class Mse(Function):
    def __init__(self, reduction: str) -> None:
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Any:
        self.x, self.target = x, target
        return _core.mse(x, target, self.reduction)

    def backward(self, dy: Any) -> Any:
        dx = _core.mse_backward(dy, self.x, self.target, self.reduction) if self.needs[0] else None
        dt = _core.mse_backward(dy, self.x, self.target, self.reduction, True) if self.needs[1] else None
        return dx, dt


def mse(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """The squared error (x - target)^2, x and target of one shape.

    Raises ValueError for different shapes or another reduction, TypeError for dtypes that differ or are not
    floating.

    >>> import ranvier as rv
    >>> rv.nn.functional.mse_loss(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.3750)
    """
    return Mse(reduction).apply(x, _in_dtype_of(x, target))


class Bce(Function):
    def __init__(self, reduction: str) -> None:
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Any:
        self.x, self.target = x, target
        return _core.bce(x, target, self.reduction)

    def backward(self, dy: Any) -> Any:
        dx = _core.bce_backward(dy, self.x, self.target, self.reduction) if self.needs[0] else None
        dt = _core.bce_backward(dy, self.x, self.target, self.reduction, True) if self.needs[1] else None
        return dx, dt


def bce(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy -(t log x + (1 - t) log(1 - x)) of probabilities x; each logarithm is at least
    -100, so that the loss is finite.

    Raises ValueError for different shapes, for x outside [0, 1] or another reduction, TypeError for dtypes
    that differ or are not floating. :func:`bce_with_logits` is more accurate and takes x before the sigmoid.

    >>> import ranvier as rv
    >>> rv.nn.functional.binary_cross_entropy(rv.tensor([0.9, 0.1, 0.8, 0.7]), rv.tensor([1.0, 0, 1, 1]))
    tensor(0.1976)
    """
    return Bce(reduction).apply(x, _in_dtype_of(x, target))


class BceWithLogits(Function):
    def __init__(self, reduction: str) -> None:
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Any:
        self.x, self.target = x, target
        return _core.bce_with_logits(x, target, self.reduction)

    def backward(self, dy: Any) -> Any:
        arguments = (dy, self.x, self.target, self.reduction)
        dx = _core.bce_with_logits_backward(*arguments) if self.needs[0] else None
        dt = _core.bce_with_logits_backward(*arguments, True) if self.needs[1] else None
        return dx, dt


def bce_with_logits(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy of sigmoid(x): max(x, 0) - x t + log(1 + exp(-|x|)), which cannot overflow.

    Raises ValueError for different shapes or another reduction, TypeError for dtypes that differ or are not
    floating.

    >>> import ranvier as rv
    >>> rv.nn.functional.binary_cross_entropy_with_logits(rv.tensor([1000.0]), rv.tensor([0.0]))
    tensor(1000.)
    """
    return BceWithLogits(reduction).apply(x, _in_dtype_of(x, target))


class CrossEntropy(Function):
    def __init__(self, reduction: str) -> None:
        self.reduction = reduction

    def forward(self, x: Any, target: Any) -> Any:
        self.x, self.target = x, target
        loss, self.log_sum_exp = _core.cross_entropy(x, target, self.reduction)
        return loss

    def backward(self, dy: Any) -> Any:
        arguments = (dy, self.x, self.target, self.log_sum_exp, self.reduction)
        dx = _core.cross_entropy_backward(*arguments) if self.needs[0] else None
        dt = _core.cross_entropy_backward(*arguments, True) if self.needs[1] else None
        return dx, dt


def cross_entropy(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """-log(softmax(x)) of the true class, from logits x (N, C) or (N, C, d1, ...).

    ``target``: class indices (N, d1, ...) of any integer dtype, or probabilities in the shape of x, for which
    the loss is -sum_c target_c log(softmax(x)_c). 'mean' divides by the number of indices, N d1 ...

    Raises ValueError for shapes that do not fit, for a class index outside [0, C) or another reduction,
    TypeError for dtypes that differ or are not floating.

    >>> import ranvier as rv
    >>> rv.nn.functional.cross_entropy(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0]))
    tensor(0.4170)
    """
    if getattr(getattr(target, "dtype", None), "kind", "") == "f":
        target = _in_dtype_of(x, target)
    return CrossEntropy(reduction).apply(x, target)
