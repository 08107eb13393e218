"""ConvTranspose1d, ConvTranspose2d: layers of transposed convolutions, which enlarge."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.tensor import Tensor
from ranvier.nn.conv import Convolution

__all__ = ["ConvTranspose1d", "ConvTranspose2d"]


class _ConvTranspose(Convolution):
    """ConvTranspose1d and ConvTranspose2d: the same arguments and steps."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._set(in_channels, out_channels, kernel_size, stride, dilation, groups)
        if padding_mode != "zeros":
            raise ValueError(f"[{self.op}] got padding_mode {padding_mode!r}; expected 'zeros'")
        self.padding = self._sizes("padding", padding, 0)
        self.output_padding = self._sizes("output_padding", output_padding, 0)
        self.padding_mode = padding_mode
        self._make((in_channels, out_channels // groups), bias, dtype)

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        convolve = getattr(ops, self.op)
        y: Tensor = convolve(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )
        return y

    def _extra(self, x: Any, output_size: Any) -> tuple[int, ...]:
        """The output_padding that gives output_size."""
        wanted = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,)
        wanted = wanted[-self.axes :]
        least = [
            (n - 1) * self.stride[d] - 2 * self.padding[d] + self.dilation[d] * (self.kernel_size[d] - 1) + 1
            for d, n in enumerate(x.shape[-self.axes :])
        ]
        most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
        if len(wanted) != self.axes or any(
            not (isinstance(n, int) and a <= n <= b) for n, a, b in zip(wanted, least, most, strict=True)
        ):
            raise ValueError(
                f"[{self.op}] got output_size {output_size!r}; expected sizes from {tuple(least)} to "
                f"{tuple(most)}"
            )
        return tuple(n - a for n, a in zip(wanted, least, strict=True))


class ConvTranspose1d(_ConvTranspose):
    """The transposed convolution of signals: x (N, in_channels, L), weight (in_channels, out_channels /
    groups, S), bias (out_channels,), y (N, out_channels, Q), Q = (L - 1) stride - 2 padding + dilation (S -
    1) + output_padding + 1.

    A call with ``output_size`` computes output_padding from it. See :func:`ranvier.ops.conv_transpose1d`
    for the formula. weight and bias start uniform in +-1/sqrt(out_channels / groups * S), as in PyTorch.
    Raises ValueError for settings that do not fit together.

    >>> from ranvier import nn
    >>> nn.ConvTranspose1d(4, 2, 4, stride=2, padding=1)
    ConvTranspose1d(4, 2, kernel_size=(4,), stride=(2,), padding=(1,))
    """

    op = "conv_transpose1d"
    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The transposed convolution of images: x (N, in_channels, H, W), weight (in_channels, out_channels /
    groups, R, S), bias (out_channels,), y (N, out_channels, P, Q), P = (H - 1) stride - 2 padding + dilation
    (R - 1) + output_padding + 1.

    Settings are numbers or (rows, columns). A call with ``output_size`` computes output_padding from it.
    See :func:`ranvier.ops.conv_transpose2d` for the formula. weight and bias start uniform in
    +-1/sqrt(out_channels / groups * R * S), as in PyTorch. Raises ValueError for settings that do not fit
    together.

    >>> import ranvier as rv
    >>> from ranvier import nn
    >>> up = nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1)
    >>> up(rv.zeros(1, 16, 7, 7)).shape
    (1, 8, 14, 14)
    """

    op = "conv_transpose2d"
    axes = 2
