"""An element of a product has the same bits alone and among others, wherever it is stored, on any team: rows,
columns and products of a batch are computed alone and compared bit for bit with those of the whole. That the
whole is right is checked beside NumPy in float64, within the roundings of a sum of k products of at most 1. A
test with the fixture `isa` runs at each ISA level (instruction set).
"""

import functools
import itertools
from typing import NamedTuple

import numpy as np
import pytest
import ranvier as rv
from ranvier import kernels
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import in_layout
from support.threads import same_bits
from support.tolerance import tolerance

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def drawn(rng, dtype, *shape):
    return (2 * rng.random(shape, dtype) - 1).astype(dtype)


def stored(x, order):
    """The same values by rows (C) or by columns (F), these with gaps between them (c, f), rows backwards (B),
    columns from an address that no vector is aligned to (U), or each third element (S)."""
    if order == "U":
        line = np.empty(x.size + 1, x.dtype)[1:]
        line[:] = x.T.ravel()
        return line.reshape(x.T.shape).T
    if order in "Ff":
        return stored(x.T, "C" if order == "F" else "c").T
    wide = np.full((len(x), 3 * x.shape[1]), np.nan, x.dtype)
    at = {"C": None, "c": np.s_[:, : x.shape[1]], "B": np.s_[::-1, : x.shape[1]], "S": np.s_[:, 1::3]}[order]
    if at is None:
        return np.ascontiguousarray(x)
    wide[at] = x
    return wide[at]


class Parts(NamedTuple):
    """Products of a (m, k) and b (k, n), and how many of their rows and columns are also computed alone."""

    m: int
    k: list[int]
    n: list[int]
    rows: list[int]  # the first so many, and the last
    columns: list[int]  # the first so many; below 0: all but so many
    orders: str = "CC"  # the orders of a and b, by the letters of `stored`


FEW = [1, 2, 3, 4]
SMALL = "CC CF FC SC SS"
CASES = {
    "parts of a vector after whole ones": Parts(29, [3, 400], [64], [6, 7, 8, 9, 13, 15], [*range(1, 64)]),
    "tiles of one and three vectors": Parts(
        133, k=[19, 400], n=[40], rows=[5, 9, 11, 23, 24, 37], columns=[*range(1, 9), 17, 23]
    ),
    "few rows beside a large b": Parts(
        60, k=[15, 30, 500], n=[2048, 2500], rows=[5, 8, 9, 13, 14, 15, 29, 43], columns=[-20, -7]
    ),
    "few columns beside a large a": Parts(8003, [37], [3, 9, 20, 100], [60], [], "CC cC BC"),
    "few columns and blocks of factors": Parts(1507, [400], [3, 20, 40], [60], [], "CC cC BC"),
    "a block of factors for each thread": Parts(3, [200_000], [5, 9, 13], [1, 2, 3], [], "CF"),
    "blocks of factors": Parts(37, [400, 900, 5000], [53], [1, 5], [3, 11], "CC FF CF"),
    "small ones": Parts(
        132,
        k=[3, 9, 20, 33, 64],
        n=[1, 3, 7, 8, 17, 25, 50, 64, 100],
        rows=[3, 5, 32],
        columns=[],
        orders=SMALL,
    ),
    "longer small ones": Parts(110, [16, 63, 200, 250], [3, 16, 50, 100], [7, 9, 10], [], SMALL),
    "few rows beside few columns": Parts(120, [16, 32, 64], [133], FEW, [7, 33, 40], "CF FC"),
    "rows one by one": Parts(
        40,
        k=[4, 7, 16, 100, 383, 385, 769],
        n=[1, 3, 4, 5, 8, 9, 31, 33, 50],
        rows=[*FEW, 5, 8, 13],
        columns=[],
        orders="CF CC",
    ),
    "columns that share sets of a cache": Parts(20, [512, 515, 1024], [7, 16, 33, 150], FEW, [], "CF Cf"),
    "columns that are no whole vectors": Parts(
        9, k=[1, 3, 66, 386], n=[129, 240, 259, 1001, 4500], rows=[1], columns=[], orders="CC FF"
    ),
    "a b beyond the second cache": Parts(20, [1029, 1031], [1024, 1029], [*FEW, 5, 7, 8], [-3], "CC FF"),
    "columns from beyond the second cache": Parts(
        12, k=[1024, 1029, 1040], n=[1024, 1029], rows=[*FEW, 5, 6, 7, 8, 9], columns=[-3], orders="CF Cf CU"
    ),
    "long columns from beyond the second cache": Parts(9, [13_001], [170], [1, 4, 8], [-3], "CF Cf"),
    "columns that are fetched ahead": Parts(20, [60, 127, 900, 2100], [33, 161, 301], FEW, [], "CF"),
    "results stored by columns": Parts(100, [40, 500, 784], [10, 33, 128], [9, 17], [], "CF"),
    "one product for each element": Parts(131, [1], [15, 16, 17, 33, 95, 784, 6145], [1, 5, 28], [], "CC FF"),
}


@DTYPES
@grouped("case", CASES)
def test_parts_of_a_product(case, dtype, isa, rng, threads):
    """The first rows, written between other elements, which stay; and the last ones, by columns, with a bias
    and a ReLU: the bits of the whole product, of which the bias and the ReLU are taken here."""
    m, factors, widths, rows, columns, orders = CASES[case]
    products = [*itertools.product(factors, widths, orders.split())]
    if dtype == "float64":  # by the same loops, of other widths
        products, rows = products[::2], rows[::2]
    for k, n, order in products:
        a, b, bias = drawn(rng, dtype, m, k), drawn(rng, dtype, k, n), drawn(rng, dtype, n)
        x, y = stored(a, order[0]), stored(b, order[1])
        threads(1)
        whole = kernels.matmul(x, y)
        exact = a.astype(float) @ b.astype(float)
        np.testing.assert_allclose(whole, exact, rtol=0, atol=tolerance(dtype, k + 1))
        for c in [*(c % n for c in columns), n]:
            threads(1)
            every = kernels.matmul(x, y[:, :c])
            if c > 4:  # else dot products, perhaps
                np.testing.assert_array_equal(every, whole[:, :c])
            finished = np.maximum(every + bias[:c], 0)
            for number, r in enumerate(rows):
                threads(1 + number % 3)
                around, turned = np.full((r + 2, c + 12), np.nan, dtype), np.empty((c, r), dtype).T
                out = around[1:-1, 3 : c + 3]
                kernels.matmul(x[:r], y[:, :c], out=out)
                np.testing.assert_array_equal(out, every[:r])
                assert np.isnan(around).sum() == around.size - out.size
                kernels.matmul(x[m - r :], y[:, :c], bias[:c], "relu", turned)
                np.testing.assert_array_equal(turned, finished[m - r :])


@DTYPES
def test_one_product_is_rounded_once_and_zero_has_no_sign(dtype, isa, rng):
    """A chain begins with +0, also where it has one product."""
    a, b = drawn(rng, dtype, 131, 1), drawn(rng, dtype, 1, 200)
    np.testing.assert_array_equal(kernels.matmul(a, b), a * b)
    for rows in (a, a[:1]):
        assert not np.signbit(kernels.matmul(-np.abs(rows), 0 * b)).any()


@DTYPES
@grouped("n", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 257])
@pytest.mark.parametrize("layout", ["", "transposed", "strided"])
def test_batches(n, layout, dtype, isa, rng, threads):
    """Each product has the bits that it has alone: of a b for each, and of one for all, which is one product
    where the rows of the next follow."""
    sizes = [(1, 3), (5, 1), (7, 17), (8, 8), (33, 4), (65, 24), (2, 400)]
    for number, (m, k) in enumerate(sizes if dtype == "float32" else sizes[n % 2 :: 2]):
        a, b = (in_layout(drawn(rng, dtype, 5, *size), layout) for size in ((m, k), (k, n)))
        bias, saved = drawn(rng, dtype, n), drawn(rng, dtype, 5, m, n)
        same_bits(threads, functools.partial(kernels.matmul, a, b))
        factors = (a, b), (a, b[:1]), (a[::-1], b[0])
        ends = ("none", None), ("gelu", None), ("gelu", saved)
        for (x, y), (activation, kept) in [*itertools.product(factors, ends)][number % 2 :: 2]:
            wide = np.full((5, m + 1, n + 3), 7, dtype)
            kernels.matmul(x, y, bias, activation, wide[:, :m, :n], kept)
            assert (wide[:, m] == 7).all()
            assert (wide[:, :, n:] == 7).all()
            for i in range(5):
                alone = x[i], np.broadcast_to(y, (5, k, n))[i]
                own = kernels.matmul(*alone, bias, activation, None, None if kept is None else kept[i])
                off = 0 if n > 4 else tolerance(dtype, k + 2, 2)  # dot products, perhaps
                np.testing.assert_allclose(wide[i, :m, :n], own, rtol=0, atol=off)


def along_tree(terms):
    """The sum of 2, 4, 8 ... terms, halves first."""
    half = len(terms) // 2
    return terms[0] if half == 0 else along_tree(terms[:half]) + along_tree(terms[half:])


def check_parts(a, b, parts, out=None):
    """`parts` divides the factors: the result has the bits of the sum along a tree of the products of the
    parts. Any order of sums has an error below this bound (Higham, 3.5), NumPy's too."""
    got = kernels.matmul(a, b, out=out, parts=parts)
    pieces = zip(np.split(a, parts, axis=1), np.split(b, parts), strict=True)
    np.testing.assert_array_equal(got, along_tree([kernels.matmul(x, y) for x, y in pieces]))
    x, y, n = a.astype(float), b.astype(float), a.shape[1]
    bound = n * (np.finfo(a.dtype).eps + np.finfo(float).eps) * (np.abs(x) @ np.abs(y))
    assert (np.abs(got - x @ y) <= bound).all()
    return got


@DTYPES
@pytest.mark.parametrize("parts", [2, 4, 8, 64])
@pytest.mark.parametrize("order", ["CC", "FC", "CF", "FF", "SS"])
def test_blocks_of_factors_are_added_along_a_tree(order, parts, dtype, isa, rng, threads):
    """Also of few rows or columns, for which no product of a part is a dot product, and of longest parts."""
    sizes = [(5, 5), (13, 31), (14, 33), (64, 35), (8, 256), (100, 784)]
    sizes = [*sizes, (1, 40), (3, 17), (40, 1), (40, 3)] if order == "SS" else sizes
    for number, (m, n) in enumerate(sizes if dtype == "float32" else sizes[1::2]):
        for part in (1, 2, 17, *([384] if m == 13 else [])):
            threads(1 + number % 3)
            a = stored(drawn(rng, dtype, m, parts * part), order[0])
            b = stored(drawn(rng, dtype, parts * part, n), order[1])
            exact = check_parts(a, b, parts)
            out = stored(np.full((m, n), np.nan, dtype), "FS"[number % 2])
            assert check_parts(a, b, parts, out) is out
    with rv.config.float32_matmul_precision("medium"):  # nothing is rounded
        np.testing.assert_array_equal(kernels.matmul(a, b, parts=parts), exact)


@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize("dtype", [rv.float32, rv.float64, rv.float16, rv.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (4, 1030), (3, 1, 300)], ids=str)
def test_products_of_no_numbers_are_zero(shape, dtype, precision):
    """With k = 0, also where `out` had other numbers; then a bias is the result."""
    *batch, m, n = shape
    with rv.config.float32_matmul_precision(precision):
        out = rv.full(shape, 7.0, dtype=dtype)
        rv.matmul(rv.ones(*batch, m, 0, dtype=dtype), rv.ones(*batch, 0, n, dtype=dtype), out=out)
        assert not out.any()
        nothing = rv.ones(m, 0, dtype=dtype), rv.ones(n, 0, dtype=dtype)
        assert (rv.nn.functional.linear(*nothing, rv.ones(n).to(dtype)) == 1).all()


# A column by a row, for each product of a batch; 16 MB of results are stored past the caches.
@pytest.mark.parametrize(
    ("count", "m", "n"), [(3, 5, 9), (7, 40, 33), (5, 1, 70), (6, 70, 1), (65, 64, 1024), (9, 1024, 513)]
)
@DTYPES
def test_products_of_a_column_and_a_row(count, m, n, dtype, rng, isas, threads):
    a = drawn(rng, dtype, count, m, 1)
    b = drawn(rng, dtype, count, 1, n)
    a[0, 0] = b[0, 0, 0] = -0.0
    expected = a * b + np.zeros((), dtype)  # a sum begins with 0, so there is no -0
    for _ in isas:
        for size in (1, 2):
            threads(size)
            for left in (a, np.ascontiguousarray(a[::-1])[::-1]):
                assert kernels.matmul(left, b).tobytes() == expected.tobytes()
