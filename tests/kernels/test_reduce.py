"""The reduction kernels on raw arrays: every axis set, block edges, layouts, NaN, accuracy, errors."""

import itertools

import numpy as np
import pytest
from ranvier import _core, kernels
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout
from support.threads import same_bits
from support.tolerance import tolerance

SHAPES = [(1,), (1023,), (1025,), (5000,), (33, 70), (700, 5), (5, 700), (3, 17, 9, 8), (40, 3, 50), ()]
SEGMENTED = [(70000,), (20000, 3), (3, 20000), (600, 65), (9, 200, 40)]


def axis_sets(ndim):
    yield None
    for k in range(1, ndim + 1):
        yield from itertools.combinations(range(ndim), k)


def check(x, axes, keepdims):
    """All reductions against NumPy in longdouble."""
    wide = x.astype(np.longdouble)
    total = np.asarray(wide.sum(axes, keepdims=keepdims))
    n = x.size // max(total.size, 1)
    peak = max(float(np.max(np.abs(x), initial=0)), 1.0)
    np.testing.assert_allclose(
        kernels.sum(x, axes, keepdims), total, rtol=0, atol=tolerance(x.dtype, n, peak)
    )
    mean = kernels.mean(x, axes, keepdims)
    np.testing.assert_allclose(mean, total / n, rtol=0, atol=tolerance(x.dtype, 1, peak) * (1 + np.log2(n)))
    np.testing.assert_allclose(
        kernels.var(x, mean, axes, keepdims),
        wide.var(axes, keepdims=keepdims),
        rtol=0,
        atol=tolerance(x.dtype, 2, peak**2) * (1 + np.log2(n)),
    )
    top = kernels.max(x, axes, keepdims)
    np.testing.assert_array_equal(top, x.max(axes, keepdims=keepdims))
    np.testing.assert_array_equal(kernels.min(x, axes, keepdims), x.min(axes, keepdims=keepdims))
    atol = tolerance(x.dtype, n, peak)
    np.testing.assert_allclose(
        kernels.sum_abs(x, axes, keepdims), np.abs(wide).sum(axes, keepdims=keepdims), rtol=0, atol=atol
    )
    np.testing.assert_allclose(
        kernels.norm(x, axes, keepdims) ** 2,
        (wide**2).sum(axes, keepdims=keepdims),
        rtol=0,
        atol=2 * atol * peak,
    )
    exps = np.exp(wide - wide.max(axes, keepdims=True)).sum(axes, keepdims=keepdims)
    np.testing.assert_allclose(kernels.sum_exp(x, top, axes, keepdims), exps, rtol=0, atol=atol)
    hits = x == x.max(axes, keepdims=True)
    np.testing.assert_array_equal(
        _core.count_equal(x, top, axes, keepdims), hits.sum(axes, keepdims=keepdims)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("shape", [*SHAPES, *SEGMENTED], ids=str)
def test_every_axis_set(shape, dtype, isa, rng):
    """In memory of each order; of much data, with many equal elements."""
    x = np.asarray(np.round(rng.standard_normal(shape), 1)).astype(dtype)
    for axes in axis_sets(x.ndim):
        for keepdims in (False, True) if x.size < 20_000 else (False,):
            check(x, axes, keepdims)
        for layout in LAYOUTS if 1000 < x.size < 20_000 else ():
            check(in_layout(x, layout), axes, False)


@pytest.mark.parametrize("run", [64, 784, 1024, 1025, 3000, 20000])
def test_runs(run, isa, rng):
    """Runs along memory with gaps between them: even gaps, uneven ones, runs of more than one call."""
    x = rng.uniform(-1, 1, (3, 5, 4, run)).astype(np.float32)
    for view in (x, x[:, ::2], x[:, :, ::3]):
        exact = view.astype(np.float64).sum((0, 2, 3))
        limit = tolerance(np.float32, view.size // view.shape[1])
        np.testing.assert_allclose(kernels.sum(view, (0, 2, 3)), exact, rtol=0, atol=limit)
        np.testing.assert_array_equal(kernels.max(view, (0, 2, 3)), view.max((0, 2, 3)))


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


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 64, 65, 1000, 1024, 1500])
def test_nan_and_ties(n, isa, rng):
    x = np.round(rng.standard_normal((n, 3))).astype(np.float32)
    for axis in (0, 1):
        np.testing.assert_array_equal(kernels.argmax(x, axis), x.argmax(axis))
        np.testing.assert_array_equal(kernels.argmin(x.T.copy(), 1 - axis), x.T.argmin(1 - axis))
    x[n // 2] = np.nan
    assert np.isnan(kernels.max(x))
    assert np.isnan(kernels.min(x, 0)).all()
    assert np.isnan(kernels.max(np.ascontiguousarray(x.T), 1)).all()
    assert (kernels.argmax(x, 0) == n // 2).all()


@pytest.mark.parametrize("n", [49, 63, 64, 65, 196, 1000, 4096, 4097])
@pytest.mark.parametrize(("images", "channels"), [(2, 16), (5, 17), (17, 23), (300, 16)])
def test_channels_of_images(images, channels, n, isa, rng):
    """Several channels at once, in blocks of images; backwards they go one by one, with the same bits."""
    images = min(images, 400_000 // (channels * n) + 2)
    x = rng.uniform(-1, 1, (images, channels, n)).astype(np.float32)
    check(x, (0, 2), False)
    for name in ("sum", "max", "min"):
        reduce = getattr(kernels, name)
        np.testing.assert_array_equal(reduce(x[:, ::-1], (0, 2)), reduce(x, (0, 2))[::-1])
    x[-1, 3, n // 2] = np.nan
    assert np.flatnonzero(np.isnan(kernels.max(x, (0, 2)))).tolist() == [3]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [1, 2, 10, 31, 32, 33, 47, 48, 49])
def test_short_lines(n, dtype, isa, rng):
    """Lines transposed a vector at a time: as many as fill it, some more, and fewer."""
    for lines in (15, 16, 17, 33):
        x = rng.uniform(-1, 1, (lines, n)).astype(dtype)
        wide = np.zeros((lines, n + 3), dtype)
        for view in (x, wide[:, :n]):
            view[...] = x
            exact = view.astype(np.float64)
            limit = tolerance(dtype, n)
            np.testing.assert_allclose(kernels.sum(view, 1), exact.sum(1), rtol=0, atol=limit)
            mean = exact.mean(1, keepdims=True)
            np.testing.assert_allclose(
                kernels.var(view, mean.astype(dtype), 1, True, correction=0)[:, 0],
                exact.var(1),
                rtol=0,
                atol=limit,
            )
            np.testing.assert_array_equal(kernels.max(view, 1), view.max(1))
            np.testing.assert_array_equal(kernels.argmax(view, 1), view.argmax(1))
            np.testing.assert_array_equal(kernels.argmin(view, 1), view.argmin(1))


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
@grouped("n", [7, 31, 33, 64, 100, 257, 1000])
def test_nan_anywhere(n, dtype, isa, rng):
    """A NaN in any vector and lane, in several, none, and beside infinities."""
    for place in (0, 1, n // 3, n // 2, n - 2, n - 1):
        x = rng.standard_normal((41, n)).astype(dtype)
        x[5, place] = x[40, 0] = np.nan
        x[3, place], x[7, 0], x[9] = np.inf, -np.inf, -np.inf
        for name in ("max", "min"):
            reduce, exact = getattr(kernels, name), getattr(np, name)
            np.testing.assert_array_equal(reduce(x, 1), exact(x, 1))
            np.testing.assert_array_equal(reduce(x, 0), exact(x, 0))
            np.testing.assert_array_equal(reduce(x[6:40], 0), exact(x[6:40], 0))
            np.testing.assert_array_equal(reduce(x.T, 0), exact(x.T, 0))
            assert np.isnan(reduce(x))
            assert reduce(x[6:40]) == exact(x[6:40])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("rows", [1, 2, 31, 32, 33])
def test_few_rows(rows, dtype, isa, rng):
    """Columns of one block of rows are written where they belong, those of more through a buffer."""
    for columns in (1, 2, 17, 511, 513, 1100):
        x = rng.standard_normal((3, rows, columns)).astype(dtype)
        x[1, rows // 2, columns // 2] = np.nan
        for view in (x, x[:1]):
            wide = view.astype(np.float64)
            out = np.zeros((len(view), columns, 2), dtype)
            np.testing.assert_array_equal(kernels.max(view, 1), view.max(1))
            np.testing.assert_array_equal(kernels.max(view, 1, out=out[..., 1]), view.max(1))
            assert not out[..., 0].any()
            limit = tolerance(dtype, rows, 4)
            np.testing.assert_allclose(kernels.mean(view, 1), wide.mean(1), rtol=0, atol=limit)
            center = kernels.mean(view, 1, True)
            spread = kernels.std(view, center, 1, True, correction=0)[:, 0]
            np.testing.assert_allclose(spread, wide.std(1), rtol=1e-5, atol=limit)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("width", [1, 3, 16, 63, 64, 65, 255, 256, 257])
def test_columns(width, dtype, isa, rng):
    """Extremes and sums down columns: ties and NaN count from the first row."""
    x = np.round(rng.standard_normal((40, width))).astype(dtype)
    for _ in range(2):
        np.testing.assert_array_equal(kernels.argmax(x, 0), x.argmax(0))
        np.testing.assert_array_equal(kernels.argmin(x, 0), x.argmin(0))
        x[20:25, width // 2] = np.nan
    sums = kernels.sum(np.nan_to_num(x), 0)
    np.testing.assert_array_equal(sums, np.nan_to_num(x).sum(0))  # whole numbers


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


@pytest.mark.parametrize("lines", [1, 3])
def test_long_lines(lines, isa, rng):
    """A long line is searched in parts: the first of equal ones wins, and the first NaN before all."""
    x = np.round(rng.standard_normal((lines, 100_003))).astype(np.float32)
    for _ in range(2):
        np.testing.assert_array_equal(kernels.argmax(x, 1), x.argmax(1))
        np.testing.assert_array_equal(kernels.argmin(x[:, ::-2], 1), x[:, ::-2].argmin(1))
        x[:, 77_777] = x[:, 99_999] = np.nan
    tall = np.zeros((70_000, 2), np.float32)  # more rows than are searched at once
    tall[65_536, 0] = tall[69_999, 0] = tall[3, 1] = tall[65_537, 1] = 1
    np.testing.assert_array_equal(kernels.argmax(tall, 0), [65_536, 3])
    tall[66_000, 1] = np.nan
    np.testing.assert_array_equal(kernels.argmax(tall, 0), [65_536, 66_000])


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


def test_argmax_of_a_line_and_of_no_dimensions():
    x = np.array([1.0, 3.0, 2.0])
    assert (_core.argmax(x, 0, False), _core.argmin(x, -1, False)) == (1, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("length", [49, 64, 1000, 4096, 4097])
def test_places_in_lines(length, dtype, isa, rng):
    """Lines are searched several at a time, as many as a vector has lanes, and the rest."""
    wide = rng.integers(-99, 100, (35, length + 3)).astype(dtype)
    wide[3, 7], wide[3, 40], wide[20, length - 1] = np.nan, np.nan, np.nan
    wide[5] = -0.0
    for rows in (1, 4, 17, 35):
        for x in (wide[:rows, :length], wide[:rows, :length].copy(), wide[:rows][::-1, 2 : length + 2]):
            np.testing.assert_array_equal(kernels.argmax(x, -1), np.argmax(x, -1))
            np.testing.assert_array_equal(kernels.argmin(x, -1), np.argmin(x, -1))
