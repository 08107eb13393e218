"""Images that are moved, resized, padded and sampled at points, and boxes on them, pixel by pixel in NumPy.

Images are x (n, c, h, w). The functions have the names and arguments of `ranvier.kernels` or of the ops, if
they say no more; `resized` is the op `interpolate`.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from reference.dropout import random_words

Array = np.ndarray[Any, Any]


# Images moved, rotated, erased, mixed and with noise, in plain NumPy: one image, one pixel after another.
#
# None of these has a backward: augmentation comes before the network.


def move_images(
    x: Array, place: Array, height: int, width: int, fill: float = 0.0, mode: str = "constant"
) -> Array:
    """The window of each image at its corner (top, left), flipped as `place` (n, 4) says."""
    n, c, h, w = x.shape
    y = np.empty((n, c, height, width), x.dtype)
    for image, (top, left, flip_rows, flip_columns) in enumerate(place.tolist()):
        above = max(0, -top)  # how far the window reaches beyond each edge
        before = max(0, -left)
        below = max(0, top + height - h)
        after = max(0, left + width - w)
        constant: Any = {"constant_values": fill} if mode == "constant" else {}
        padded = np.pad(x[image], ((0, 0), (above, below), (before, after)), mode=mode, **constant)
        window = padded[:, top + above :, left + before :][:, :height, :width]
        if flip_rows:
            window = window[:, ::-1]
        if flip_columns:
            window = window[:, :, ::-1]
        y[image] = window
    return y


def affine_images(x, matrix, fill=0.0, interpolation="bilinear", height=None, width=None):
    """Pixel (i, j) of y is what x has at row m3 j + m4 i + m5 and column m0 j + m1 i + m2."""
    n, c, h, w = x.shape
    if height is None:
        height = h
    if width is None:
        width = w
    y = np.empty((n, c, height, width), x.dtype)
    for image in range(n):
        m = matrix[image]
        for i in range(y.shape[2]):
            for j in range(y.shape[3]):
                row = m[3] * j + (m[4] * i + m[5])
                column = m[0] * j + (m[1] * i + m[2])
                y[image, :, i, j] = _value_at(x[image], row, column, fill, interpolation == "nearest")
    return y


def _value_at(image: Array, row: float, column: float, fill: float, nearest: bool) -> Array:
    """All channels at a place between the pixels, with `fill` outside the image."""
    _, h, w = image.shape
    if nearest:
        row = math.floor(row + 0.5)
        column = math.floor(column + 0.5)
    up = math.floor(row)
    left = math.floor(column)
    rows = ((up, up + 1 - row), (up + 1, row - up))  # and their weights
    columns = ((left, left + 1 - column), (left + 1, column - left))
    total = np.zeros(image.shape[0])
    for r, row_weight in rows:
        for s, column_weight in columns:
            inside = 0 <= r < h and 0 <= s < w
            pixel = image[:, r, s] if inside else fill
            total += row_weight * column_weight * pixel
    return np.rint(total) if image.dtype == np.uint8 else total


def erase_images(x: Array, box: Array, partner: Array | None = None, fill: float = 0.0) -> Array:
    """In each image a box (top, left, height, width) becomes `fill`, or what image `partner` has there."""
    y = x.copy()
    for image, (top, left, height, width) in enumerate(box.tolist()):
        rows = slice(max(top, 0), max(top + height, 0))
        columns = slice(max(left, 0), max(left + width, 0))
        if partner is None:
            y[image, :, rows, columns] = fill
        else:
            y[image, :, rows, columns] = x[partner[image], :, rows, columns]
    return y


def mix_images(x: Array, partner: Array, weight: Array) -> Array:
    """weight x + (1 - weight) x[partner], one weight for each sample."""
    w = weight.reshape(-1, *(1,) * (x.ndim - 1))
    return w * x + (1 - w) * x[partner]


def standard_normal(size: int, key: Array, dtype: Any) -> Array:
    """Box and Muller (1958): two numbers u, v, uniform in [0, 1), give two normal ones,
    sqrt(-2 log(u + step)) cos(2 pi v) and the same with sin. Of each 32 numbers the first 16 are u's."""
    groups_of_64 = -(-size // 64)
    if np.dtype(dtype) == np.float64:  # 53 bits of two words, 16 apart: 27 and 26
        words = random_words(2 * 64 * groups_of_64, key).astype(np.uint64)
        pairs = words.reshape(-1, 2, 16)
        high = pairs[:, 0] >> np.uint64(5)
        low = pairs[:, 1] >> np.uint64(6)
        integers = (high << np.uint64(26)) | low
        step = 2.0**-53
    else:  # the 24 high bits of a word
        words = random_words(64 * groups_of_64, key).astype(np.uint64)
        integers = words >> np.uint64(8)
        step = 2.0**-24
    uniform = integers.astype(np.float64) * step
    u, v = np.moveaxis(uniform.reshape(-1, 2, 16), 1, 0)
    radius = np.sqrt(-2 * np.log(u + step))
    angle = 2 * np.pi * v
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:size]


# Images read between their pixels, point by point.


def place(point: float, size: int, align_corners: bool) -> float:
    """The pixel (a number between two of them) at a point of the grid, which reaches from -1 to 1."""
    if align_corners:
        return (point + 1) * (size - 1) / 2
    return ((point + 1) * size - 1) / 2


def limited(p: float, size: int, padding: str, align_corners: bool) -> float:
    """The place that is read for p: inside the image, if the padding is not zeros."""
    if padding == "zeros":
        return p
    if padding == "reflection":
        low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
        if high == low:
            return 0.0
        while not low <= p <= high:  # back at one edge after the other
            p = 2 * low - p if p < low else 2 * high - p
    return min(max(p, 0), size - 1)


def keys(d: float) -> float:
    """Keys' cubic kernel: the weight of a pixel at distance d."""
    a = -0.75
    d = abs(d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    if d < 2:
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return 0.0


def taps(point: float, size: int, mode: str, padding: str, align_corners: bool) -> list[tuple[int, float]]:
    """The pixels along one axis, and their weights."""
    p = place(point, size, align_corners)
    if mode == "bicubic":
        low = int(np.floor(p))
        weighted = [(limited(k, size, padding, align_corners), keys(p - k)) for k in range(low - 1, low + 3)]
    elif mode == "nearest":
        p = limited(p, size, padding, align_corners)
        weighted = [(np.rint(p), 1.0)]
    else:
        p = limited(p, size, padding, align_corners)
        low = int(np.floor(p))
        weighted = [(low, low + 1 - p), (low + 1, p - low)]
    return [(int(k), weight) for k, weight in weighted if 0 <= k < size]


def grid_sample(
    x: Array, grid: Array, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False
) -> Array:
    """grid (n, p, q, 2): for each output its place in the image, across and down."""
    height, width = x.shape[2:]
    y = np.zeros((*x.shape[:2], *grid.shape[1:3]))
    for n, p, q in np.ndindex(grid.shape[:3]):
        across, down = grid[n, p, q]
        columns = taps(across, width, mode, padding_mode, align_corners)
        rows = taps(down, height, mode, padding_mode, align_corners)
        for i, row_weight in rows:
            for j, column_weight in columns:
                y[n, :, p, q] += row_weight * column_weight * x[n, :, i, j]
    return y


def grid_sample_backward(dy: Array, x: Array, grid: Array, *settings: Any) -> tuple[Array, Array]:
    """By x: the sampled image is linear in x, so each pixel of dx follows from an image that is 1 there.
    By the grid: differences of small steps."""
    dx = np.zeros(x.shape)
    dgrid = np.zeros(grid.shape)
    step = 1e-6
    for i, j in np.ndindex(x.shape[2:]):
        one = np.zeros(x.shape)
        one[:, :, i, j] = 1
        dx[:, :, i, j] = (dy * grid_sample(one, grid, *settings)).sum((2, 3))
    for d in (0, 1):
        change = np.zeros(2)
        change[d] = step
        after = grid_sample(x, grid + change, *settings)
        before = grid_sample(x, grid - change, *settings)
        dgrid[..., d] = (dy * (after - before)).sum(1) / (2 * step)
    return dx, dgrid


# interpolate: images (n, c, h, w) at other sizes.
#
# Each output pixel is a weighted sum of a few input pixels, rows and columns apart: y = R x C^T, where row o
# of the matrix R has the weights of output row o. So the gradient is dx = R^T dy C, and only R has to be
# defined.
#
# Output o is at ``(o + 1/2) scale - 1/2`` in the input, if pixels are squares that cover the same image, or
# at ``o (in - 1) / (out - 1)``, if the corner pixels stay where they are (align_corners).


def weights(size: int, out: int, mode: str, scale: float | None = None, align_corners: bool = False) -> Array:
    """R (out, size) of one axis; scale: inputs for each output, size / out unless given."""
    scale = size / out if scale is None else scale
    o = np.arange(out)
    matrix = np.zeros((out, size))
    if mode in ("nearest", "nearest-exact"):
        half = np.float32(0.5 * (mode == "nearest-exact"))
        at = (o.astype(np.float32) + half) * np.float32(scale)  # as in PyTorch, whose rounding decides
        matrix[o, np.minimum(np.floor(at).astype(int), size - 1)] = 1
        return matrix
    corners = (size - 1) / (out - 1) if out > 1 else 0.0
    at = o * corners if align_corners else (o + 0.5) * scale - 0.5
    if mode == "linear":
        kernel = _linear
        neighbours = [0, 1]
        at = np.maximum(at, 0)
    else:
        kernel = _cubic
        neighbours = [-1, 0, 1, 2]
    first = np.minimum(np.floor(at), size - 1)
    beyond_first = np.clip(at - first, 0, 1)
    for neighbour in neighbours:  # outside the image, the pixel at the edge
        inputs = np.clip(first + neighbour, 0, size - 1).astype(int)
        np.add.at(matrix, (o, inputs), kernel(np.abs(beyond_first - neighbour)))
    return matrix


def _linear(d: Array) -> Array:
    """A pixel's weight at distance d from it, 0 <= d <= 1."""
    return 1 - d


def _cubic(d: Array, a: float = -0.75) -> Array:
    """Keys' kernel at distance d from a pixel: 1 at 0, 0 at 1 and 2, smooth between."""
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, far)


def interpolate(x: Array, rows: Array, columns: Array) -> Array:
    """rows (out_h, h) and columns (out_w, w), each from `weights`."""
    return np.einsum("ph,nchw,qw->ncpq", rows, x, columns, optimize=True)


def means(n: int, out: int) -> Array:
    """(out, n): of the elements that output o covers, floor(o n / out) to ceil((o + 1) n / out)."""
    o, i = np.arange(out)[:, None], np.arange(n)
    covered = (i >= o * n // out) & (i < -(-(o + 1) * n // out))
    return covered / covered.sum(1, keepdims=True)


def resized(x, size=None, scale_factor=None, mode="nearest", align_corners=None):
    """interpolate with its arguments, of images and of signals, which are images of one row."""
    axes = x.shape[2:]
    sizes = size if isinstance(size, tuple) else (size,) * len(axes)
    factors = scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * len(axes)
    by_axis = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    matrices = []
    for n, out, factor in zip(axes, sizes, factors, strict=True):
        if out is None:
            out = int(n * factor)
        if mode == "area":
            matrices.append(means(n, out))
            continue
        # PyTorch copies an axis that keeps its size
        copied = out == n and (by_axis == "linear" or (by_axis == "nearest" and len(axes) == 2))
        scale = None if factor is None or copied else 1 / factor
        matrices.append(weights(n, out, by_axis, scale, bool(align_corners)))
    if len(axes) == 1:
        (columns,) = matrices
        return interpolate(x[:, :, None], np.eye(1), columns)[:, :, 0]
    rows, columns = matrices
    return interpolate(x, rows, columns)


def interpolate_backward(dy: Array, rows: Array, columns: Array) -> Array:
    return np.einsum("ph,ncpq,qw->nchw", rows, dy, columns, optimize=True)


# pad: values around an array, one axis after another; a negative size crops.
#
# Along an axis, ``positions`` gives the input of each output; -1 is the constant. The modes differ only in
# this list, and the gradient adds each dy at the place of its input.


def positions(n: int, before: int, after: int, mode: str) -> Array:
    """The input at each of the n + before + after outputs."""
    i = np.arange(-before, n + after)
    if mode == "constant":
        return np.where((i >= 0) & (i < n), i, -1)
    if mode == "replicate":
        return np.clip(i, 0, n - 1)
    if mode == "circular":
        first, last = max(-before, 0), n + min(after, 0)  # what is cropped is not repeated
        return first + (i - first) % (last - first)
    after_last = np.where(i < n, i, 2 * (n - 1) - i)  # reflect: the edge is not repeated
    return np.where(i < 0, -i, after_last)


def pad(x: Array, sizes: Sequence[int], mode: str = "constant", value: float = 0) -> Array:
    """sizes: (before, after) of the last axis, then of the one before it ..."""
    for k in range(len(sizes) // 2):
        axis = x.ndim - 1 - k
        found = positions(x.shape[axis], sizes[2 * k], sizes[2 * k + 1], mode)
        known = found >= 0
        y = np.full((*x.shape[:axis], len(found), *x.shape[axis + 1 :]), value, x.dtype)
        y[_index_along(axis, known)] = x[_index_along(axis, found[known])]
        x = y
    return x


def _index_along(axis: int, index: Array) -> Any:
    """An index with everything of the axes before this one."""
    return (*(slice(None),) * axis, index)


# Boxes of which some stay (non-maximum suppression), pair by pair.


def shared(a: Array, b: Array) -> Any:
    """The area of two boxes x1, y1, x2, y2 that both cover, divided by the area that they cover together."""
    w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = max(w, a.dtype.type(0)) * max(h, a.dtype.type(0))
    area_a, area_b = ((x[2] - x[0]) * (x[3] - x[1]) for x in (a, b))
    with np.errstate(invalid="ignore"):
        return both / (area_a + area_b - both)


def nms(boxes: Array, threshold: float) -> Array:
    """True for the boxes (best first) that share at most the threshold with each better one that stays."""
    kept: list[int] = []
    for j, box in enumerate(boxes):
        if not any(float(shared(boxes[i], box)) > threshold for i in kept):
            kept.append(j)
    return np.isin(np.arange(len(boxes)), kept)
