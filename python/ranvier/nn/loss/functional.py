"""The losses of ``nn.functional``: PyTorch's arguments in its order, and the docstring of the op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import ranvier.ops as ops
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.loss.base import reduction_of

_NAMES = """
    binary_cross_entropy binary_cross_entropy_with_logits cosine_embedding_loss cross_entropy
    gaussian_nll_loss hinge_embedding_loss huber_loss kl_div l1_loss margin_ranking_loss mse_loss
    multi_margin_loss nll_loss poisson_nll_loss smooth_l1_loss soft_margin_loss triplet_margin_loss
"""
__all__ = _NAMES.split()

_F = TypeVar("_F", bound=Callable[..., Any])


def _documented_as(op: Callable[..., Any]) -> Callable[[_F], _F]:
    """Gives a function the docstring of its op."""

    def decorate(function: _F) -> _F:
        function.__doc__ = op.__doc__
        return function

    return decorate


def _weighted(name: str, losses: Tensor, weight: Any, reduction: str) -> Tensor:
    """The losses of elements times their weights; a mean is divided by the sum of the weights, that of
    huber_loss by their number, as in PyTorch."""
    weight = as_tensor(name, weight)
    if weight.shape != losses.shape:
        raise ValueError(f"[{name}] got weight of shape {weight.shape}; expected {losses.shape}")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"[{name}] got reduction {reduction!r}; expected 'none', 'mean' or 'sum'")
    losses = losses * weight
    if reduction == "none":
        return losses
    if reduction == "mean":
        return losses.mean() if name == "huber_loss" else losses.sum() / weight.sum()
    return losses.sum()


@_documented_as(ops.mse)
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
        return _weighted("mse_loss", ops.mse(input, target, "none"), weight, reduction)
    return ops.mse(input, target, reduction)


@_documented_as(ops.l1)
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
        return _weighted("l1_loss", ops.l1(input, target, "none"), weight, reduction)
    return ops.l1(input, target, reduction)


@_documented_as(ops.smooth_l1)
def smooth_l1_loss(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    return ops.smooth_l1(input, target, reduction_of("smooth_l1_loss", size_average, reduce, reduction), beta)


@_documented_as(ops.huber)
def huber_loss(
    input: Any, target: Any, reduction: str = "mean", delta: float = 1.0, weight: Any = None
) -> Tensor:
    if weight is not None:
        return _weighted("huber_loss", ops.huber(input, target, "none", delta), weight, reduction)
    return ops.huber(input, target, reduction, delta)


@_documented_as(ops.poisson_nll)
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


@_documented_as(ops.gaussian_nll)
def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    return ops.gaussian_nll(input, target, var, full, eps, reduction)


@_documented_as(ops.cross_entropy)
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


@_documented_as(ops.nll)
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


@_documented_as(ops.multi_margin)
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


@_documented_as(ops.bce)
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


@_documented_as(ops.bce_with_logits)
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


@_documented_as(ops.kl_div)
def kl_div(
    input: Any,
    target: Any,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    return ops.kl_div(input, target, reduction_of("kl_div", size_average, reduce, reduction), log_target)


@_documented_as(ops.soft_margin)
def soft_margin_loss(
    input: Any, target: Any, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
) -> Tensor:
    return ops.soft_margin(input, target, reduction_of("soft_margin_loss", size_average, reduce, reduction))


@_documented_as(ops.hinge_embedding)
def hinge_embedding_loss(
    input: Any,
    target: Any,
    margin: float = 1.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("hinge_embedding_loss", size_average, reduce, reduction)
    return ops.hinge_embedding(input, target, margin, reduction)


@_documented_as(ops.margin_ranking)
def margin_ranking_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("margin_ranking_loss", size_average, reduce, reduction)
    return ops.margin_ranking(input1, input2, target, margin, reduction)


@_documented_as(ops.cosine_embedding)
def cosine_embedding_loss(
    input1: Any,
    input2: Any,
    target: Any,
    margin: float = 0.0,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("cosine_embedding_loss", size_average, reduce, reduction)
    return ops.cosine_embedding(input1, input2, target, margin, reduction)


@_documented_as(ops.triplet_margin)
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    reduction = reduction_of("triplet_margin_loss", size_average, reduce, reduction)
    return ops.triplet_margin(anchor, positive, negative, margin, p, eps, swap, reduction)
