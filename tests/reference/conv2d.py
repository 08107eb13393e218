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
    if x.ndim == 3:
        return conv2d(x[None], w, bias, stride, padding, dilation, groups)[0]
    before, after = _padding(padding, w, dilation)
    image = np.pad(x, ((0, 0), (0, 0), (before[0], after[0]), (before[1], after[1])))
    n, _, h, v = image.shape
    k, c, r, s = w.shape
    sh, sw = _pair(stride)
    dh, dw = _pair(dilation)
    p = (h - dh * (r - 1) - 1) // sh + 1
    q = (v - dw * (s - 1) - 1) // sw + 1
    images = image.reshape(n, groups, c, h, v)
    weights = w.reshape(groups, k // groups, c, r, s)
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
    # BLAS may read beyond small operands; what it makes of that is no result
    with np.errstate(invalid="ignore"):
        return np.einsum(axes, a, b, optimize=True)  # as a matrix product, which einsum alone does not see


def _taps(w: Array, size: tuple[int, ...], stride: Pair, dilation: Pair) -> Iterator[tuple[Any, Any]]:
    """For each tap: its place in w, and the pixels of the padded image that the outputs read with it."""
    sh, sw = _pair(stride)
    dh, dw = _pair(dilation)
    p, q = size
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
    h = dh * (w.shape[2] - 1)
    v = dw * (w.shape[3] - 1)
    return (h // 2, v // 2), (h - h // 2, v - v // 2)


def _pair(value: Pair) -> tuple[int, int]:
    return tuple(np.broadcast_to(value, 2).tolist())


# conv1d: the cross-correlation of signals with kernels, and its gradients.
#
#     x (n, c, l), w (k, c / groups, s), bias (k), y (n, k, q)
#     y[n, k, q] = bias[k] + sum over c, s of x[n, c, q * stride + s * dilation - padding] * w[k, c, s]
#
# A signal is an image of one row, so conv2d computes it.


def conv1d(x, w, bias=None, stride=1, padding=0, dilation=1, groups=1):
    if not isinstance(padding, str):
        padding = (0, padding)
    image = x[..., None, :]
    kernel = w[:, :, None]
    y = conv2d(image, kernel, bias, (1, stride), padding, (1, dilation), groups)
    return y[..., 0, :]


# conv_transpose2d: every input pixel adds its value times the kernel to the output.
#
#     x (n, c, h, v), w (c, k / groups, r, s), bias (k), y (n, k, p, q)
#     y[n, k, i, j] = bias[k] + sum of x[n, c, a, b] * w[c, k, r, s] over all c, a, b, r, s with
#         i = a * stride + r * dilation - padding, j = b * stride + s * dilation - padding
#
# For one tap (r, s), the pixels of x go to a slice of the padded output. The same slices of dy give dx, dw.
# A signal is an image of one row, with settings (1, ...) and (0, ...) along it.


def conv_transpose2d(x, w, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    if x.ndim == 3:
        return conv_transpose2d(x[None], w, bias, stride, padding, output_padding, groups, dilation)[0]
    stride = _pair(stride)
    padding = _pair(padding)
    output_padding = _pair(output_padding)
    dilation = _pair(dilation)
    padded = _padded_size(x, w, stride, output_padding, dilation)
    y = np.zeros((x.shape[0], w.shape[1] * groups, *padded), x.dtype)
    for inputs, outputs in channel_groups(x.shape[1], w.shape[1] * groups, groups):
        for r, s, stamped in _stamps(x, w, stride, dilation):
            y[:, outputs][stamped] += np.einsum("nchv,ck->nkhv", x[:, inputs], w[inputs, :, r, s])
    y = _without_padding(y, padding)
    return y if bias is None else y + bias[:, None, None]


def conv_transpose1d(x, w, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    image = x[..., None, :]
    kernel = w[:, :, None]
    y = conv_transpose2d(
        image, kernel, bias, (1, stride), (0, padding), (0, output_padding), groups, (1, dilation)
    )
    return y[..., 0, :]


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
    top, left = padding
    h, v = y.shape[2:]
    return y[:, :, top : h - top, left : v - left]


# conv2d_pool: a convolution and the maximum over windows of its result that do not overlap, as one step.
#
#     x (n, c, h, w), weight (k, c, r, s), bias (k), z (n, k, p, q), y and where (n, k, p // a, q // b)
#     z = x * weight + bias, as in conv2d
#     y[n, k, i, j] = the largest element of z[n, k, i a : (i + 1) a, j b : (j + 1) b], at least 0 with ReLU
#     where[n, k, i, j] = its offset row * b + column in the window: the first of the largest
#
# Windows that do not overlap are axes of z in another shape. The ReLU follows the maximum, since
# max(relu(z)) = relu(max(z)); where the maximum is below zero, no gradient passes.
#
# The gradient of z is dy at the offsets and zero elsewhere; conv2d's gradients follow from it. The core
# uses only those elements and does not store z's gradient.


def conv2d_pool(x, w, bias=None, stride=1, padding=0, dilation=1, window=(2, 2), activation="none"):
    values = _windows(conv2d(x, w, bias, stride, padding, dilation), window)
    where = values.argmax(-1)
    y = np.take_along_axis(values, where[..., None], -1)[..., 0]
    if activation == "relu":
        y = np.maximum(y, 0)
    return y, where.astype(np.uint8)


def conv2d_pool_backward(dy, where, x, w, stride=1, padding=0, dilation=1, window=(2, 2), saved=None):
    """dx, dw, db from dy, which is already zero where the ReLU gave 0. saved: x, if another ReLU made it;
    then dx is the gradient of that ReLU's input."""
    n, k, rows, columns = dy.shape
    a, b = window
    # (n, k, rows, columns, a * b), and from that z's gradient; the rest of z has none
    values = np.where(where[..., None] == np.arange(a * b), dy[..., None], 0)
    tiles = values.reshape(n, k, rows, columns, a, b).swapaxes(3, 4)
    dz = tiles.reshape(n, k, rows * a, columns * b)
    dx, dw, db = conv2d_backward(dz, x, w, stride, padding, dilation)
    if saved is not None:
        dx = np.where(saved <= 0, 0, dx)
    return dx, dw, db


def _windows(z: Array, window: tuple[int, int]) -> Array:
    """(n, k, p, q) as (n, k, p // a, q // b, a * b), without the rows and columns that are left over."""
    n, k, p, q = z.shape
    a, b = window
    rows = p // a
    columns = q // b
    tiles = z[:, :, : rows * a, : columns * b].reshape(n, k, rows, a, columns, b)
    return tiles.swapaxes(3, 4).reshape(n, k, rows, columns, a * b)
