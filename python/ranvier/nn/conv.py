"""Conv2d: the convolutional layer."""

from __future__ import annotations

import math
from typing import Any

from ranvier import ops
from ranvier.autograd.creation import empty
from ranvier.autograd.tensor import Tensor
from ranvier.nn import init
from ranvier.nn.module import Module, Parameter

Pair = int | tuple[int, int]


class Conv2d(Module):
    """y = x * weight + bias, slid over images: x (N, in_channels, H, W), weight (out_channels,
    in_channels / groups, R, S), bias (out_channels,), y (N, out_channels, P, Q).

    kernel_size, stride, padding and dilation are numbers or (rows, columns); padding may be 'valid' or
    'same'. See :func:`ranvier.ops.conv2d` for the formula. weight and bias start uniform in
    +-1/sqrt(fan_in), fan_in = in_channels / groups * R * S, as PyTorch's. Raises ValueError for settings
    that do not fit together.

    >>> from ranvier import nn
    >>> nn.Conv2d(1, 32, 3, padding=1)
    Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))
    """

    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair | str = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"[conv2d] got {in_channels} in_channels, {out_channels} out_channels and {groups} groups; "
                "expected positive channels divisible by groups"
            )
        if padding_mode != "zeros":
            raise ValueError(f"[conv2d] got padding_mode {padding_mode!r}; expected 'zeros'")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair("kernel_size", kernel_size, 1)
        self.stride = _pair("stride", stride, 1)
        self.padding = _padding(padding, self.stride)
        self.dilation = _pair("dilation", dilation, 1)
        self.groups = groups
        self.padding_mode = padding_mode
        self.weight = Parameter(empty(out_channels, in_channels // groups, *self.kernel_size, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_channels, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new starting values."""
        bound = 1 / math.sqrt(init.fans(self.weight)[0])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Any) -> Tensor:
        return ops.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        )
        if self.padding != (0, 0):
            text += f", padding={self.padding!r}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self.bias is not None else text + ", bias=False"


def _pair(name: str, value: Any, least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(isinstance(v, int) and v >= least for v in pair):
        raise ValueError(
            f"[conv2d] got {name} {value!r}; expected an integer or a pair of integers >= {least}"
        )
    return pair


def _padding(padding: Any, stride: tuple[int, int]) -> tuple[int, int] | str:
    if not isinstance(padding, str):
        return _pair("padding", padding, 0)
    if padding not in ("valid", "same"):
        raise ValueError(f"[conv2d] got padding {padding!r}; expected 'valid', 'same', an integer or a pair")
    if padding == "same" and stride != (1, 1):
        raise ValueError(f"[conv2d] got padding 'same' and stride {stride}; expected stride 1")
    return padding
