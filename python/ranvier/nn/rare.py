"""Layers that few networks use; their functions are in :mod:`ranvier.nn.functional`.

They have a file of their own because of compiled steps. For each layer in a step, the guards compare the
functions of all modules that the file of the layer imports (compile/guarding/library_guards.py).
"""

from __future__ import annotations

import math
from inspect import signature
from typing import Any, ClassVar

import ranvier.nn.functional as F
import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.nn.layer import Layer
from ranvier.nn.loss import Loss
from ranvier.nn.module import Module, Parameter
from ranvier.nn.registry import counts
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.ops.table import FUNCTIONAL_OF
from ranvier.tensors.dtypes import int64
from ranvier.tensors.errors import count, flag, number, one_of, require_function
from ranvier.tensors.tensor import Tensor

__all__ = LAYERS["rare"]


class _Whole(Layer):
    """A layer whose settings are whole numbers: setting `name` is at least _least[name]. With _axes > 0 a
    setting may also be a tuple with one number for each axis."""

    _least: ClassVar[dict[str, int]]
    _axes: ClassVar[int] = 0

    def _set(self, settings: dict[str, Any]) -> None:
        name = type(self).__name__
        if self._axes:
            counts(name, self._axes, **{key: (settings[key], least) for key, least in self._least.items()})
        else:
            settings = {key: count(name, key, settings[key], least) for key, least in self._least.items()}
        super()._set(settings)

    def _example(self) -> None:
        return None


class _Numbers(Layer):
    """A layer whose settings are numbers, except ``inplace``."""

    def _set(self, settings: dict[str, Any]) -> None:
        if "inplace" in settings:
            flags = {"inplace": bool(settings.pop("inplace"))}
        else:
            flags = {}
        layer = type(self).__name__
        super()._set({**{name: number(layer, name, value) for name, value in settings.items()}, **flags})


class ChannelShuffle(_Whole):
    """x (N, C, ...) with its channels in another order: see :func:`ranvier.nn.functional.channel_shuffle`.

    >>> import ranvier as rv
    >>> rv.nn.ChannelShuffle(2)(rv.arange(4).reshape(1, 4, 1)).flatten()
    tensor([0, 2, 1, 3])
    """

    _op, _least = "channel_shuffle", {"groups": 1}
    groups: int


class PixelShuffle(_Whole):
    """(N, C r^2, H, W) -> (N, C, H r, W r): see :func:`ranvier.nn.functional.pixel_shuffle`.

    >>> import ranvier as rv
    >>> rv.nn.PixelShuffle(2)(rv.ones(1, 8, 3, 3)).shape
    (1, 2, 6, 6)
    """

    _op, _least = "pixel_shuffle", {"upscale_factor": 1}
    upscale_factor: int


class PixelUnshuffle(_Whole):
    """(N, C, H r, W r) -> (N, C r^2, H, W): see :func:`ranvier.nn.functional.pixel_unshuffle`.

    >>> import ranvier as rv
    >>> rv.nn.PixelUnshuffle(2)(rv.ones(1, 2, 6, 6)).shape
    (1, 8, 3, 3)
    """

    _op, _least = "pixel_unshuffle", {"downscale_factor": 1}
    downscale_factor: int


class Unfold(_Whole):
    """The windows of images as columns: see :func:`ranvier.nn.functional.unfold`.

    >>> import ranvier as rv
    >>> rv.nn.Unfold(3)(rv.ones(1, 2, 4, 4)).shape
    (1, 18, 4)
    """

    _axes, _least = 2, {"kernel_size": 1, "dilation": 1, "padding": 0, "stride": 1}
    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1


class Fold(_Whole):
    """The sum of windows, put back into images: see :func:`ranvier.nn.functional.fold`.

    >>> import ranvier as rv
    >>> rv.nn.Fold((4, 4), 3)(rv.ones(1, 18, 4)).shape
    (1, 2, 4, 4)
    """

    _axes, _least = 2, {"output_size": 1, **Unfold._least}
    output_size: Any
    kernel_size: Any
    dilation: Any = 1
    padding: Any = 0
    stride: Any = 1


class LocalResponseNorm(_Numbers):
    """Each channel divided by a power of its neighbours' mean square: see
    :func:`ranvier.nn.functional.local_response_norm`.

    >>> import ranvier as rv
    >>> rv.nn.LocalResponseNorm(2, alpha=1.0)(rv.ones(1, 1, 2))
    tensor([[[0.7378, 0.7378]]])
    """

    _op = "local_response_norm"
    _shown = ("*size", "alpha", "beta", "k")
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    def _set(self, settings: dict[str, Any]) -> None:
        super()._set({**settings, "size": count("LocalResponseNorm", "size", settings["size"])})


class CTCLoss(Loss):
    """Connectionist temporal classification: see :func:`ranvier.nn.functional.ctc_loss`.

    >>> import ranvier as rv
    >>> rv.nn.CTCLoss()(rv.full((2, 1, 2), 0.5).log(), rv.tensor([[1]]), rv.tensor([2]), rv.tensor([1]))
    tensor(0.2877)
    """

    _example = Module._example  # type: ignore[assignment]

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        super().__init__()
        self.blank = count("CTCLoss", "blank", blank, 0)
        self.reduction = one_of("CTCLoss", "reduction", reduction, ("none", "mean", "sum"))
        self.zero_infinity = flag("CTCLoss", "zero_infinity", zero_infinity)

    def forward(self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any) -> Tensor:
        settings = self.blank, self.reduction, self.zero_infinity
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, *settings)


class _OfFunction(Loss):
    """A loss whose settings are those of its function in ``nn.functional``, in the same order."""

    _function: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "_function" in vars(cls):
            # The library's own function: a program may have put another with other parameters into F.
            own = ops._rare(FUNCTIONAL_OF[cls._function], cls._function)
            parameters = signature(own).parameters
            cls._declare([*parameters.values()][2:])  # without input and target
        super().__init_subclass__(**kwargs)

    def forward(self, input: Any, target: Any) -> Tensor:
        settings = {name: getattr(self, name) for name in self._settings if hasattr(self, name)}
        return getattr(F, self._function)(input, target, **settings)

    def _example(self) -> tuple[Any, ...]:
        return empty(0, 1), empty(0, 1)


class HingeEmbeddingLoss(_OfFunction):
    """x where the target is 1, max(0, margin - x) where it is -1.

    >>> import ranvier as rv
    >>> rv.nn.HingeEmbeddingLoss()(rv.tensor([2.0, 0.5]), rv.tensor([1, -1]))
    tensor(1.2500)
    """

    _function = "hinge_embedding_loss"


class SoftMarginLoss(_OfFunction):
    """log(1 + exp(-target x)), of targets 1 and -1.

    >>> import ranvier as rv
    >>> rv.nn.SoftMarginLoss()(rv.tensor([0.0]), rv.tensor([1.0]))
    tensor(0.6931)
    """

    _function = "soft_margin_loss"


class MultiMarginLoss(_OfFunction):
    """The margins to the class of the target: see :func:`ranvier.nn.functional.multi_margin_loss`.

    >>> import ranvier as rv
    >>> rv.nn.MultiMarginLoss()(rv.tensor([[0.5, 0.25]]), rv.tensor([0]))
    tensor(0.3750)
    """

    _function = "multi_margin_loss"

    def _example(self) -> tuple[Any, ...]:
        classes = 1 if self.weight is None else len(self.weight)
        return empty(0, classes), empty(0, dtype=int64)


class MultiLabelMarginLoss(_OfFunction):
    """The margins to the classes of the target: see :func:`ranvier.nn.functional.multilabel_margin_loss`.

    >>> import ranvier as rv
    >>> rv.nn.MultiLabelMarginLoss()(rv.tensor([[0.5, 0.25]]), rv.tensor([[0, -1]]))
    tensor(0.3750)
    """

    _function = "multilabel_margin_loss"

    def _example(self) -> tuple[Any, ...]:
        return empty(0, 1), empty(0, 1, dtype=int64)


class MultiLabelSoftMarginLoss(_OfFunction):
    """The mean over the classes of BCEWithLogitsLoss, times ``weight`` (C,): x and target (N, C).

    >>> import ranvier as rv
    >>> rv.nn.MultiLabelSoftMarginLoss()(rv.zeros(1, 2), rv.ones(1, 2))
    tensor(0.6931)
    """

    _function = "multilabel_soft_margin_loss"

    def _example(self) -> tuple[Any, ...]:
        classes = 1 if self.weight is None else len(self.weight)
        return empty(0, classes), empty(0, classes)


class TripletMarginWithDistanceLoss(Loss):
    """TripletMarginLoss with another distance, a function of two Tensors (N, D).

    >>> import ranvier as rv
    >>> rv.nn.TripletMarginWithDistanceLoss()(rv.zeros(1, 1), rv.ones(1, 1), rv.zeros(1, 1))
    tensor(2.0000)
    """

    _example = Module._example  # type: ignore[assignment]

    def __init__(
        self,
        *,
        distance_function: Any = None,
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

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )


class Threshold(_Numbers):
    """y = x where x > threshold, else value.

    >>> import ranvier as rv
    >>> rv.nn.Threshold(1.0, -1.0)(rv.tensor([0.0, 2.0]))
    tensor([-1.,  2.])
    """

    threshold: float
    value: float
    inplace: bool = False


class RReLU(_Numbers):
    """x where x >= 0, else a x, with a random a while training: see :func:`ranvier.nn.functional.rrelu`.

    >>> import ranvier as rv
    >>> rv.nn.RReLU(0.0, 1.0).eval()(rv.tensor([-6.0, 2.0]))
    tensor([-3.,  2.])
    """

    lower: float = 1 / 8
    upper: float = 1 / 3
    inplace: bool = False

    def _set(self, settings: dict[str, Any]) -> None:
        super()._set(settings)
        if not self.lower <= self.upper:
            raise ValueError(
                f"[RReLU] got lower {self.lower} and upper {self.upper}; expected lower <= upper"
            )

    def forward(self, input: Any) -> Tensor:
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
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in1_features = count("Bilinear", "in1_features", in1_features)
        self.in2_features = count("Bilinear", "in2_features", in2_features)
        self.out_features = count("Bilinear", "out_features", out_features)
        self.weight = Parameter(empty(out_features, in1_features, in2_features, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new starting values."""
        bound = 1 / math.sqrt(self.in1_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input1: Any, input2: Any) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)
