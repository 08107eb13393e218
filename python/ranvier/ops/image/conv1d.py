"""conv1d: convolution of signals; the kernels are conv2d's, on images of one row."""

from __future__ import annotations

from typing import Any

import ranvier._core as _core
from ranvier.autograd.tensor import Tensor
from ranvier.ops.image.conv2d import Convolution

__all__ = ["conv1d"]

Size = int | tuple[int]


class Conv1d(Convolution):
    dimensions = 3
    takes_deferred = True
    kernel, kernel_backward = _core.conv1d, _core.conv1d_backward
    kernel_at_maxima = _core.conv1d_pool_backward


def conv1d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """y[n, k, q] = bias[k] + sum over c, s of weight[k, c, s] x[n, c, q stride + s dilation - padding], where
    x is zero outside.

    x (N, C, L) or one signal (C, L), weight (K, C / groups, S), bias (K,) or None, y (N, K, Q) with
    Q = (L + 2 padding - dilation (S - 1) - 1) // stride + 1; all float32 or all float64. padding may be
    'valid' (none) or 'same' (Q = L, at stride 1). y is (N, Q, K) in memory.

    Raises ValueError where shapes and settings do not fit, TypeError where the dtypes differ.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).

    >>> import ranvier as rv
    >>> rv.conv1d(rv.tensor([[[1.0, 2.0, 4.0]]]), rv.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 2.]]])
    """
    return Conv1d(stride, padding, dilation, groups).apply(input, weight, bias)
