"""unique, unique_consecutive, mode, bincount, histc and histogram: the kernels beside NumPy and plain loops.

The lengths are those at which an algorithm changes. Each dtype; NaNs, zeros, strides, threads.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import ranvier as rv

# insertion, ranks of a vector or more, and the radix sort or the table
LENGTHS = (0, 1, 2, 4, 5, 15, 16, 17, 127, 128, 129, 1000)
INTEGERS = ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
FLOATS = (rv.float16, rv.bfloat16, rv.float32, rv.float64)


def of_dtype(array, dtype):
    """A Tensor of the array's values."""
    if isinstance(dtype, str):
        return rv.tensor(array.astype(dtype))
    return rv.tensor(array).to(dtype)


def groups_of(x):
    """values, inverse, counts of a list by comparisons; a NaN equals nothing, and is greater than all."""
    in_order = sorted(range(len(x)), key=lambda i: (x[i] != x[i], 0 if x[i] != x[i] else x[i], i))
    values, counts = [], []
    inverse = [0] * len(x)
    for i in in_order:
        if values and values[-1] == x[i]:
            counts[-1] += 1
        else:
            values.append(x[i])
            counts.append(1)
        inverse[i] = len(values) - 1
    return values, inverse, counts


def check_unique(x):
    """x: a vector as a Tensor."""
    wanted = groups_of(x.tolist())
    found = rv.unique(x, return_inverse=True, return_counts=True)
    for y, want in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(y.tolist(), want)
    values = found[0]
    assert values.dtype == x.dtype
    assert found[1].dtype == found[2].dtype == rv.int64
    np.testing.assert_array_equal(rv.unique(x).tolist(), wanted[0])
    only_counts = rv.unique(x, return_counts=True)
    np.testing.assert_array_equal(only_counts[1].tolist(), wanted[2])
    only_inverse = rv.unique(x, return_inverse=True)
    np.testing.assert_array_equal(only_inverse[1].tolist(), wanted[1])


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("n", LENGTHS)
def test_unique_of_integers(n, dtype, rng, isas):
    limits = np.iinfo(dtype)
    few = rng.integers(0, 5, n).astype(dtype)
    close = rng.integers(0, 100, n).astype(dtype)
    any_ = rng.integers(limits.min, limits.max, n, dtype, endpoint=True)
    at_limits = rng.choice(np.array([limits.min, limits.max, 0, 1], dtype), n)
    for _ in isas:
        for x in (few, close, any_, at_limits):
            check_unique(rv.tensor(x))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", LENGTHS)
def test_unique_of_floats(n, dtype, rng, isas):
    special = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -1.5], n)
    for _ in isas:
        for x in (rng.normal(size=n), np.round(rng.normal(size=n) * 3), special):
            check_unique(rv.tensor(x).to(dtype))


def test_unique_of_bools():
    for x in ([], [True], [False, False], [True, False, True]):
        check_unique(rv.tensor(x, dtype=rv.bool))


def test_keys_between_32_and_64_bits():
    """Keys that are close together, but far from 0, are sorted as 32 bits; others as 64."""
    rng = np.random.default_rng(1)
    for width in (2**31, 2**32 - 1, 2**32, 2**40):
        for base in (0, -(2**60), 2**60):
            check_unique(rv.tensor(base + rng.choice([0, 1, width - 1, width], 300)))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_unique_of_slices(dim, rng):
    x = rng.integers(0, 2, (40, 3, 2))
    moved = np.moveaxis(x, dim, 0)
    rows = moved.reshape(len(moved), -1).tolist()
    wanted = sorted({tuple(row) for row in rows})
    values, inverse, counts = rv.unique(rv.tensor(x), return_inverse=True, return_counts=True, dim=dim)
    found = np.moveaxis(values.numpy(), dim, 0)
    assert [tuple(row) for row in found.reshape(len(found), -1).tolist()] == wanted
    np.testing.assert_array_equal(inverse.numpy(), [wanted.index(tuple(row)) for row in rows])
    many = Counter(map(tuple, rows))
    np.testing.assert_array_equal(counts.numpy(), [many[row] for row in wanted])


def test_slices_with_nan_differ():
    x = rv.tensor([[1.0, np.nan], [1.0, 2.0], [1.0, np.nan], [1.0, 2.0], [-0.0, 1.0], [0.0, 1.0]])
    values, inverse = rv.unique(x, return_inverse=True, dim=0)
    np.testing.assert_array_equal(values.numpy(), [[0.0, 1.0], [1.0, 2.0], [1.0, np.nan], [1.0, np.nan]])
    assert inverse.tolist() == [2, 1, 3, 1, 0, 0]


def test_slices_without_elements():
    for shape, dim in (((0, 3), 0), ((3, 0), 1), ((2, 0, 3), 1)):
        assert rv.unique(rv.zeros(shape), dim=dim).shape == shape
    for shape, dim in (((3, 0), 0), ((0, 3), 1), ((2, 0, 3), 0)):
        with pytest.raises(ValueError, match=r"\[unique\] got x of shape .*; expected elements"):
            rv.unique(rv.zeros(shape), dim=dim)


@pytest.mark.parametrize("dtype", [*INTEGERS, "bool", *FLOATS])
def test_unique_consecutive(dtype, rng):
    for n in LENGTHS:
        x = of_dtype(rng.integers(0, 2, n), dtype)
        elements = x.tolist()
        runs = [i for i in range(n) if i == 0 or elements[i] != elements[i - 1]]
        values, inverse, counts = rv.unique_consecutive(x, return_inverse=True, return_counts=True)
        assert values.tolist() == [elements[i] for i in runs]
        assert values.dtype == x.dtype
        np.testing.assert_array_equal(counts.numpy(), np.diff([*runs, n]) if n else [])
        np.testing.assert_array_equal(inverse.numpy(), np.repeat(np.arange(len(runs)), counts.numpy()))


def test_nans_are_runs_of_their_own():
    x = rv.tensor([np.nan, np.nan, 0.0, -0.0, 0.0, 1.0])
    values, counts = rv.unique_consecutive(x, return_counts=True)
    np.testing.assert_array_equal(values.numpy(), [np.nan, np.nan, 0.0, 1.0])
    assert counts.tolist() == [1, 1, 3, 1]


def mode_of(row):
    """The most frequent value, the least of several, and its last place. NaN if no number."""
    values, _, counts = groups_of(row)
    value = values[counts.index(max(counts))]
    if value != value:
        return value, next(i for i, x in enumerate(row) if x != x)
    return value, max(i for i, x in enumerate(row) if x == value)


@pytest.mark.parametrize("dtype", [*INTEGERS, *FLOATS])
@pytest.mark.parametrize("n", LENGTHS[1:])
def test_mode(n, dtype, rng, isas):
    x = rng.integers(0, max(2, n // 4), (3, n))
    x = of_dtype(x, dtype)
    wanted = [mode_of(row) for row in x.tolist()]
    for _ in isas:
        values, indices = rv.mode(x)
        assert values.tolist() == [value for value, _ in wanted]
        assert indices.tolist() == [index for _, index in wanted]
        assert values.dtype == x.dtype


def test_mode_of_special_floats():
    nan = np.nan
    rows = [[nan, nan, 1.0], [nan, nan, nan], [0.0, -0.0, -1.0], [np.inf, -np.inf, np.inf]]
    values, indices = rv.mode(rv.tensor(rows))
    wanted = [mode_of(row) for row in rows]
    np.testing.assert_array_equal(values.numpy(), [value for value, _ in wanted])
    assert indices.tolist() == [index for _, index in wanted]


def test_strided_elements(rng):
    x = rng.integers(0, 5, (6, 7, 8))
    for view in (rv.tensor(x)[::2, 1::2], rv.tensor(x).permute(2, 0, 1)):
        dense = rv.tensor(view.numpy().copy())
        for f in (
            lambda t: rv.unique(t, return_inverse=True, return_counts=True),
            lambda t: rv.unique(t, dim=1, return_inverse=True),
            lambda t: rv.unique_consecutive(t, return_inverse=True, return_counts=True),
            lambda t: rv.mode(t, 0),
            lambda t: rv.mode(t, 1, True),
            lambda t: (rv.histc(t.float(), 4), rv.histogram(t.float(), 3).hist),
            lambda t: (rv.bincount(t[0, 0]),),
        ):
            for y, want in zip(f(view), f(dense), strict=True):
                np.testing.assert_array_equal(y.numpy(), want.numpy())


def test_any_number_of_threads(threads, rng):
    x = rv.tensor(rng.integers(0, 9, (64, 999)).astype(np.float32))
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append([*rv.mode(x), *rv.unique(x, return_inverse=True, return_counts=True)])
    for others in found[1:]:
        for y, want in zip(others, found[0], strict=True):
            np.testing.assert_array_equal(y.numpy(), want.numpy())


@pytest.mark.parametrize("dtype", INTEGERS[:-1])
@pytest.mark.parametrize("bins", [1, 2, 100])
def test_bincount(bins, dtype, rng):
    for n in (0, 1, 3, 4, 5, 1000):
        x = rng.integers(0, bins, n).astype(dtype)
        for minlength in (0, 1, bins, 3 * bins):
            found = rv.bincount(rv.tensor(x), minlength=minlength)
            np.testing.assert_array_equal(found.numpy(), np.bincount(x, None, minlength))
            assert found.dtype == rv.int64


def test_bincount_of_many_values(rng):
    for bins in (2047, 2048, 2049, 10_000):
        x = np.append(rng.integers(0, bins, 5000), bins - 1)
        np.testing.assert_array_equal(rv.bincount(rv.tensor(x)).numpy(), np.bincount(x))


@pytest.mark.parametrize("dtype", [rv.float32, rv.float64])
@pytest.mark.parametrize("n", [0, 1, 511, 512, 513, 3000])
def test_histogram(n, dtype, rng):
    """Quarters and edges are exact. An element on an edge belongs to the interval that begins there."""
    x = rv.tensor(rng.integers(-6, 7, n) / 4).to(dtype)
    for bins, limits in ((8, (-1.0, 1.0)), (1, (-0.5, 0.5)), (100, (-1.5, 1.5))):
        wanted, edges = np.histogram(x.numpy(), bins, limits)
        hist, bin_edges = rv.histogram(x, bins, range=limits)
        if bins != 100:  # whose edges are not exact
            np.testing.assert_array_equal(hist.numpy(), wanted)
            np.testing.assert_array_equal(rv.histc(x, bins, *limits).numpy(), wanted)
        in_their_edges = np.histogram(x.numpy(), bin_edges.numpy())[0]
        np.testing.assert_array_equal(hist.numpy(), in_their_edges)
        np.testing.assert_allclose(bin_edges.numpy(), edges, rtol=4 * rv.finfo(dtype).eps)
        between = rv.histogram(x, bin_edges)
        np.testing.assert_array_equal(between.hist.numpy(), in_their_edges)
        np.testing.assert_array_equal(between.bin_edges.numpy(), bin_edges.numpy())


def test_histogram_of_special_floats():
    x = rv.tensor([np.nan, np.inf, -np.inf, 0.0, 1.0, 2.0, 2.5])
    assert rv.histc(x, 2, 0, 2).tolist() == [1, 2]
    assert rv.histogram(x, 2, range=(0.0, 2.0)).hist.tolist() == [1, 2]
    edges = rv.tensor([0.0, 1.0, 1.0, 2.0])
    np.testing.assert_array_equal(
        rv.histogram(x, edges).hist.numpy(), np.histogram(x.numpy()[3:], edges.numpy())[0]
    )
    for f in (rv.histc, rv.histogram):
        with pytest.raises(ValueError, match=r"\[hist"):
            f(x, 3)


def test_histogram_of_equal_elements():
    for value in (0.0, 3.0, 1e30):
        x = rv.tensor([value, value])
        assert rv.histc(x, 4).sum().item() == 2
        assert rv.histogram(x, 4).hist.sum().item() == 2


def test_edges_must_rise():
    with pytest.raises(ValueError, match=r"\[histogram\]"):
        rv.histogram(rv.tensor([1.0]), rv.tensor([1.0, 0.0]))


def test_edges_that_are_given_are_copied():
    edges = rv.tensor([0.0, 1.0, 2.0])
    result = rv.histogram(rv.tensor([0.5, 1.5, 1.7]), edges)
    result.bin_edges.fill_(9.0)
    assert edges.tolist() == [0.0, 1.0, 2.0]
