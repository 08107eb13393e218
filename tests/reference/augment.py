"""Images moved, rotated, erased, mixed and with noise, in plain NumPy: one image, one pixel after another.

None of these has a backward: augmentation comes before the network.
"""

import math
from typing import Any

import numpy as np
from reference.dropout import random_words

Array = np.ndarray[Any, Any]


def move_images(
    x: Array, place: Array, height: int, width: int, fill: float = 0.0, mode: str = "constant"
) -> Array:
    """The window of each image at its corner (top, left), flipped as `place` (n, 4) says."""
    n, c, h, w = x.shape
    y = np.empty((n, c, height, width), x.dtype)
    for image, (top, left, flip_rows, flip_columns) in enumerate(place.tolist()):
        above, before = max(0, -top), max(0, -left)
        below, after = max(0, top + height - h), max(0, left + width - w)
        beyond: Any = {"mode": mode, "constant_values": fill} if mode == "constant" else {"mode": mode}
        padded = np.pad(x[image], ((0, 0), (above, below), (before, after)), **beyond)
        window = padded[:, top + above :, left + before :][:, :height, :width]
        y[image] = window[:, :: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    return y


def affine_images(x, matrix, fill=0.0, interpolation="bilinear", height=None, width=None):
    """Pixel (i, j) of y is what x has at row m3 j + m4 i + m5 and column m0 j + m1 i + m2."""
    n, c, h, w = x.shape
    y = np.empty((n, c, h if height is None else height, w if width is None else width), x.dtype)
    for image in range(n):
        m = matrix[image]
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                row, column = m[3] * j + (m[4] * i + m[5]), m[0] * j + (m[1] * i + m[2])
                y[image, :, i, j] = _seen(x[image], row, column, fill, interpolation == "nearest")
    return y


def _seen(image: Array, row: float, column: float, fill: float, nearest: bool) -> Array:
    """All channels at a place between the pixels, with `fill` outside the image."""
    _, h, w = image.shape
    if nearest:
        row, column = math.floor(row + 0.5), math.floor(column + 0.5)
    up, left = math.floor(row), math.floor(column)
    total = np.zeros(image.shape[0])
    for r, weight_r in ((up, up + 1 - row), (up + 1, row - up)):
        for s, weight_s in ((left, left + 1 - column), (left + 1, column - left)):
            inside = 0 <= r < h and 0 <= s < w
            total += weight_r * weight_s * (image[:, r, s] if inside else fill)
    return np.rint(total) if image.dtype == np.uint8 else total


def erase_images(x: Array, box: Array, partner: Array | None = None, fill: float = 0.0) -> Array:
    """In each image a box (top, left, height, width) becomes `fill`, or what image `partner` has there."""
    y = x.copy()
    for image, (top, left, height, width) in enumerate(box.tolist()):
        rows, columns = slice(max(top, 0), max(top + height, 0)), slice(max(left, 0), max(left + width, 0))
        y[image, :, rows, columns] = fill if partner is None else x[partner[image], :, rows, columns]
    return y


def mix_images(x: Array, partner: Array, weight: Array) -> Array:
    """weight x + (1 - weight) x[partner], one weight for each sample."""
    w = weight.reshape(-1, *(1,) * (x.ndim - 1))
    return w * x + (1 - w) * x[partner]


def standard_normal(size: int, key: Array, dtype: Any) -> Array:
    """Box and Muller (1958): two numbers u, v, uniform in [0, 1), give two normal ones,
    sqrt(-2 log(u + step)) cos(2 pi v) and the same with sin. Of each 32 numbers the first 16 are u's."""
    double = np.dtype(dtype) == np.float64
    words = random_words((2 if double else 1) * (-(-size // 64) * 64), key).astype(np.uint64)
    if double:  # 53 bits of two words, 16 apart
        pairs = words.reshape(-1, 2, 16)
        high, low = pairs[:, 0] >> np.uint64(5), pairs[:, 1] >> np.uint64(6)
        unit = ((high << np.uint64(26)) | low).astype(np.float64) * 2.0**-53
        step = 2.0**-53
    else:
        unit, step = (words >> np.uint64(8)).astype(np.float64) * 2.0**-24, 2.0**-24
    u, v = np.moveaxis(unit.reshape(-1, 2, 16), 1, 0)
    radius, angle = np.sqrt(-2 * np.log(u + step)), 2 * np.pi * v
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:size]
