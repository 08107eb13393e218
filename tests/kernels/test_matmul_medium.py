"""Products of bfloat16: `set_float32_matmul_precision("medium")`, on raw arrays."""

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core
from ranvier import kernels
from support.bfloat16 import bfloat16, is_rounded, medium, multiplied_by, needs_bfloat16  # noqa: F401
from support.grouped import grouped
from support.layouts import in_layout
from support.threads import same_bits

EDGES = [16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 97]


def check(a, b, bias=None, activation="none", **more):
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


def stored(rng, shape, order):
    x = rng.standard_normal(shape).astype(np.float32)
    return in_layout(x, {"F": "transposed", "S": "strided"}[order]) if order in "FS" else x


@needs_bfloat16
@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF", "SC", "CS", "SS"])
@grouped("size", EDGES)
def test_edges(size, orders, medium, rng):  # noqa: F811
    for m, k, n in ((size - 15, 40, 48), (9, size + 33, 33), (30, 65, size)):
        check(stored(rng, (m, k), orders[0]), stored(rng, (k, n), orders[1]))


@needs_bfloat16
@pytest.mark.parametrize("orders", ["CC", "FC", "CF", "FF"])
@pytest.mark.parametrize("k", [383, 767, 768, 769, 770, 1537, 2305])
def test_blocks_of_k(k, orders, medium, rng):  # noqa: F811
    for m, n in ((3, 17), (70, 32), (150, 300)):
        check(stored(rng, (m, k), orders[0]), stored(rng, (k, n), orders[1]))


@needs_bfloat16
@pytest.mark.parametrize("shape", [(300, 900, 1200), (1000, 64, 64), (14, 3000, 600), (2000, 700, 40)])
def test_large_ones_and_threads(shape, medium, threads, rng):  # noqa: F811
    m, k, n = shape
    a, b = stored(rng, (m, k), "C"), stored(rng, (k, n), "F")
    same_bits(threads, lambda: check(a, b), (1, 2, 3, 5))


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
def test_stacks_and_results_of_any_strides(medium, rng):  # noqa: F811
    a, b = stored(rng, (3, 1, 40, 64), "C"), stored(rng, (5, 64, 48), "C")
    got = kernels.matmul(a, b)
    for i in range(3):
        for j in range(5):
            equal(got[i, j], kernels.matmul(a[i, 0], b[j]))
    out = np.zeros((48, 40), np.float32).T
    kernels.matmul(a[0, 0], b[0], out=out)
    equal(out, got[0, 0])
    wide = np.zeros((40, 100), np.float32)
    kernels.matmul(a[0, 0], b[0], out=wide[:, ::2][:, :48])
    equal(wide[:, ::2][:, :48], got[0, 0])
    row = np.broadcast_to(a[0, 0, :1], (40, 64))  # a stride of 0
    equal(kernels.matmul(row, b[0])[7], got[0, 0, 0])
    check(a[0, 0][::-1, ::-1], b[0][::-1])


@needs_bfloat16
def test_values_that_are_no_numbers(medium, rng):  # noqa: F811
    a, b = stored(rng, (20, 64), "C"), stored(rng, (64, 64), "C")
    a[3, 5], a[4, 6], a[5, 7] = np.nan, np.inf, -np.inf
    got = kernels.matmul(a, b)
    assert np.isnan(got[3]).all()
    np.testing.assert_array_equal(got[4], np.inf * np.sign(b[6]))
    np.testing.assert_array_equal(got[5], -np.inf * np.sign(b[7]))
    assert np.isfinite(np.delete(got, [3, 4, 5], 0)).all()
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
