"""Pooling in plain NumPy: x (n, c, h, w) -> y (n, c, oh, ow), one window at a time.

A window is a row list times a column list. `taps(...)` gives, for each output along one axis, the taps of its
window that are inside the image, and their inputs; everything else follows from that.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Taps = list[tuple[Array, Array]]


def output_size(
    size: int, kernel: int, stride: int, padding: int, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """How many windows fit: floor (or ceil) of (size + 2 padding - extent) / stride, plus 1."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    out = -(-span // stride) + 1 if ceil_mode else span // stride + 1
    if ceil_mode and (out - 1) * stride >= size + padding:
        out -= 1  # the last window would begin outside the image
    return out


def taps(
    size: int, kernel: int, stride: int, padding: int, dilation: int = 1, ceil_mode: bool = False
) -> Taps:
    """For each window along one axis: its taps inside the image, and their positions there."""
    found = []
    for o in range(output_size(size, kernel, stride, padding, dilation, ceil_mode)):
        tap = np.arange(kernel)
        position = o * stride - padding + tap * dilation
        inside = (position >= 0) & (position < size)
        found.append((tap[inside], position[inside]))
    return found


def adaptive_taps(size: int, out: int) -> Taps:
    """Windows from floor(o size / out) to ceil((o + 1) size / out): they cover the axis evenly."""
    edges = [(o * size // out, -(-(o + 1) * size // out)) for o in range(out)]
    return [(np.arange(b - a), np.arange(a, b)) for a, b in edges]


def _pairs(rows: Taps, columns: Taps) -> Iterator[tuple[int, int, Any, Any]]:
    for oh, (tap_h, at_h) in enumerate(rows):
        for ow, (tap_w, at_w) in enumerate(columns):
            yield oh, ow, (tap_h, tap_w), (slice(None), slice(None), *np.ix_(at_h, at_w))


def max_pool2d(x: Array, rows: Taps, columns: Taps, kernel_w: int) -> tuple[Array, Array]:
    """y = the largest element of each window; where = its offset r * kernel_w + s.

    Of equal elements the first counts; a NaN wins.
    """
    n, c = x.shape[:2]
    y = np.full((n, c, len(rows), len(columns)), -np.inf, x.dtype)
    where = np.zeros(y.shape, np.int64)
    for oh, ow, (tap_h, tap_w), window in _pairs(rows, columns):
        if tap_h.size and tap_w.size:
            values = x[window].reshape(n, c, tap_h.size * tap_w.size)
            best = values.argmax(axis=-1)  # NumPy's takes the first NaN, else the first of the largest
            y[:, :, oh, ow] = np.take_along_axis(values, best[..., None], -1)[..., 0]
            where[:, :, oh, ow] = (tap_h[:, None] * kernel_w + tap_w).reshape(-1)[best]
    return y, where


def max_pool2d_backward(
    dy: Array, where: Array, shape: tuple[int, ...], rows: Taps, columns: Taps, kernel_w: int
) -> Array:
    """dx = dy at the element that was the maximum, summed where windows overlap."""
    dx = np.zeros(shape, dy.dtype)
    for oh, ow, (tap_h, tap_w), window in _pairs(rows, columns):
        offsets = tap_h[:, None] * kernel_w + tap_w
        chosen = where[:, :, oh, ow, None, None] == offsets
        dx[window] += np.where(chosen, dy[:, :, oh, ow, None, None], 0)
    return dx


def divisors(
    size: int, kernel: int, stride: int, padding: int, ceil_mode: bool, count_include_pad: bool
) -> list[int]:
    """By how many elements along one axis each window's sum is divided."""
    windows = taps(size, kernel, stride, padding, 1, ceil_mode)
    if not count_include_pad:
        return [len(position) for _, position in windows]
    starts = [o * stride - padding for o in range(len(windows))]
    return [min(start + kernel, size + padding) - start for start in starts]


def avg_pool2d(x: Array, rows: Taps, columns: Taps, divisor: Array) -> Array:
    """y = the sum of each window / its divisor; divisor (oh, ow)."""
    y = np.zeros((*x.shape[:2], len(rows), len(columns)), x.dtype)
    for oh, ow, _, window in _pairs(rows, columns):
        y[:, :, oh, ow] = x[window].sum(axis=(2, 3)) / divisor[oh, ow]
    return y


def avg_pool2d_backward(
    dy: Array, shape: tuple[int, ...], rows: Taps, columns: Taps, divisor: Array
) -> Array:
    """Every element of a window gets an equal share of its dy."""
    dx = np.zeros(shape, dy.dtype)
    for oh, ow, _, window in _pairs(rows, columns):
        dx[window] += dy[:, :, oh, ow, None, None] / divisor[oh, ow]
    return dx


def adaptive_avg_pool2d(x: Array, out_h: int, out_w: int) -> Array:
    rows, columns = adaptive_taps(x.shape[2], out_h), adaptive_taps(x.shape[3], out_w)
    return avg_pool2d(x, rows, columns, _sizes(rows, columns))


def adaptive_max_pool2d(x: Array, out_h: int, out_w: int) -> tuple[Array, Array]:
    """y and where, whose offsets count the taps of the widest window."""
    rows, columns = adaptive_taps(x.shape[2], out_h), adaptive_taps(x.shape[3], out_w)
    return max_pool2d(x, rows, columns, _widest(columns))


def adaptive_max_pool2d_backward(dy: Array, where: Array, shape: tuple[int, ...]) -> Array:
    rows, columns = adaptive_taps(shape[2], dy.shape[2]), adaptive_taps(shape[3], dy.shape[3])
    return max_pool2d_backward(dy, where, shape, rows, columns, _widest(columns))


def _widest(columns: Taps) -> int:
    return max((len(at) for _, at in columns), default=1)


def _sizes(rows: Taps, columns: Taps) -> Array:
    return np.outer([len(at) for _, at in rows], [len(at) for _, at in columns])


# The same with the arguments of the ops, over the last axis or the last two.


def max_pool(axes, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    rows, columns = windows(axes, x, kernel_size, stride, padding, dilation, ceil_mode)
    return of_planes(axes, x, lambda planes: max_pool2d(planes, rows, columns, 1)[0])


def avg_pool(
    axes,
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
):
    rows, columns = windows(axes, x, kernel_size, stride, padding, 1, ceil_mode)
    stride = kernel_size if stride is None else stride
    settings = (along(axes, value, row) for value, row in ((kernel_size, 1), (stride, 1), (padding, 0)))
    of_axes = zip((1, *x.shape[-axes:])[-2:], *settings, strict=True)
    down, across = (divisors(*of_axis, ceil_mode, count_include_pad) for of_axis in of_axes)
    divisor = np.outer(down, across)
    divisor = np.full_like(divisor, divisor_override) if divisor_override else divisor
    return of_planes(axes, x, lambda planes: avg_pool2d(planes, rows, columns, divisor))


def adaptive_pool(axes, largest, x, output_size):
    """largest: the maximum of each window, else its mean. A size of None is that of x."""
    found = zip(along(axes, output_size, 1), (1, *x.shape[-axes:])[-2:], strict=True)
    sizes = [n if size is None else size for size, n in found]
    if largest:
        return of_planes(axes, x, lambda planes: adaptive_max_pool2d(planes, *sizes)[0])
    return of_planes(axes, x, lambda planes: adaptive_avg_pool2d(planes, *sizes))


def windows(axes, x, kernel_size, stride, padding, dilation, ceil_mode):
    """The taps down and across; a signal is an image of one row."""
    stride = kernel_size if stride is None else stride
    pairs = (
        along(axes, value, row) for value, row in ((kernel_size, 1), (stride, 1), (padding, 0), (dilation, 1))
    )
    return [taps(n, *of, ceil_mode) for n, *of in zip((1, *x.shape[-axes:])[-2:], *pairs, strict=True)]


def along(axes, value, row):
    """A setting down and across; that of one axis has `row` down."""
    value = value if isinstance(value, tuple) else (value,) * axes
    return (row, *value)[-2:]


def of_planes(axes, x, pool):
    """The pool of images (planes, 1, h, w), one for each plane of x."""
    y = pool(x.reshape(-1, 1, *(1, *x.shape[-axes:])[-2:]))
    return y.reshape(*x.shape[:-axes], *y.shape[-axes:])
