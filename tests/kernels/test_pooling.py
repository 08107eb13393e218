"""Kernels of pools beside the reference in NumPy. Elements are small whole numbers, whose sums are exact:
results and gradients are equal. Layouts, offsets of maxima, NaN, sizes around the vector width. A test with
the fixture `isa` runs at each ISA level (instruction set).
"""

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest
from ranvier import kernels
from reference import pooling as reference
from support.convolution import pair
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import in_layout

channels_last = partial(in_layout, layout="channels_last")
LAYOUTS = {"nchw": np.ascontiguousarray, "channels_last": channels_last}


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


class Window(NamedTuple):
    """The settings of max_pool2d, in its order."""

    kernel_size: int | tuple[int, int]
    stride: int | tuple[int, int]
    padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    ceil_mode: bool = False


WINDOWS = [
    *(Window(2, 2), Window(2, 2, ceil_mode=True), Window(2, 2, padding=1), Window((2, 3), (2, 1))),
    *(Window(3, 1, padding=1), Window(3, 2, ceil_mode=True), Window(3, 2, padding=2, dilation=2)),
    *(Window(2, 1, padding=2, dilation=5), Window(3, 2, padding=1), Window(3, 3)),
    *(Window(3, 3, padding=1, dilation=2), Window((1, 4), (3, 2), padding=(0, 2)), Window(7, 2, padding=3)),
    Window(1, 1),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("windows", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40])
@pytest.mark.parametrize(("stride", "padding"), [(3, 0), (3, 1), (5, 2), (1, 1), (2, 1)])
def test_averages_of_rows_of_every_length(rng, isas, dtype, stride, padding, windows, layout):
    """Whole vectors of windows, and the rest one by one where their elements are far from each other."""
    width = (windows - 1) * stride + 4 - 2 * padding
    x = layout(rng.integers(-9, 9, (2, 3, 8, max(width, 1))).astype(dtype))
    rows, columns = (reference.taps(n, 4, stride, padding) for n in x.shape[2:])
    expected = reference.avg_pool2d(x.astype(float), rows, columns, np.full((len(rows), len(columns)), 16))
    for isa in isas:
        np.testing.assert_array_equal(kernels.avg_pool2d(x, 4, stride, padding), expected, err_msg=isa)


WIDTHS = [6, 7, 8, 15, 16, 17, 18, 30, 31, 32, 33, 34, 47, 64, 66, 71]


@grouped(  # every third case in float64, which has the same loops
    ("width", "dtype"), [*((n, "float32") for n in WIDTHS), *((n, "float64") for n in WIDTHS[1::3])]
)
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_every_window(rng, isas, dtype, window, width, layout):
    """Squares, windows that overlap or leave gaps, dilated ones, in the padding and over the edge."""
    kernel, stride, padding, dilation, ceil_mode = (*map(pair, window[:4]), window[4])
    x = layout(rng.integers(-9, 9, (2, 5 + width % 5, 11, width)).astype(dtype))
    rows, columns = (
        reference.taps(n, *settings, ceil_mode)
        for n, *settings in zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
    )
    expected, offsets = reference.max_pool2d(x, rows, columns, kernel[1])
    dy = rng.integers(-9, 9, expected.shape).astype(dtype)
    exact = reference.max_pool2d_backward(dy, offsets, x.shape, rows, columns, kernel[1])
    gradients = (layout(dy), np.ascontiguousarray(dy), channels_last(dy)[:, :, :, ::-1][:, :, :, ::-1])
    for isa in isas:
        y, where = kernels.max_pool2d(x, *window)
        np.testing.assert_array_equal(y, expected, err_msg=isa)
        np.testing.assert_array_equal(where, offsets, err_msg=isa)
        strided = np.ascontiguousarray(where[:, :, ::-1, ::-1])[:, :, ::-1, ::-1]
        for gradient, places in (*((g, where) for g in gradients), (dy, strided)):
            dx = kernels.max_pool2d_backward(gradient, places, x.shape, *window)
            np.testing.assert_array_equal(dx, exact, err_msg=isa)  # sums of small whole numbers


def test_signals(rng):
    """A signal is an image of one row; (N, C, L) with contiguous channels stays so."""
    x = rng.standard_normal((2, 9, 5)).astype(np.float32).transpose(0, 2, 1)
    y, where = kernels.max_pool1d(x, 3, 2, 1)
    expected, offsets = kernels.max_pool2d(x[:, :, None], (1, 3), (1, 2), (0, 1))
    np.testing.assert_array_equal(y, expected[:, :, 0])
    np.testing.assert_array_equal(where, offsets[:, :, 0])
    dx = kernels.max_pool1d_backward(y, where, x.shape, 3, 2, 1)
    for a in (y, dx, kernels.avg_pool1d(x, 2), kernels.adaptive_avg_pool1d(x, 3)):
        assert a.transpose(0, 2, 1).flags.c_contiguous


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(
    ("window", "padding", "dilation"), [(1, 0, 1), (2, 0, 1), (3, 1, 1), (5, 2, 1), (3, 1, 3)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signals_of_every_length(rng, isas, dtype, window, padding, dilation, stride):
    """Windows inside the signal are computed by vectors, the last of which overlaps the one before it."""
    for length in (7, 8, 15, 16, 17, 18, 31, 32, 33, 34, 35, 67, 131):
        x = np.round(rng.normal(size=(2, 3, length)) * 2).astype(dtype)
        x[0, 0, rng.integers(0, length, 2)] = np.nan
        x[0, 1, rng.integers(0, length, 2)] = -np.inf
        padded = np.pad(x, ((0, 0), (0, 0), (padding, padding)), constant_values=-np.inf)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (window - 1) * dilation + 1, axis=-1)
        wanted = windows[:, :, ::stride, ::dilation].max(-1)
        for signals in (x, np.asfortranarray(x), x[:, ::-1]):
            want = wanted[:, ::-1] if signals.strides[1] < 0 else wanted
            for isa in isas:
                y, where = kernels.max_pool1d(signals, window, stride, padding, dilation)
                np.testing.assert_array_equal(y, want, isa)
                first = np.arange(want.shape[-1]) * stride - padding
                places = first + where.astype(int) * dilation
                inside = (places >= 0) & (places < length)
                chosen = np.take_along_axis(signals, np.where(inside, places, 0), -1)
                np.testing.assert_array_equal(chosen[inside], want[inside], isa)
                assert (inside | (want == -np.inf)).all()


def test_output_keeps_the_layout(rng, layout):
    x = layout(rng.standard_normal((2, 5, 8, 6)).astype(np.float32))
    y, where = kernels.max_pool2d(x, 2)
    dx = kernels.max_pool2d_backward(y, where, x.shape, 2)
    for a in (y, where, dx, kernels.avg_pool2d(x, 2), kernels.adaptive_avg_pool2d(x, 2)):
        assert (a.strides[1] == a.itemsize) == (layout is channels_last)


def test_first_of_equal_and_nan(isa, layout):
    x = layout(np.zeros((1, 20, 4, 40), np.float32))
    for pooled in (kernels.max_pool2d(x, 2), kernels.adaptive_max_pool2d(x, (2, 20))):
        assert not pooled[1].any()
    x[0, 3, 1, 5] = np.nan
    y, where = kernels.max_pool2d(x, 2)
    assert np.isnan(y[0, 3, 0, 2])
    assert np.isnan(y).sum() == 1
    assert where[0, 3, 0, 2] == 3
    assert (kernels.max_pool2d(np.full_like(x, -np.inf), 3, 1, 1)[0] == -np.inf).all()


def test_large_window(rng, isa, layout):
    """More than 256 elements: offsets are int64."""
    x = layout(rng.standard_normal((1, 18, 40, 38)).astype(np.float32))
    rows, columns = reference.taps(40, 20, 20, 0), reference.taps(38, 19, 19, 0)
    y, where = kernels.max_pool2d(x, (20, 19))
    expected, offsets = reference.max_pool2d(x, rows, columns, 19)
    assert where.dtype == np.int64
    np.testing.assert_array_equal(where, offsets)
    np.testing.assert_array_equal(
        kernels.max_pool2d_backward(y, where, x.shape, (20, 19)),
        reference.max_pool2d_backward(expected, offsets, x.shape, rows, columns, 19),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1), (2, 3, 0)], ids=str)
def test_images_from_memory(window, dtype, isa, rng, threads):
    """Images larger than a part of the last cache are fetched ahead; any strides, and the last rows."""
    flat = rng.uniform(-1, 1, (2, 9, 400, 431)).astype(dtype)
    deep = channels_last(flat)
    threads(1)
    y, where = kernels.max_pool2d(flat, *window)
    mean = kernels.avg_pool2d(flat, *window)
    for count in (1, 3):
        threads(count)
        for x in (deep, deep[..., ::-1][..., ::-1]):
            got, offsets = kernels.max_pool2d(x, *window)
            np.testing.assert_array_equal(got, y)
            np.testing.assert_array_equal(offsets, where)
            np.testing.assert_allclose(kernels.avg_pool2d(x, *window), mean, rtol=0, atol=1e-6)
        turned = deep[..., ::-1]
        np.testing.assert_array_equal(kernels.max_pool2d(turned, *window)[0], pooled(turned, window))
        repeated = np.broadcast_to(deep[:, :, :, :1], deep.shape)
        np.testing.assert_array_equal(kernels.max_pool2d(repeated, *window)[0], pooled(repeated, window))


def pooled(x, window):
    return kernels.max_pool2d(np.ascontiguousarray(x), *window)[0]


def test_offsets_of_any_value_touch_nothing_outside(isa, layout):
    """Those of no tap of a window give nothing."""
    for window in WINDOWS:
        x = layout(np.zeros((1, 5, 9, 20), np.float32))
        y, where = kernels.max_pool2d(x, *window)
        where[...] = np.iinfo(where.dtype).max
        assert not kernels.max_pool2d_backward(np.ones_like(y), where, x.shape, *window).any()
    dy = layout(np.ones((1, 5, 3, 3), np.float32))
    for kernel, dtype in ((2, np.uint8), (17, np.int64)):
        where = layout(np.full(dy.shape, 255, dtype))
        where[0, 0, 0, 0] = np.iinfo(dtype).max
        dx = kernels.max_pool2d_backward(dy, where, (1, 5, 3 * kernel, 3 * kernel), kernel)
        assert np.isfinite(dx).all()
    for size in (3, 40):  # offsets of one byte, and of eight
        x = layout(np.zeros((1, 5, size, size), np.float32))
        where = kernels.adaptive_max_pool2d(x, 3)[1]
        where[...] = np.iinfo(where.dtype).max
        assert np.isfinite(kernels.adaptive_max_pool2d_backward(dy, where, x.shape)).all()
