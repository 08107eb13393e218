"""Convolutions and pools of float16 and bfloat16: blocks of images in float32, each result rounded once."""

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core
from support.bfloat16 import directly  # noqa: F401
from support.grouped import grouped
from support.layouts import in_layout
from support.threads import same_bits

HALVES = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
# n, c, h, w, k, r, groups: one block of images; several; those of one image; no image
SHAPES = {
    "one block": (3, 5, 9, 11, 7, 3, 1),
    "an odd number": (7, 24, 33, 31, 20, 3, 1),
    "two at a time": (5, 32, 65, 64, 32, 3, 1),
    "one large image": (1, 16, 90, 90, 16, 3, 1),
    "few channels": (67, 1, 28, 28, 8, 3, 1),
    "depthwise": (9, 64, 21, 20, 64, 3, 64),
    "one tap": (9, 48, 24, 23, 40, 1, 1),
    "no image": (0, 4, 6, 6, 4, 3, 1),
}


def drawn(rng, dtype, *shape, layout="contiguous"):
    x = rng.standard_normal(shape).astype(np.float32).astype(np.dtype(getattr(rv, dtype)))
    return in_layout(x, layout)


def widened(function, *arrays, **more):
    """The call on float32; of bfloat16 with factors of bfloat16, which these are."""
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
    """Within the rounding, and sums in another order."""
    assert got.dtype == np.dtype(getattr(rv, dtype))
    exact = exact.astype(np.float64)
    once = 2.0**-11 if dtype == "float16" else 2.0**-8
    error = np.abs(got.astype(np.float64) - exact)
    assert (error <= once * np.abs(exact) + terms**0.5 * 2.0**-20 * np.abs(exact).max(initial=0)).all()


@HALVES
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@grouped("name", SHAPES)
def test_convolution(name, layout, dtype, rng, isa):
    n, c, h, w, k, r, groups = SHAPES[name]
    x, weight, bias = (
        drawn(rng, dtype, n, c, h, w, layout=layout),
        drawn(rng, dtype, k, c // groups, r, r),
        drawn(rng, dtype, k),
    )
    settings = (1, r // 2, 1, groups)
    y = _core.conv2d(x, weight, bias, *settings)
    equal(y, widened(_core.conv2d, x, weight, bias, *settings), dtype)
    dy = drawn(rng, dtype, *y.shape)
    dx, dw, db = _core.conv2d_backward(dy, x, weight, *settings)
    exact = widened(_core.conv2d_backward, dy, x, weight, *settings)
    close(dx, exact[0], dtype, weight.size)
    close(dw, exact[1], dtype, n * h * w)
    close(db, exact[2], dtype, n * h * w)


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
    assert np.array_equal(
        y, np.take_along_axis(x.reshape(9, 24, -1), indices.reshape(9, 24, -1), -1).reshape(y.shape)
    )
    equal(
        _core.max_pool2d_backward(y, where, x.shape, 20),
        widened(_core.max_pool2d_backward, y, where, x.shape, 20),
        dtype,
    )


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
