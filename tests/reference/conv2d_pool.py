"""conv2d_pool: a convolution and the maximum over windows of its result that do not overlap, as one step.

    x (n, c, h, w), weight (k, c, r, s), bias (k), z (n, k, p, q), y and where (n, k, p // a, q // b)
    z = x * weight + bias, as in conv2d
    y[n, k, i, j] = the largest element of z[n, k, i a : (i + 1) a, j b : (j + 1) b], at least 0 with ReLU
    where[n, k, i, j] = its offset row * b + column in the window: the first of the largest

Windows that do not overlap are axes of z in another shape. The ReLU follows the maximum, since
max(relu(z)) = relu(max(z)); where the maximum is below zero, no gradient passes.

The gradient of z is dy at the offsets and zero elsewhere; conv2d's gradients follow from it. The core
uses only those elements and does not store z's gradient.
"""

from typing import Any

import numpy as np
from reference.conv2d import conv2d, conv2d_backward

Array = np.ndarray[Any, Any]


def conv2d_pool(x, w, bias=None, stride=1, padding=0, dilation=1, window=(2, 2), activation="none"):
    values = _windows(conv2d(x, w, bias, stride, padding, dilation), window)
    where = values.argmax(-1)
    y = np.take_along_axis(values, where[..., None], -1)[..., 0]
    return (np.maximum(y, 0) if activation == "relu" else y), where.astype(np.uint8)


def conv2d_pool_backward(dy, where, x, w, stride=1, padding=0, dilation=1, window=(2, 2), saved=None):
    """dx, dw, db from dy, which is already zero where the ReLU gave 0. saved: x, if another ReLU made it;
    then dx is the gradient of that ReLU's input."""
    (n, k, rows, columns), (a, b) = dy.shape, window
    # (n, k, rows, columns, a * b), and from that z's gradient; the rest of z has none
    values = np.where(where[..., None] == np.arange(a * b), dy[..., None], 0)
    tiles = values.reshape(n, k, rows, columns, a, b).swapaxes(3, 4)
    dz = tiles.reshape(n, k, rows * a, columns * b)
    dx, dw, db = conv2d_backward(dz, x, w, stride, padding, dilation)
    return dx if saved is None else np.where(saved <= 0, 0, dx), dw, db


def _windows(z: Array, window: tuple[int, int]) -> Array:
    """(n, k, p, q) as (n, k, p // a, q // b, a * b), without the rows and columns that are left over."""
    (n, k, p, q), (a, b) = z.shape, window
    rows, columns = p // a, q // b
    tiles = z[:, :, : rows * a, : columns * b].reshape(n, k, rows, a, columns, b)
    return tiles.swapaxes(3, 4).reshape(n, k, rows, columns, a * b)
