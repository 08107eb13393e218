"""conv2d: convolution of images, which is a cross-correlation as in all neural networks."""

from __future__ import annotations

from typing import Any, ClassVar

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor
from ranvier.ops.at_maxima import AtMaxima

__all__ = ["conv2d"]

Pair = int | tuple[int, int]


class Convolution(Function):
    """conv1d, conv2d and the transposed ones: the same three passes of different kernels."""

    reads: ClassVar = {"x": 1, "w": 0}
    dimensions: int  # of a batch; a single image or signal has one less
    kernel: Any
    kernel_backward: Any
    kernel_at_maxima: Any  # of those that take deferred gradients

    def __init__(self, *geometry: Any) -> None:
        self.geometry = geometry

    def forward(self, x: Any, w: Any, bias: Any) -> Any:
        self.single = x.ndim == self.dimensions - 1
        if self.single:
            x = x[None]
        self.x, self.w = x, w
        y = self.kernel(x, w, bias, *self.geometry)
        return y[0] if self.single else y

    def backward(self, dy: Any) -> Any:
        if isinstance(dy, AtMaxima):
            return self._backward_at_maxima(dy)
        if self.single:
            dy = dy[None]
        dx, dw, db = self.kernel_backward(dy, self.x, self.w, *self.geometry, *self.needs)
        return dx[0] if self.single and dx is not None else dx, dw, db

    def _backward_at_maxima(self, dy: AtMaxima) -> Any:
        """The same sums over the maxima of a pool only: float32, one group."""
        if dy.dy.dtype != "float32" or self.geometry[3] != 1:
            return self.backward(dy.array())
        stride, padding, dilation, _ = self.geometry
        arrays = dy.dy, dy.where, self.x, self.w
        dx, dw, db = self.kernel_at_maxima(*arrays, stride, padding, dilation, dy.windows, *self.needs)
        return dx[0] if self.single and dx is not None else dx, dw, db


class Conv2d(Convolution):
    dimensions = 4
    takes_deferred = True
    kernel, kernel_backward = _core.conv2d, _core.conv2d_backward
    kernel_at_maxima = _core.conv2d_pool_backward


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """y[n, k, p, q] = bias[k] + sum over c, r, s of weight[k, c, r, s] x[n, c, i, j], where
    i = p stride + r dilation - padding, j = q stride + s dilation - padding, and x is zero outside.

    x (N, C, H, W) or one image (C, H, W), weight (K, C / groups, R, S), bias (K,) or None, y (N, K, P, Q)
    with P = (H + 2 padding - dilation (R - 1) - 1) // stride + 1, and Q likewise from W and S. All arrays are
    float32 or all are float64. stride, padding and dilation are numbers or (rows, columns); padding may be
    'valid' (none) or 'same' (P = H; needs stride 1). With groups, output channel k sees only the input
    channels of its group; groups = C = K is depthwise. y is channels-last in memory.

    float32 3 x 3 kernels of stride 1 are computed by Winograd's algorithm where that is faster for the shapes
    (`set_winograd(False)` turns it off). An infinity or NaN in x then reaches all 2 x 2 outputs of a tile,
    and equal inputs at two places of an image may give outputs with different last bits.

    Where max_pool2d over windows that do not overlap follows a float32 convolution of one group, directly or
    after a ReLU, the gradients are sums over the maxima only. An infinity or NaN in x or weight does
    then not spread through zero gradients.

    Raises ValueError where shapes and settings do not fit, TypeError where the dtypes differ.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016); Lavin and Gray,
    "Fast algorithms for convolutional neural networks" (2016).

    >>> import ranvier as rv
    >>> x = rv.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    >>> rv.conv2d(x, rv.tensor([[[[1.0, -1.0]]]]))
    tensor([[[[-1., -1.],
              [-1., -1.]]]])
    """
    return Conv2d(stride, padding, dilation, groups).apply(input, weight, bias)
