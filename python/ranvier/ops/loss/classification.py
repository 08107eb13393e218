"""Losses of scores for C classes, cross_entropy and nll: x is (N, C) or (N, C, d1, ...), or (C,) for a single
sample.

The kernels are the core's `cross_entropy` and `nll`. forward saves x, the target and what the kernel returns
besides the loss. A target is of class indices (integers), or of probabilities in the shape of x (floats).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeGuard

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import alike, as_tensor, is_floating
from ranvier.ops.gradient_rules import differentiated, inputs, recomputed, with_zero_slope
from ranvier.ops.loss.base import constant, promoted
from ranvier.tape.function import Dtypes, Function, watched
from ranvier.tape.higher_order import rule
from ranvier.tensors.failures import DtypeError, OpError, misfit
from ranvier.tensors.memory import Array, keep
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike

_INDICES = "class indices of an integer dtype: y.long(), of a NumPy array y.astype(int)"


def _is_float(target: object) -> TypeGuard[Tensor | Array]:
    """True for targets that are probabilities, not class indices."""
    dtype = getattr(target, "dtype", None)
    return getattr(dtype, "kind", "") == "f"


def _apply(
    function: Function, x: TensorLike, target: TensorLike, reduction: str, weight: TensorLike | None
) -> Tensor:
    """The loss of (N, C, ...), or of a single sample (C,) as a batch of one.

    `watched`: backward raises an error if the weight, which the Function holds as a setting, was changed in
    place after forward.
    """
    if len(getattr(x, "shape", ())) != 1:
        return watched(function.apply(x, target), weight)
    name = re.sub("(?<!^)([A-Z])", r"_\1", type(function).__name__).lower()
    row = as_tensor(name, x).unsqueeze(0)
    target_row = as_tensor(name, target).unsqueeze(0)
    loss = watched(function.apply(row, target_row), weight)
    if reduction == "none":
        return loss.squeeze(0)
    return loss


class ClassLoss(Function):
    """A loss of scores. Its kernel returns the loss, and arrays that the kernel of backward reads.

    settings: reduction, weight, ignore_index, and for CrossEntropy label_smoothing.
    """

    loss: Callable[..., Any]
    # half floats are computed in float32, and in a block of autocast the result is float32, too
    dtypes = Dtypes(autocast="float32")

    def __init__(self, *settings: Any) -> None:
        self.settings = settings

    def forward(self, x: Array, target: Array) -> Array:
        self.x = x
        self.target = target
        loss, *self.saved = self.loss(x, target, *self.settings)
        return loss

    def formula(self, x: Tensor, target: Tensor) -> Tensor:
        """The loss by differentiable ops. x: logits; for Nll, logarithms of probabilities."""
        reduction, weight, ignored, *smoothing = self.settings
        share = _column(weight, x)
        chosen = target
        if not is_floating(target):
            used = target.unsqueeze(1).ne(ignored)
            share = used.to(x.dtype) * share
            chosen = _one_hot(target, x)
            x = x.where(used, 0.0)  # Rows of ignored targets may be infinite or NaN.
        if smoothing:  # logits of CrossEntropy
            x = x.log_softmax(1)
        if smoothing and smoothing[0]:
            (smoothed,) = smoothing  # the share of probability that all classes get alike
            uniform = smoothed / max(x.shape[1], 1)
            x = x * (chosen * (1 - smoothed) + uniform) * share
        elif is_floating(target):
            x = x * chosen * share
        else:  # The logarithms of other classes may be infinite, so they are not multiplied by 0.
            others = chosen.eq(0.0)
            x = x.masked_fill(others, 0.0) * share.masked_fill(others, 0.0)
        losses = -x.sum(1)
        if reduction != "mean":
            if reduction == "none":
                return losses
            return losses.sum()
        if is_floating(target):
            return losses.mean()
        return losses.sum() / (chosen * share).sum()


def _column(weight: Array | None, x: Tensor) -> Any:
    """Weights (C,) as a factor for x (N, C, ...)."""
    if weight is None:
        return 1.0
    return wrap(weight).reshape(-1, *(1,) * (x.ndim - 2))


def _one_hot(target: Tensor, x: Tensor) -> Tensor:
    """Class indices as probabilities in the shape of x; all 0 for an index that is no class."""
    count = keep(np.arange(x.shape[1]).reshape(-1, *(1,) * (x.ndim - 2)))
    return target.unsqueeze(1).eq(wrap(count)).to(x.dtype)


class CrossEntropy(ClassLoss):
    """Of logits x. settings: reduction, weight, ignore_index, label_smoothing."""

    derived = True  # backward reads arrays that forward has computed
    loss = _core.cross_entropy

    def backward(self, dy: Array) -> tuple[Array | None, Array | None]:
        gradient: Any = _core.cross_entropy_backward
        saved = (*self.saved, *self.settings)
        dx = None
        dtarget = None
        if self.needs[0]:
            dx = gradient(dy, self.x, self.target, *saved)
        if self.needs[1]:
            dtarget = gradient(dy, self.x, self.target, *saved, of_target=True)
        return dx, dtarget


def cross_entropy(
    x: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """The op of :func:`ranvier.nn.functional.cross_entropy`, which describes it."""
    if _is_float(target) and isinstance(ignore_index, int) and ignore_index >= 0:
        raise OpError(
            f"[cross_entropy] got ignore_index {ignore_index} and a target of probabilities; expected class "
            "indices"
        )
    if _is_float(target) and _is_float(x):
        if x.shape != target.shape:
            shapes = {"x": tuple(x.shape), "target": tuple(target.shape)}
            expected = f"{_INDICES}; or probabilities in the shape of x"
            raise misfit("cross_entropy", shapes, expected, f" and dtype {target.dtype.name}")
        x, target = promoted(*alike(x, target, weight)[:2])
    factors = constant("cross_entropy", "weight", weight, x)
    function = CrossEntropy(reduction, factors, ignore_index, label_smoothing)
    return _apply(function, x, target, reduction, weight)


class Nll(ClassLoss):
    """Of logarithms of probabilities x. settings: reduction, weight, ignore_index."""

    loss = _core.nll

    def backward(self, dy: Array) -> tuple[Array, None]:
        return _core.nll_backward(dy, self.x, self.target, *self.saved, *self.settings), None


# For create_graph: the loss is computed again as a formula of ops.
recomputed("x", "target", kinds=(CrossEntropy,))(ClassLoss.formula)


@rule(Nll)
def _of_nll(node: Nll, dy: Tensor) -> Any:
    x, target = inputs(node, [node.x, node.target])
    dx: Any
    dx, none = differentiated(node, [x, target], node.formula, dy)
    return with_zero_slope(dx, x), none


def nll(
    x: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """The op of :func:`ranvier.nn.functional.nll_loss`, which describes it."""
    if _is_float(target):
        raise DtypeError(f"[nll] got target of dtype {target.dtype.name}; expected {_INDICES}")
    factors = constant("nll", "weight", weight, x)
    return _apply(Nll(reduction, factors, ignore_index), x, target, reduction, weight)
