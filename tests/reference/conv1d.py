"""conv1d: the cross-correlation of signals with kernels, and its gradients.

    x (n, c, l), w (k, c / groups, s), bias (k), y (n, k, q)
    y[n, k, q] = bias[k] + sum over c, s of x[n, c, q * stride + s * dilation - padding] * w[k, c, s]

A signal is an image of one row, so conv2d computes it.
"""

from typing import Any

import numpy as np
from reference.conv2d import conv2d, conv2d_backward

Array = np.ndarray[Any, Any]


def conv1d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    settings = _along_the_row(stride, padding, dilation)
    return conv2d(x[:, :, None], w[:, :, None], bias, *settings, groups)[:, :, 0]


def conv1d_backward(
    dy: Array, x: Array, w: Array, stride: int = 1, padding: int | str = 0, dilation: int = 1, groups: int = 1
) -> tuple[Array, Array, Array]:
    """dx, dw, db"""
    settings = _along_the_row(stride, padding, dilation)
    dx, dw, db = conv2d_backward(dy[:, :, None], x[:, :, None], w[:, :, None], *settings, groups)
    return dx[:, :, 0], dw[:, :, 0], db


def _along_the_row(stride: int, padding: int | str, dilation: int) -> tuple[Any, Any, Any]:
    return (1, stride), padding if isinstance(padding, str) else (0, padding), (1, dilation)
