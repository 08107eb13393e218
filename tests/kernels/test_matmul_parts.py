"""matmul in parts: even blocks of products, each one chain, added along a tree."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import kernels
from support.bits import same_bits
from support.layouts import LAYOUTS, in_layout


def along_tree(terms):
    half = len(terms) // 2
    return terms[0] if half == 0 else along_tree(terms[:half]) + along_tree(terms[half:])


def parts_of(a, b, parts):
    return zip(np.split(a, parts, axis=1), np.split(b, parts), strict=True)


def check(a, b, parts, out=None):
    """The bits of the products of the parts. Any order of sums has an error below this bound (Higham, 3.5),
    NumPy's too."""
    got = kernels.matmul(a, b, out=out, parts=parts)
    np.testing.assert_array_equal(got, along_tree([kernels.matmul(x, y) for x, y in parts_of(a, b, parts)]))
    x, y, n = a.astype(float), b.astype(float), a.shape[1]
    bound = n * (np.finfo(a.dtype).eps + np.finfo(float).eps) * (np.abs(x) @ np.abs(y))
    assert (np.abs(got - x @ y) <= bound).all()
    return got


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("parts", [2, 4, 8, 64])
@pytest.mark.parametrize("order", ["CC", "FC", "CF", "FF"])
def test_bits_of_separate_products(order, parts, dtype, isa, rng):
    for m, n in [(5, 5), (13, 31), (14, 32), (15, 33), (29, 100), (64, 35), (8, 256), (128, 49), (100, 784)]:
        for part in (1, 2, 17):
            a = np.asarray(rng.standard_normal((m, parts * part)), dtype, order=order[0])
            b = np.asarray(rng.standard_normal((parts * part, n)), dtype, order=order[1])
            check(a, b, parts)


@pytest.mark.parametrize(("rows", "columns"), [(1, 40), (3, 17), (40, 1), (40, 3)])
def test_few_rows_or_columns(rows, columns, isa, rng):
    """Of strided operands, for which no product of a part is a dot product."""
    a = rng.standard_normal((rows, 2 * 64)).astype(np.float32)[:, ::2]
    b = rng.standard_normal((2 * 64, columns)).astype(np.float32)[::2]
    check(a, b, 4)


def test_longest_parts(isa, rng):
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((20, 8 * 384), (8 * 384, 70)))
    check(a, b, 8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_out(layout, isa, rng):
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((20, 64), (64, 37)))
    out = in_layout(np.full((20, 37), np.nan, np.float32), layout)
    assert check(a, b, 4, out) is out


def test_same_bits_at_any_thread_count(isa, rng, threads):
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((300, 256), (256, 500)))
    same_bits(threads, lambda: check(a, b, 8))


def test_nothing_is_rounded_to_bfloat16(rng):
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((64, 256), (256, 64)))
    exact = kernels.matmul(a, b, parts=2)
    with rv.config.float32_matmul_precision("medium"):
        np.testing.assert_array_equal(kernels.matmul(a, b, parts=2), exact)
