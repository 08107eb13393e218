"""Pools of regions and deformable convolution, number by number, as torchvision documents them.

A region (a row of `rois`) is the number of its image and a box x1, y1, x2, y2. `scale` brings boxes to the
pixels of the feature map x (n, c, h, w), and a pool divides each box into `bins` = (rows, columns) parts.

With own=False a part of the result is read from every channel of x. With own=True (torchvision's
"position-sensitive" pools, ps_roi_align and ps_roi_pool) each part of a box has channels of its own: part
(i, j) of channel d of the result reads channel (d * rows + i) * columns + j of x.
"""

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]


def between(image: Array, y: float, x: float) -> float:
    """The value between four pixels; 0 further than one pixel outside, else the edge goes on."""
    h, w = image.shape
    if not (-1 <= y <= h and -1 <= x <= w):
        return 0.0
    y = min(max(y, 0), h - 1)
    x = min(max(x, 0), w - 1)
    row = int(y)
    column = int(x)
    below = min(row + 1, h - 1)
    right = min(column + 1, w - 1)
    down = y - row  # how far the point is from the upper and the left pixel
    across = x - column
    upper = (1 - across) * image[row, column] + across * image[row, right]
    lower = (1 - across) * image[below, column] + across * image[below, right]
    return (1 - down) * upper + down * lower


def channels_of_result(x: Array, bins: Pair, own: bool) -> int:
    """How many channels the pool of x has."""
    if own:
        return x.shape[1] // (bins[0] * bins[1])
    return x.shape[1]


def channel_of_part(d: int, i: int, j: int, bins: Pair, own: bool) -> int:
    """The channel of x that part (i, j) of channel d of the result reads."""
    if own:
        return (d * bins[0] + i) * bins[1] + j
    return d


def roi_align(
    x: Array, rois: Array, scale: float, bins: Pair, ratio: int, aligned: bool, own: bool = False
) -> Array:
    """The mean of points between pixels: ratio by ratio points a part, or one a pixel if ratio <= 0.

    aligned: boxes begin half a pixel earlier, and may be smaller than a pixel.
    """
    bin_rows, bin_columns = bins
    c = channels_of_result(x, bins, own)
    y = np.zeros((len(rois), c, bin_rows, bin_columns))
    for k, (image, *box) in enumerate(rois):
        shift = 0.5 if aligned else 0
        x1, y1, x2, y2 = np.array(box) * scale - shift
        height = y2 - y1
        width = x2 - x1
        if not aligned:
            height = max(height, 1)
            width = max(width, 1)
        if ratio > 0:
            rows = columns = ratio
        else:
            rows = math.ceil(height / bin_rows)
            columns = math.ceil(width / bin_columns)
        for d, i, j in np.ndindex(c, bin_rows, bin_columns):
            channel = x[int(image), channel_of_part(d, i, j, bins, own)]
            points = []
            for a in range(rows):
                for b in range(columns):
                    row = y1 + (i + (a + 0.5) / rows) * height / bin_rows
                    column = x1 + (j + (b + 0.5) / columns) * width / bin_columns
                    points.append(between(channel, row, column))
            y[k, d, i, j] = sum(points) / max(len(points), 1)
    return y


def rounded_away_from_0(value: float) -> int:
    """The nearest integer; of two, the one with the larger magnitude."""
    magnitude = math.floor(abs(value) + 0.5)
    return magnitude if value > 0 else -magnitude


def roi_pool(x: Array, rois: Array, scale: float, bins: Pair, own: bool = False) -> Array:
    """The greatest pixel of each part; own: the mean, the last row and column of x left out."""
    bin_rows, bin_columns = bins
    c = channels_of_result(x, bins, own)
    h, w = x.shape[2:]
    y = np.zeros((len(rois), c, bin_rows, bin_columns))
    last = 0 if own else 1  # roi_pool's boxes include their last row and column
    for k, (image, *box) in enumerate(rois):
        x1, y1, x2, y2 = (rounded_away_from_0(corner) for corner in np.array(box) * scale)
        height = max(y2 - y1 + last, 1)
        width = max(x2 - x1 + last, 1)
        for d, i, j in np.ndindex(c, bin_rows, bin_columns):
            top = max(math.floor(i * height / bin_rows) + y1, 0)
            bottom = min(math.ceil((i + 1) * height / bin_rows) + y1, h - own)
            left = max(math.floor(j * width / bin_columns) + x1, 0)
            right = min(math.ceil((j + 1) * width / bin_columns) + x1, w - own)
            channel = x[int(image), channel_of_part(d, i, j, bins, own)]
            pixels = channel[top : max(bottom, top), left : max(right, left)]
            if not pixels.size:
                y[k, d, i, j] = 0
            elif own:
                y[k, d, i, j] = pixels.mean()
            else:
                y[k, d, i, j] = pixels.max()
    return y


def deform_conv2d(
    x: Array,
    weight: Array,
    offset: Array,
    mask: Array | None,
    bias: Array,
    places: tuple[Pair, Pair, Pair],
    groups: int,
    each: int,
) -> Array:
    """A convolution whose taps are moved by `offset` and multiplied by `mask`.

    places: stride, padding and dilation, each (down, across). each: the number of groups of input channels
    that have offsets of their own; offset (n, 2 each taps, rows, columns) has for each tap its move down,
    then its move across.
    """
    (stride_h, stride_w), (padding_h, padding_w), (dilation_h, dilation_w) = places
    n, c, h, w = x.shape
    count, depth, kernel_h, kernel_w = weight.shape
    rows, columns = offset.shape[2:]
    y = np.zeros((n, count, rows, columns)) + bias[:, None, None]
    padded = np.zeros((n, c, h + 2, w + 2))  # a frame of zeros, so that the values fade at the edge
    padded[:, :, 1:-1, 1:-1] = x
    for m, o, p, q, d, i, j in np.ndindex(n, count, rows, columns, depth, kernel_h, kernel_w):
        channel = o // (count // groups) * depth + d
        offset_group = channel // (c // each)
        tap = (offset_group * kernel_h + i) * kernel_w + j
        row = p * stride_h - padding_h + i * dilation_h + offset[m, 2 * tap, p, q]
        column = q * stride_w - padding_w + j * dilation_w + offset[m, 2 * tap + 1, p, q]
        value = 0.0
        if -1 < row < h and -1 < column < w:
            value = between(padded[m, channel], row + 1, column + 1)
        if mask is not None:
            value = value * mask[m, tap, p, q]
        y[m, o, p, q] += weight[o, d, i, j] * value
    return y
