"""The convolutional layers: Conv1d, Conv2d, ConvTranspose1d and ConvTranspose2d.

The ops are in ops/image/conv.py; a layer has the parameters and settings. Settings that are one number or one
for each spatial axis are stored as tuples with one number for each axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ranvier.nn.functional as F
from ranvier.nn.linear import Product
from ranvier.nn.table import LAYERS
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, ShapeLike, TensorLike

__all__ = LAYERS["conv"]

Size = int | tuple[int]
Pair = int | tuple[int, int]
Sizes = int | tuple[int, ...]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class Convolution(Product):
    """Base of the convolutional layers, with the arguments of PyTorch's base class."""

    _op = "conv"  # the name of the op in nn.functional
    _axes: int  # the number of spatial axes; nn/lazy.py reads it, too
    transposed = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: ShapeLike,
        stride: ShapeLike,
        padding: ShapeLike | str,
        dilation: ShapeLike,
        transposed: bool,
        output_padding: ShapeLike | None,
        groups: int,
        bias: bool,
        padding_mode: str,
        dtype: DtypeLike | None = None,
    ) -> None:
        super().__init__()
        if not hasattr(self, "_axes"):  # the class of a program, derived from this one
            self._axes = len(kernel_size)  # type: ignore[arg-type]
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
        if transposed and padding_mode != "zeros":
            raise OpError(f"[{self._op}] got padding_mode {padding_mode!r}; expected 'zeros'")
        if padding_mode not in _PADDING_MODES:
            expected = f"one of {', '.join(map(repr, _PADDING_MODES))}"
            raise OpError(f"[{self._op}] got padding_mode {padding_mode!r}; expected {expected}")
        self.padding = self._check_padding(padding)
        if output_padding is None:
            output_padding = 0
        self.output_padding = self._sizes("output_padding", output_padding, 0)
        self.padding_mode = padding_mode
        shape: tuple[int, ...]
        if transposed:
            shape = (in_channels, out_channels // groups, *self.kernel_size)
        else:
            shape = (out_channels, in_channels // groups, *self.kernel_size)
        self._make(shape, out_channels, bias, dtype)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        zeros = (0,) * self._axes
        ones = (1,) * self._axes
        defaults = {"padding": zeros, "dilation": ones, "output_padding": zeros, "groups": 1}
        for name, default in defaults.items():
            value = getattr(self, name, default)
            if value != default:
                text += f", {name}={value}"
        if self.bias is None:
            text += ", bias=False"
        mode = getattr(self, "padding_mode", "zeros")
        if mode == "zeros":
            return text
        return f"{text}, padding_mode={mode}"

    def _sizes(self, name: str, value: ShapeLike | str, least: int) -> tuple[int, ...]:
        """A setting as one number for each axis; ValueError for a number below ``least``."""
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

    def _pad_sizes(self) -> tuple[int, ...]:
        """The padding as `F.pad` takes it: the sizes before and after, from the last axis to the first."""
        sizes: list[int] = []
        for axis in reversed(range(self._axes)):
            if self.padding == "valid":
                sizes += (0, 0)
            elif self.padding == "same":  # The sum is what the kernel takes from the axis.
                total = self.dilation[axis] * (self.kernel_size[axis] - 1)
                sizes += (total // 2, total - total // 2)
            else:
                size: int = self.padding[axis]  # type: ignore[assignment]
                sizes += (size, size)
        return tuple(sizes)

    def _check_padding(self, padding: ShapeLike | str) -> tuple[int, ...] | str:
        """The setting ``padding``: "valid", "same", or one number for each axis."""
        if not isinstance(padding, str) or self.transposed:
            return self._sizes("padding", padding, 0)
        if padding not in ("valid", "same"):
            expected = "an integer or a pair" if self._axes == 2 else "an integer"
            raise ValueError(f"[{self._op}] got padding {padding!r}; expected 'valid', 'same', {expected}")
        if padding == "same" and any(n != 1 for n in self.stride):
            raise OpError(f"[{self._op}] got padding 'same' and stride {self.stride}; expected stride 1")
        return padding

    @property
    def _reversed_padding_repeated_twice(self) -> Sequence[int]:
        """The padding for `F.pad`. A program may set it: for sides of different sizes, for example."""
        set_by_program: Sequence[int] | None = self.__dict__.get("_reversed_padding_repeated_twice")
        if set_by_program is not None:
            return set_by_program
        sizes = self._pad_sizes()
        if isinstance(self.padding, str):
            return list(sizes)  # as in PyTorch, which has a list only here
        return sizes

    @_reversed_padding_repeated_twice.setter
    def _reversed_padding_repeated_twice(self, sizes: Sequence[int]) -> None:
        self.__dict__["_reversed_padding_repeated_twice"] = sizes


class _Conv(Convolution):
    """Conv1d and Conv2d: the same arguments and steps."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: ShapeLike,
        stride: ShapeLike = 1,
        padding: ShapeLike | str = 0,
        dilation: ShapeLike = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: DtypeLike | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            transposed=False,
            output_padding=None,
            groups=groups,
            bias=bias,
            padding_mode=padding_mode,
            dtype=dtype,
        )

    def forward(self, input: TensorLike) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: TensorLike, weight: TensorLike, bias: TensorLike | None) -> Tensor:
        """The convolution with this weight. It has PyTorch's name, since users' subclasses call it."""
        padding: ShapeLike | str = self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, self.padding_mode)
            padding = 0
        convolve = getattr(F, self._op)
        return convolve(input, weight, bias, self.stride, padding, self.dilation, self.groups)


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
    """Base of the transposed convolutions, whose output is larger than x."""

    transposed = True
    output_padding: tuple[int, ...]

    def _output_padding(
        self,
        input: Tensor,
        output_size: ShapeLike | None,
        stride: Sequence[int],
        padding: Any,
        kernel_size: Sequence[int],
        num_spatial_dims: int,
        dilation: Sequence[int] | None = None,
    ) -> tuple[int, ...]:
        """The output_padding that gives output_size; that of the layer if output_size is None.

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
        if dilation is None:
            dilation = (1,) * num_spatial_dims
        # Without output_padding, the output has the least size. Up to stride - 1 more are possible.
        least = []
        most = []
        for axis, size in enumerate(input.shape[-num_spatial_dims:]):
            kernel_extent = dilation[axis] * (kernel_size[axis] - 1) + 1
            smallest = (size - 1) * stride[axis] - 2 * padding[axis] + kernel_extent
            least.append(smallest)
            most.append(smallest + stride[axis] - 1)
        fits = len(wanted) == num_spatial_dims
        if fits:
            for size, low, high in zip(wanted, least, most, strict=True):
                fits = fits and isinstance(size, int) and low <= size <= high
        if not fits:
            raise ValueError(
                f"[conv_transpose{num_spatial_dims}d] got output_size {output_size!r}; expected sizes from "
                f"{tuple(least)} to {tuple(most)}"
            )
        return tuple(size - low for size, low in zip(wanted, least, strict=True))


class _ConvTranspose(TransposedConvolution):
    """ConvTranspose1d and ConvTranspose2d: the same arguments and steps."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: ShapeLike,
        stride: ShapeLike = 1,
        padding: ShapeLike = 0,
        output_padding: ShapeLike = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: ShapeLike = 1,
        padding_mode: str = "zeros",
        dtype: DtypeLike | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            transposed=True,
            output_padding=output_padding,
            groups=groups,
            bias=bias,
            padding_mode=padding_mode,
            dtype=dtype,
        )

    def forward(self, input: Tensor, output_size: ShapeLike | None = None) -> Tensor:
        output_padding = self._output_padding(
            input, output_size, self.stride, self.padding, self.kernel_size, self._axes, self.dilation
        )
        convolve = getattr(F, self._op)
        settings = (self.stride, self.padding, output_padding, self.groups, self.dilation)
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
