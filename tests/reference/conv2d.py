"""conv2d: the cross-correlation of images with kernels, and its gradients.

    x (n, c, h, w), w (k, c / groups, r, s), bias (k), y (n, k, p, q)
    y[n, k, p, q] = bias[k] + sum over c, r, s of x[n, c, i, j] * w[k, c, r, s]
        i = p * stride + r * dilation - padding, j = q * stride + s * dilation - padding

The sum over r and s is written as a loop over taps: for one tap, every output pixel reads one input pixel,
and those input pixels are a slice of the padded image. For each pixel this is a matrix product over channels.
The gradients are the same loop with another of the three arrays unknown.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pair = int | tuple[int, int]


def conv2d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    before, after = _padding(padding, w, dilation)
    image = np.pad(x, ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1])))
    (n, _, h, v), (k, c, r, s) = image.shape, w.shape
    (sh, sw), (dh, dw) = _pair(stride), _pair(dilation)
    p, q = (h - dh * (r - 1) - 1) // sh + 1, (v - dw * (s - 1) - 1) // sw + 1
    images, weights = image.reshape(n, groups, c, h, v), w.reshape(groups, k // groups, c, r, s)
    y = np.zeros((n, groups, k // groups, p, q), x.dtype)
    for tap, pixels in _taps(w, (p, q), stride, dilation):
        # in each group (n, c, p, q) times (k, c) over c
        y += _contract("ngcpq,gkc->ngkpq", images[pixels], weights[tap])
    y = y.reshape(n, k, p, q)
    return y if bias is None else y + bias[:, None, None]


def conv2d_backward(dy, x, w, stride=1, padding=0, dilation=1, groups=1):
    """dx, dw, db: a tap that took x[i] * w to y[o] takes dy[o] * w back to dx[i] and dy[o] * x[i] to dw."""
    before, after = _padding(padding, w, dilation)
    image = np.pad(x, ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1])))
    n, k = dy.shape[:2]
    images = image.reshape(n, groups, w.shape[1], *image.shape[2:])
    weights = w.reshape(groups, k // groups, *w.shape[1:])
    dys = dy.reshape(n, groups, k // groups, *dy.shape[2:])
    dimages, dw = np.zeros_like(images), np.zeros_like(weights)
    for tap, pixels in _taps(w, dy.shape[2:], stride, dilation):
        dimages[pixels] += _contract("ngkpq,gkc->ngcpq", dys, weights[tap])
        dw[tap] = _contract("ngkpq,ngcpq->gkc", dys, images[pixels])
    h, v = x.shape[2:]
    dimage, dw = dimages.reshape(image.shape), dw.reshape(w.shape)
    dx = dimage[:, :, before[0] : before[0] + h, before[1] : before[1] + v]
    return dx, dw, dy.sum((0, 2, 3))


def _contract(axes: str, a: Array, b: Array) -> Array:
    with np.errstate(
        invalid="ignore"
    ):  # BLAS may read beyond small operands; what it makes of that is no result
        return np.einsum(axes, a, b, optimize=True)  # as a matrix product, which einsum alone does not see


def _taps(w: Array, size: tuple[int, ...], stride: Pair, dilation: Pair) -> Iterator[tuple[Any, Any]]:
    """For each tap: its place in w, and the pixels of the padded image that the outputs read with it."""
    (sh, sw), (dh, dw), (p, q) = _pair(stride), _pair(dilation), size
    for r in range(w.shape[2]):
        for s in range(w.shape[3]):
            rows = slice(r * dh, r * dh + sh * (p - 1) + 1, sh)
            columns = slice(s * dw, s * dw + sw * (q - 1) + 1, sw)
            yield (..., r, s), (..., rows, columns)


def _padding(padding: Pair | str, w: Array, dilation: Pair) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of zeros before and after the image; 'same' puts the odd one after."""
    if padding == "valid":
        padding = 0
    if not isinstance(padding, str):
        return _pair(padding), _pair(padding)
    dh, dw = _pair(dilation)
    h, v = dh * (w.shape[2] - 1), dw * (w.shape[3] - 1)
    return (h // 2, v // 2), (h - h // 2, v - v // 2)


def _pair(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
