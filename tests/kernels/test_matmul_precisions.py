"""Products of few bits: float16 and bfloat16, whose sums of float32 are rounded once (`check`), and float32
by `set_float32_matmul_precision("medium")`, whose factors are rounded to bfloat16 (`check_medium`); beside
NumPy in float64. Two letters are the memory orders of both factors: C by rows, F by columns, S with gaps. A
test with the fixture `isa` runs at each ISA level (instruction set).
"""

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core
from ranvier import kernels
from support.bfloat16 import bfloat16, is_rounded, medium, multiplied_by, needs_bfloat16  # noqa: F401
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import in_layout
from support.threads import same_bits

HALVES = pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
LAYOUTS = {"C": "contiguous", "F": "transposed", "S": "strided"}
ORDERS = pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF", "SC", "CS", "SS"])


def half(dtype):
    return np.dtype(getattr(rv, dtype))


def drawn(rng, shape, dtype, order="C"):
    x = rng.standard_normal(shape).astype(np.float32).astype(half(dtype))
    return in_layout(x, LAYOUTS[order])


def stored(rng, shape, order):
    return drawn(rng, shape, "float32", order)


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


def check_medium(a, b, bias=None, activation="none", **more):
    """Within the roundings of float32 of the product of rounded factors, and 2^-7 of the exact one."""
    got = kernels.matmul(a, b, bias, activation, **more)
    rounds = is_rounded(b.shape[-1], b.shape[-2])
    wide = bfloat16(a) @ bfloat16(b) if rounds else a.astype(np.float64) @ b.astype(np.float64)
    absolute = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    exact = a.astype(np.float64) @ b.astype(np.float64)
    if bias is not None:
        wide, exact, absolute = wide + bias, exact + bias, absolute + np.abs(bias)
    if activation == "relu":
        wide, exact = np.maximum(wide, 0), np.maximum(exact, 0)
    sums = (a.shape[-1] + 2) * 2.0**-23 * (1 + 2.0**-7) * absolute  # each rounding of a sum, of any direction
    assert (np.abs(got - wide) <= sums).all()
    assert (np.abs(got - exact) <= sums + (2.0**-7 + 2.0**-16) * absolute).all()
    if rounds and wide.size > 1000:  # it was computed so
        assert np.abs(got - exact).max() > 4 * np.abs(got - wide).max()
    return got


def equal(a, b):
    assert a.shape == b.shape
    assert np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()


def check_strides(check, a, b):
    """Compares a stack of 3 by 5 products with single ones, for other strides of results and factors."""
    got = check(a, b)
    for i, j in np.ndindex(3, 5):
        equal(got[i, j], kernels.matmul(a[i, 0], b[j]))
    one, other = a[0, 0], b[0]
    m, n = got.shape[-2:]
    for out in (np.zeros((n, m), got.dtype).T, np.zeros((m, 2 * n), got.dtype)[:, ::2]):
        equal(kernels.matmul(one, other, out=out), got[0, 0])
    check(np.broadcast_to(one[:1], (40, one.shape[1])), other)  # a stride of 0
    check(one[::-1, ::-1], other[::-1])


def check_not_finite(a, b):
    a[0, -1], a[1, 6], a[2, 7] = np.nan, np.inf, -np.inf
    for order in (b, np.asfortranarray(b)):
        got = kernels.matmul(a, order).astype(np.float32)
        assert np.isnan(got[0]).all()
        np.testing.assert_array_equal(got[1], np.inf * np.sign(b[6].astype(np.float32)))
        np.testing.assert_array_equal(got[2], -np.inf * np.sign(b[7].astype(np.float32)))
        assert np.isfinite(got[3:]).all()


@HALVES
@ORDERS
@grouped("size", [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65, 67, 97, 129])
def test_edges_of_halves(size, orders, dtype, isa, rng, threads):
    """Products with few rows or columns, and with sizes around blocks."""
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
def test_what_follows_halves(shape, activation, dtype, isa, rng):
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
def test_strides_of_halves(dtype, isa, rng, threads):
    for m, k, n in ((1, 64, 70), (40, 64, 48), (5, 33, 2)):
        a, b = drawn(rng, (3, 1, m, k), dtype), drawn(rng, (5, k, n), dtype)
        same_bits(threads, lambda a=a, b=b: check(a, b))
        check_strides(check, a, b)
        same_bits(threads, lambda a=a, b=b: check(a.swapaxes(-1, -2).copy().swapaxes(-1, -2), b[1]))
        check(a[0, 0, 0], b[0])
        check(a[0, 0], b[0, :, 0])


@HALVES
@pytest.mark.parametrize("m", [1, 30])
def test_halves_that_are_no_numbers(m, dtype, isa, rng):
    check_not_finite(drawn(rng, (m + 3, 70), dtype), drawn(rng, (70, 64), dtype))


@needs_bfloat16
@pytest.mark.parametrize("shape", [(20, 64, 64), (130, 900, 300)])
def test_as_float32_of_medium_precision(shape, medium, rng):  # noqa: F811
    """The product by pairs or tiles of bfloat16 of these factors, which they need not round."""
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


# --- float32 by "medium" precision

EDGES = [16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 97]


@needs_bfloat16
@ORDERS
@grouped("size", EDGES)
def test_edges(size, orders, medium, rng):  # noqa: F811
    for m, k, n in ((size - 15, 40, 48), (9, size + 33, 33), (30, 65, size)):
        check_medium(stored(rng, (m, k), orders[0]), stored(rng, (k, n), orders[1]))


@needs_bfloat16
@pytest.mark.parametrize("orders", ["CC", "FC", "CF", "FF"])
@pytest.mark.parametrize("k", [383, 767, 768, 769, 770, 1537, 2305])
def test_blocks_of_k(k, orders, medium, rng):  # noqa: F811
    for m, n in ((3, 17), (70, 32), (150, 300)):
        check_medium(stored(rng, (m, k), orders[0]), stored(rng, (k, n), orders[1]))


@needs_bfloat16
@pytest.mark.parametrize("shape", [(300, 900, 1200), (1000, 64, 64), (14, 3000, 600), (2000, 700, 40)])
def test_large_ones_and_threads(shape, medium, threads, rng):  # noqa: F811
    m, k, n = shape
    a, b = stored(rng, (m, k), "C"), stored(rng, (k, n), "F")
    same_bits(threads, lambda: check_medium(a, b), (1, 2, 3, 5))


@needs_bfloat16
def test_a_row_has_the_same_bits_alone(medium, rng):  # noqa: F811
    for k, n in ((784, 128), (64, 16), (33, 65), (1500, 40), (41, 1100), (900, 523), (17, 100), (1024, 100)):
        a, b = stored(rng, (130, k), "C"), stored(rng, (k, n), "F")
        whole = kernels.matmul(a, b)
        for rows in (1, 2, 3, 4, 5, 7, 12, 13, 24, 25, 30, 96, 97):
            for order in (b, np.ascontiguousarray(b), np.repeat(b, 2, 1)[:, ::2]):
                equal(kernels.matmul(a[:rows], order), whole[:rows])
                equal(kernels.matmul(np.asfortranarray(a[:rows]), order), whole[:rows])


@needs_bfloat16
@pytest.mark.parametrize("activation", ["none", "relu", "tanh"])
def test_what_follows(activation, medium, rng):  # noqa: F811
    for m, k, n in ((33, 70, 50), (128, 784, 128), (5, 900, 17), (20, 49, 700)):
        a, b, bias = stored(rng, (m, k), "C"), stored(rng, (k, n), "F"), stored(rng, (n,), "C")
        plain = kernels.matmul(a, b)
        expected = plain + bias
        got = kernels.matmul(a, b, bias, activation)
        if activation == "tanh":
            expected = kernels.tanh(expected)
        equal(got, np.maximum(expected, 0) if activation == "relu" else expected)
        saved = stored(rng, (m, n), "C")
        if activation == "relu":
            equal(kernels.matmul(a, b, None, "relu", None, saved), np.where(saved > 0, plain, 0))


@needs_bfloat16
def test_strides(medium, rng):  # noqa: F811
    check_strides(check_medium, stored(rng, (3, 1, 40, 64), "C"), stored(rng, (5, 64, 48), "C"))


@needs_bfloat16
def test_values_that_are_no_numbers(medium, rng):  # noqa: F811
    a, b = stored(rng, (20, 64), "C"), stored(rng, (64, 64), "C")
    check_not_finite(a, b)
    signalling = np.array([0x7F800001], np.uint32).view(np.float32)  # not rounded to infinity
    a[:] = 1
    a[0, 0] = signalling[0]
    assert np.isnan(kernels.matmul(a, b)[0]).all()
    a[0], b[:] = 1e-40, 1  # subnormal
    assert (kernels.matmul(a, b)[0] == 0).all()
    a[0] = np.finfo(np.float32).max  # rounds to infinity
    assert np.isinf(kernels.matmul(a, b)[0]).all()


@pytest.mark.parametrize("kind", ["none", "pairs"])
def test_high_is_the_highest_without_tiles(kind, rng):
    a, b = stored(rng, (40, 300), "C"), stored(rng, (300, 64), "C")
    before = kernels.matmul(a, b)
    if not _core.set_bfloat16(kind):
        pytest.skip("this processor lacks them")
    with multiplied_by(kind, "high"):
        equal(kernels.matmul(a, b), before)
        rv.set_float32_matmul_precision("high")
        assert rv.get_float32_matmul_precision() == "high"
        equal(kernels.matmul(a, b), before)
        rv.set_float32_matmul_precision("highest")


def product(m, k, n, dtype="float32"):
    return lambda rng: kernels.matmul(*(rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n))))


def convolution(c, k, groups=1, dtype="float32"):
    def call(rng):
        x, w = rng.standard_normal((2, c, 9, 8)), rng.standard_normal((k, c // groups, 3, 3))
        return kernels.conv2d(x.astype(dtype), w.astype(dtype), padding=1, groups=groups)

    return call


def pooled_gradients(c, k, taps, window=2, stride=1, winograd=True):
    """Without Winograd's algorithm, of other windows, taps and strides, and of few channels."""

    def call(rng):
        x, w = (rng.standard_normal(s).astype("f") for s in ((2, c, 12, 13), (k, c, taps, taps)))
        settings = {"padding": 1, "window": window, "stride": stride}
        with rv.config.float32_matmul_precision("highest"):
            y, where = _core.conv2d_pool(x, w, None, **settings)
        rv.set_winograd(winograd)
        found = _core.conv2d_pool_backward(y, where, x, w, **settings)
        rv.set_winograd(True)
        return found

    return call


def attention(queries, keys, width, dtype="float32"):
    def call(rng):
        sizes = (queries, keys, keys, queries)
        q, k, v, dy = (rng.standard_normal((2, 3, n, width)).astype(dtype) for n in sizes)
        y, weights = _core.attention(q, k, v, 0.2, keep=True)
        to = [np.zeros_like(a) for a in (q, k, v)]
        _core.attention_backward(dy, q, k, v, weights, 0.2, False, 0, False, *to)
        return y, weights, *to

    return call


STAY = [
    *(product(40, 300, 64, "float64"), product(30, 4, 300), product(40, 300, 4)),
    *(convolution(3, 32), convolution(17, 32), convolution(32, 8), convolution(32, 32, 32)),
    *(convolution(32, 32, 1, "float64"), pooled_gradients(32, 32, 3, winograd=False)),
    *(pooled_gradients(32, 32, 3, 3), pooled_gradients(15, 32, 3), pooled_gradients(32, 15, 3)),
    *(pooled_gradients(32, 32, 5), pooled_gradients(32, 32, 3, stride=2)),
    *(attention(200, 64, 32, "float64"), attention(15, 900, 64), attention(63, 64, 32)),
]
OTHERS = [product(40, 300, 64), convolution(64, 64, 2), attention(200, 64, 32)]


def in_both_precisions(call):
    """The same bits as with the highest precision."""
    wanted = call(np.random.default_rng(0))
    with rv.config.float32_matmul_precision("medium"):
        found = call(np.random.default_rng(0))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@needs_bfloat16
def test_what_stays_float32():
    """float64; few rows, columns, factors, channels, outputs or queries, odd numbers, one for each group."""
    for call in STAY:
        in_both_precisions(call)


def test_without_the_instructions_it_is_the_highest(isa):
    if _core.has_bfloat16():
        pytest.skip("this level has them")
    for call in OTHERS:
        in_both_precisions(call)
    assert rv.config.config()["bfloat16"] is False
