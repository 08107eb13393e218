"""The losses of ``nn.functional``, with PyTorch's arguments in PyTorch's order: each calls the op in
:mod:`ranvier.ops.loss`, whose errors get the name of the function.

``size_average`` and ``reduce`` are PyTorch's obsolete arguments; they change ``reduction``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ranvier._core as _core
import ranvier.ops
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.loss.base import reduced, reduction_of
from ranvier.tensors.failures import misfit, op_of, put_name
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import ArrayLike, TensorLike

ops: Any = ranvier.ops  # mypy finds no type of a decorated function in a cycle of imports


def put_public_name(error: Exception, op: str, name: str) -> None:
    """Changes an error of this op, so that its text begins with the name of the function in
    ``nn.functional``, as "[mse_loss] got ..." for "[mse] got ..."."""
    if op_of(error) == op:
        put_name(error, name)


def _weighted(name: str, losses: Tensor, weight: ArrayLike, reduction: str) -> Tensor:
    """Reduces the losses of elements, times their weights. For a mean the sum is divided by the sum of the
    weights, in huber_loss by the number of elements."""
    weight = as_tensor(name, weight)
    if weight.shape != losses.shape:
        raise misfit(name, {"weight": weight.shape}, losses.shape)
    if reduction == "mean" and name != "huber_loss":
        return (losses * weight).sum() / weight.sum()
    return reduced(name, losses * weight, reduction)


def binary_cross_entropy(
    input: TensorLike,
    target: TensorLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross-entropy -(t log x + (1 - t) log(1 - x)) of probabilities x; each logarithm is at least
    -100, so that the loss is finite. ``weight``, which broadcasts to the shape of x, multiplies it; 'mean'
    divides by the number of elements, with or without it.

    Raises ValueError for x or a target outside [0, 1], else as :func:`mse_loss`.
    :func:`binary_cross_entropy_with_logits` is more accurate and takes x before the sigmoid.

    >>> import ranvier as rv
    >>> rv.nn.functional.binary_cross_entropy(rv.tensor([0.9, 0.1, 0.8, 0.7]), rv.tensor([1.0, 0, 1, 1]))
    tensor(0.1976)
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("binary_cross_entropy", size_average, reduce, reduction)
    try:
        return ops.bce(input, target, weight, reduction)
    except Exception as error:
        put_public_name(error, "bce", "binary_cross_entropy")
        raise


def binary_cross_entropy_with_logits(
    input: TensorLike,
    target: TensorLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: ArrayLike | None = None,
) -> Tensor:
    """Binary cross-entropy of sigmoid(x): max(x, 0) - x t + log(1 + exp(-|x|)), which cannot overflow.

    ``weight`` multiplies the loss, ``pos_weight`` the part of positive targets, -t log(sigmoid(x)); both
    broadcast to the shape of x. The loss has the dtype of a target of floats, float32 in blocks of autocast.

    Errors as in :func:`mse_loss`.

    >>> import ranvier as rv
    >>> rv.nn.functional.binary_cross_entropy_with_logits(rv.tensor([1000.0]), rv.tensor([0.0]))
    tensor(1000.)
    >>> x, target, three = rv.tensor([0.0, 0.0]), rv.tensor([1.0, 0.0]), rv.tensor(3.0)
    >>> rv.nn.functional.binary_cross_entropy_with_logits(x, target, pos_weight=three)
    tensor(1.3863)
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("binary_cross_entropy_with_logits", size_average, reduce, reduction)
    try:
        return ops.bce_with_logits(input, target, weight, reduction, pos_weight)
    except Exception as error:
        put_public_name(error, "bce_with_logits", "binary_cross_entropy_with_logits")
        raise


def cosine_embedding_loss(
    input1: TensorLike,
    input2: TensorLike,
    target: TensorLike,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where the target is 1, max(0, cos(x1, x2) - margin) where it is -1.

    input1, input2: x1 and x2, (N, D) with target (N,) or (1,), or (D,) with target ().

    Norms are at least 1e-6. Raises ValueError for other shapes or another reduction.

    >>> import ranvier as rv
    >>> x1, x2 = rv.tensor([[1.0, 0.0], [1.0, 0.0]]), rv.tensor([[1.0, 1.0], [1.0, 1.0]])
    >>> rv.nn.functional.cosine_embedding_loss(x1, x2, rv.tensor([1.0, -1.0]), reduction="none")
    tensor([0.2929, 0.7071])
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("cosine_embedding_loss", size_average, reduce, reduction)
    try:
        return ops.cosine_embedding(input1, input2, target, margin, reduction)
    except Exception as error:
        put_public_name(error, "cosine_embedding", "cosine_embedding_loss")
        raise


def cross_entropy(
    input: TensorLike,
    target: TensorLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
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
    if size_average is not None or reduce is not None:
        reduction = reduction_of("cross_entropy", size_average, reduce, reduction)
    return ops.cross_entropy(input, target, weight, ignore_index, reduction, label_smoothing)


def gaussian_nll_loss(
    input: TensorLike,
    target: TensorLike,
    var: TensorLike,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """-log of the normal density of ``target`` with mean x and variance v = max(var, eps):
    (log v + (x - target)^2 / v) / 2, with ``full`` also log(2 pi) / 2.

    target: in the shape of x, or one that broadcasts with it. var: in the shape of x, with 1 as one of its
    sizes, without the last dimension (one for each row), or a number >= 0. The gradient of var is the
    gradient of v, even where eps > var. Raises ValueError for eps <= 0, shapes that do not fit and a negative
    number, else as :func:`mse_loss`.

    Source: Nix and Weigend, "Estimating the mean and variance of the target probability distribution" (1994).

    >>> import ranvier as rv
    >>> rv.nn.functional.gaussian_nll_loss(rv.tensor([1.0]), rv.tensor([3.0]), rv.tensor([4.0]))
    tensor(1.1931)
    """
    try:
        return ops.gaussian_nll(input, target, var, full, eps, reduction)
    except Exception as error:
        put_public_name(error, "gaussian_nll", "gaussian_nll_loss")
        raise


def huber_loss(
    input: TensorLike,
    target: TensorLike,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: ArrayLike | None = None,
) -> Tensor:
    """d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2), in the dtype of x.

    Raises ValueError for delta <= 0, else as :func:`mse_loss`.

    Source: Huber, "Robust Estimation of a Location Parameter" (1964).

    >>> import ranvier as rv
    >>> rv.nn.functional.huber_loss(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0]), "none", delta=2.0)
    tensor([0.1250, 4.0000])
    """
    try:
        if weight is not None:
            losses = ops.huber(input, target, "none", delta)
            return _weighted("huber_loss", losses, weight, reduction)
        return ops.huber(input, target, reduction, delta)
    except Exception as error:
        put_public_name(error, "huber", "huber_loss")
        raise


def kl_div(
    input: TensorLike,
    target: TensorLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log target - x), element by element: summed, the Kullback-Leibler divergence of a distribution
    whose logarithm is x from the distribution ``target``. 0 where target is 0.

    ``log_target``: target holds logarithms too. ``reduction`` 'batchmean' divides the sum by the size of the
    first dimension, which is the divergence of one distribution; 'mean' by the number of elements.

    Errors as in :func:`mse_loss`.

    Source: Kullback and Leibler, "On Information and Sufficiency" (1951).

    >>> import ranvier as rv
    >>> x = rv.log_softmax(rv.tensor([[1.0, 2.0]]), dim=1)
    >>> rv.nn.functional.kl_div(x, rv.tensor([[0.5, 0.5]]), reduction="batchmean")
    tensor(0.1201)
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("kl_div", size_average, reduce, reduction)
    return ops.kl_div(input, target, reduction, log_target)


def l1_loss(
    input: TensorLike,
    target: TensorLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: ArrayLike | None = None,
) -> Tensor:
    """The absolute error |x - target|, x and target of one shape. Where they are equal the gradient is 0.

    Errors as in :func:`mse_loss`.

    >>> import ranvier as rv
    >>> rv.nn.functional.l1_loss(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.5000)
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("l1_loss", size_average, reduce, reduction)
    try:
        if weight is not None:
            # PyTorch computes the losses by ops that autocast does not change.
            losses = _core._without_autocast(partial(ops.l1, input, target, "none"))
            return _weighted("l1_loss", losses, weight, reduction)
        return ops.l1(input, target, reduction)
    except Exception as error:
        put_public_name(error, "l1", "l1_loss")
        raise


def margin_ranking_loss(
    input1: TensorLike,
    input2: TensorLike,
    target: TensorLike,
    margin: float = 0.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, margin - target (x1 - x2)): target 1: x1 should exceed x2 by ``margin``; -1: x2 should.

    Errors as in :func:`mse_loss`.

    >>> import ranvier as rv
    >>> x1, x2 = rv.tensor([1.0, 1.0]), rv.tensor([0.5, 0.5])
    >>> rv.nn.functional.margin_ranking_loss(x1, x2, rv.tensor([1.0, -1.0]), margin=0.2, reduction="none")
    tensor([0.0000, 0.7000])
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("margin_ranking_loss", size_average, reduce, reduction)
    try:
        return ops.margin_ranking(input1, input2, target, margin, reduction)
    except Exception as error:
        put_public_name(error, "margin_ranking", "margin_ranking_loss")
        raise


def mse_loss(
    input: TensorLike,
    target: TensorLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: ArrayLike | None = None,
) -> Tensor:
    """The squared error (x - target)^2, x and target of one shape.

    Tensors of different dtypes are computed in the wider one of floats. Raises ValueError for different
    shapes or another reduction, TypeError where neither is of floats.

    >>> import ranvier as rv
    >>> rv.nn.functional.mse_loss(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.3750)
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("mse_loss", size_average, reduce, reduction)
    try:
        if weight is not None:
            # PyTorch computes the losses by ops that autocast does not change.
            losses = _core._without_autocast(partial(ops.mse, input, target, "none"))
            return _weighted("mse_loss", losses, weight, reduction)
        return ops.mse(input, target, reduction)
    except Exception as error:
        put_public_name(error, "mse", "mse_loss")
        raise


def nll_loss(
    input: TensorLike,
    target: TensorLike,
    weight: ArrayLike | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-x of the true class: of log-probabilities x, the negative log-likelihood.

    Shapes, ``weight``, ``ignore_index``, 'mean' and errors as in :func:`cross_entropy` of class indices,
    which is this loss of log_softmax(x) in one pass.

    >>> import ranvier as rv
    >>> rv.nn.functional.nll_loss(rv.log_softmax(rv.tensor([[2.0, 1.0, 0.1]]), dim=1), rv.tensor([0]))
    tensor(0.4170)
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("nll_loss", size_average, reduce, reduction)
    try:
        return ops.nll(input, target, weight, ignore_index, reduction)
    except Exception as error:
        put_public_name(error, "nll", "nll_loss")
        raise


def poisson_nll_loss(
    input: TensorLike,
    target: TensorLike,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-log of the Poisson probability of the counts ``target`` at the rate exp(x): exp(x) - target x; with
    ``log_input`` False at the rate x: x - target log(x + eps).

    log(target!) is left out; with ``full`` it is added by Stirling's formula t log t - t + log(2 pi t) / 2
    where t > 1. Integers x are computed in float32. Errors as in :func:`mse_loss`.

    >>> import ranvier as rv
    >>> rv.nn.functional.poisson_nll_loss(rv.tensor([0.0, 1.0]), rv.tensor([1.0, 2.0]), reduction="none")
    tensor([1.0000, 0.7183])
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("poisson_nll_loss", size_average, reduce, reduction)
    try:
        return ops.poisson_nll(input, target, log_input, full, eps, reduction)
    except Exception as error:
        put_public_name(error, "poisson_nll", "poisson_nll_loss")
        raise


def smooth_l1_loss(
    input: TensorLike,
    target: TensorLike,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2; with beta = 0 the absolute error.

    Raises ValueError for beta < 0, else as :func:`mse_loss`.

    Source: Girshick, "Fast R-CNN" (2015).

    >>> import ranvier as rv
    >>> rv.nn.functional.smooth_l1_loss(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0]), reduction="none")
    tensor([0.1250, 2.5000])
    """
    if size_average is not None or reduce is not None:
        reduction = reduction_of("smooth_l1_loss", size_average, reduce, reduction)
    try:
        return ops.smooth_l1(input, target, reduction, beta)
    except Exception as error:
        put_public_name(error, "smooth_l1", "smooth_l1_loss")
        raise


def triplet_margin_loss(
    anchor: TensorLike,
    positive: TensorLike,
    negative: TensorLike,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
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
    if size_average is not None or reduce is not None:
        reduction = reduction_of("triplet_margin_loss", size_average, reduce, reduction)
    try:
        return ops.triplet_margin(anchor, positive, negative, margin, p, eps, swap, reduction)
    except Exception as error:
        put_public_name(error, "triplet_margin", "triplet_margin_loss")
        raise


OF_OP: dict[str, Callable[..., Tensor]] = {
    "bce": binary_cross_entropy,
    "bce_with_logits": binary_cross_entropy_with_logits,
    "cosine_embedding": cosine_embedding_loss,
    "cross_entropy": cross_entropy,
    "gaussian_nll": gaussian_nll_loss,
    "huber": huber_loss,
    "kl_div": kl_div,
    "l1": l1_loss,
    "margin_ranking": margin_ranking_loss,
    "mse": mse_loss,
    "nll": nll_loss,
    "poisson_nll": poisson_nll_loss,
    "smooth_l1": smooth_l1_loss,
    "triplet_margin": triplet_margin_loss,
}
"""The functions by the names of their ops, which have no obsolete arguments. `ranvier.torch` reads it: its
objects in place of the ops ask under the names of the functions (torch/torch_function/activation.py)."""
