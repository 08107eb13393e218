"""Losses of margins, for targets 1 and -1."""

from __future__ import annotations

from typing import Any

from ranvier.ops.elementwise.choice import clip, minimum, where
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.elementwise.functions import sqrt
from ranvier.ops.loss.base import promoted, reduced, same_floats
from ranvier.ops.neural.distance import cosine_similarity, pairwise_distance
from ranvier.tape.function import Dtypes, in_dtypes
from ranvier.tensors.errors import number
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor


@in_dtypes(Dtypes(autocast="float32"))
def margin_ranking(x1: Any, x2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Tensor:
    """max(0, margin - target (x1 - x2)): target 1: x1 should exceed x2 by ``margin``; -1: x2 should.

    Errors as in :func:`mse`.

    >>> import ranvier as rv
    >>> x1, x2 = rv.tensor([1.0, 1.0]), rv.tensor([0.5, 0.5])
    >>> rv.nn.functional.margin_ranking_loss(x1, x2, rv.tensor([1.0, -1.0]), margin=0.2, reduction="none")
    tensor([0.0000, 0.7000])
    """
    margin = number("margin_ranking", "margin", margin)
    x1, x2, target = _of_as_many_dimensions(x1, x2, target)
    wrong_by = -target * (x1 - x2)  # as in PyTorch the tape keeps -target: a program may change the target
    return reduced("margin_ranking", clip(margin + wrong_by, 0.0), reduction)


def _of_as_many_dimensions(x1: Any, x2: Any, target: Any) -> list[Tensor]:
    """The operands of :func:`margin_ranking`, which also where losses broadcast have as many dimensions."""
    shapes = [tuple(getattr(x, "shape", ())) for x in (x1, x2, target)]
    if len({len(shape) for shape in shapes}) > 1:
        raise OpError(f"[margin_ranking] got x1, x2 and target of shapes {shapes}; expected equal shapes")
    return same_floats("margin_ranking", x1=x1, x2=x2, target=target)


@in_dtypes(Dtypes(autocast="float32"))
def cosine_embedding(x1: Any, x2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Tensor:
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.

    x1, x2: (N, D) with target (N,) or (1,), or (D,) with target (). Norms are at least 1e-6. Raises
    ValueError for other shapes or another reduction.

    >>> import ranvier as rv
    >>> x1, x2 = rv.tensor([[1.0, 0.0], [1.0, 0.0]]), rv.tensor([[1.0, 1.0], [1.0, 1.0]])
    >>> rv.nn.functional.cosine_embedding_loss(x1, x2, rv.tensor([1.0, -1.0]), reduction="none")
    tensor([0.2929, 0.7071])
    """
    margin = number("cosine_embedding", "margin", margin)
    shape = tuple(getattr(x1, "shape", ()))
    own = tuple(getattr(target, "shape", ()))
    pairs = zip(own, shape, strict=False)
    if (
        len(shape) not in (1, 2)
        or len(own) != len(shape) - 1
        or any(n != m and 1 not in (n, m) for n, m in pairs)
    ):
        raise OpError(
            f"[cosine_embedding] got target of shape {own} for x1 of shape {shape}; expected (N,) and (N, D)"
        )
    x1, x2 = promoted(x1, x2)
    if x1.shape == x2.shape:
        cosine = cosine_similarity(x1, x2, dim=-1, eps=1e-6)
    else:
        cosine = _cosine_of_several_shapes(x1, x2)
    target = as_tensor("cosine_embedding", target)
    far = where(eq(target, -1), clip(cosine - margin, 0.0), 0.0)
    return reduced("cosine_embedding", where(eq(target, 1), 1.0 - cosine, far), reduction)


def _cosine_of_several_shapes(x1: Any, x2: Any) -> Tensor:
    """The cosine along the last dimension as in PyTorch, where each norm is that of the operand before it is
    broadcast."""
    x1 = as_tensor("cosine_embedding", x1)
    x2 = as_tensor("cosine_embedding", x2)
    squares = ((x1 * x1).sum(-1) + 1e-12) * ((x2 * x2).sum(-1) + 1e-12)
    return (x1 * x2).sum(-1) / sqrt(squares)


@in_dtypes(Dtypes(autocast="float32"))
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
    return reduced("triplet_margin", clip(margin + to_positive - to_negative, 0.0), reduction)
