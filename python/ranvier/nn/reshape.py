"""Layers that arrange elements anew: Flatten, Unflatten, Identity, Fold, Unfold, shuffles of channels."""

from __future__ import annotations

import math
from typing import Any

import ranvier.nn.functional as F
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module
from ranvier.nn.registry import count, counts, whole

_NAMES = """
    ChannelShuffle Flatten Fold Identity PixelShuffle PixelUnshuffle Unflatten Unfold
"""
__all__ = _NAMES.split()


class Flatten(Module):
    """Joins dimensions start_dim ... end_dim: (N, C, H, W) -> (N, C*H*W), in logical order for any layout.

    Raises ValueError where x has fewer dimensions.

    >>> from ranvier import nn
    >>> nn.Flatten()
    Flatten(start_dim=1, end_dim=-1)
    """

    _shown = ("start_dim", "end_dim")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = whole("flatten", "start_dim", start_dim)
        self.end_dim = whole("flatten", "end_dim", end_dim)

    def forward(self, input: Any) -> Tensor:
        start, end = (d + input.ndim if d < 0 else d for d in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < input.ndim:
            raise ValueError(
                f"[flatten] got x of shape {tuple(input.shape)} for dimensions {self.start_dim} to "
                f"{self.end_dim}; expected at least {max(start, end) + 1} dimensions"
            )
        joined = math.prod(input.shape[start : end + 1])
        return input.reshape((*input.shape[:start], joined, *input.shape[end + 1 :]))


class Unflatten(Module):
    """Splits dimension ``dim`` into several: the inverse of Flatten.

    >>> from ranvier import nn
    >>> nn.Unflatten(1, (2, 3))
    Unflatten(dim=1, unflattened_size=(2, 3))
    """

    _shown = ("dim", "unflattened_size")

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        super().__init__()
        self.dim = whole("unflatten", "dim", dim)
        if not isinstance(unflattened_size, (tuple, list)):
            raise TypeError(
                f"[unflatten] got unflattened_size {unflattened_size!r}; expected a tuple of sizes"
            )
        self.unflattened_size = tuple(whole("unflatten", "unflattened_size", n) for n in unflattened_size)

    def forward(self, input: Any) -> Tensor:
        dim = self.dim + input.ndim if self.dim < 0 else self.dim
        shape = tuple(input.shape)
        return input.reshape((*shape[:dim], *self.unflattened_size, *shape[dim + 1 :]))


class Identity(Module):
    """y = x; all arguments are ignored.

    >>> from ranvier import nn
    >>> nn.Identity()
    Identity()
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class PixelShuffle(Module):
    """(N, C r^2, H, W) -> (N, C, H r, W r): see :func:`ranvier.nn.functional.pixel_shuffle`.

    >>> import ranvier as rv
    >>> rv.nn.PixelShuffle(2)(rv.ones(1, 8, 3, 3)).shape
    (1, 2, 6, 6)
    """

    _shown = ("upscale_factor",)

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = count("PixelShuffle", "upscale_factor", upscale_factor)

    def forward(self, input: Any) -> Tensor:
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
        self.downscale_factor = count("PixelUnshuffle", "downscale_factor", downscale_factor)

    def forward(self, input: Any) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)


class ChannelShuffle(Module):
    """The channels of all groups in turn: see :func:`ranvier.nn.functional.channel_shuffle`.

    >>> import ranvier as rv
    >>> rv.nn.ChannelShuffle(2)(rv.arange(4.0).reshape(1, 4, 1)).flatten()
    tensor([0., 2., 1., 3.])
    """

    _shown = ("groups",)

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = count("ChannelShuffle", "groups", groups)

    def forward(self, input: Any) -> Tensor:
        return F.channel_shuffle(input, self.groups)


class Unfold(Module):
    """The windows of images as columns: see :func:`ranvier.nn.functional.unfold`.

    >>> import ranvier as rv
    >>> rv.nn.Unfold(3)(rv.ones(1, 2, 4, 4)).shape
    (1, 18, 4)
    """

    _shown = ("kernel_size", "dilation", "padding", "stride")

    def __init__(self, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> None:
        super().__init__()
        counts("Unfold", 2, kernel_size=(kernel_size, 1), dilation=(dilation, 1))
        counts("Unfold", 2, padding=(padding, 0), stride=(stride, 1))
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Any) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Module):
    """The sum of windows, put back into images: see :func:`ranvier.nn.functional.fold`.

    >>> import ranvier as rv
    >>> rv.nn.Fold((4, 4), 3)(rv.ones(1, 18, 4)).shape
    (1, 2, 4, 4)
    """

    _shown = ("output_size", "kernel_size", "dilation", "padding", "stride")

    def __init__(
        self, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
    ) -> None:
        super().__init__()
        counts("Fold", 2, output_size=(output_size, 1), kernel_size=(kernel_size, 1), dilation=(dilation, 1))
        counts("Fold", 2, padding=(padding, 0), stride=(stride, 1))
        self.output_size, self.kernel_size, self.dilation = output_size, kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Any) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
