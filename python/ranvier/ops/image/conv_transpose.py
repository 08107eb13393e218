"""conv_transpose1d and conv_transpose2d: transposed convolutions, with which decoders enlarge images.

y is the gradient that a convolution computes for its input, with x as the gradient of its output. Each of the
three passes is therefore one of a convolution's.
"""

from __future__ import annotations

from typing import Any

import ranvier._core as _core
from ranvier.autograd.tensor import Tensor
from ranvier.ops.image.conv2d import Convolution, Pair

__all__ = ["conv_transpose1d", "conv_transpose2d"]

Size = int | tuple[int]


class ConvTranspose1d(Convolution):
    dimensions = 3
    kernel, kernel_backward = _core.conv_transpose1d, _core.conv_transpose1d_backward


class ConvTranspose2d(Convolution):
    dimensions = 4
    kernel, kernel_backward = _core.conv_transpose2d, _core.conv_transpose2d_backward


def conv_transpose1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    groups: int = 1,
    dilation: Size = 1,
) -> Tensor:
    """y[n, k, q stride + s dilation - padding] = bias[k] + sum of x[n, c, q] weight[c, k, s]: the sum is over
    all c, q, s with this place.

    x (N, C, L) or one signal (C, L), weight (C, K / groups, S), bias (K,) or None, y (N, K, Q) with
    Q = (L - 1) stride - 2 padding + dilation (S - 1) + output_padding + 1; all float32 or all float64.
    output_padding, less than stride or dilation, selects one of the lengths from which conv1d makes L.

    Raises ValueError where shapes and settings do not fit, TypeError where the dtypes differ.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).

    >>> import ranvier as rv
    >>> rv.conv_transpose1d(rv.tensor([[[1.0, 2.0]]]), rv.tensor([[[1.0, 10.0, 100.0]]]), stride=2)
    tensor([[[  1.,  10., 102.,  20., 200.]]])
    """
    return ConvTranspose1d(stride, padding, output_padding, groups, dilation).apply(input, weight, bias)


def conv_transpose2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """y[n, k, i, j] = bias[k] + sum of x[n, c, p, q] weight[c, k, r, s] over every c, p, q, r, s with
    i = p stride + r dilation - padding and j = q stride + s dilation - padding.

    x (N, C, H, W) or one image (C, H, W), weight (C, K / groups, R, S), bias (K,) or None, y (N, K, P, Q),
    P = (H - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1; all float32 or all float64.
    Settings are numbers or (rows, columns). output_padding, less than stride or dilation, selects one of
    the sizes from which conv2d makes H and W. y is channels-last in memory.

    Raises ValueError where shapes and settings do not fit, TypeError where the dtypes differ.
    Source: Zeiler et al., "Deconvolutional Networks" (2010); Dumoulin and Visin, "A guide to convolution
    arithmetic for deep learning" (2016).

    >>> import ranvier as rv
    >>> rv.conv_transpose2d(rv.tensor([[[[1.0, 2.0]]]]), rv.ones(1, 1, 2, 2), stride=2)
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """
    return ConvTranspose2d(stride, padding, output_padding, groups, dilation).apply(input, weight, bias)
