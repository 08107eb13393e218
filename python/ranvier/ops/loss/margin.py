"""Losses of margins: margin_ranking, cosine_embedding (both for targets 1 and -1) and triplet_margin.
They are composed of ops, which give the gradients. `nn.functional` has them under PyTorch's
names, with descriptions.
"""

from __future__ import annotations

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
from ranvier.tensors.types import Shape, TensorLike


@in_dtypes(Dtypes(autocast="float32"))
def margin_ranking(
    x1: TensorLike, x2: TensorLike, target: TensorLike, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """The op of :func:`ranvier.nn.functional.margin_ranking_loss`, which describes it."""
    margin = number("margin_ranking", "margin", margin)
    shapes = [tuple(getattr(x, "shape", ())) for x in (x1, x2, target)]
    ranks = {len(shape) for shape in shapes}
    if len(ranks) > 1:  # an error also where losses broadcast
        raise OpError(f"[margin_ranking] got x1, x2 and target of shapes {shapes}; expected equal shapes")
    first, second, sign = same_floats("margin_ranking", x1=x1, x2=x2, target=target)
    wrong_by = -sign * (first - second)  # as in PyTorch the tape has -target: a program may change the target
    return reduced("margin_ranking", clip(margin + wrong_by, 0.0), reduction)


@in_dtypes(Dtypes(autocast="float32"))
def cosine_embedding(
    x1: TensorLike, x2: TensorLike, target: TensorLike, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """The op of :func:`ranvier.nn.functional.cosine_embedding_loss`, which describes it."""
    margin = number("cosine_embedding", "margin", margin)
    shape = tuple(getattr(x1, "shape", ()))
    target_shape = tuple(getattr(target, "shape", ()))
    if not _is_batch(target_shape, shape):
        raise OpError(
            f"[cosine_embedding] got target of shape {target_shape} for x1 of shape {shape}; expected (N,) "
            "and (N, D)"
        )
    first, second = promoted(x1, x2)
    if first.shape == second.shape:
        cosine = cosine_similarity(first, second, dim=-1, eps=1e-6)  # the root of the 1e-12 below
    else:
        cosine = _cosine_of_several_shapes(first, second)
    target = as_tensor("cosine_embedding", target)
    far = where(eq(target, -1), clip(cosine - margin, 0.0), 0.0)
    return reduced("cosine_embedding", where(eq(target, 1), 1.0 - cosine, far), reduction)


def _is_batch(target_shape: Shape, shape: Shape) -> bool:
    """True for targets (N,) or (1,) of x (N, D), and () of x (D,)."""
    if len(shape) == 1:
        return target_shape == ()
    if len(shape) != 2 or len(target_shape) != 1:
        return False
    n = target_shape[0]
    return n == shape[0] or n == 1 or shape[0] == 1


def _cosine_of_several_shapes(x1: TensorLike, x2: TensorLike) -> Tensor:
    """The cosine along the last dimension as in PyTorch, where each norm is that of the operand before it is
    broadcast."""
    x1 = as_tensor("cosine_embedding", x1)
    x2 = as_tensor("cosine_embedding", x2)
    # PyTorch adds 1e-12 to each square
    squares = ((x1 * x1).sum(-1) + 1e-12) * ((x2 * x2).sum(-1) + 1e-12)
    return (x1 * x2).sum(-1) / sqrt(squares)


@in_dtypes(Dtypes(autocast="float32"))
def triplet_margin(
    anchor: TensorLike,
    positive: TensorLike,
    negative: TensorLike,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """The op of :func:`ranvier.nn.functional.triplet_margin_loss`, which describes it."""
    number("triplet_margin", "margin", margin, 0, above=True)
    to_positive = pairwise_distance(anchor, positive, p, eps)
    to_negative = pairwise_distance(anchor, negative, p, eps)
    if swap:
        to_negative = minimum(to_negative, pairwise_distance(positive, negative, p, eps))
    return reduced("triplet_margin", clip(margin + to_positive - to_negative, 0.0), reduction)
