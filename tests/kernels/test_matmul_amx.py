"""Products by AMX (tiles of bfloat16), with "medium" precision and with "high", where each factor is a sum of
two bfloat16 ("halves"): the bits of the instructions' order of sums (`by_tiles`), the errors beside NumPy in
float64, and which products stay in float32. The fixture `high` sets the precision.
"""

import itertools
import math

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core
from ranvier import kernels
from support.bfloat16 import TILES, high, multiplied_by, needs_tiles  # noqa: F401
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import in_layout
from support.threads import same_bits

pytestmark = needs_tiles
LEAST = 256  # factors of a product of halves, and columns
ERROR, WORST = 2.0**-19, 2.0**-15  # relative to the sum of absolute products: for random factors, for any


def drawn(rng, *shape, scale=1.0):
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def rounded(x):
    """To 8 bits, to nearest, ties to even."""
    bits = x.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16).view(np.float32)


def by_tiles(a, b, halves):
    """The product by the order of sums of AMX's instructions: kernels/matmul/amx.h. halves: of two bfloat16
    for each factor, scaled."""
    k = a.shape[1]
    if halves:
        a, b = a * np.float32(2.0**45), b * np.float32(2.0**45)
    step, most = 32, 256 if halves else 512
    parts = math.ceil(k / most)
    block = most if parts == 1 else math.ceil(math.ceil(k / parts) / step) * step
    a, b = np.pad(a, ((0, 0), (0, -k % step))), np.pad(b, ((0, -k % step), (0, 0)))
    (a, rest_a), (b, rest_b) = ((hi, rounded(x - hi)) for x in (a, b) for hi in [rounded(x)])
    factors = [(a, rest_b), (a, b), (rest_a, b)] if halves else [(a, b)]
    total = np.float32(0)
    for first in range(0, k, block):
        c = np.zeros((a.shape[0], b.shape[1]), np.float32)
        for p in range(first, min(first + block, a.shape[1]), step):
            for x, y in factors:
                sums = [np.zeros_like(c), np.zeros_like(c)]
                for i in range(step):
                    sums[i % 2] += x[:, p + i, None] * y[p + i]  # a product is exact
                c += sums[0] + sums[1]
        total = total + (c * np.float32(2.0**-90) if halves else c)
    return total


def errors(got, a, b):
    """The error of each element, in parts of the sum of the absolute products."""
    wide, absolute = (f(a.astype(np.float64)) @ f(b.astype(np.float64)) for f in (np.positive, np.abs))
    return np.abs(got - wide) / (absolute + 2.0**-128)  # below that the distance of float32's numbers counts


@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF", "SS"])
@pytest.mark.parametrize("precision", ["medium", "high"])
@grouped("k", [LEAST, 257, 287, 511, 512, 513, 770])
def test_bits(k, precision, orders, rng):
    """The bits of `by_tiles`, from factors in any memory order."""
    layouts = {"C": "contiguous", "F": "transposed", "S": "strided"}
    with multiplied_by(TILES[0], precision):
        for m, n in ((1, 256), (2, 257), (15, 257), (16, 271), (17, 272), (32, 288), (33, 289)):
            a, b = drawn(rng, m, k), drawn(rng, k, n)
            expected = by_tiles(a, b, precision == "high")
            a, b = (in_layout(x, layouts[o]) if o != "C" else x for x, o in zip((a, b), orders, strict=True))
            np.testing.assert_array_equal(kernels.matmul(a, b), expected)


@pytest.mark.skipif("tiles" not in TILES, reason="needs AMX")
@pytest.mark.parametrize("precision", ["medium", "high"])
def test_the_emulation_has_the_bits_of_the_processor(precision, rng):
    if not _core.set_bfloat16("emulated"):
        pytest.skip("this build emulates nothing")
    a, b = drawn(rng, 100, 1000), drawn(rng, 1000, 150)
    with multiplied_by("tiles", precision):
        real = kernels.matmul(a, b)
    with multiplied_by("emulated", precision):
        np.testing.assert_array_equal(kernels.matmul(a, b), real)


@pytest.mark.parametrize("power", range(-38, 39, 4))
def test_errors_of_halves(power, high, rng):  # noqa: F811
    """For factors of any size: where the result is no number, or too large for the scale, it is float32's."""
    for other in range(-38, 39, 4):
        with np.errstate(over="ignore"):
            a, b = drawn(rng, 20, 512, scale=10.0**power), drawn(rng, 512, 256, scale=10.0**other)
        got = kernels.matmul(a, b)
        with rv.config.float32_matmul_precision("highest"), np.errstate(all="ignore"):
            exact = kernels.matmul(a, b)
        if np.isfinite(exact).all():
            assert errors(got, a, b).max() < ERROR
        else:
            np.testing.assert_array_equal(got, exact)


def test_the_worst_factors(high):  # noqa: F811
    """All of the same sign, and half a bit of the eighth: lo lo is 2^-16 of a product, and is left out."""
    found = []
    for rest in range(1, 2**16, 97):
        x = np.float32(1 + rest * 2.0**-23)
        a, b = np.full((1, LEAST), x), np.full((LEAST, LEAST), x)
        found.append(errors(kernels.matmul(a, b), a, b).max())
    assert WORST / 4 < max(found) < WORST


def test_rows_that_are_no_numbers_are_those_of_float32(high, threads, rng):  # noqa: F811
    """Rows with NaN, infinity or numbers too large for the scale have the bits of "highest" precision, all
    others those without such rows."""
    a, b, bias = drawn(rng, 100, 300), drawn(rng, 300, 259), drawn(rng, 259)
    clean = kernels.matmul(a, b, bias, "sigmoid")
    a[3, 5], a[40, 2], a[41, 7], a[99] = np.nan, np.inf, -np.inf, a[99] * 1e30
    a[7, 3] = 1e38
    odd = [3, 7, 40, 41, 99]
    for x, y in itertools.product((a, np.stack([a] * 3)), (b, np.asfortranarray(b))):
        for count in (1, 2, 3):
            threads(count)
            got = kernels.matmul(x, y, bias, "sigmoid")
            with rv.config.float32_matmul_precision("highest"):
                expected = kernels.matmul(x, y, bias, "sigmoid")
            np.testing.assert_array_equal(got[..., odd, :], expected[..., odd, :])
            others = np.delete(got, odd, -2)
            np.testing.assert_array_equal(others, np.broadcast_to(np.delete(clean, odd, 0), others.shape))
    for y in (b, np.asfortranarray(b)):
        few = kernels.matmul(a[2:20], y, bias, "sigmoid")
        np.testing.assert_array_equal(few, got.reshape(-1, 100, 259)[0, 2:20])
    b[1, 2] = np.inf  # a column with inf in every row
    with rv.config.float32_matmul_precision("highest"):
        expected = kernels.matmul(a, b)
    np.testing.assert_array_equal(kernels.matmul(a, b), expected)


@pytest.mark.parametrize("precision", ["medium", "high"])
def test_threads_and_rows_alone(precision, threads, rng):
    """The same bits on any number of threads, and of the first rows alone."""
    for k, n in ((784, 256), (1500, 270), (256, 1100)):
        a, b, bias = (drawn(rng, *shape) for shape in ((130, k), (k, n), (n,)))
        orders = b, np.asfortranarray(b), np.repeat(b, 2, 1)[:, ::2]
        with multiplied_by(TILES[0], precision):
            same_bits(threads, lambda a=a, b=b: kernels.matmul(a, b), (1, 2, 3, 5))
            whole, finished = kernels.matmul(a, b), kernels.matmul(a, b, bias, "gelu")
            for rows, order in itertools.product((1, 2, 7, 16, 17, 32, 33, 97), orders):
                few = np.asfortranarray(a[:rows])
                for count in (1, 2):
                    threads(count)
                    np.testing.assert_array_equal(kernels.matmul(few, order), whole[:rows])
                np.testing.assert_array_equal(kernels.matmul(few, order, bias, "gelu"), finished[:rows])


def test_small_products_stay_float32(high, rng):  # noqa: F811
    for k, n in ((LEAST - 1, 256), (LEAST, 255)):
        a, b = drawn(rng, 40, k), drawn(rng, k, n)
        got = kernels.matmul(a, b)
        with rv.config.float32_matmul_precision("highest"):
            np.testing.assert_array_equal(got, kernels.matmul(a, b))
