"""The convolutional layers: Conv1d, Conv2d, and their transposed forms, whose output is larger than x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ranvier.nn.functional as F
from ranvier.nn.linear import Product
from ranvier.nn.table import LAYERS
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = LAYERS["conv"]

Size = int | tuple[int]
Pair = int | tuple[int, int]
Sizes = int | tuple[int, ...]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Convolution(Product):
    """Base of the convolutional layers, with the arguments of PyTorch's base class. ``_op``: the name of the
    op. ``_axes``: the number of spatial axes."""

    _op = "conv"
    _axes: int
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: int | Sequence[int],
        dilation: Any,
        transposed: bool,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not hasattr(self, "_axes"):
            self._axes = len(kernel_size)
        channels = (in_channels, out_channels, groups)
        if not all(isinstance(n, int) and type(n) is not bool for n in channels) or min(channels) < 1:
            raise OpError(f"[{self._op}] got {_counts(channels)}; expected positive whole numbers")
        if in_channels % groups or out_channels % groups:
            raise OpError(f"[{self._op}] got {_counts(channels)}; expected channels divisible by groups")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = self._sizes("kernel_size", kernel_size, 1)
        self.stride = self._sizes("stride", stride, 1)
        self.dilation = self._sizes("dilation", dilation, 1)
        self.groups = groups
        if transposed != self.transposed:  # A user's class may pass a value that differs from the base's.
            self.transposed = transposed
        if padding_mode not in (_PADDING_MODES[:1] if transposed else _PADDING_MODES):
            if transposed:
                expected = "'zeros'"
            else:
                expected = f"one of {', '.join(map(repr, _PADDING_MODES))}"
            raise OpError(f"[{self._op}] got padding_mode {padding_mode!r}; expected {expected}")
        self.padding = self._padding(padding)
        extra = 0 if output_padding is None else output_padding
        self.output_padding = self._sizes("output_padding", extra, 0)
        self.padding_mode = padding_mode
        outputs, inputs = channels[:2] if transposed else channels[1::-1]
        self._make((outputs, inputs // groups, *self.kernel_size), out_channels, bias, dtype)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        zero = (0,) * self._axes
        one = (1,) * self._axes
        for name, usual in (("padding", zero), ("dilation", one), ("output_padding", zero), ("groups", 1)):
            value = getattr(self, name, usual)
            if value != usual:
                text += f", {name}={value}"
        if self.bias is None:
            text += ", bias=False"
        mode = getattr(self, "padding_mode", "zeros")
        if mode == "zeros":
            return text
        return f"{text}, padding_mode={mode}"

    def _sizes(self, name: str, value: Any, least: int) -> tuple[int, ...]:
        if isinstance(value, (tuple, list)):
            sizes = tuple(value)
        else:
            sizes = (value,)
        if len(sizes) == 1:
            sizes = sizes * self._axes
        whole = all(isinstance(v, int) and type(v) is not bool and v >= least for v in sizes)
        if not whole or len(sizes) != self._axes:
            if self._axes == 2:
                expected = "an integer or a pair of integers"
            else:
                expected = "an integer"
            raise OpError(f"[{self._op}] got {name} {value!r}; expected {expected} >= {least}")
        return sizes

    def _around(self) -> tuple[int, ...]:
        """The padding for `pad`: the sizes before and after, from the last axis to the first."""
        if self.padding == "valid":
            return (0,) * (2 * self._axes)
        if not isinstance(self.padding, str):
            return tuple(n for size in reversed(self.padding) for n in (size, size))
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        return tuple(n for size in reversed(reach) for n in (size // 2, size - size // 2))

    def _padding(self, padding: int | str | Sequence[int]) -> tuple[int, ...] | str:
        if not isinstance(padding, str) or self.transposed:
            return self._sizes("padding", padding, 0)
        if padding not in ("valid", "same"):
            expected = "an integer or a pair" if self._axes == 2 else "an integer"
            raise ValueError(f"[{self._op}] got padding {padding!r}; expected 'valid', 'same', {expected}")
        if padding == "same" and any(n != 1 for n in self.stride):
            raise OpError(f"[{self._op}] got padding 'same' and stride {self.stride}; expected stride 1")
        return padding

    @property
    def _reversed_padding_repeated_twice(self) -> Any:
        """The padding for `pad`, which a program may replace: for sides of different sizes, for example."""
        own = self.__dict__.get("_reversed_padding_repeated_twice")
        if own is not None:
            return own
        around = self._around()
        if isinstance(self.padding, str):
            return list(around)
        return around

    @_reversed_padding_repeated_twice.setter
    def _reversed_padding_repeated_twice(self, around: Any) -> None:
        self.__dict__["_reversed_padding_repeated_twice"] = around


class _Conv(Convolution):
    """Conv1d and Conv2d: the same arguments and steps."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: int | Sequence[int] = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ) -> None:
        sizes = in_channels, out_channels, kernel_size, stride, padding, dilation
        super().__init__(*sizes, False, None, groups, bias, padding_mode, dtype)

    def forward(self, input: TensorLike) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: TensorLike, weight: TensorLike, bias: TensorLike | None) -> Tensor:
        """The convolution with this weight. It has PyTorch's name, since users' subclasses call it."""
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            around = self._reversed_padding_repeated_twice
            input = F.pad(input, around, self.padding_mode)
            padding = 0
        settings = self.stride, padding, self.dilation, self.groups
        return getattr(F, self._op)(input, weight, bias, *settings)


class Conv1d(_Conv):
    """y = conv(x, weight) + bias for signals: x (N, in_channels, L), weight (out_channels,
    in_channels / groups, S), bias (out_channels,), y (N, out_channels, Q).

    padding may be 'valid' or 'same'; padding_mode is 'zeros', 'reflect', 'replicate' or 'circular'. See
    :func:`ranvier.ops.conv1d` for the formula. weight and bias start uniform in +-1/sqrt(fan_in), fan_in =
    in_channels / groups * S, as in PyTorch. Raises ValueError for settings that do not fit together.

    >>> import ranvier as rv
    >>> rv.nn.Conv1d(4, 8, 3, padding="same")
    Conv1d(4, 8, kernel_size=(3,), stride=(1,), padding=same)
    """

    _op = "conv1d"
    _axes = 1


class Conv2d(_Conv):
    """y = conv(x, weight) + bias for images: x (N, in_channels, H, W), weight (out_channels,
    in_channels / groups, R, S), bias (out_channels,), y (N, out_channels, P, Q).

    kernel_size, stride, padding and dilation are numbers or (rows, columns); padding may be 'valid' or
    'same'; padding_mode is 'zeros', 'reflect', 'replicate' or 'circular'. See :func:`ranvier.ops.conv2d` for
    the formula. weight and bias start uniform in +-1/sqrt(fan_in), fan_in = in_channels / groups * R * S, as
    in PyTorch. Raises ValueError for settings that do not fit together.

    >>> import ranvier as rv
    >>> rv.nn.Conv2d(1, 32, 3, padding=1)
    Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """

    _op = "conv2d"
    _axes = 2


def _counts(channels: tuple[int, int, int]) -> str:
    return "{} in_channels, {} out_channels and {} groups".format(*channels)


class TransposedConvolution(Convolution):
    transposed = True
    output_padding: tuple[int, ...]

    def _output_padding(
        self,
        input: Any,
        output_size: Any,
        stride: Any,
        padding: Any,
        kernel_size: Any,
        num_spatial_dims: int,
        dilation: Any = None,
    ) -> tuple[int, ...]:
        """The output_padding that gives output_size; that of the layer without one.

        It has PyTorch's name and arguments, since subclasses call and override it. With output_size it uses
        the arguments alone, since programs call it for objects of their own.
        """
        if output_size is None:
            return self.output_padding
        if isinstance(output_size, (tuple, list)):
            wanted = tuple(output_size)
        else:
            wanted = (output_size,)
        wanted = wanted[-num_spatial_dims:]
        gaps = (1,) * num_spatial_dims if dilation is None else dilation
        least = [
            (n - 1) * stride[d] - 2 * padding[d] + gaps[d] * (kernel_size[d] - 1) + 1
            for d, n in enumerate(input.shape[-num_spatial_dims:])
        ]
        most = [n + s - 1 for n, s in zip(least, stride, strict=True)]
        fits = len(wanted) == num_spatial_dims and all(
            isinstance(n, int) and a <= n <= b for n, a, b in zip(wanted, least, most, strict=True)
        )
        if not fits:
            raise ValueError(
                f"[conv_transpose{num_spatial_dims}d] got output_size {output_size!r}; expected sizes from "
                f"{tuple(least)} to {tuple(most)}"
            )
        return tuple(n - a for n, a in zip(wanted, least, strict=True))


class _ConvTranspose(TransposedConvolution):
    """ConvTranspose1d and ConvTranspose2d: the same arguments and steps."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: int | Sequence[int] = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ) -> None:
        sizes = in_channels, out_channels, kernel_size, stride, padding, dilation
        super().__init__(*sizes, True, output_padding, groups, bias, padding_mode, dtype)

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        extra = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, self._axes, self.dilation
        )
        convolve = getattr(F, self._op)
        settings = self.stride, self.padding, extra, self.groups, self.dilation
        return convolve(input, self.weight, self.bias, *settings)


class ConvTranspose1d(_ConvTranspose):
    """The transposed convolution of signals: x (N, in_channels, L), weight (in_channels, out_channels /
    groups, S), bias (out_channels,), y (N, out_channels, Q), Q = (L - 1) stride - 2 padding + dilation (S -
    1) + output_padding + 1.

    A call with ``output_size`` computes output_padding from it. See :func:`ranvier.ops.conv_transpose1d`
    for the formula. weight and bias start uniform in +-1/sqrt(out_channels / groups * S), as in PyTorch.
    Raises ValueError for settings that do not fit together.

    >>> import ranvier as rv
    >>> rv.nn.ConvTranspose1d(4, 2, 4, stride=2, padding=1)
    ConvTranspose1d(4, 2, kernel_size=(4,), stride=(2,), padding=(1,))
    """

    _op = "conv_transpose1d"
    _axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The transposed convolution of images: x (N, in_channels, H, W), weight (in_channels, out_channels /
    groups, R, S), bias (out_channels,), y (N, out_channels, P, Q), P = (H - 1) stride - 2 padding + dilation
    (R - 1) + output_padding + 1.

    Settings are numbers or (rows, columns). A call with ``output_size`` computes output_padding from it.
    See :func:`ranvier.ops.conv_transpose2d` for the formula. weight and bias start uniform in
    +-1/sqrt(out_channels / groups * R * S), as in PyTorch. Raises ValueError for settings that do not fit
    together.

    >>> import ranvier as rv
    >>> rv.nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)(rv.zeros(1, 16, 7, 7)).shape
    (1, 8, 14, 14)
    """

    _op = "conv_transpose2d"
    _axes = 2
