"""Losses of margins and of several labels that few programs use, with their names in nn.functional.

They are composed of ops, which give the gradients. `size_average` and `reduce` are old arguments of PyTorch,
for which `reduction_of` warns. `like_first`: the result has the dtype of the first argument.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ranvier.ops.activation.smooth import softplus
from ranvier.ops.elementwise.choice import clip, minimum, where
from ranvier.ops.elementwise.compare import eq, ne
from ranvier.ops.elementwise.dtypes import alike, as_tensor, floating
from ranvier.ops.loss.base import OldFlag, constant, in_one_shape, reduced, reduction_of, same_floats
from ranvier.ops.loss.probability import bce_with_logits
from ranvier.ops.neural.distance import pairwise_distance
from ranvier.ops.reduction.reduce import mean, sum as total
from ranvier.ops.shape.index import gather
from ranvier.tape.function import Dtypes, in_dtypes
from ranvier.tensors.errors import number
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike

# The stacklevel of the line that calls a function here. The frames are reduction_of, the function, two of
# `in_dtypes`, that of `own_error`, which wraps public functions, and that line.
_LEVEL = 6


@in_dtypes(Dtypes(autocast="float32", like_first=True))
def hinge_embedding_loss(
    input: TensorLike,
    target: TensorLike,
    margin: float = 1.0,
    size_average: OldFlag = None,
    reduce: OldFlag = None,
    reduction: str = "mean",
) -> Tensor:
    """x where the target is 1, max(0, margin - x) where it is -1. Shapes and dtypes as in ``mse_loss``.

    >>> import ranvier as rv
    >>> rv.nn.functional.hinge_embedding_loss(rv.tensor([2.0, 0.5]), rv.tensor([1, -1]))
    tensor(1.2500)
    """
    margin = number("hinge_embedding_loss", "margin", margin)
    reduction = reduction_of("hinge_embedding_loss", size_average, reduce, reduction, _LEVEL)
    x, target = same_floats("hinge_embedding_loss", input=input, target=target)
    losses = where(ne(target, -1), x, 0.0) + where(ne(target, 1), clip(margin - x, 0.0), 0.0)
    return reduced("hinge_embedding_loss", losses, reduction)


@in_dtypes(Dtypes(autocast="float32", like_first=True))
def soft_margin_loss(
    input: TensorLike,
    target: TensorLike,
    size_average: OldFlag = None,
    reduce: OldFlag = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-target x)), of targets 1 and -1. Shapes and dtypes as in ``mse_loss``.

    >>> import ranvier as rv
    >>> rv.nn.functional.soft_margin_loss(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(0.6931)
    """
    reduction = reduction_of("soft_margin_loss", size_average, reduce, reduction, _LEVEL)
    x, target = same_floats("soft_margin_loss", input=input, target=target)
    return reduced("soft_margin_loss", softplus(-target * x, threshold=np.inf), reduction)


@in_dtypes(Dtypes(autocast="float32"))
def multi_margin_loss(
    input: TensorLike,
    target: TensorLike,
    p: int = 1,
    margin: float = 1.0,
    weight: TensorLike | None = None,
    size_average: OldFlag = None,
    reduce: OldFlag = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over all C classes of max(0, margin - x[target] + x[j])^p, 0 for j = target, times
    weight[target]: x (N, C) or (C,), target (N,) or (). p is 1 or 2.

    >>> import ranvier as rv
    >>> rv.nn.functional.multi_margin_loss(rv.tensor([[0.5, 0.25]]), rv.tensor([0]))
    tensor(0.3750)
    """
    name = "multi_margin_loss"
    margin = number(name, "margin", margin)
    reduction = reduction_of(name, size_average, reduce, reduction, _LEVEL)
    x = _scores(name, input)
    chosen = as_tensor(name, target)
    target_shape = chosen.shape
    if x.shape[:-1] in ((), (1,)) and target_shape in ((), (1,)):  # one row
        x = x.reshape(1, -1)
        chosen = chosen.reshape(1)
    if chosen.shape != x.shape[:-1] or p not in (1, 2):
        raise OpError(
            f"[{name}] got target of shape {chosen.shape} for x of shape {x.shape} and p {p}; expected "
            "(N,) and (N, C), and p 1 or 2"
        )
    at = chosen.unsqueeze(-1)
    losses = _positive(margin - gather(x, -1, at) + x)
    if p == 2:
        losses = losses * losses
    weights = constant(name, "weight", weight, x)
    if weights is not None:
        losses = losses * wrap(weights)[chosen].unsqueeze(-1)
    others = ne(wrap(np.arange(x.shape[-1])), at)
    result = reduced(name, mean(where(others, losses, 0.0), -1), reduction)
    if reduction == "none":
        return result.reshape(target_shape)
    return result


@in_dtypes(Dtypes(autocast="float32"))
def multilabel_margin_loss(
    input: TensorLike,
    target: TensorLike,
    size_average: OldFlag = None,
    reduce: OldFlag = None,
    reduction: str = "mean",
) -> Tensor:
    """The sum of max(0, 1 - x[j] + x[i]) / C over the labels j and all other classes i: x (N, C) or (C,);
    target, of the same shape, has a row's labels, and -1 after the last.

    >>> import ranvier as rv
    >>> rv.nn.functional.multilabel_margin_loss(rv.tensor([0.5, 0.25]), rv.tensor([0, -1]))
    tensor(0.3750)
    """
    name = "multilabel_margin_loss"
    reduction = reduction_of(name, size_average, reduce, reduction, _LEVEL)
    x = _scores(name, input)
    labels = _row(as_tensor(name, target))
    if labels.shape != x.shape:
        raise misfit(name, {"target": labels.shape}, x.shape)
    is_label = eq((labels < 0).cumsum(-1), 0)
    at = where(is_label, labels, 0)
    classes = wrap(np.arange(x.shape[-1]))
    is_label = is_label.unsqueeze(-1)
    differs = ne(at.unsqueeze(-1), classes) | ~is_label
    is_other_class = differs.all(-2)  # (N, C)
    losses = _positive(1.0 - gather(x, -1, at).unsqueeze(-1) + x.unsqueeze(-2))
    losses = where(is_label & is_other_class.unsqueeze(-2), losses, 0.0)
    return reduced(name, total(losses, (-2, -1)) / x.shape[-1], reduction)


@in_dtypes()
def multilabel_soft_margin_loss(
    input: TensorLike,
    target: TensorLike,
    weight: TensorLike | None = None,
    size_average: OldFlag = None,
    reduce: OldFlag = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the classes of binary_cross_entropy_with_logits, times weight (C,): x, target (N, C).

    >>> import ranvier as rv
    >>> rv.nn.functional.multilabel_soft_margin_loss(rv.zeros(1, 2), rv.ones(1, 2))
    tensor(0.6931)
    """
    name = "multilabel_soft_margin_loss"
    reduction = reduction_of(name, size_average, reduce, reduction, _LEVEL)
    x, target = alike(input, target)
    classes = as_tensor(name, x).ndim - 1  # the dimension that PyTorch sums, where the loss has others, too
    logits, labels = in_one_shape(x, target)
    losses = bce_with_logits(logits, labels, reduction="none")
    if isinstance(weight, Tensor):
        losses = losses * weight
    elif weight is not None:
        losses = losses * wrap(constant(name, "weight", weight, losses))
    if losses.shape == x.shape:
        return reduced(name, mean(losses, -1), reduction)
    return reduced(name, total(losses, classes) / x.shape[-1], reduction)


def triplet_margin_with_distance_loss(
    anchor: TensorLike,
    positive: TensorLike,
    negative: TensorLike,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """:func:`triplet_margin_loss` with another distance, a function of two Tensors (N, D).

    >>> import ranvier as rv
    >>> rv.nn.functional.triplet_margin_with_distance_loss(rv.zeros(1, 1), rv.ones(1, 1), rv.zeros(1, 1))
    tensor(2.0000)
    """
    name = "triplet_margin_with_distance_loss"
    number(name, "margin", margin, 0, above=True)
    distance: Callable[..., Tensor] = pairwise_distance
    if distance_function is not None:
        distance = distance_function
    to_positive = distance(anchor, positive)
    to_negative = distance(anchor, negative)
    if swap:
        to_negative = minimum(to_negative, distance(positive, negative))
    return reduced(name, clip(margin + to_positive - to_negative, 0.0), reduction)


def _scores(name: str, input: TensorLike) -> Tensor:
    """Scores (N, C) or (C,) as a Tensor of floats; a number becomes (1,)."""
    x = _row(as_tensor(name, floating(input, name)))
    if x.ndim not in (1, 2):
        raise misfit(name, {"x": x.shape}, "(N, C) or (C,)")
    return x


def _positive(margins: Tensor) -> Tensor:
    """Margins above 0, else 0: also of NaN, as in PyTorch, so that a NaN under a weight of 0 does no harm."""
    return where(margins > 0, margins, 0.0)


def _row(x: Tensor) -> Tensor:
    """x; a number becomes a row of one class."""
    if x.ndim:
        return x
    return x.unsqueeze(0)
