"""Products with one row, a few rows, or one product for each element: their own loops at every level."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import kernels
from support.bits import same_bits
from support.layouts import in_layout
from support.tolerance import tolerance

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])


def drawn(rng, shape, dtype):
    return rng.uniform(-1, 1, shape).astype(dtype)


def check(a, b, out=None):
    wide = np.matmul(a.astype(np.float64), b.astype(np.float64))
    got = kernels.matmul(a, b, out=out)
    np.testing.assert_allclose(got, wide, rtol=0, atol=tolerance(a.dtype, a.shape[-1] + 1))
    return got


@DTYPES
@pytest.mark.parametrize("n", [15, 16, 17, 31, 32, 33, 47, 95, 130, 784, 6145])
def test_outer_products(n, dtype, isa, rng, threads):
    """Rows of c around whole vectors, stored by rows, by columns, and with other rows between."""
    for m in (1, 5, 28, 131):
        a, b = drawn(rng, (m, 1), dtype), drawn(rng, (1, n), dtype)
        same_bits(threads, lambda a=a, b=b: kernels.matmul(a, b))
        alone = check(a, b)
        np.testing.assert_array_equal(alone, a * b)  # one product is rounded once
        np.testing.assert_array_equal(check(b.T, a.T), alone.T)
        wide = np.full((2 * m, n + 3), 7, dtype)
        np.testing.assert_array_equal(check(a, b, wide[::2, :n]), alone)
        assert (wide[1::2] == 7).all()
        assert (wide[:, n:] == 7).all()


@DTYPES
def test_outer_products_of_zeros_have_no_sign(dtype, isa):
    """A chain begins with +0, also where it has one product."""
    a, b = np.full((20, 1), -1, dtype), np.zeros((1, 200), dtype)
    assert not np.signbit(kernels.matmul(a, b)).any()
    assert not np.signbit(kernels.matmul(a[:1], b)).any()


@DTYPES
@pytest.mark.parametrize("k", [512, 515, 1024])
def test_few_rows_by_columns_that_share_sets_of_l1(k, dtype, isa, rng, threads):
    """Columns of b that are a multiple of 2 KB apart are read in other numbers, with the same bits."""
    for n in (7, 16, 33, 150):
        a, b = drawn(rng, (20, k), dtype), drawn(rng, (n, 1024), dtype)[:, :k].T
        near = np.ascontiguousarray(b.T).T
        wanted = check(a, b)
        for m in (1, 2, 3, 4):
            for columns in (b, near):
                same_bits(threads, lambda a=a, m=m, b=columns: kernels.matmul(a[:m], b))
                np.testing.assert_array_equal(kernels.matmul(a[:m], columns), wanted[:m])


@DTYPES
@pytest.mark.parametrize("k", [1, 3, 66, 386])
def test_one_row_of_columns_that_are_no_whole_vectors(k, dtype, isa, rng, threads):
    for n in (129, 240, 259, 300, 1001, 4500):
        a, b = drawn(rng, (9, k), dtype), drawn(rng, (k, n), dtype)
        wanted = check(a, b)
        same_bits(threads, lambda a=a, b=b: kernels.matmul(a[:1], b))
        np.testing.assert_array_equal(kernels.matmul(a[:1], b), wanted[:1])
        np.testing.assert_array_equal(kernels.matmul(b.T, a[:1].T), wanted[:1].T)


@DTYPES
@pytest.mark.parametrize("n", [5, 15, 16, 17, 33, 64, 100, 257])
@pytest.mark.parametrize("layout", ["contiguous", "transposed", "strided"])
def test_batches_of_small_products(n, layout, dtype, isa, rng, threads):
    """Each has the bits that it has alone, whatever the strides, and what follows the sums."""
    for m, k in ((1, 3), (5, 1), (7, 17), (31, 64), (33, 4), (65, 24), (70, 9)):
        a, b = (
            in_layout(drawn(rng, (5, m, k), dtype), layout),
            in_layout(drawn(rng, (5, k, n), dtype), layout),
        )
        wanted = np.stack([check(x, y) for x, y in zip(a, b, strict=True)])
        same_bits(threads, lambda a=a, b=b: kernels.matmul(a, b))
        wide = np.full((5, m + 1, n + 3), 7, dtype)
        np.testing.assert_array_equal(kernels.matmul(a, b, out=wide[:, :m, :n]), wanted)
        assert (wide[:, m] == 7).all()
        assert (wide[:, :, n:] == 7).all()
        np.testing.assert_array_equal(kernels.matmul(a, b[:1])[0], wanted[0])
        bias, saved = drawn(rng, n, dtype), drawn(rng, (5, m, n), dtype)
        for activation in ("relu", "gelu"):
            for kept in (None, saved):
                got = kernels.matmul(a, b, bias, activation, None, kept)
                for i in range(5):
                    own = kernels.matmul(
                        a[i], b[i], bias, activation, None, None if kept is None else kept[i]
                    )
                    np.testing.assert_array_equal(got[i], own)


@DTYPES
@pytest.mark.parametrize("k", [1029, 1030, 1031])
@pytest.mark.parametrize("n", [1024, 1029])
def test_one_to_eight_rows_of_a_b_beyond_l2(k, n, dtype, isa, rng, threads):
    """Rows in groups of four and what is left, products in groups and what is left: the bits of 20 rows."""
    a, b = drawn(rng, (20, k), dtype), drawn(rng, (k, n), dtype)
    wanted = check(a, b)
    for m in range(1, 9):
        same_bits(threads, lambda a=a[:m], b=b: kernels.matmul(a, b))
        np.testing.assert_array_equal(kernels.matmul(a[:m], b), wanted[:m])
        np.testing.assert_array_equal(kernels.matmul(a[:m], b[:, :-3]), wanted[:m, :-3])
        np.testing.assert_array_equal(kernels.matmul(b.T, a[:m].T), wanted[:m].T)


@DTYPES
@pytest.mark.parametrize(
    ("k", "n"), [(60, 301), (64, 300), (127, 161), (130, 159), (896, 33), (900, 321), (2100, 161)]
)
def test_one_to_four_rows_by_columns_that_are_fetched_ahead(k, n, dtype, isa, rng, threads):
    """By chunks, or line by line those of half as many: the bits of 20 rows."""
    a, b = drawn(rng, (20, k), dtype), drawn(rng, (n, k), dtype).T
    wanted = check(a, b)
    for m in range(1, 5):
        same_bits(threads, lambda a=a[:m], b=b: kernels.matmul(a, b))
        np.testing.assert_array_equal(kernels.matmul(a[:m], b), wanted[:m])


@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize("dtype", [rv.float32, rv.float64, rv.float16, rv.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (4, 1030), (3, 1, 300)], ids=str)
def test_products_of_no_numbers_are_zero(shape, dtype, precision):
    *batch, m, n = shape
    with rv.config.float32_matmul_precision(precision):
        out = rv.full(shape, 7.0, dtype=dtype)
        rv.matmul(rv.ones(*batch, m, 0, dtype=dtype), rv.ones(*batch, 0, n, dtype=dtype), out=out)
        assert not out.any()
        y = rv.nn.functional.linear(
            rv.ones(m, 0, dtype=dtype), rv.ones(n, 0, dtype=dtype), rv.ones(n).to(dtype)
        )
        assert (y == 1).all()
