"""Products of float16 and bfloat16: sums of float32, each element of the result rounded once."""

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core
from ranvier import kernels
from support.bfloat16 import medium, needs_bfloat16  # noqa: F401
from support.grouped import grouped
from support.layouts import in_layout
from support.threads import same_bits

HALVES = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
LAYOUTS = {"C": "contiguous", "F": "transposed", "S": "strided"}


def half(dtype):
    return np.dtype(getattr(rv, dtype))


def drawn(rng, shape, dtype, order="C"):
    x = rng.standard_normal(shape).astype(np.float32).astype(half(dtype))
    return in_layout(x, LAYOUTS[order])


def exact(a, b):
    """The product in float64, and that of absolute values."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return a @ b, np.abs(a) @ np.abs(b)


def check(a, b, bias=None, activation="none", products=None, **more):
    """Within the roundings of float32 of the exact sums, and one rounding of the result."""
    got = kernels.matmul(a, b, bias, activation, **more)
    assert got.dtype == a.dtype
    wide, absolute = products or exact(a, b)
    if bias is not None:
        wide, absolute = wide + bias.astype(np.float64), absolute + np.abs(bias.astype(np.float64))
    if activation == "relu":
        wide = np.maximum(wide, 0)
    sums = (a.shape[-1] + 2) * 2.0**-23 * absolute
    once = 2.0**-11 * np.abs(wide) + 2.0**-25 if a.dtype == np.float16 else 2.0**-8 * np.abs(wide)
    assert got.shape == wide.shape
    assert (np.abs(got.astype(np.float64) - wide) <= 1.01 * (sums + once)).all()
    return got


def equal(a, b):
    assert a.shape == b.shape
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


@HALVES
@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF", "SC", "CS", "SS"])
@grouped("size", [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 67, 97, 129])
def test_edges(size, orders, dtype, isa, rng, threads):
    """Of few rows and columns, and of blocks."""
    few = (1, size, 70), (1, 37, size), (7, 37, size), (4, size, size), (2, 66, size), (16, size, 40)
    for m, k, n in (*few, (size, 40, 48), (19, size + 33, 33), (30, 65, size)):
        a, b = drawn(rng, (m, k), dtype, orders[0]), drawn(rng, (k, n), dtype, orders[1])
        same_bits(threads, lambda a=a, b=b: check(a, b), (1, 2))
        if m < 17:
            check(b.T, a.T)


@HALVES
@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF"])
@pytest.mark.parametrize(
    "shape", [(257, 130, 300), (60, 33, 530), (30, 2100, 40), (3, 1100, 900), (8, 70, 5000), (1, 513, 9000)]
)
def test_several_blocks(shape, orders, dtype, isa, rng, threads):
    m, k, n = shape
    a, b = drawn(rng, (m, k), dtype, orders[0]), drawn(rng, (k, n), dtype, orders[1])
    bias = drawn(rng, (n,), dtype)
    check(a, b, bias)
    same_bits(threads, lambda: kernels.matmul(a, b, bias), (1, 2, 3))


@pytest.mark.parametrize(
    "shape", [(29, 1537, 63), (43, 768, 1100), (20, 8000, 300), (17, 8195, 34), (1830, 4130, 17)]
)
def test_bfloat16_is_read_where_it_is_or_packed(shape, isas, rng, threads):
    """The same bits by any memory order: rows that go on, by an odd or even number, columns, and neither."""
    m, k, n = shape
    a, b, bias = drawn(rng, (m, k), "bfloat16"), drawn(rng, (k, n), "bfloat16"), drawn(rng, (n,), "bfloat16")
    products = exact(a, b)
    for _ in isas:
        check_orders(a, b, bias, products, threads)


def check_orders(a, b, bias, products, threads):
    m, k, n = *a.shape, b.shape[1]
    y = check(a, b, bias, "relu", products)
    rows = [np.zeros((m, step), a.dtype)[:, :k] for step in (k + 1, k + 2)]
    rows[0][...] = rows[1][...] = a
    for x in (*rows, np.asfortranarray(a), in_layout(a, "strided")):
        for z in (b, np.asfortranarray(b), in_layout(b, "strided")):
            other = check(x, z, bias, "relu", products)
            if _core.bfloat16() == 1:  # else blocks by the memory order
                equal(other, y)
    same_bits(threads, lambda: kernels.matmul(a, b, bias), (1, 2, 3))
    out = np.zeros((n, m), a.dtype).T
    equal(kernels.matmul(a, b, bias, "relu", out=out), y)


@HALVES
@pytest.mark.parametrize("activation", ["none", "relu", "tanh"])
@pytest.mark.parametrize("shape", [(1, 70, 600), (7, 900, 50), (900, 64, 3), (260, 1030, 30)])
def test_what_follows(shape, activation, dtype, isa, rng):
    """A bias and an activation act on the sums, before they are rounded."""
    m, k, n = shape
    for order in "CF":
        a, b, bias = drawn(rng, (m, k), dtype), drawn(rng, (k, n), dtype, order), drawn(rng, (2 * n,), dtype)
        for given in (None, bias[:n], bias[::2]):
            if activation != "tanh":
                check(a, b, given, activation)
                continue
            got = kernels.matmul(a, b, given, "tanh").astype(np.float64)
            wide = a.astype(np.float64) @ b.astype(np.float64)
            wide = np.tanh(wide + (0 if given is None else given.astype(np.float64)))
            assert np.abs(got - wide).max() < (2.0**-10 if dtype == "float16" else 2.0**-8)


@HALVES
def test_stacks_and_results_of_any_strides(dtype, isa, rng, threads):
    for m, k, n in ((1, 64, 70), (40, 64, 48), (5, 33, 2)):
        a, b = drawn(rng, (3, 1, m, k), dtype), drawn(rng, (5, k, n), dtype)
        same_bits(threads, lambda a=a, b=b: check(a, b))
        same_bits(threads, lambda a=a, b=b: check(a.swapaxes(-1, -2).copy().swapaxes(-1, -2), b[1]))
        got = kernels.matmul(a[0, 0], b[0])
        for out in (np.zeros((n, m), got.dtype).T, np.zeros((m, 2 * n), got.dtype)[:, ::2]):
            equal(kernels.matmul(a[0, 0], b[0], out=out), got)
        row = np.broadcast_to(a[0, 0, :1], (40, k))  # a stride of 0
        check(row, b[0])
        check(a[0, 0][::-1, ::-1], b[0][::-1])
        check(a[0, 0, 0], b[0])
        check(a[0, 0], b[0, :, 0])


@HALVES
@pytest.mark.parametrize("m", [1, 30])
def test_values_that_are_no_numbers(m, dtype, isa, rng):
    a, b = drawn(rng, (m + 3, 70), dtype), drawn(rng, (70, 64), dtype)
    a[0, 69], a[1, 6], a[2, 7] = np.nan, np.inf, -np.inf
    for order in (b, np.asfortranarray(b)):
        got = kernels.matmul(a, order).astype(np.float32)
        assert np.isnan(got[0]).all()
        np.testing.assert_array_equal(got[1], np.inf * np.sign(b[6].astype(np.float32)))
        np.testing.assert_array_equal(got[2], -np.inf * np.sign(b[7].astype(np.float32)))
        assert np.isfinite(got[3:]).all()


@needs_bfloat16
@pytest.mark.parametrize("shape", [(20, 64, 64), (130, 900, 300)])
def test_as_float32_of_medium_precision(shape, medium, rng):  # noqa: F811
    """What pairs or tiles of bfloat16 make of these factors, which they need not round."""
    m, k, n = shape
    a, b = drawn(rng, (m, k), "bfloat16"), drawn(rng, (k, n), "bfloat16", "F")
    wide = kernels.matmul(a.astype(np.float32), b.astype(np.float32))
    equal(kernels.matmul(a, b), wide.astype(half("bfloat16")))


def test_no_wide_copy_of_a_large_weight(rng):
    """A product takes less memory than its weight has, let alone a copy of it as float32."""
    weight = drawn(rng, (3000, 3000), "bfloat16")
    for rows in (1, 40):
        x = drawn(rng, (rows, 3000), "bfloat16")
        kernels.matmul(x, weight.T)
        _core.reset_peak_memory()
        before = _core.memory_stats()["peak_bytes_in_use"]
        kernels.matmul(x, weight.T)
        assert _core.memory_stats()["peak_bytes_in_use"] - before < weight.nbytes


@HALVES
def test_a_wide_result(dtype, rng):
    """The sums themselves, of which the result of halves is rounded."""
    a, b = drawn(rng, (9, 40), dtype), drawn(rng, (40, 20), dtype)
    wide = kernels.matmul(a, b, out=np.empty((9, 20), np.float32))
    equal(wide.astype(half(dtype)), kernels.matmul(a, b))
    assert (wide != wide.astype(half(dtype)).astype(np.float32)).any()
