"""Reductions, running sums and sorted lines beside NumPy: sums and means in long double, within the roundings
that `check` derives; extremes, their places and orders exactly, with ties and NaN; at block edges, over each
set of axes, in any layout. A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import itertools

import numpy as np
import pytest
from ranvier import _core, kernels
from reference import reduce as reference
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import LAYOUTS, in_layout
from support.threads import same_bits
from support.tolerance import tolerance

SHAPES = [(1,), (1023,), (1025,), (5000,), (33, 70), (700, 5), (5, 700), (3, 17, 9, 8), (40, 3, 50), ()]
SEGMENTED = [(70000,), (20000, 3), (3, 20000), (600, 65), (9, 200, 40)]


def axis_sets(ndim):
    """None, and each set of axes."""
    yield None
    for k in range(1, ndim + 1):
        yield from itertools.combinations(range(ndim), k)


def check(x, axes, keepdims, isas):
    """All reductions against NumPy in long double, at each level. A sum of n terms of at most `peak` may be
    off by n roundings (`limit`); means and variances, whose sums are pairwise, by about 1 + log2(n)."""
    wide = x.astype(np.longdouble)
    settings = {"axis": axes, "keepdims": keepdims}
    total = np.asarray(wide.sum(**settings))
    n = x.size // max(total.size, 1)
    peak = max(float(np.max(np.abs(x), initial=0)), 1.0)
    limit, about = tolerance(x.dtype, n, peak), 1 + np.log2(n)
    spread, absolute, squares = wide.var(**settings), np.abs(wide).sum(**settings), (wide**2).sum(**settings)
    exps = np.exp(wide - wide.max(axes, keepdims=True)).sum(**settings)
    hits = (x == x.max(axes, keepdims=True)).sum(**settings)
    for _ in isas:
        mean, top = kernels.mean(x, axes, keepdims), kernels.max(x, axes, keepdims)
        variance, norm = kernels.var(x, mean, axes, keepdims), kernels.norm(x, axes, keepdims)
        for found, wanted, far in (
            (kernels.sum(x, axes, keepdims), total, limit),
            (mean, total / n, tolerance(x.dtype, 1, peak) * about),
            (variance, spread, tolerance(x.dtype, 2, peak**2) * about),
            (kernels.sum_abs(x, axes, keepdims), absolute, limit),
            (norm**2, squares, 2 * limit * peak),
            (kernels.sum_exp(x, top, axes, keepdims), exps, limit),
        ):
            np.testing.assert_allclose(found, wanted, rtol=0, atol=far)
        np.testing.assert_array_equal(top, x.max(**settings))
        np.testing.assert_array_equal(kernels.min(x, axes, keepdims), x.min(**settings))
        np.testing.assert_array_equal(_core.count_equal(x, top, axes, keepdims), hits)
        if x.ndim and np.size(axes) == 1 and axes is not None:
            axis = int(np.ravel(axes)[0])
            for name in ("argmax", "argmin"):
                places = getattr(x, name)(axis, keepdims=keepdims)
                np.testing.assert_array_equal(getattr(kernels, name)(x, axis, keepdims), places)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("shape", [*SHAPES, *SEGMENTED], ids=str)
def test_every_axis_set(shape, dtype, isas, rng):
    """In memory of each order; of much data, with many equal elements."""
    x = np.asarray(np.round(rng.standard_normal(shape), 1)).astype(dtype)
    for axes in axis_sets(x.ndim):
        for keepdims in (False, True) if x.size < 20_000 else (False,):
            check(x, axes, keepdims, isas)
        for layout in LAYOUTS if 1000 < x.size < 20_000 else ():
            check(in_layout(x, layout), axes, False, isas)


@pytest.mark.parametrize("run", [64, 784, 1024, 1025, 3000, 20000])
def test_runs(run, isas, rng):
    """Runs along memory with gaps between them: even gaps, uneven ones, runs of more than one call."""
    x = rng.uniform(-1, 1, (3, 5, 4, run)).astype(np.float32)
    for view in (x, x[:, ::2], x[:, :, ::3]):
        check(view, (0, 2, 3), False, isas)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("rows", [1, 2, 3, 8, 16, 17, 32, 33])
def test_few_long_rows(rows, dtype, isa, threads, rng):
    """Panels are wider there; with a NaN, an infinity and zeros of both signs beside each other."""
    for width in (63, 65, 511, 513, 8191, 8193, 12347):
        x = rng.standard_normal((rows, width)).astype(dtype)
        x[rows // 2, 5::97], x[0, 3::101], x[-1, 2::103], x[:, 7::89] = np.nan, -np.inf, np.inf, -0.0
        with np.errstate(invalid="ignore"):
            exact = x.astype(np.longdouble).sum(0)
        for count in (1, 3):
            threads(count)
            for view in (x, x[::-1]):
                np.testing.assert_array_equal(kernels.max(view, 0), x.max(0))
                np.testing.assert_array_equal(kernels.min(view, 0), x.min(0))
            assert (kernels.max(x[:1], 0).tobytes(), kernels.min(x[:1], 0).tobytes()) == 2 * (x[0].tobytes(),)
            np.testing.assert_allclose(kernels.sum(x, 0), exact, rtol=0, atol=tolerance(dtype, rows, 4))
            out = np.full(2 * width, 7, dtype)
            np.testing.assert_array_equal(_core.max(x, (0,), False, out[::2]), x.max(0))
            assert (out[1::2] == 7).all()


LINES = [  # few and many, short and long ones, searched in parts
    *((n, 3) for n in (1, 2, 15, 16, 17, 64, 65, 1000, 1024, 1500)),
    *((41, n) for n in (1, 3, 7, 16, 31, 33, 63, 64, 65, 100, 255, 256, 257, 1000)),
    *((rows, n) for rows in (1, 4, 17, 35) for n in (49, 64, 1000, 4096, 4097)),
    *((1, 100_003), (3, 100_003), (70_000, 2)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped(("shape", "turned"), zip(LINES, itertools.cycle([False, True])), ids=str)
def test_ties_and_nan(shape, turned, dtype, isa, rng):
    """Extremes and their places: the first of equal ones, before all the first NaN, at any place."""
    m, n = shape
    ties = np.round(rng.standard_normal(shape)).astype(dtype)
    ties[m // 5] = -0.0
    for row, place in ((None, None), (m // 2, 0), (m - 1, n // 3), (0, n - 1))[: 4 if m * n < 40_000 else 2]:
        x = ties.copy()
        if row is not None:
            x[m // 3, place], x[-1, 0], x[m // 4] = np.inf, -np.inf, -np.inf
            x[row, place] = x[-1, n // 4] = np.nan
        for view in (x, np.asfortranarray(x) if turned else x[::-1, ::-1]):
            for axis in (0, 1):
                for name in ("max", "min", "argmax", "argmin"):
                    expected = getattr(np, name)(view, axis)
                    np.testing.assert_array_equal(getattr(kernels, name)(view, axis), expected, err_msg=name)
        assert np.isnan(kernels.max(x)) == np.isnan(kernels.min(x)) == (row is not None)


@pytest.mark.parametrize("n", [49, 63, 64, 65, 196, 1000, 4096, 4097])
@pytest.mark.parametrize(("images", "channels"), [(2, 16), (5, 17), (17, 23), (300, 16)])
def test_channels_of_images(images, channels, n, isas, rng):
    """Several channels at once, in blocks of images; backwards they go one by one, with the same bits."""
    images = min(images, 400_000 // (channels * n) + 2)
    x = rng.uniform(-1, 1, (images, channels, n)).astype(np.float32)
    check(x, (0, 2), False, isas)
    beside = x.copy()
    beside[-1, 3, n // 2] = np.nan
    for _ in isas:
        for reduce in (kernels.sum, kernels.max, kernels.min):
            np.testing.assert_array_equal(reduce(x[:, ::-1], (0, 2)), reduce(x, (0, 2))[::-1])
        assert np.flatnonzero(np.isnan(kernels.max(beside, (0, 2)))).tolist() == [3]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [1, 2, 10, 31, 32, 33, 47, 48, 49])
def test_short_lines(n, dtype, isas, rng):
    """Lines transposed a vector at a time: as many as fill it, some more, and fewer."""
    for lines in (15, 16, 17, 33):
        wide = rng.uniform(-1, 1, (lines, n + 3)).astype(dtype)
        for view in (wide[:, :n], wide[:, :n].copy()):
            check(view, 1, False, isas)


@grouped("n", [33, 48, 49, 63, 64, 65, 127, 128, 129, 4096, 4097])
def test_lines_beside_others(n, isa, rng):
    """A result of a line has the same bits alone and among lines that are reduced together."""
    for lines in (7, 8, 9, 15, 16, 17, 33):
        x = rng.uniform(-1, 1, (lines, n + 3)).astype(np.float32)[:, 1 : n + 1]
        np.testing.assert_array_equal(kernels.sum(x, 1), [kernels.sum(line) for line in x])
        mean = kernels.mean(x, 1)
        np.testing.assert_array_equal(mean, [kernels.mean(line) for line in x])
        np.testing.assert_allclose(mean, x.astype(np.float64).mean(1), rtol=0, atol=tolerance(x.dtype, 4))
        for name, sign in (("max", -1), ("min", 1)):
            reduce, zeros = getattr(kernels, name), sign * np.abs(np.round(x))
            zeros[rng.random(x.shape) < 0.3] *= -0.0
            zeros[lines // 2, n // 2] = np.nan
            for y in (x, zeros):
                assert reduce(y, 1).tobytes() == np.array([reduce(line) for line in y]).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("rows", [1, 2, 31, 32, 33])
def test_few_rows(rows, dtype, isas, rng):
    """Columns of one block of rows are written where they belong, those of more through a buffer."""
    for columns in (1, 2, 17, 511, 513, 1100):
        x = rng.standard_normal((3, rows, columns)).astype(dtype)
        for view in (x, x[:1]):
            check(view, 1, False, isas)
            for _ in isas:
                out = np.zeros((len(view), columns, 2), dtype)
                np.testing.assert_array_equal(kernels.max(view, 1, out=out[..., 1]), view.max(1))
                assert not out[..., 0].any()


@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e30), ("float64", 1e200)])
def test_norms_whose_squares_overflow(dtype, size, isa):
    """The root is in range where the squares are not; an infinite element stays infinite."""
    for shape in ((20, 3), (3, 300), (2, 5, 70), (40_000,)):
        x = np.full(shape, size, dtype)
        for axes in axis_sets(x.ndim):
            count = x.size // max(1, np.asarray(x.sum(axes)).size)
            np.testing.assert_allclose(kernels.norm(x, axes), size * count**0.5, rtol=1e-6)
    x = np.array([[size, np.inf, 1], [size, np.nan, 1], [3, 4, 0]], dtype)
    np.testing.assert_array_equal(kernels.norm(x, 1), np.array([np.inf, np.nan, 5], dtype))
    mean = np.zeros((1, 1), dtype)
    spread = kernels.std(np.array([[size, -size]], dtype), mean, 1, True, correction=0)
    np.testing.assert_allclose(spread, size, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("shape", [*SHAPES, *SEGMENTED], ids=str)
def test_products(shape, dtype, isa, rng):
    """Powers of two: exact in any order, and so is every underflow to 0."""
    x = np.asarray(rng.choice([-1.0, 1.0, 2.0, 0.5], shape, p=[0.1, 0.5, 0.2, 0.2])).astype(dtype)
    for axes in axis_sets(x.ndim):
        expected = np.prod(x.astype(np.longdouble), axes)
        inside = np.abs(np.log2(np.abs(np.asarray(expected, float)))) < 60
        np.testing.assert_array_equal(np.asarray(kernels.prod(x, axes))[inside], np.asarray(expected)[inside])


def test_sum_exp_of_infinities(isa):
    """An infinite maximum counts as 0: the logarithm of the sum is then right."""
    inf = np.inf
    x = np.array([[1, -inf, inf], [-inf, -inf, -inf], [1, 1, 1]], np.float32)
    for axis, a in ((1, x), (0, np.ascontiguousarray(np.repeat(x.T, 40, 1)))):
        sums = kernels.sum_exp(a, a.max(axis), axis)
        assert set(sums.tolist()) == {inf, 0, 3}


def test_sums_are_pairwise(isa, rng):
    """The error of a long sum stays near that of NumPy's pairwise summation, along and across."""
    x = rng.uniform(0, 1, 1 << 20).astype(np.float32)
    exact = x.astype(np.float64).sum()
    assert abs(float(kernels.sum(x)) - exact) <= 20 * np.finfo(np.float32).eps * exact
    columns = np.repeat(x[:, None], 3, axis=1)
    assert np.abs(kernels.sum(columns, 0) - exact).max() <= 40 * np.finfo(np.float32).eps * exact


@pytest.mark.parametrize("shape", [*SEGMENTED, (64, 32, 14, 14)], ids=str)
def test_same_bits_at_any_thread_count(shape, rng, threads):
    x = rng.standard_normal(shape).astype(np.float32)
    for axes in axis_sets(x.ndim):
        same_bits(threads, lambda axes=axes: kernels.sum(x, axes))


# --- running sums, sorted lines


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
