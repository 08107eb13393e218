"""Running sums and extremes, and sorted lines, on raw arrays: edges of vectors, ties, NaN, threads."""

import numpy as np
import pytest
from ranvier import kernels
from reference import reduce as reference
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 200])
def test_lengths(n, dtype, isa, rng):
    """Whole numbers: the sums are exact, whatever the order."""
    x = rng.integers(-9, 10, (n, 3, 18)).astype(dtype)
    for axis in range(3):
        for moved in (x, np.moveaxis(x, 0, 2), np.ascontiguousarray(np.moveaxis(x, 0, 2))):
            np.testing.assert_array_equal(kernels.cumsum(moved, axis), np.cumsum(moved, axis))
            flipped = np.flip(np.cumsum(np.flip(moved, axis), axis), axis)
            np.testing.assert_array_equal(kernels.cumsum(moved, axis, True), flipped)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_products(layout, axis, isa, rng):
    x = in_layout(rng.choice([-1.0, 1.0, 0.5, 2.0], (2, 17, 3, 18)), layout)  # exact in any order
    np.testing.assert_array_equal(kernels.cumprod(x, axis), np.cumprod(x, axis))
    dy = in_layout(rng.integers(-4, 5, x.shape).astype(float), layout)
    wanted = reference.cumprod_backward(dy, x, axis)
    np.testing.assert_allclose(kernels.cumprod_backward(dy, x, axis), wanted, rtol=1e-12, atol=1e-12)
    last = np.take(dy, [-1], axis)
    dy[(slice(None),) * axis + (slice(-1),)] = 0
    wanted = reference.cumprod_backward(dy, x, axis)
    np.testing.assert_allclose(kernels.cumprod_backward(last, x, axis), wanted, rtol=1e-12, atol=1e-12)


def test_signed_zeros_and_nan(isa):
    for x in (np.full(40, -0.0), np.array([1, np.inf, 1, -np.inf, 2.0]), np.array([1, np.nan] + [2.0] * 30)):
        with np.errstate(invalid="ignore"):
            expected = np.cumsum(x)
        y = kernels.cumsum(x, 0)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(np.signbit(y[:1]), np.signbit(expected[:1]))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_floats_are_summed_in_double(axis, isa, rng):
    """Each result is the float next to that of doubles; products may leave the range of floats on the way."""
    x = rng.uniform(0, 1, (300, 70, 3)).astype(np.float32)
    for moved in (x, np.moveaxis(x, 0, 2), np.ascontiguousarray(np.moveaxis(x, 0, 2)), x[:, ::2]):
        expected = np.cumsum(moved.astype(np.float64), axis)
        np.testing.assert_allclose(kernels.cumsum(moved, axis), expected, rtol=6.1e-8)
    factors = np.ones((40, 40, 40), np.float32)
    places = np.swapaxes(factors, 0, axis)
    places[2:4], places[30:32] = 1e20, 1e-20
    y = np.swapaxes(kernels.cumprod(factors, axis), 0, axis)
    assert np.isinf(y[3:30]).all()
    np.testing.assert_allclose(y[31:], 1, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
@pytest.mark.parametrize("greatest", [True, False])
def test_running_extremes(greatest, dtype, threads, rng):
    """Ties: the last place; a NaN is greater and less than all; any layout."""
    threads(2)
    x = rng.integers(-4, 5, (3, 300, 17)).astype(dtype)
    if x.dtype.kind == "f":
        x[rng.random(x.shape) < 0.01] = np.nan
    else:
        x[0, 100:103], x[1, 120:123] = np.iinfo(dtype).min, np.iinfo(dtype).max
    extreme, places = (np.maximum if greatest else np.minimum), np.arange(300)
    for axis in range(3):
        for moved in (x, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, 2)), 2, 0), x[:, ::-2]):
            y, index = kernels.running_extreme(moved, axis, greatest)
            expected = extreme.accumulate(moved, axis)
            np.testing.assert_array_equal(y, expected)
            held = (moved == expected) | np.isnan(moved)
            steps = places[: moved.shape[axis]].reshape((-1,) + (1,) * (2 - axis))
            np.testing.assert_array_equal(index, np.maximum.accumulate(np.where(held, steps, 0), axis))
    for shape in ((0, 3), (3, 0), (1, 1)):
        assert kernels.running_extreme(np.ones(shape, dtype), 0, greatest)[1].shape == shape


def hard(rng, shape, dtype):
    """Ties, both zeros, infinities, NaN of both signs, the smallest and the greatest numbers."""
    info = np.finfo(dtype)
    pool = np.array(
        [0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, -np.nan, info.tiny, info.max, info.min, 3], dtype
    )
    return np.where(
        rng.random(shape) < 0.5, rng.choice(pool, shape), rng.standard_normal(shape).astype(dtype)
    )


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [1, 2, 31, 32, 33, 47, 48, 49, 100, 256, 257, 263, 264, 300, 5000])
def test_sorted_lines_of_every_length(n, dtype, descending, rng):
    x = hard(rng, (3, n), dtype)
    order = reference.argsort(x, 1, descending)
    for count in {None, 0, 1, n, *(c for c in (2, 31, 32, 33, 100, 600, 625, 626) if c < n)}:
        values, indices = kernels.sort(x, 1, descending, count)
        np.testing.assert_array_equal(indices, order[:, : n if count is None else count])
        assert values.tobytes() == np.take_along_axis(x, indices, 1).tobytes()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("count", [1, 5, 32, 33, 64, 200])
def test_first_of_rising_falling_and_even_lines(count, descending, rng):
    """Every element is one of the best so far, none is, or all are alike; NaN at either end."""
    rising = np.arange(2000, dtype=np.float32)
    lines = np.stack([rising, rising[::-1], rising // 100, np.zeros(2000, np.float32)])
    for _ in range(2):
        for view in (lines, np.asfortranarray(lines)):
            order = reference.argsort(lines, 1, descending)[:, :count]
            np.testing.assert_array_equal(kernels.sort(view, 1, descending, count)[1], order)
        lines = lines.copy()
        lines[:, [3, 1000, 1999]] = np.nan
