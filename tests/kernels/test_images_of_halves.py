"""Convolutions and pools of float16 and bfloat16, which are computed in float32, a block of images at a time.

They are compared with the same kernel on all images as float32 (`widened`): what is made of one image has its
bits, rounded once to 16 bits (`equal`); sums over images may add in another order (`close`). A test with the
fixture `isa` runs at each ISA level (instruction set).
"""

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core
from support.bfloat16 import directly  # noqa: F401
from support.convolution import conv
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import in_layout
from support.threads import same_bits

HALVES = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
CASES = {
    "one block of images": conv(x=(3, 5, 9, 11), w=(7, 5, 3, 3), padding=1),
    "an odd number of images": conv(x=(7, 24, 33, 31), w=(20, 24, 3, 3), padding=1),
    "two at a time": conv(x=(5, 32, 65, 64), w=(32, 32, 3, 3), padding=1),
    "one large image": conv(x=(1, 16, 90, 90), w=(16, 16, 3, 3), padding=1),
    "few channels": conv(x=(67, 1, 28, 28), w=(8, 1, 3, 3), padding=1),
    "depthwise": conv(x=(9, 64, 21, 20), w=(64, 1, 3, 3), padding=1, groups=64),
    "one tap": conv(x=(9, 48, 24, 23), w=(40, 48, 1, 1)),
    "no image": conv(x=(0, 4, 6, 6), w=(4, 4, 3, 3), padding=1),
}


def drawn(rng, dtype, *shape, layout="contiguous"):
    x = rng.standard_normal(shape).astype(np.float32).astype(np.dtype(getattr(rv, dtype)))
    return in_layout(x, layout)


def widened(function, *arrays, **more):
    """The call on the same numbers as float32; those of bfloat16 with the products of bfloat16 where the
    machine has them, which are exact as these factors are."""
    own = next(a.dtype for a in arrays if isinstance(a, np.ndarray) and a.dtype.itemsize == 2)
    before = _core.set_own_precision(2 if own == np.dtype(rv.bfloat16) else -1)
    try:
        return function(
            *(a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype == own else a for a in arrays),
            **more,
        )
    finally:
        _core.set_own_precision(before)


def equal(got, exact, dtype):
    assert got.dtype == np.dtype(getattr(rv, dtype))
    np.testing.assert_array_equal(got.astype(np.float32), exact.astype(got.dtype).astype(np.float32))


def close(got, exact, dtype, terms):
    """Within the rounding to 16 bits, and the roundings of float32 in sums of so many terms in another order,
    which grow with the root of their number."""
    assert got.dtype == np.dtype(getattr(rv, dtype))
    exact = exact.astype(np.float64)
    once = 2.0**-11 if dtype == "float16" else 2.0**-8
    error = np.abs(got.astype(np.float64) - exact)
    assert (error <= once * np.abs(exact) + terms**0.5 * 2.0**-20 * np.abs(exact).max(initial=0)).all()


@HALVES
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@grouped("name", CASES)
def test_convolution(name, layout, dtype, rng, isa):
    x_shape, w_shape, settings = CASES[name]
    x = drawn(rng, dtype, *x_shape, layout=layout)
    weight, bias = drawn(rng, dtype, *w_shape), drawn(rng, dtype, w_shape[0])
    y = _core.conv2d(x, weight, bias, **settings)
    equal(y, widened(_core.conv2d, x, weight, bias, **settings), dtype)
    dy = drawn(rng, dtype, *y.shape)
    dx, dw, db = _core.conv2d_backward(dy, x, weight, **settings)
    exact = widened(_core.conv2d_backward, dy, x, weight, **settings)
    close(dx, exact[0], dtype, weight.size)
    close(dw, exact[1], dtype, x[:, 0].size)
    close(db, exact[2], dtype, x[:, 0].size)


@HALVES
def test_transposed_convolution(dtype, rng, isa):
    x, w, bias = drawn(rng, dtype, 9, 16, 17, 16), drawn(rng, dtype, 16, 24, 4, 4), drawn(rng, dtype, 24)
    y = _core.conv_transpose2d(x, w, bias, 2, 1)
    close(y, widened(_core.conv_transpose2d, x, w, bias, 2, 1), dtype, 1)
    dy = drawn(rng, dtype, *y.shape)
    got = _core.conv_transpose2d_backward(dy, x, w, 2, 1)
    for g, exact in zip(got, widened(_core.conv_transpose2d_backward, dy, x, w, 2, 1), strict=True):
        close(g, exact, dtype, dy.size)


@HALVES
@pytest.mark.parametrize("shape", [(3, 5, 8, 9), (67, 8, 26, 26), (5, 3, 180, 131), (0, 2, 4, 4)])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_pools(shape, layout, dtype, rng, isa):
    """Results, places of maxima and gradients have the bits of those of float32, rounded once."""
    x = drawn(rng, dtype, *shape, layout=layout)
    for settings in ((2,), (3, 2, 1)):
        y, where = _core.max_pool2d(x, *settings)
        exact, places = widened(_core.max_pool2d, x, *settings)
        equal(y, exact, dtype)
        assert np.array_equal(where, places)
        assert y.strides == tuple(s // 2 for s in exact.strides)
        dy = drawn(rng, dtype, *y.shape)
        dx = _core.max_pool2d_backward(dy, where, shape, *settings)
        equal(dx, widened(_core.max_pool2d_backward, dy, where, shape, *settings), dtype)
        y = _core.avg_pool2d(x, *settings)
        equal(y, widened(_core.avg_pool2d, x, *settings), dtype)
        dx = _core.avg_pool2d_backward(dy, shape, *settings)
        equal(dx, widened(_core.avg_pool2d_backward, dy, shape, *settings), dtype)


@HALVES
def test_a_large_window_has_wide_offsets(dtype, rng):
    x = drawn(rng, dtype, 9, 24, 40, 40)
    y, where, indices = _core.max_pool2d(x, 20, return_indices=True)
    assert where.dtype == np.int64
    picked = np.take_along_axis(x.reshape(9, 24, -1), indices.reshape(9, 24, -1), -1)
    assert np.array_equal(y, picked.reshape(y.shape))
    dx = _core.max_pool2d_backward(y, where, x.shape, 20)
    equal(dx, widened(_core.max_pool2d_backward, y, where, x.shape, 20), dtype)


@HALVES
@pytest.mark.parametrize("channels", [1, 8, 32])
def test_gradients_at_maxima(channels, dtype, directly, rng, isa):  # noqa: F811
    x, w = drawn(rng, dtype, 35, channels, 26, 26), drawn(rng, dtype, 32, channels, 3, 3)
    _, where = _core.max_pool2d(_core.conv2d(x, w), 2)
    dy = drawn(rng, dtype, *where.shape)
    got = _core.conv2d_pool_backward(dy, where, x, w)
    for g, exact in zip(got, widened(_core.conv2d_pool_backward, dy, where, x, w), strict=True):
        close(g, exact, dtype, dy.size)


@HALVES
def test_the_threads_do_not_change_the_bits(dtype, rng, threads):
    x, w, bias = drawn(rng, dtype, 21, 16, 33, 31), drawn(rng, dtype, 24, 16, 3, 3), drawn(rng, dtype, 24)
    dy = drawn(rng, dtype, 21, 24, 31, 29)
    _, where = _core.max_pool2d(dy, 2)
    pooled = drawn(rng, dtype, *where.shape)
    same_bits(threads, lambda: _core.conv2d(x, w, bias))
    same_bits(threads, lambda: _core.conv2d_backward(dy, x, w))
    same_bits(threads, lambda: _core.conv2d_pool_backward(pooled, where, x, w))
    same_bits(threads, lambda: _core.max_pool2d(x, 2))
    same_bits(threads, lambda: _core.avg_pool2d(x, 2))


@HALVES
def test_a_result_in_given_memory(dtype, rng):
    x, w = drawn(rng, dtype, 3, 4, 9, 9), drawn(rng, dtype, 5, 4, 3, 3)
    y = _core.conv2d(x, w)
    for out in (np.zeros(y.shape, y.dtype), np.zeros((3, 5, 7, 14), y.dtype)[..., ::2]):
        _core.conv2d(x, w, out=out)
        assert np.array_equal(out, y)
