"""Products of a (m, k) and b (k, n), beside NumPy in float64 within the roundings of a sum of k terms: edges
of tiles and blocks at every level, and what the plan of a product decides. Then what is merged with a product
(bias, activation, an activation's derivative): the bits of separate calls.

Two letters are the memory orders of a and b: C by rows, F by columns, S with gaps.
"""

import functools

import numpy as np
import pytest
import ranvier as rv
from ranvier import kernels
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import LAYOUTS, in_layout
from support.threads import same_bits
from support.tolerance import tolerance

EDGES = [1, 2, 3, 7, 8, 9, 13, 14, 15, 16, 17, 31, 32, 33, 47, 49, 63, 65]


def check(a, b, product=None):
    """product: the exact one, if it is known."""
    wide = np.matmul(a.astype(np.float64), b.astype(np.float64)) if product is None else product
    magnitude = max([1.0, *(float(np.abs(x).max()) ** 2 for x in (a, b) if x.size)])
    got = kernels.matmul(a, b)
    assert got.dtype == a.dtype
    np.testing.assert_allclose(got, wide, rtol=0, atol=tolerance(a.dtype, a.shape[-1] + 1, magnitude))


def drawn(rng, shape, dtype):
    """Numbers of [-1, 1), drawn in their own dtype: several times as fast as uniform() and a cast."""
    x = rng.random(shape, dtype)
    x *= 2
    x -= 1
    return x


def in_order(x, order):
    """A matrix stored by rows, by columns, or with a stride in both directions."""
    return in_layout(x, {"F": "transposed", "S": "strided"}[order]) if order in "FS" else x


def stored(rng, shape, dtype, order):
    return in_order(drawn(rng, shape, dtype), order)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "FF", "SC", "CS", "SS"])
@grouped("size", EDGES)
def test_tile_edges(size, orders, dtype, isa, rng):
    """Around the rows and columns of every level's tiles, one dimension at a time."""
    for m, k, n in ((size, 5, 9), (9, 5, size), (9, size, 5)):
        check(stored(rng, (m, k), dtype, orders[0]), stored(rng, (k, n), dtype, orders[1]))


@grouped("k", [383, 384, 385, 399, 767, 769, 1153])
@pytest.mark.parametrize("orders", ["CC", "FC", "CF", "FF", "SS"])
def test_block_edges(k, orders, isa, rng):
    """Around the length of a block of k, alone and beside many rows or columns."""
    for m, n in ((3, 5), (70, 5), (70, 3), (5, 130), (50, 70)):
        check(stored(rng, (m, k), "float32", orders[0]), stored(rng, (k, n), "float32", orders[1]))


# m, k, n. What the plan decides by shape: tiles of 1, 2, 4 and 8 vectors and what is left beside them;
# operands read in place and packed; strips packed by each thread for itself in groups, or for all, before the
# tiles or by them; dots; whole rows of b; all of k at once, or some blocks; an even number of panels for each
# thread; few columns beside vectors of rows; few strips beside many panels.
PLANS = [
    (1, 1024, 1024),
    (1024, 300, 1),
    (2, 70, 700),
    (3, 40, 1000),
    (4, 2000, 77),
    (5, 600, 90),
    (20, 40, 2000),
    (2, 301, 401),
    (7, 1003, 1041),
    (20, 400, 330),
    (60, 500, 420),
    (84, 800, 1000),
    (300, 900, 290),
    (85, 800, 500),
    (300, 300, 300),
    (500, 1200, 33),
    (700, 20, 700),
    (8, 1000, 4200),
    (128, 784, 128),
    (30, 5000, 40),
    (100, 2500, 70),
    (33, 2200, 130),
    (60, 40, 60),
    (57, 23, 2),
    (100, 70, 4),
    (236, 671, 4),
    (57, 93, 1700),
    (40, 180, 1900),
    (40, 250, 1900),
    (51, 521, 490),
    (9, 200, 900),
    (12, 300, 1024),
    (300, 30, 100),
    (12, 47, 1900),
    (500, 9, 900),
    (200, 300, 640),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("shape", PLANS, ids=str)
def test_plans(shape, dtype, isa, rng, threads):
    m, k, n = shape
    a, b = drawn(rng, (m, k), dtype), drawn(rng, (k, n), dtype)
    product = a.astype(np.float64) @ b.astype(np.float64)
    every = ("CC", (1, 2, 3)), ("FF", (1, 2)), ("CF", (1, 3)), ("FC", (1, 2))
    for orders, counts in every if dtype == "float32" else every[m % 2 :: 2]:
        x, y = in_order(a, orders[0]), in_order(b, orders[1])
        check(x, y, product)
        same_bits(threads, functools.partial(kernels.matmul, x, y), counts)


@grouped("columns", range(1, 18))
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6, 14])
def test_tiles_of_every_width(rows, columns, isa, rng):
    """Strips of one to eight vectors and the ragged ones between, at the end of a row and alone."""
    for lanes in (4, 8, 16):
        for n in (columns * lanes, columns * lanes - 3, 8 * lanes + columns * lanes // 2):
            check(stored(rng, (rows, 7), "float32", "C"), stored(rng, (7, n), "float32", "C"))


@pytest.mark.parametrize(("m", "k", "n"), [(16, 1000, 0), (0, 1000, 300), (0, 2000, 3000), (0, 3000, 0)])
@grouped("orders", ["CC", "CF", "FC", "FF"])
def test_no_results_from_large_operands(m, k, n, orders, isa):
    """More products in a chain than one block has: the plan of the blocks must not divide by the sizes."""
    for dtype in ("float32", "float16", "bfloat16"):
        kind = np.dtype(getattr(rv, dtype))
        a, b = np.ones((m, k), kind, orders[0]), np.ones((k, n), kind, orders[1])
        assert kernels.matmul(a, b).shape == (m, n)
        assert kernels.matmul(np.stack([a, a]), b).shape == (2, m, n)


# --- what follows a product: bias, activation, an activation's derivative

# m, k, n: dots, whole rows of b, tiles of one panel and of some, ragged ones, transposed ones, some blocks of
# k, no k; few columns and products of many rows, and of more than are between two looks for a signal
SHAPES = [
    *((1, 70, 33), (3, 600, 90), (20, 0, 9), (6, 1000, 300), (32, 20, 32), (33, 65, 10), (17, 800, 129)),
    *((70, 3, 7), (131, 64, 10), (200, 9, 50), (2050, 2, 5)),
]


def around_0(rng, dtype, *shape):
    return rng.uniform(-2, 2, shape).astype(dtype)


def activations():
    """The names that matmul takes."""
    with pytest.raises(ValueError, match="expected one of") as error:
        kernels.matmul(np.ones((1, 1)), np.ones((1, 1)), None, "?")
    return [w.strip("'") for w in str(error.value).split("one of ")[1].split(", ")][1:]


ACTIVATIONS = activations()


def both(a, b, bias, activation, saved, out=None):
    """The one call, and the two that it replaces: a product, and the derivative of its activation."""
    one = kernels.matmul(a, b, bias, activation, out, saved)
    two = getattr(kernels, f"{activation}_backward")(kernels.matmul(a, b, bias), saved.copy())
    return one, two


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("activation", ACTIVATIONS)
def test_forward_and_backward_are_those_of_two_calls(activation, dtype, isa, rng, threads):
    for m, k, n in SHAPES:
        a, weight, bias = (
            around_0(rng, dtype, m, k),
            around_0(rng, dtype, n, k),
            around_0(rng, dtype, 2 * n)[::2],
        )
        saved = around_0(rng, dtype, m, n)
        for b, count in ((weight.T, 1), (np.ascontiguousarray(weight.T), 2)):
            threads(count)
            two = getattr(kernels, activation)(kernels.matmul(a, b, bias))
            np.testing.assert_array_equal(kernels.matmul(a, b, bias, activation), two)
            np.testing.assert_array_equal(*both(a, b, None, activation, saved))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [1, 3, 4, 7, 8, 9, 12, 15, 16, 17, 24, 31, 33, 63, 64, 65])
def test_columns_around_vectors(n, dtype, isa, rng):
    """Small products and tiles, of which the last vector overlaps, is masked, or has less than a vector."""
    for m, k in ((5, 70), (67, 20), (30, 400)):
        a, b, bias = around_0(rng, dtype, m, k), around_0(rng, dtype, k, n), around_0(rng, dtype, n)
        saved = around_0(rng, dtype, m, n)
        for x, y in ((a, b), (np.asfortranarray(a), np.asfortranarray(b))):
            sums = kernels.matmul(x, y)
            for out in (None, np.full((n, m), np.nan, dtype).T):  # transposed tiles
                np.testing.assert_array_equal(kernels.matmul(x, y, bias, "none", out), sums + bias)
                positive = np.maximum(sums + bias, 0)
                np.testing.assert_array_equal(kernels.matmul(x, y, bias, "relu", out), positive)
                chosen = np.where(saved > 0, sums + bias, 0)
                np.testing.assert_array_equal(kernels.matmul(x, y, bias, "relu", out, saved), chosen)


@pytest.mark.parametrize("layout", ["contiguous", *LAYOUTS])
@grouped("shape", SHAPES, ids=str)
def test_saved_in_any_layout(shape, layout, isa, rng, threads):
    """`saved`, from which an activation's derivative is taken."""
    m, k, n = shape
    a, b, bias = around_0(rng, "f4", m, k), around_0(rng, "f4", k, n), around_0(rng, "f4", n)
    saved = in_layout(around_0(rng, "f4", m, n), layout)
    for count in (1, 2, 3):
        threads(count)
        np.testing.assert_array_equal(*both(a, b, bias, "relu", saved))
        out = np.full((n, m), np.nan, np.float32).T  # transposed tiles
        np.testing.assert_array_equal(*both(a, b, None, "tanh", saved, out))
    repeated = np.broadcast_to(saved[:, :1], (m, n))
    np.testing.assert_array_equal(*both(a, b, None, "gelu", repeated))


@pytest.mark.parametrize("layout", ["contiguous", *LAYOUTS])
def test_finished_batches(layout, isa, rng, threads):
    """Batches, vectors and a single number, each with an activation's derivative."""
    a, b = around_0(rng, "f4", 3, 1, 20, 30), around_0(rng, "f4", 2, 30, 40)
    saved = in_layout(around_0(rng, "f4", 3, 2, 20, 40), layout)
    for count in (1, 4):
        threads(count)
        np.testing.assert_array_equal(*both(a, b, None, "relu", saved))
    vector = in_layout(around_0(rng, "f4", 3, 2, 20), layout)
    np.testing.assert_array_equal(*both(np.repeat(a, 2, 1), b[0, :, 0], None, "relu", vector))
    np.testing.assert_array_equal(*both(a[0, 0, 0], b[0, :, 0], None, "relu", np.ones((), "f4")))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_fewer_products_than_threads(count, isa, rng, threads):
    """The whole team works on one product after the other, through one packed b."""
    a, b = around_0(rng, "f4", 2, 300, 200), around_0(rng, "f4", 2, 200, 300)
    threads(1)
    alone = kernels.matmul(a, b)
    threads(count)
    for _ in range(20):
        np.testing.assert_array_equal(kernels.matmul(a, b), alone)


def test_nan_and_inf_pass_what_follows(isa):
    """relu's derivative is a choice, so what is not chosen does not spread: as in relu_backward."""
    a, b = np.float32([[np.inf], [1]]), np.float32([[1, -1, np.nan]])
    saved = np.float32([[0, 1, 0], [1, 0, 1]])
    np.testing.assert_array_equal(*both(a, b, None, "relu", saved))
