"""Pooling: the maximum or the mean of windows of images.

x is (N, C, H, W), or (C, H, W) for one image, of float32 or float64; the result is channels-last in memory
where x is. Sizes are a number for both axes or a pair (height, width). A wrong shape or size raises
ValueError, another dtype TypeError.
"""

from __future__ import annotations

from typing import Any

from ranvier import _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor


def _batch(x: Any) -> Any:
    """(C, H, W) is a batch of one."""
    return x[None] if x.ndim == 3 else x


def _unbatch(y: Any, x: Any) -> Any:
    return y[0] if x.ndim == 3 else y


class MaxPool2d(Function):
    def __init__(self, *window: Any) -> None:
        self.window = window  # kernel_size, stride, padding, dilation, ceil_mode

    def forward(self, x: Any) -> Any:
        images = _batch(x)
        self.shape = images.shape
        y, self.where = _core.max_pool2d(images, *self.window)
        return _unbatch(y, x)

    def backward(self, dy: Any) -> Any:
        dx = _core.max_pool2d_backward(_batch(dy), self.where, self.shape, *self.window)
        return _unbatch(dx, dy)


def max_pool2d(
    x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Tensor:
    """y[oh, ow] = max over r, s of x[oh stride - padding + r dilation, ow stride - padding + s dilation].

    stride: kernel_size where it is None. padding: at most half of the window, never the maximum itself.
    ceil_mode: a last window that is only partly inside the image counts too. A NaN in a window gives NaN. The
    gradient goes to the maximum, of equal ones to the first.

    Shapes: (N, C, H, W) -> (N, C, OH, OW),
    OH = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1.
    Source: Riesenhuber and Poggio, "Hierarchical Models of Object Recognition in Cortex" (1999).

    >>> import numpy as np, ranvier as rv
    >>> x = rv.tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    >>> rv.max_pool2d(x, 2)
    tensor([[[[ 5.,  7.],
              [13., 15.]]]])
    """
    return MaxPool2d(kernel_size, stride, padding, dilation, ceil_mode).apply(x)


class AvgPool2d(Function):
    def __init__(self, *window: Any) -> None:
        self.window = window  # kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override

    def forward(self, x: Any) -> Any:
        images = _batch(x)
        y = _core.avg_pool2d(images, *self.window)
        self.shape, self.channels_last = images.shape, _core.pools_over_channels(images)
        return _unbatch(y, x)

    def backward(self, dy: Any) -> Any:
        arguments = (*self.window, self.channels_last)
        dx = _core.avg_pool2d_backward(_batch(dy), self.shape, *arguments)
        return _unbatch(dx, dy)


def avg_pool2d(
    x: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """y[oh, ow] = the mean of x over the window that begins at (oh stride - padding, ow stride - padding).

    stride: kernel_size where it is None. count_include_pad: the padding's zeros count as elements of the
    window. divisor_override: divide the sums by this number instead. ceil_mode: a last window that is only
    partly inside the image counts too.

    Shapes: (N, C, H, W) -> (N, C, OH, OW), OH = floor((H + 2 padding - kernel_size) / stride) + 1.
    Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998).

    >>> import numpy as np, ranvier as rv
    >>> x = rv.tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    >>> rv.avg_pool2d(x, 2)
    tensor([[[[ 2.5000,  4.5000],
              [10.5000, 12.5000]]]])
    """
    return AvgPool2d(kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override).apply(x)


class AdaptiveAvgPool2d(Function):
    def __init__(self, output_size: Any) -> None:
        self.output_size = output_size

    def forward(self, x: Any) -> Any:
        images = _batch(x)
        y = _core.adaptive_avg_pool2d(images, self.output_size)
        self.shape, self.channels_last = images.shape, _core.pools_over_channels(images)
        return _unbatch(y, x)

    def backward(self, dy: Any) -> Any:
        dx = _core.adaptive_avg_pool2d_backward(_batch(dy), self.shape, self.channels_last)
        return _unbatch(dx, dy)


def adaptive_avg_pool2d(x: Any, output_size: Any) -> Tensor:
    """The mean of windows that divide the image evenly into output_size; 1 is the global average.

    Window o along an axis of length n is [floor(o n / out), ceil((o + 1) n / out)). None in a pair keeps that
    axis.

    Shapes: (N, C, H, W) -> (N, C, *output_size).
    Source: Lin, Chen and Yan, "Network In Network" (2013), for the global average.

    >>> import numpy as np, ranvier as rv
    >>> x = rv.tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))
    >>> rv.adaptive_avg_pool2d(x, 1).item()
    7.5
    """
    return AdaptiveAvgPool2d(output_size).apply(x)
