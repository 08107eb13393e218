"""Losses as layers. Formulas, shapes and sources: :mod:`ranvier.ops.loss`.

``reduction``: 'mean' (the sum divided by the number of losses), 'sum' or 'none'. Predictions and targets of
different shapes raise ValueError; they are not broadcast. Weights may be Tensors, arrays or sequences of
numbers; they are stored as buffers.

``size_average`` and ``reduce`` are PyTorch's obsolete arguments; they change ``reduction``. The base `Module`
reads `_example`, which gives inputs without elements: a new loss is called with them once, so that wrong
settings are refused at once.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

import ranvier.nn.functional as F
import ranvier.ops
from ranvier.nn.loss.functional import put_public_name
from ranvier.nn.module import Module
from ranvier.nn.table import LAYERS
from ranvier.ops.loss.base import reduction_of
from ranvier.ops.making.creation import empty, tensor
from ranvier.tensors.dtypes import default, int64
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import ArrayLike, TensorLike

__all__ = LAYERS["loss"]
ops: Any = ranvier.ops  # mypy finds no type of a decorated function in a cycle of imports
# {name in `nn.functional`: the library's function}: by it a loss sees whether a program has replaced the
# function.
_OWN = F._OWN
_OBSOLETE = ("size_average", "reduce")


class Loss(Module):
    """The layer of a loss. The settings of the function in ``nn.functional`` are attributes; weights are
    buffers.

    ``forward`` calls the op of the loss, which saves a fifth of the time of a small loss (1.2 us in place of
    1.5) beside the function in ``nn.functional``. If a program has replaced that function, it calls the
    program's.
    """

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        # The program's line is after the frames of reduction_of and of the constructors of the library's
        # classes, each of which has another frame, for the check of its arguments (nn/arguments.py).
        losses = [cls for cls in type(self).__mro__ if issubclass(cls, Loss)]
        own = [cls for cls in losses if cls.__module__.startswith("ranvier.nn.")]
        stacklevel = 2 + 2 * sum("__init__" in vars(cls) for cls in own)
        self.reduction = reduction_of(type(self).__name__, size_average, reduce, reduction, stacklevel)

    def _example(self) -> tuple[Tensor, ...] | None:
        x = empty(0, 1)
        return x, x

    def extra_repr(self) -> str:
        """The settings that are not the defaults; weights are shown by their shape."""
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name in _OBSOLETE:
                continue
            value = getattr(self, name)
            if isinstance(value, Tensor):
                shown.append(f"{name}={tuple(value.shape)}")
            elif value != parameter.default:
                shown.append(f"{name}={value!r}")
        return ", ".join(shown)

    def _register_weight(self, name: str, value: ArrayLike | None) -> None:
        """Registers a weight (a Tensor, numbers or None) as a buffer."""
        if value is not None and not isinstance(value, Tensor):
            array = np.asarray(value)
            if array.dtype.kind not in "biuf":  # bools, integers, floats
                raise TypeError(f"[{type(self).__name__}] got {name} {value!r}; expected a Tensor or numbers")
            value = tensor(array.astype(default.dtype))  # Like tensor(list), it has the default dtype.
        self.register_buffer(name, value)


class WeightedLoss(Loss):
    """A loss with a weight for each class or element."""

    weight: Tensor | None

    def __init__(
        self,
        weight: ArrayLike | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self._register_weight("weight", weight)


class MSELoss(Loss):
    """(x - target)^2.

    >>> import ranvier as rv
    >>> rv.nn.MSELoss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.3750)
    """

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.mse_loss is not _OWN["mse_loss"]:
            return F.mse_loss(input, target, reduction=self.reduction)
        try:
            return ops.mse(input, target, self.reduction)
        except Exception as error:
            put_public_name(error, "mse", "mse_loss")
            raise


class L1Loss(Loss):
    """|x - target|.

    >>> import ranvier as rv
    >>> rv.nn.L1Loss()(rv.tensor([3, -0.5, 2, 7]), rv.tensor([2.5, 0.0, 2, 8]))
    tensor(0.5000)
    """

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.l1_loss is not _OWN["l1_loss"]:
            return F.l1_loss(input, target, reduction=self.reduction)
        try:
            return ops.l1(input, target, self.reduction)
        except Exception as error:
            put_public_name(error, "l1", "l1_loss")
            raise


class SmoothL1Loss(Loss):
    """d^2 / (2 beta) where d = |x - target| < beta, else d - beta / 2.

    >>> import ranvier as rv
    >>> rv.nn.SmoothL1Loss()(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0]))
    tensor(1.3125)
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.smooth_l1_loss is not _OWN["smooth_l1_loss"]:
            return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)
        try:
            return ops.smooth_l1(input, target, self.reduction, self.beta)
        except Exception as error:
            put_public_name(error, "smooth_l1", "smooth_l1_loss")
            raise


class HuberLoss(Loss):
    """d^2 / 2 where d = |x - target| <= delta, else delta (d - delta / 2).

    >>> import ranvier as rv
    >>> rv.nn.HuberLoss(delta=2.0)(rv.tensor([0.5, 3.0]), rv.tensor([0.0, 0.0]))
    tensor(2.0625)
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.huber_loss is not _OWN["huber_loss"]:
            return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)
        try:
            return ops.huber(input, target, self.reduction, self.delta)
        except Exception as error:
            put_public_name(error, "huber", "huber_loss")
            raise


class PoissonNLLLoss(Loss):
    """exp(x) - target x, for counts ``target`` and the logarithms x of their rates; with ``log_input=False``
    x are the rates, and the loss is x - target log(x + eps). ``full`` adds Stirling's log(target!).

    >>> import ranvier as rv
    >>> rv.nn.PoissonNLLLoss()(rv.tensor([0.0, 1.0]), rv.tensor([1.0, 2.0]))
    tensor(0.8591)
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: TensorLike, target: TensorLike) -> Tensor:
        if F.poisson_nll_loss is not _OWN["poisson_nll_loss"]:
            return F.poisson_nll_loss(
                log_input,
                target,
                log_input=self.log_input,
                full=self.full,
                eps=self.eps,
                reduction=self.reduction,
            )
        try:
            return ops.poisson_nll(log_input, target, self.log_input, self.full, self.eps, self.reduction)
        except Exception as error:
            put_public_name(error, "poisson_nll", "poisson_nll_loss")
            raise


class GaussianNLLLoss(Loss):
    """(log v + (x - target)^2 / v) / 2 with the variance v = max(var, eps); called with x, target and var.
    ``full`` adds log(2 pi) / 2.

    >>> import ranvier as rv
    >>> rv.nn.GaussianNLLLoss()(rv.tensor([1.0]), rv.tensor([3.0]), rv.tensor([4.0]))
    tensor(1.1931)
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def _example(self) -> tuple[Tensor, ...] | None:
        x = empty(0, 1)
        return x, x, x

    def forward(self, input: TensorLike, target: TensorLike, var: TensorLike) -> Tensor:
        if F.gaussian_nll_loss is not _OWN["gaussian_nll_loss"]:
            return F.gaussian_nll_loss(
                input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
            )
        try:
            return ops.gaussian_nll(input, target, var, self.full, self.eps, self.reduction)
        except Exception as error:
            put_public_name(error, "gaussian_nll", "gaussian_nll_loss")
            raise


class _ElementWeightedLoss(WeightedLoss):
    """Base of losses whose weights broadcast to the shape of x."""

    def _example(self) -> tuple[Tensor, ...] | None:
        weights = {name: tuple(weight.shape) for name, weight in self.named_buffers()}
        try:
            x = empty(0, *np.broadcast_shapes(*weights.values()))
        except ValueError:
            raise OpError(
                f"[{type(self).__name__}] got weights of shapes {weights}; expected shapes that broadcast"
            ) from None
        return x, x


class BCELoss(_ElementWeightedLoss):
    """-(t log x + (1 - t) log(1 - x)) times ``weight``, for probabilities x; each logarithm is at least -100.

    Raises ValueError for x outside [0, 1].

    >>> import ranvier as rv
    >>> rv.nn.BCELoss()(rv.tensor([0.9, 0.1, 0.8, 0.7]), rv.tensor([1.0, 0, 1, 1]))
    tensor(0.1976)
    """

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.binary_cross_entropy is not _OWN["binary_cross_entropy"]:
            return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)
        try:
            return ops.bce(input, target, self.weight, self.reduction)
        except Exception as error:
            put_public_name(error, "bce", "binary_cross_entropy")
            raise


class BCEWithLogitsLoss(_ElementWeightedLoss):
    """BCELoss of sigmoid(x), without overflow; ``pos_weight`` multiplies the part of positive targets.

    >>> import ranvier as rv
    >>> rv.nn.BCEWithLogitsLoss()(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(0.6931)
    >>> rv.nn.BCEWithLogitsLoss(pos_weight=[3.0])(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(2.0794)
    """

    pos_weight: Tensor | None

    def __init__(
        self,
        weight: ArrayLike | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: ArrayLike | None = None,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self._register_weight("pos_weight", pos_weight)

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.binary_cross_entropy_with_logits is not _OWN["binary_cross_entropy_with_logits"]:
            return F.binary_cross_entropy_with_logits(
                input, target, weight=self.weight, reduction=self.reduction, pos_weight=self.pos_weight
            )
        try:
            return ops.bce_with_logits(input, target, self.weight, self.reduction, self.pos_weight)
        except Exception as error:
            put_public_name(error, "bce_with_logits", "binary_cross_entropy_with_logits")
            raise


class KLDivLoss(Loss):
    """target (log target - x), for log-probabilities x. ``reduction='batchmean'`` gives the divergence.

    >>> import ranvier as rv
    >>> x = rv.log_softmax(rv.tensor([[1.0, 2.0]]), dim=1)
    >>> rv.nn.KLDivLoss(reduction="batchmean")(x, rv.tensor([[0.5, 0.5]]))
    tensor(0.1201)
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.kl_div is not _OWN["kl_div"]:
            return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)
        return ops.kl_div(input, target, self.reduction, self.log_target)


class _ClassWeightedLoss(WeightedLoss):
    """Base of losses for x (N, C) and class indices, the target (N,)."""

    def _example(self) -> tuple[Tensor, ...] | None:
        if self.weight is None:
            classes = 1
        else:
            classes = self.weight.numel()
        return empty(0, classes), empty(0, dtype=int64)


class CrossEntropyLoss(_ClassWeightedLoss):
    """-log(softmax(x)) of the true class: x (N, C), (N, C, d1, ...) or (C,) are logits, target holds class
    indices (N, d1, ...) of any integer dtype, or probabilities in the shape of x.

    ``weight`` (C,) multiplies the classes' losses, and 'mean' divides by the weights of the targets;
    ``ignore_index`` has loss 0; ``label_smoothing`` e mixes the target with e / C for each class.

    Raises ValueError for a class index outside [0, C).

    >>> import ranvier as rv
    >>> rv.nn.CrossEntropyLoss()(rv.tensor([[2.0, 1.0, 0.1]]), rv.tensor([0]))
    tensor(0.4170)
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.cross_entropy is not _OWN["cross_entropy"]:
            return F.cross_entropy(
                input,
                target,
                weight=self.weight,
                ignore_index=self.ignore_index,
                reduction=self.reduction,
                label_smoothing=self.label_smoothing,
            )
        return ops.cross_entropy(
            input, target, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )


class NLLLoss(_ClassWeightedLoss):
    """-x of the true class, for log-probabilities x. The rest is as in CrossEntropyLoss.

    >>> import ranvier as rv
    >>> rv.nn.NLLLoss()(rv.tensor([[-0.5, -1.0]]), rv.tensor([0]))
    tensor(0.5000)
    """

    def __init__(
        self,
        weight: ArrayLike | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        if F.nll_loss is not _OWN["nll_loss"]:
            return F.nll_loss(
                input, target, weight=self.weight, ignore_index=self.ignore_index, reduction=self.reduction
            )
        try:
            return ops.nll(input, target, self.weight, self.ignore_index, self.reduction)
        except Exception as error:
            put_public_name(error, "nll", "nll_loss")
            raise


class MarginRankingLoss(Loss):
    """max(0, margin - target (x1 - x2)); called with x1, x2 and target.

    >>> import ranvier as rv
    >>> rv.nn.MarginRankingLoss()(rv.tensor([1.0]), rv.tensor([1.5]), rv.tensor([1.0]))
    tensor(0.5000)
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def _example(self) -> tuple[Tensor, ...] | None:
        x = empty(0, 1)
        return x, x, x

    def forward(self, input1: TensorLike, input2: TensorLike, target: TensorLike) -> Tensor:
        if F.margin_ranking_loss is not _OWN["margin_ranking_loss"]:
            return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)
        try:
            return ops.margin_ranking(input1, input2, target, self.margin, self.reduction)
        except Exception as error:
            put_public_name(error, "margin_ranking", "margin_ranking_loss")
            raise


class CosineEmbeddingLoss(Loss):
    """1 - cos(x1, x2) if the target is 1, max(0, cos(x1, x2) - margin) if it is -1; called with x1, x2 (N, D)
    and target (N,).

    >>> import ranvier as rv
    >>> rv.nn.CosineEmbeddingLoss()(rv.tensor([[1.0, 0]]), rv.tensor([[0.0, 1]]), rv.tensor([1]))
    tensor(1.)
    """

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: TensorLike, input2: TensorLike, target: TensorLike) -> Tensor:
        if F.cosine_embedding_loss is not _OWN["cosine_embedding_loss"]:
            return F.cosine_embedding_loss(
                input1, input2, target, margin=self.margin, reduction=self.reduction
            )
        try:
            return ops.cosine_embedding(input1, input2, target, self.margin, self.reduction)
        except Exception as error:
            put_public_name(error, "cosine_embedding", "cosine_embedding_loss")
            raise

    def _example(self) -> tuple[Tensor, ...] | None:
        return empty(0, 1), empty(0, 1), empty(0)


class TripletMarginLoss(Loss):
    """max(0, margin + d(anchor, positive) - d(anchor, negative)), with d the distance in the p-norm; called
    with anchor, positive and negative (N, D).

    >>> import ranvier as rv
    >>> anchor, near, far = (rv.tensor([[x, 0.0]]) for x in (0.0, 1.0, 1.5))
    >>> rv.nn.TripletMarginLoss()(anchor, near, far)
    tensor(0.5000)
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def _example(self) -> tuple[Tensor, ...] | None:
        x = empty(0, 1)
        return x, x, x

    def forward(self, anchor: TensorLike, positive: TensorLike, negative: TensorLike) -> Tensor:
        if F.triplet_margin_loss is not _OWN["triplet_margin_loss"]:
            return F.triplet_margin_loss(
                anchor,
                positive,
                negative,
                margin=self.margin,
                p=self.p,
                eps=self.eps,
                swap=self.swap,
                reduction=self.reduction,
            )
        try:
            return ops.triplet_margin(
                anchor, positive, negative, self.margin, self.p, self.eps, self.swap, self.reduction
            )
        except Exception as error:
            put_public_name(error, "triplet_margin", "triplet_margin_loss")
            raise
