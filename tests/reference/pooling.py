"""Pooling in plain NumPy: x (n, c, h, w) -> y (n, c, oh, ow), one window at a time.

A window is some rows times some columns. `taps(...)` gives, for each output along one axis, the taps of its
window (0, 1, ... of the kernel) that are inside the image, and the rows or columns of x on which they lie;
everything else follows from that. `max_pool`, `avg_pool` and `adaptive_pool` have the arguments of the ops.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Taps = list[tuple[Array, Array]]  # for each window its taps, and their positions in the image


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
    found = []
    for o in range(out):
        begin = o * size // out
        end = -(-(o + 1) * size // out)
        found.append((np.arange(end - begin), np.arange(begin, end)))
    return found


def _windows_of_image(rows: Taps, columns: Taps) -> Iterator[tuple[int, int, Any, Any]]:
    """For each output: its row and column, the taps of its window, and an index that gives x there."""
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
    for oh, ow, (tap_h, tap_w), window in _windows_of_image(rows, columns):
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
    for oh, ow, (tap_h, tap_w), window in _windows_of_image(rows, columns):
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
    for oh, ow, _, window in _windows_of_image(rows, columns):
        y[:, :, oh, ow] = x[window].sum(axis=(2, 3)) / divisor[oh, ow]
    return y


def avg_pool2d_backward(
    dy: Array, shape: tuple[int, ...], rows: Taps, columns: Taps, divisor: Array
) -> Array:
    """Every element of a window gets an equal share of its dy."""
    dx = np.zeros(shape, dy.dtype)
    for oh, ow, _, window in _windows_of_image(rows, columns):
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


# The same with the arguments of the ops, over the last axis (axes=1) or the last two (axes=2) of x. A signal
# is an image of one row.


def max_pool(axes, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    rows, columns = windows(axes, x, kernel_size, stride, padding, dilation, ceil_mode)
    y, _ = max_pool2d(images(axes, x), rows, columns, kernel_w=1)
    return shaped_as(axes, x, y)


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
    if divisor_override:
        divisor = np.full((len(rows), len(columns)), divisor_override)
    else:
        sizes = image_size(axes, x)
        kernels = down_and_across(axes, kernel_size, 1)
        strides = down_and_across(axes, kernel_size if stride is None else stride, 1)
        paddings = down_and_across(axes, padding, 0)
        down, across = (
            divisors(sizes[d], kernels[d], strides[d], paddings[d], ceil_mode, count_include_pad)
            for d in (0, 1)
        )
        divisor = np.outer(down, across)
    return shaped_as(axes, x, avg_pool2d(images(axes, x), rows, columns, divisor))


def adaptive_pool(axes, largest, x, output_size):
    """largest: the maximum of each window, else its mean. A size of None is that of x."""
    height, width = image_size(axes, x)
    out_h, out_w = down_and_across(axes, output_size, 1)
    if out_h is None:
        out_h = height
    if out_w is None:
        out_w = width
    if largest:
        y, _ = adaptive_max_pool2d(images(axes, x), out_h, out_w)
    else:
        y = adaptive_avg_pool2d(images(axes, x), out_h, out_w)
    return shaped_as(axes, x, y)


def windows(axes, x, kernel_size, stride, padding, dilation, ceil_mode):
    """The taps down and across."""
    sizes = image_size(axes, x)
    kernels = down_and_across(axes, kernel_size, 1)
    strides = down_and_across(axes, kernel_size if stride is None else stride, 1)
    paddings = down_and_across(axes, padding, 0)
    dilations = down_and_across(axes, dilation, 1)
    return [taps(sizes[d], kernels[d], strides[d], paddings[d], dilations[d], ceil_mode) for d in (0, 1)]


def down_and_across(axes, value, for_one_row):
    """A setting as a pair (down, across); a signal has `for_one_row` down."""
    if not isinstance(value, tuple):
        value = (value,) * axes
    if axes == 1:
        return for_one_row, *value
    return value


def image_size(axes, x):
    """Height and width; a signal has height 1."""
    return (1, x.shape[-1]) if axes == 1 else x.shape[-2:]


def images(axes, x):
    """x as images of one channel (n, 1, height, width)."""
    return x.reshape(-1, 1, *image_size(axes, x))


def shaped_as(axes, x, y):
    """The pooled images y with the leading dimensions of x."""
    return y.reshape(*x.shape[:-axes], *y.shape[-axes:])
