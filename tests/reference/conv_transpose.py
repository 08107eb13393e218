"""conv_transpose2d: every input pixel adds its value times the kernel to the output.

    x (n, c, h, v), w (c, k / groups, r, s), bias (k), y (n, k, p, q)
    y[n, k, i, j] = bias[k] + sum of x[n, c, a, b] * w[c, k, r, s] over all c, a, b, r, s with
        i = a * stride + r * dilation - padding, j = b * stride + s * dilation - padding

For one tap (r, s), the pixels of x go to a slice of the padded output. The same slices of dy give dx and dw.
A signal is an image of one row, with settings (1, ...) and (0, ...) along it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]


def conv_transpose2d(x, w, bias, stride, padding, output_padding, groups, dilation):
    padded = _padded_size(x, w, stride, output_padding, dilation)
    y = np.zeros((x.shape[0], w.shape[1] * groups, *padded), x.dtype)
    for inputs, outputs in channel_groups(x.shape[1], w.shape[1] * groups, groups):
        for r, s, stamped in _stamps(x, w, stride, dilation):
            y[:, outputs][stamped] += np.einsum("nchv,ck->nkhv", x[:, inputs], w[inputs, :, r, s])
    y = _without_padding(y, padding)
    return y if bias is None else y + bias[:, None, None]


def conv_transpose2d_backward(dy, x, w, stride, padding, output_padding, groups, dilation):
    """dx, dw, db: a tap that took x * w to a pixel of y takes dy there times w to dx, times x to dw."""
    padded = np.zeros((*dy.shape[:2], *_padded_size(x, w, stride, output_padding, dilation)), dy.dtype)
    _without_padding(padded, padding)[...] = dy
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for inputs, outputs in channel_groups(x.shape[1], w.shape[1] * groups, groups):
        for r, s, stamped in _stamps(x, w, stride, dilation):
            dx[:, inputs] += np.einsum("nkhv,ck->nchv", padded[:, outputs][stamped], w[inputs, :, r, s])
            dw[inputs, :, r, s] = np.einsum("nkhv,nchv->ck", padded[:, outputs][stamped], x[:, inputs])
    return dx, dw, dy.sum((0, 2, 3))


def channel_groups(inputs: int, outputs: int, groups: int) -> Iterator[tuple[slice, slice]]:
    """The input and the output channels of each group, which is a separate convolution."""
    c, k = inputs // groups, outputs // groups
    for g in range(groups):
        yield slice(g * c, (g + 1) * c), slice(g * k, (g + 1) * k)


def _padded_size(x: Array, w: Array, stride: Pair, output_padding: Pair, dilation: Pair) -> list[int]:
    """The output's size before the padding is cut off."""
    return [
        (x.shape[2 + d] - 1) * stride[d] + dilation[d] * (w.shape[2 + d] - 1) + output_padding[d] + 1
        for d in (0, 1)
    ]


def _stamps(x: Array, w: Array, stride: Pair, dilation: Pair) -> Iterator[tuple[int, int, Any]]:
    """For each tap: where the pixels of x go in the padded output."""
    h, v = x.shape[2:]
    for r in range(w.shape[2]):
        for s in range(w.shape[3]):
            rows = slice(r * dilation[0], r * dilation[0] + stride[0] * (h - 1) + 1, stride[0])
            columns = slice(s * dilation[1], s * dilation[1] + stride[1] * (v - 1) + 1, stride[1])
            yield r, s, (..., rows, columns)


def _without_padding(y: Array, padding: Pair) -> Array:
    (top, left), (h, v) = padding, y.shape[2:]
    return y[:, :, top : h - top, left : v - left]
