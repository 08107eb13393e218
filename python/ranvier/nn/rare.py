"""Layers that few networks use; their functions are in :mod:`ranvier.nn.functional`.

They have a file of their own because of compiled steps. For each layer in a step, the guards compare the
functions of all modules that the file of the layer imports (compile/guarding/library_guards.py).

The base `Module` reads two attributes of these classes: ``_shown`` are the settings that repr shows, "*name"
without the name; and `_example` gives inputs without elements, with which a new layer is called once, so that
wrong settings are refused at once. None: no such call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import ranvier.nn.functional as F
import ranvier.nn.init as init
from ranvier.nn.loss.base import Loss, WeightedLoss
from ranvier.nn.module import Module, Parameter
from ranvier.nn.registry import counts
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.dtypes import int64
from ranvier.tensors.errors import count, flag, number, one_of, require_function
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import ArrayLike, DtypeLike, TensorLike

__all__ = LAYERS["rare"]

Sizes: TypeAlias = int | Sequence[int]
"""One size for both axes, or one for each."""


class ChannelShuffle(Module):
    """x (N, C, ...) with its channels in another order: see :func:`ranvier.nn.functional.channel_shuffle`.

    >>> import ranvier as rv
    >>> rv.nn.ChannelShuffle(2)(rv.arange(4).reshape(1, 4, 1)).flatten()
    tensor([0, 2, 1, 3])
    """

    _shown = ("groups",)

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = count(type(self).__name__, "groups", groups, 1)

    def forward(self, input: TensorLike) -> Tensor:
        return F.channel_shuffle(input, self.groups)


class PixelShuffle(Module):
    """(N, C r^2, H, W) -> (N, C, H r, W r): see :func:`ranvier.nn.functional.pixel_shuffle`.

    >>> import ranvier as rv
    >>> rv.nn.PixelShuffle(2)(rv.ones(1, 8, 3, 3)).shape
    (1, 2, 6, 6)
    """

    _shown = ("upscale_factor",)

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = count(type(self).__name__, "upscale_factor", upscale_factor, 1)

    def forward(self, input: TensorLike) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)


class PixelUnshuffle(Module):
    """(N, C, H r, W r) -> (N, C r^2, H, W): see :func:`ranvier.nn.functional.pixel_unshuffle`.

    >>> import ranvier as rv
    >>> rv.nn.PixelUnshuffle(2)(rv.ones(1, 2, 6, 6)).shape
    (1, 8, 3, 3)
    """

    _shown = ("downscale_factor",)

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = count(type(self).__name__, "downscale_factor", downscale_factor, 1)

    def forward(self, input: TensorLike) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)


class Unfold(Module):
    """The windows of images as columns: see :func:`ranvier.nn.functional.unfold`.

    >>> import ranvier as rv
    >>> rv.nn.Unfold(3)(rv.ones(1, 2, 4, 4)).shape
    (1, 18, 4)
    """

    _shown = ("kernel_size", "dilation", "padding", "stride")

    def __init__(
        self, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
    ) -> None:
        super().__init__()
        counts(
            type(self).__name__,
            2,
            kernel_size=(kernel_size, 1),
            dilation=(dilation, 1),
            padding=(padding, 0),
            stride=(stride, 1),
        )
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: TensorLike) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Module):
    """The sum of windows, put back into images: see :func:`ranvier.nn.functional.fold`.

    >>> import ranvier as rv
    >>> rv.nn.Fold((4, 4), 3)(rv.ones(1, 18, 4)).shape
    (1, 2, 4, 4)
    """

    _shown = ("output_size", "kernel_size", "dilation", "padding", "stride")

    def __init__(
        self,
        output_size: Sizes,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        padding: Sizes = 0,
        stride: Sizes = 1,
    ) -> None:
        super().__init__()
        counts(
            type(self).__name__,
            2,
            output_size=(output_size, 1),
            kernel_size=(kernel_size, 1),
            dilation=(dilation, 1),
            padding=(padding, 0),
            stride=(stride, 1),
        )
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: TensorLike) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)


class LocalResponseNorm(Module):
    """Each channel divided by a power of its neighbours' mean square: see
    :func:`ranvier.nn.functional.local_response_norm`.

    >>> import ranvier as rv
    >>> rv.nn.LocalResponseNorm(2, alpha=1.0)(rv.ones(1, 1, 2))
    tensor([[[0.7378, 0.7378]]])
    """

    _shown = ("*size", "alpha", "beta", "k")

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = count("LocalResponseNorm", "size", size)
        self.alpha = number("LocalResponseNorm", "alpha", alpha)
        self.beta = number("LocalResponseNorm", "beta", beta)
        self.k = number("LocalResponseNorm", "k", k)

    def _example(self) -> tuple[Tensor, ...] | None:
        return (empty((0,) * 8),)

    def forward(self, input: TensorLike) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)


class CTCLoss(Loss):
    """Connectionist temporal classification: see :func:`ranvier.nn.functional.ctc_loss`.

    >>> import ranvier as rv
    >>> rv.nn.CTCLoss()(rv.full((2, 1, 2), 0.5).log(), rv.tensor([[1]]), rv.tensor([2]), rv.tensor([1]))
    tensor(0.2877)
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__()
        self.blank = count("CTCLoss", "blank", blank, 0)
        self.reduction = one_of("CTCLoss", "reduction", reduction, ("none", "mean", "sum"))
        self.zero_infinity = flag("CTCLoss", "zero_infinity", zero_infinity)

    def _example(self) -> tuple[Tensor, ...] | None:
        return None

    def forward(
        self,
        log_probs: TensorLike,
        targets: TensorLike,
        input_lengths: TensorLike,
        target_lengths: TensorLike,
    ) -> Tensor:
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            self.blank,
            self.reduction,
            self.zero_infinity,
        )


class HingeEmbeddingLoss(Loss):
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> import ranvier as rv
    >>> rv.nn.HingeEmbeddingLoss()(rv.tensor([2.0, 0.5]), rv.tensor([1, -1]))
    tensor(1.2500)
    """

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class SoftMarginLoss(Loss):
    """log(1 + exp(-target x)), of targets 1 and -1.

    >>> import ranvier as rv
    >>> rv.nn.SoftMarginLoss()(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(0.6931)
    """

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


def _class_count(weight: Tensor | None) -> int:
    """The number of classes of an empty input: that of the weights, or 1."""
    if weight is None:
        return 1
    return len(weight)


class MultiMarginLoss(WeightedLoss):
    """The margins to the class of the target: see :func:`ranvier.nn.functional.multi_margin_loss`.

    >>> import ranvier as rv
    >>> rv.nn.MultiMarginLoss()(rv.tensor([[0.5, 0.25]]), rv.tensor([0]))
    tensor(0.3750)
    """

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: ArrayLike | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, size_average, reduce, reduction)
        self.p = p
        self.margin = margin

    def _example(self) -> tuple[Tensor, ...] | None:
        return empty(0, _class_count(self.weight)), empty(0, dtype=int64)

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        return F.multi_margin_loss(
            input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(Loss):
    """The margins to the classes of the target: see :func:`ranvier.nn.functional.multilabel_margin_loss`.

    >>> import ranvier as rv
    >>> rv.nn.MultiLabelMarginLoss()(rv.tensor([[0.5, 0.25]]), rv.tensor([[0, -1]]))
    tensor(0.3750)
    """

    def _example(self) -> tuple[Tensor, ...] | None:
        return empty(0, 1), empty(0, 1, dtype=int64)

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(WeightedLoss):
    """The mean over the classes of BCEWithLogitsLoss, times ``weight`` (C,): x and target (N, C).

    >>> import ranvier as rv
    >>> rv.nn.MultiLabelSoftMarginLoss()(rv.zeros(1, 2), rv.ones(1, 2))
    tensor(0.6931)
    """

    def _example(self) -> tuple[Tensor, ...] | None:
        classes = _class_count(self.weight)
        return empty(0, classes), empty(0, classes)

    def forward(self, input: TensorLike, target: TensorLike) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


class TripletMarginWithDistanceLoss(Loss):
    """TripletMarginLoss with another distance, a function of two Tensors (N, D).

    >>> import ranvier as rv
    >>> rv.nn.TripletMarginWithDistanceLoss()(rv.zeros(1, 1), rv.ones(1, 1), rv.zeros(1, 1))
    tensor(2.0000)
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        one_of("TripletMarginWithDistanceLoss", "reduction", reduction, ("none", "mean", "sum"))
        if distance_function is not None:
            require_function("TripletMarginWithDistanceLoss", "distance_function", distance_function)
        self.distance_function = distance_function
        self.margin = number("TripletMarginWithDistanceLoss", "margin", margin, 0, above=True)
        self.swap = flag("TripletMarginWithDistanceLoss", "swap", swap)

    def _example(self) -> tuple[Tensor, ...] | None:
        return None

    def forward(self, anchor: TensorLike, positive: TensorLike, negative: TensorLike) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class Threshold(Module):
    """y = x where x > threshold, else value.

    >>> import ranvier as rv
    >>> rv.nn.Threshold(1.0, -1.0)(rv.tensor([0.0, 2.0]))
    tensor([-1.,  2.])
    """

    _shown = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = number("Threshold", "threshold", threshold)
        self.value = number("Threshold", "value", value)
        self.inplace = bool(inplace)

    def _example(self) -> tuple[Tensor, ...] | None:
        return (empty((0,) * 8),)

    def forward(self, input: TensorLike) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)


class RReLU(Module):
    """x where x >= 0, else a x, with a random a while training: see :func:`ranvier.nn.functional.rrelu`.

    >>> import ranvier as rv
    >>> rv.nn.RReLU(0.0, 1.0).eval()(rv.tensor([-6.0, 2.0]))
    tensor([-3.,  2.])
    """

    _shown = ("lower", "upper")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = number("RReLU", "lower", lower)
        self.upper = number("RReLU", "upper", upper)
        self.inplace = bool(inplace)
        if not self.lower <= self.upper:
            raise ValueError(
                f"[RReLU] got lower {self.lower} and upper {self.upper}; expected lower <= upper"
            )

    def _example(self) -> tuple[Tensor, ...] | None:
        return (empty((0,) * 8),)

    def forward(self, input: TensorLike) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)


class Bilinear(Module):
    """y[.., o] = x1^T W[o] x2 + b[o]: x1 (..., in1_features), x2 (..., in2_features).

    W and b start uniform in +-1/sqrt(in1_features), as in PyTorch.

    >>> import ranvier as rv
    >>> rv.nn.Bilinear(3, 4, 5)(rv.ones(2, 3), rv.ones(2, 4)).shape
    (2, 5)
    """

    bias: Parameter | None
    _shown = ("in1_features", "in2_features", "out_features", "bias")

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        dtype: DtypeLike | None = None,
    ) -> None:
        super().__init__()
        self.in1_features = count("Bilinear", "in1_features", in1_features)
        self.in2_features = count("Bilinear", "in2_features", in2_features)
        self.out_features = count("Bilinear", "out_features", out_features)
        self.weight = Parameter(empty(out_features, in1_features, in2_features, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_features, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new starting values."""
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: TensorLike, input2: TensorLike) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)
