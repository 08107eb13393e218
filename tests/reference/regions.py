"""Pools of regions and deformable convolution, number by number, as torchvision documents them."""

import math
from itertools import product
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def between(image: Array, y: float, x: float) -> float:
    """The value between four pixels; 0 further than one pixel outside, else the edge goes on."""
    h, w = image.shape
    if not (-1 <= y <= h and -1 <= x <= w):
        return 0.0
    y, x = min(max(y, 0), h - 1), min(max(x, 0), w - 1)
    i, j = int(y), int(x)
    below, right = min(i + 1, h - 1), min(j + 1, w - 1)
    a, b = y - i, x - j
    top = (1 - b) * image[i, j] + b * image[i, right]
    return (1 - a) * top + a * ((1 - b) * image[below, j] + b * image[below, right])


def roi_align(
    x: Array, rois: Array, scale: float, bins: tuple[int, int], ratio: int, aligned: bool, own: bool = False
) -> Array:
    ph, pw = bins
    c = x.shape[1] // (ph * pw if own else 1)
    y = np.zeros((len(rois), c, ph, pw))
    for k, (image, *box) in enumerate(rois):
        x1, y1, x2, y2 = np.array(box) * scale - (0.5 if aligned else 0)
        height, width = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
        rows, columns = (
            (ratio or 0, ratio or 0) if ratio > 0 else (math.ceil(height / ph), math.ceil(width / pw))
        )
        for d, i, j in np.ndindex(c, ph, pw):
            channel = x[int(image), (d * ph + i) * pw + j if own else d]
            points = [
                between(
                    channel,
                    y1 + (i + (a + 0.5) / rows) * height / ph,
                    x1 + (j + (b + 0.5) / columns) * width / pw,
                )
                for a, b in product(range(rows), range(columns))
            ]
            y[k, d, i, j] = sum(points) / max(len(points), 1)
    return y


def roi_pool(x: Array, rois: Array, scale: float, bins: tuple[int, int], own: bool = False) -> Array:
    """The greatest pixel; own: the mean of the bin's own channel, the last row and column left out."""
    ph, pw = bins
    c, (h, w) = x.shape[1] // (ph * pw if own else 1), x.shape[2:]
    y = np.zeros((len(rois), c, ph, pw))
    for k, (image, *box) in enumerate(rois):
        x1, y1, x2, y2 = (math.floor(abs(v) + 0.5) * (1 if v > 0 else -1) for v in np.array(box) * scale)
        height, width = (max(b - a + (not own), 1) for a, b in ((y1, y2), (x1, x2)))
        for d, i, j in np.ndindex(c, ph, pw):
            rows = [
                max(math.floor(i * height / ph) + y1, 0),
                min(math.ceil((i + 1) * height / ph) + y1, h - own),
            ]
            columns = [
                max(math.floor(j * width / pw) + x1, 0),
                min(math.ceil((j + 1) * width / pw) + x1, w - own),
            ]
            channel = x[int(image), (d * ph + i) * pw + j if own else d]
            part = channel[rows[0] : max(rows[1], rows[0]), columns[0] : max(columns[1], columns[0])]
            y[k, d, i, j] = (part.mean() if own else part.max()) if part.size else 0
    return y


def deform_conv2d(
    x: Array,
    weight: Array,
    offset: Array,
    mask: Array | None,
    bias: Array,
    places: Any,
    groups: int,
    each: int,
) -> Array:
    (sh, sw), (ph, pw), (dh, dw) = places
    (n, c, h, w), (count, depth, r, t) = x.shape, weight.shape
    oh, ow = offset.shape[2:]
    y = np.zeros((n, count, oh, ow)) + bias[:, None, None]
    wide = np.zeros((n, c, h + 2, w + 2))  # zeros around
    wide[:, :, 1:-1, 1:-1] = x
    for m, o, p, q, d, i, j in np.ndindex(n, count, oh, ow, depth, r, t):
        channel = o // (count // groups) * depth + d
        group = channel // (c // each)
        tap = (group * r + i) * t + j
        row = p * sh - ph + i * dh + offset[m, 2 * tap, p, q]
        column = q * sw - pw + j * dw + offset[m, 2 * tap + 1, p, q]
        value = 0.0
        if -1 < row < h and -1 < column < w:
            value = between(wide[m, channel], row + 1, column + 1)
        y[m, o, p, q] += weight[o, d, i, j] * value * (1 if mask is None else mask[m, tap, p, q])
    return y
