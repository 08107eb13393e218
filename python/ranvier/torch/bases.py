"""The base classes of PyTorch's layers, for classes that derive from them: constructors as PyTorch's, and
``isinstance`` is true of the layers here.

| import ranvier.nn.modules.dropout as dropout; isinstance(rv.nn.Dropout(), dropout._DropoutNd) -> True
"""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from ranvier import nn
from ranvier.nn import conv, dropout, norm, pooling, recurrent, recurrent_cell, resample
from ranvier.nn import functional as F
from ranvier.nn import loss as losses
from ranvier.ops.loss.base import reduction_of

RNNBase = recurrent.RNNBase
_BatchNorm, _InstanceNorm, _NormBase = norm._BatchNorm, norm._InstanceNorm, norm._ChannelNorm


class _Base(nn.Module, metaclass=ABCMeta):
    """A layer whose constructor sets ``_given``: names and defaults; ``_text`` shows the settings."""

    _given: ClassVar[dict[str, Any]] = {}
    _text: ClassVar[str] = ""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__()
        given = {**self._given, **dict(zip(self._given, args, strict=False)), **settings}
        missing = [name for name, value in given.items() if value is ...]
        if missing or len(args) > len(self._given) or given.keys() > self._given.keys():
            raise TypeError(f"[{type(self).__name__}] expected {', '.join(self._given)}")
        if "stride" in given and given["stride"] is None:
            given["stride"] = given["kernel_size"]
        for name, value in given.items():
            setattr(self, name, value)

    def extra_repr(self) -> str:
        return self._text.format(self)


def _base(name: str, ours: tuple[type, ...], text: str = "", mode: str = "", **given: Any) -> Any:
    body: dict[str, Any] = {"_given": given, "_text": text, "__module__": __name__}
    if mode:
        body["forward"] = lambda self, input: F.pad(
            input, self.padding, mode, *[self.value for _ in range(mode == "constant")]
        )
    made: Any = ABCMeta(name, (_Base,), body)
    for kind in ours:
        made.register(kind)
    return made


_window = "kernel_size={0.kernel_size}, stride={0.stride}, padding={0.padding}"
_sized = "output_size={0.output_size}"
_DropoutNd = _base("_DropoutNd", (dropout._Dropout,), "p={0.p}, inplace={0.inplace}", p=0.5, inplace=False)
_MaxPoolNd = _base(
    "_MaxPoolNd",
    (pooling._MaxPool,),
    f"{_window}, dilation={{0.dilation}}, ceil_mode={{0.ceil_mode}}",
    kernel_size=...,
    stride=None,
    padding=0,
    dilation=1,
    return_indices=False,
    ceil_mode=False,
)
_AvgPoolNd = _base("_AvgPoolNd", (nn.AvgPool1d, nn.AvgPool2d), _window)
_AdaptiveAvgPoolNd = _base(
    "_AdaptiveAvgPoolNd", (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d), _sized, output_size=...
)
_AdaptiveMaxPoolNd = _base(
    "_AdaptiveMaxPoolNd", (pooling._AdaptiveMax,), _sized, output_size=..., return_indices=False
)
_ReflectionPadNd = _base(
    "_ReflectionPadNd", (nn.ReflectionPad1d, nn.ReflectionPad2d), "{0.padding}", "reflect"
)
_ReplicationPadNd = _base(
    "_ReplicationPadNd", (nn.ReplicationPad1d, nn.ReplicationPad2d), "{0.padding}", "replicate"
)
_ConstantPadNd = _base(
    "_ConstantPadNd",
    (resample._ConstantPad, nn.ZeroPad1d, nn.ZeroPad2d),
    "padding={0.padding}, value={0.value}",
    "constant",
    value=...,
)


class _Loss(nn.Module, metaclass=ABCMeta):
    reduction: str

    def __init__(self, size_average: Any = None, reduce: Any = None, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = reduction_of("loss", size_average, reduce, reduction)


class _WeightedLoss(_Loss):
    def __init__(
        self, weight: Any = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean"
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


for _kind in (losses.Loss, nn.CTCLoss):
    _Loss.register(_kind)
for _kind in (nn.CrossEntropyLoss, nn.NLLLoss, nn.BCELoss, nn.BCEWithLogitsLoss):
    _WeightedLoss.register(_kind)


class _ConvNd(conv.Convolution, metaclass=ABCMeta):
    _op = "conv"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: tuple[int, ...],
        stride: tuple[int, ...],
        padding: Any,
        dilation: tuple[int, ...],
        transposed: bool,
        output_padding: tuple[int, ...],
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._axes = len(kernel_size)
        self._set(in_channels, out_channels, kernel_size, stride, dilation, groups)
        self.transposed, self.output_padding, self.padding_mode = transposed, output_padding, padding_mode
        self.padding = padding if isinstance(padding, str) else self._sizes("padding", padding, 0)
        if padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            around = [n for t in reversed(total) for n in (t // 2, t - t // 2)]
        else:
            sizes: Any = (0,) * self._axes if isinstance(padding, str) else self.padding
            around = [n for n in reversed(sizes) for _ in range(2)]
        self._reversed_padding_repeated_twice = around
        inputs, outputs = (out_channels, in_channels) if transposed else (in_channels, out_channels)
        self._make((outputs, inputs // groups), bias, dtype)


class _ConvTransposeNd(_ConvNd):
    pass


_ConvNd.register(conv._Conv)
_ConvTransposeNd.register(conv._ConvTranspose)


class RNNCellBase(recurrent_cell.RNNCellBase, metaclass=ABCMeta):
    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        self._mode = {4: "LSTM", 3: "GRU"}.get(num_chunks, "RNN_TANH")
        super().__init__(input_size, hidden_size, bias, dtype=dtype)


for _kind in (nn.RNNCell, nn.LSTMCell, nn.GRUCell):
    RNNCellBase.register(_kind)


# --- of nn.modules.utils
def _ntuple(count: int, name: str = "parse") -> Any:
    """A number as a tuple of `count` equal ones; tuples and lists as they are."""

    def sizes(value: Any) -> tuple[Any, ...]:
        return tuple(value) if isinstance(value, Iterable) else (value,) * count

    return sizes


_single, _pair, _triple, _quadruple = map(_ntuple, (1, 2, 3, 4))


def _reverse_repeat_tuple(t: Sequence[Any], n: int) -> tuple[Any, ...]:
    return tuple(x for x in reversed(t) for _ in range(n))


def _list_with_default(out_size: Any, defaults: Sequence[int]) -> Any:
    if isinstance(out_size, int):
        return out_size
    if len(defaults) <= len(out_size):
        raise ValueError(f"Input dimension should be at least {len(out_size) + 1}")
    last = defaults[-len(out_size) :]
    return [d if size is None else size for size, d in zip(out_size, last, strict=False)]
