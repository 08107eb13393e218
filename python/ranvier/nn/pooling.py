"""Pooling layers: the maximum, mean or norm of windows, for windows of one size (MaxPool1d ...) or windows
that divide the input (AdaptiveAvgPool1d ...); MaxUnpool1d and MaxUnpool2d.

The base `Module` reads three attributes of these classes: ``_shown`` are the settings that repr shows, and
`_example` gives an input with which a new layer is called once, so that wrong settings are refused at once.
``_axes`` is the number of axes of a window: 1 for signals (N, C, L), 2 for images (N, C, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, TypeAlias, TypeVar

import ranvier.nn.functional as F
from ranvier.nn.module import Module
from ranvier.nn.registry import counts
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = LAYERS["pooling"]

Sizes: TypeAlias = int | Sequence[int]
"""One size for all axes, or one for each."""
OutputSizes: TypeAlias = int | Sequence[int | None] | None
"""Sizes, where None is the size of the input."""
S = TypeVar("S")


def _tuple_of_list(sizes: S) -> S | tuple[int, ...]:
    """A tuple of the sizes of a list, which model files have; else the argument itself."""
    if isinstance(sizes, list):
        return tuple(sizes)
    return sizes


class _Pool(Module):
    """Base of the layers that pool: their empty example is so large that any window in use fits into it."""

    _axes: ClassVar[int]
    _extent: ClassVar[int] = 2**20  # the height and width of an example that is an image

    def _example(self) -> tuple[Tensor, ...]:
        if self._axes == 1:
            return (empty(0, 1, 2**20),)
        return (empty(0, 1, self._extent, self._extent),)


class _MaxPool(_Pool):
    """Base of the layers of maxima: the settings."""

    _shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = _tuple_of_list(kernel_size)
        self.stride = self.kernel_size if stride is None else _tuple_of_list(stride)
        self.padding = _tuple_of_list(padding)
        self.dilation = _tuple_of_list(dilation)
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode


class MaxPool1d(_MaxPool):
    """The largest element of each window of signals (N, C, L); see :func:`ranvier.max_pool1d`.

    >>> import ranvier as rv
    >>> rv.nn.MaxPool1d(2)(rv.zeros(1, 3, 8)).shape
    (1, 3, 4)
    """

    _axes = 1

    def forward(self, input: TensorLike) -> Tensor:
        return F.max_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )


class MaxPool2d(_MaxPool):
    """The largest element of each window; see :func:`ranvier.max_pool2d`.

    >>> import ranvier as rv
    >>> rv.nn.MaxPool2d(2)(rv.zeros(1, 3, 8, 6)).shape
    (1, 3, 4, 3)
    """

    _axes = 2

    def forward(self, input: TensorLike) -> Tensor:
        return F.max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )


class _AvgPool(_Pool):
    """Base of the layers of means: the settings that both have."""

    _shown = ("kernel_size", "stride", "padding")

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = _tuple_of_list(kernel_size)
        self.stride = self.kernel_size if stride is None else _tuple_of_list(stride)
        self.padding = _tuple_of_list(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad


class AvgPool1d(_AvgPool):
    """The mean of each window of signals (N, C, L); see :func:`ranvier.avg_pool1d`.

    >>> import ranvier as rv
    >>> rv.nn.AvgPool1d(2)(rv.zeros(1, 3, 8)).shape
    (1, 3, 4)
    """

    _axes = 1

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.kernel_size = _single(self.kernel_size)
        self.stride = _single(self.stride)
        self.padding = _single(self.padding)

    def forward(self, input: TensorLike) -> Tensor:
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


def _single(size: Sizes) -> tuple[Any, ...]:
    """A tuple of one size, as PyTorch's AvgPool1d has it."""
    if isinstance(size, tuple):
        return size
    return (size,)


class AvgPool2d(_AvgPool):
    """The mean of each window; see :func:`ranvier.avg_pool2d`.

    >>> import ranvier as rv
    >>> rv.nn.AvgPool2d(2)(rv.zeros(1, 3, 8, 6)).shape
    (1, 3, 4, 3)
    """

    _axes = 2

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        self.divisor_override = divisor_override

    def forward(self, input: TensorLike) -> Tensor:
        return F.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )


class LPPool2d(_Pool):
    """The norm_type-norm of each window of images; see :func:`ranvier.nn.functional.lp_pool2d`.

    >>> import ranvier as rv
    >>> rv.nn.LPPool2d(2, 2)(rv.ones(1, 1, 2, 2))
    tensor([[[[2.]]]])
    """

    _axes = 2
    _shown = ("norm_type", "kernel_size", "stride", "ceil_mode")

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = _tuple_of_list(kernel_size)
        self.stride = _tuple_of_list(stride)
        self.ceil_mode = ceil_mode

    def forward(self, input: TensorLike) -> Tensor:
        return F.lp_pool2d(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class _AdaptiveAvg(_Pool):
    """Base of the layers of means whose windows divide the input."""

    _extent = 2**15  # smaller than `_Pool._extent`, since one window may be the whole image
    _shown = ("output_size",)

    def __init__(self, output_size: OutputSizes) -> None:
        super().__init__()
        self.output_size = _tuple_of_list(output_size)


class AdaptiveAvgPool1d(_AdaptiveAvg):
    """The mean of windows that divide signals (N, C, L) into output_size; see
    :func:`ranvier.adaptive_avg_pool1d`.

    >>> import ranvier as rv
    >>> rv.nn.AdaptiveAvgPool1d(1)(rv.zeros(1, 3, 8)).shape
    (1, 3, 1)
    """

    _axes = 1

    def forward(self, input: TensorLike) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvg):
    """The mean of windows that divide images into output_size; see :func:`ranvier.adaptive_avg_pool2d`.

    >>> import ranvier as rv
    >>> rv.nn.AdaptiveAvgPool2d(1)(rv.zeros(1, 3, 8, 6)).shape
    (1, 3, 1, 1)
    """

    _axes = 2

    def forward(self, input: TensorLike) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class _AdaptiveMax(_Pool):
    """Base of the layers of maxima whose windows divide the input."""

    _extent = 2**15  # as in `_AdaptiveAvg`
    _shown = ("output_size",)

    def __init__(self, output_size: OutputSizes, return_indices: bool = False) -> None:
        super().__init__()
        self.output_size = _tuple_of_list(output_size)
        self.return_indices = return_indices


class AdaptiveMaxPool1d(_AdaptiveMax):
    """The maximum of windows that divide signals (N, C, L) into output_size; see
    :func:`ranvier.adaptive_max_pool1d`.

    >>> import ranvier as rv
    >>> rv.nn.AdaptiveMaxPool1d(1)(rv.zeros(1, 3, 8)).shape
    (1, 3, 1)
    """

    _axes = 1

    def forward(self, input: TensorLike) -> Tensor:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMax):
    """The maximum of windows that divide images into output_size; see :func:`ranvier.adaptive_max_pool2d`.

    >>> import ranvier as rv
    >>> rv.nn.AdaptiveMaxPool2d((2, None))(rv.zeros(1, 3, 8, 6)).shape
    (1, 3, 2, 6)
    """

    _axes = 2

    def forward(self, input: TensorLike) -> Tensor:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class _MaxUnpool(Module):
    """Base of the layers that undo a MaxPool1d or MaxPool2d of the same settings."""

    _shown = ("kernel_size", "stride", "padding")
    _axes: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        if stride is None:
            stride = kernel_size
        layer = type(self).__name__
        counts(layer, self._axes, kernel_size=(kernel_size, 1), stride=(stride, 1), padding=(padding, 0))
        self.kernel_size = self._for_each_axis(kernel_size)
        self.stride = self._for_each_axis(stride)
        self.padding = self._for_each_axis(padding)

    def _for_each_axis(self, size: Sizes) -> tuple[int, ...]:
        if isinstance(size, (tuple, list)):
            return tuple(size)
        return (size,) * self._axes  # type: ignore[return-value]

    def forward(
        self, input: TensorLike, indices: TensorLike, output_size: Sequence[int] | None = None
    ) -> Tensor:
        if self._axes == 1:
            return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """Puts maxima back to their places in the input: see :func:`ranvier.nn.functional.max_unpool1d`.

    >>> import ranvier as rv
    >>> y, at = rv.nn.MaxPool1d(2, return_indices=True)(rv.tensor([[[1.0, 2.0]]]))
    >>> rv.nn.MaxUnpool1d(2)(y, at)
    tensor([[[0., 2.]]])
    """

    _axes = 1


class MaxUnpool2d(_MaxUnpool):
    """Puts maxima back to their places in the input: see :func:`ranvier.nn.functional.max_unpool2d`.

    >>> import ranvier as rv
    >>> y, at = rv.nn.MaxPool2d(2, return_indices=True)(rv.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    >>> rv.nn.MaxUnpool2d(2)(y, at)
    tensor([[[[0., 0.],
              [0., 4.]]]])
    """

    _axes = 2
