"""Losses of margins, for targets 1 and -1."""

from __future__ import annotations

from typing import Any

import ranvier._core as _core
from ranvier.autograd.errors import number, own_error
from ranvier.autograd.failures import OpError
from ranvier.autograd.memory import filled
from ranvier.autograd.tensor import Tensor
from ranvier.ops.activation.smooth import sigmoid
from ranvier.ops.elementwise.arithmetic import neg
from ranvier.ops.elementwise.choice import minimum, where
from ranvier.ops.elementwise.compare import eq, ne
from ranvier.ops.elementwise.dtypes import F32, floating
from ranvier.ops.loss.base import LossOfThree, element_loss, in_dtype_of
from ranvier.ops.neural.distance import cosine_similarity, pairwise_distance
from ranvier.ops.rules import none

__all__ = ["cosine_embedding", "hinge_embedding", "margin_ranking", "soft_margin", "triplet_margin"]

SoftMargin = element_loss(
    "SoftMargin",
    _core.soft_margin,
    _core.soft_margin_backward,
    lambda x, t: neg(sigmoid(neg(t * x)) * t),
    lambda x, t: neg(sigmoid(neg(t * x)) * x),
)


def soft_margin(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target x)), the logistic loss for targets 1 and -1.

    Errors as in :func:`mse`.

    >>> import ranvier as rv
    >>> rv.nn.functional.soft_margin_loss(rv.tensor([0.0, 2.0]), rv.tensor([1.0, -1.0]), reduction="none")
    tensor([0.6931, 2.1269])
    """
    return SoftMargin(reduction).apply(x, in_dtype_of(x, target))


def _hinge_by_x(x: Tensor, t: Tensor, margin: float) -> Any:
    near = where(margin - x >= 0.0, -1.0, none(x.shape, x))
    return where(ne(t, 1.0), near, 0.0) + where(ne(t, -1.0), 1.0, none(x.shape, x))


HingeEmbedding = element_loss(
    "HingeEmbedding", _core.hinge_embedding, _core.hinge_embedding_backward, _hinge_by_x, None
)


def hinge_embedding(x: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1: x is a distance, small for similar
    inputs. With x = -score target and targets -1, the hinge loss of a support vector machine.

    Errors as in :func:`mse`.

    >>> import ranvier as rv
    >>> rv.nn.functional.hinge_embedding_loss(rv.tensor([0.3, 0.3]), rv.tensor([1.0, -1.0]), reduction="none")
    tensor([0.3000, 0.7000])
    """
    return HingeEmbedding(reduction, margin).apply(x, in_dtype_of(x, target))


def _violated(x1: Tensor, x2: Tensor, t: Tensor, margin: float) -> Tensor:
    return where(margin - t * (x1 - x2) >= 0.0, 1.0, none(x1.shape, x1))


class MarginRanking(LossOfThree):
    loss, gradient = _core.margin_ranking, _core.margin_ranking_backward
    names = ("x1", "x2", "target")
    slopes = (
        lambda x1, x2, t, margin: neg(_violated(x1, x2, t, margin) * t),
        lambda x1, x2, t, margin: _violated(x1, x2, t, margin) * t,
        lambda x1, x2, t, margin: _violated(x1, x2, t, margin) * (x2 - x1),
    )


def margin_ranking(x1: Any, x2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Tensor:
    """max(0, margin - target (x1 - x2)): target 1: x1 should exceed x2 by ``margin``; -1: x2 should.

    Errors as in :func:`mse`.

    >>> import ranvier as rv
    >>> x1, x2 = rv.tensor([1.0, 1.0]), rv.tensor([0.5, 0.5])
    >>> rv.nn.functional.margin_ranking_loss(x1, x2, rv.tensor([1.0, -1.0]), margin=0.2, reduction="none")
    tensor([0.0000, 0.7000])
    """
    x1 = x1 if getattr(x1, "dtype", F32).kind == "f" else floating(x1, "margin_ranking")
    return MarginRanking(reduction, margin).apply(x1, in_dtype_of(x1, x2), in_dtype_of(x1, target))


def _cosine_by_x(x: Tensor, t: Tensor, margin: float) -> Tensor:
    far = where(eq(t, -1.0) & (x >= margin), 1.0, none(x.shape, x))
    return where(eq(t, 1.0), -1.0, far)


CosineMargin = element_loss(
    "CosineMargin", _core.cosine_margin, _core.cosine_margin_backward, _cosine_by_x, None
)


@own_error
def cosine_embedding(x1: Any, x2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Tensor:
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.

    x1, x2: (N, D) with target (N,), or (D,) with target (). Norms are at least 1e-6. Raises ValueError for
    other shapes or another reduction, TypeError for dtypes that differ or are not floating.

    >>> import ranvier as rv
    >>> x1, x2 = rv.tensor([[1.0, 0.0], [1.0, 0.0]]), rv.tensor([[1.0, 1.0], [1.0, 1.0]])
    >>> rv.nn.functional.cosine_embedding_loss(x1, x2, rv.tensor([1.0, -1.0]), reduction="none")
    tensor([0.2929, 0.7071])
    """
    shape, own = tuple(getattr(x1, "shape", ())), tuple(getattr(target, "shape", ()))
    if len(shape) not in (1, 2) or own != shape[:-1]:
        raise OpError(
            f"[cosine_embedding] got target of shape {own} for x1 of shape {shape}; expected (N,) and (N, D)"
        )
    cosine = cosine_similarity(x1, in_dtype_of(x1, x2), dim=-1, eps=1e-6)
    return CosineMargin(reduction, margin).apply(cosine, in_dtype_of(cosine, target))


@own_error
def triplet_margin(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin + d(anchor, positive) - d(anchor, negative)) with d = :func:`pairwise_distance`: the
    anchor should be nearer to the positive than to the negative. ``swap`` takes the smaller of
    d(anchor, negative) and d(positive, negative).

    anchor, positive, negative: (N, D) or (D,). Raises ValueError for p <= 0, margin <= 0 or another
    reduction, TypeError for dtypes that differ or are not floating.

    Source: Balntas et al., "Learning local feature descriptors with triplets and shallow convolutional neural
    networks" (2016).

    >>> import ranvier as rv
    >>> anchor, near, far = (rv.tensor([[x, 0.0]]) for x in (0.0, 1.0, 1.5))
    >>> rv.nn.functional.triplet_margin_loss(anchor, near, far)
    tensor(0.5000)
    """
    number("triplet_margin", "margin", margin, 0, above=True)
    to_positive = pairwise_distance(anchor, positive, p, eps)
    to_negative = pairwise_distance(anchor, negative, p, eps)
    if swap:
        to_negative = minimum(to_negative, pairwise_distance(positive, negative, p, eps))
    ones = filled(1, to_negative.shape, to_negative.dtype)
    return margin_ranking(to_negative, to_positive, ones, margin, reduction)
