"""The matmul kernel on raw arrays: tile and block edges of every level, strides, epilogue, threads."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranvier import kernels
from support.bits import same_bits
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout
from support.tolerance import tolerance

EDGES = [1, 2, 3, 7, 8, 9, 13, 14, 15, 16, 17, 31, 32, 33, 47, 49, 63, 65]


def check(a, b, bias=None, activation="none", product=None):
    wide = np.matmul(a.astype(np.float64), b.astype(np.float64)) if product is None else product
    magnitude = max([1.0, *(float(np.abs(x).max()) ** 2 for x in (a, b) if x.size)])
    if bias is not None:
        wide = wide + bias
    if activation == "relu":
        wide = np.maximum(wide, 0)
    got = kernels.matmul(a, b, bias, activation)
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


# What the plan decides by shape: tiles of 1, 2, 4 and 8 vectors and what is left beside them; operands read
# in place and packed; strips packed by each thread for itself in groups, or for all, before the tiles or by
# them; dots; whole rows of b; all of k at once, or some blocks; an even number of panels for each thread; few
# columns beside vectors of rows; few strips beside many panels.
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
    for orders, count in (("CC", 1), ("FF", 2), ("CF", 3), ("FC", 2)):
        threads(count)
        check(in_order(a, orders[0]), in_order(b, orders[1]), product=product)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 32, 33])
def test_stacks_of_small_matrices(n, dtype, isa, rng, threads):
    """One and two vectors of columns, whole and ragged, rows around the ones taken at once."""
    for count, (m, k, batch) in enumerate(
        [(1, 3, 5), (8, 8, 2), (11, 1, 3), (13, 40, 9), (33, 5, 2), (2, 400, 3)]
    ):
        threads(1 + count % 4)
        a, b = (
            rng.uniform(-1, 1, (batch, m, k)).astype(dtype),
            rng.uniform(-1, 1, (batch, k, n)).astype(dtype),
        )
        out = np.full((batch, m + 1, n + 1), np.nan, dtype)
        kernels.matmul(a, b, out=out[:, :m, :n])
        assert np.isnan(out[:, m]).all()
        assert np.isnan(out[:, :, n]).all()
        check(a, b)
        check(a.swapaxes(0, 2).copy().swapaxes(0, 2), b)
        check(a, b[:1])
        one = np.stack([kernels.matmul(x, y) for x, y in zip(a, b, strict=True)])
        if n > 4:  # else dot products, perhaps
            np.testing.assert_array_equal(kernels.matmul(a, b), one)


@grouped("columns", range(1, 18))
@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6, 14])
def test_tiles_of_every_width(rows, columns, isa, rng):
    """Strips of one to eight vectors and the ragged ones between, at the end of a row and alone."""
    for lanes in (4, 8, 16):
        for n in (columns * lanes, columns * lanes - 3, 8 * lanes + columns * lanes // 2):
            check(stored(rng, (rows, 7), "float32", "C"), stored(rng, (7, n), "float32", "C"))


@grouped("rest", range(1, 16))
def test_parts_of_a_vector_after_whole_ones(rest, isa, rng):
    """Rows around those of a tile, one and two blocks of sums; nothing is written past the columns."""
    for k in (3, 400):
        for m in (6, 7, 8, 9, 13, 14, 15, 29):
            for n in (rest, 16 + rest, 48 + rest):
                a, b = rng.uniform(-1, 1, (m, k)).astype("f"), rng.uniform(-1, 1, (k, n)).astype("f")
                out = np.full((m, n + 9), np.nan, "f")
                kernels.matmul(a, b, out=out[:, :n])
                assert np.isnan(out[:, n:]).all()
                check(a, b)
                np.testing.assert_array_equal(out[:, :n], kernels.matmul(a, b))


@grouped("n", [1, 2, 3, 4, 5, 6, 7, 8, 17, 20, 23, 24])
def test_tiles_of_one_and_three_vectors(n, isa, rng):
    """Rows around those of a tile, one and two blocks of sums; an element has the bits that it has in a wider
    product, and nothing is written after a dense result or between rows that are apart."""
    for k in (19, 37, 400):
        a, b = rng.uniform(-1, 1, (133, k)).astype("f"), rng.uniform(-1, 1, (k, 40)).astype("f")
        wide = kernels.matmul(a, b)
        for m in (5, 9, 11, 16, 23, 24, 37, 120, 132, 133):
            apart, dense = np.full((m, n + 9), np.nan, "f"), np.full(m * n + 40, np.nan, "f")
            for out in (apart[:, :n], dense[: m * n].reshape(m, n)):
                kernels.matmul(a[:m], b[:, :n], out=out)
                np.testing.assert_array_equal(out, wide[:m, :n])
            assert np.isnan(apart[:, n:]).all()
            assert np.isnan(dense[m * n :]).all()
            check(a[:m], b[:, :n].copy(), rng.uniform(-1, 1, n).astype("f"), "relu")


@grouped("n", [2048, 2500])
@pytest.mark.parametrize("k", [15, 30, 500])
def test_few_rows_beside_a_large_b(k, n, isa, rng, threads):
    """One to fifteen panels: b read in place or packed, its rows a power of two apart or not, some of its
    columns; the same bits."""
    a, b = rng.uniform(-1, 1, (60, k)).astype("f"), rng.uniform(-1, 1, (k, n)).astype("f")
    whole = kernels.matmul(a, b)
    check(a, b)
    for count, m in enumerate((4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 18, 28, 29, 42, 43)):
        threads(1 + count % 3)
        np.testing.assert_array_equal(kernels.matmul(a[:m], b), whole[:m])
        columns = n - 20 + count  # what is left beside the last whole tile
        np.testing.assert_array_equal(kernels.matmul(a[:m], b[:, :columns]), whole[:m, :columns])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [3, 6, 9, 16, 20, 24, 30, 40, 100])
def test_few_columns_beside_a_large_a(n, dtype, isa, rng, threads):
    """Rows of a that are fetched while the tiles before them run: one strip and more, one and two blocks of
    sums, rows one after another, in the opposite order and far apart. An element has the bits that it has in
    a product of some rows, which fetches nothing."""
    for count, (m, k) in enumerate([(8003, 37), (1507, 384), (1401, 400)]):
        threads(1 + count)
        wide = drawn(rng, (m, 3 * k), dtype)
        b, bias = rng.uniform(-1, 1, (k, n)).astype(dtype), rng.uniform(-1, 1, n).astype(dtype)
        for a in (wide[:, :k].copy(), wide[:, : k + 9].copy()[::-1, :k], wide[:, :k]):
            out = np.full((m, n + 1), np.nan, dtype)
            kernels.matmul(a, b, out=out[:, :n])
            assert np.isnan(out[:, n]).all()
            biased = kernels.matmul(a, b, bias, "relu")
            for first in (0, m // 2, m - 60):
                rows = slice(first, first + 60)
                np.testing.assert_array_equal(out[rows, :n], kernels.matmul(a[rows].copy(), b))
                np.testing.assert_array_equal(biased[rows], kernels.matmul(a[rows].copy(), b, bias, "relu"))


@grouped("n", [5, 6, 7, 9, 11, 13])
def test_few_rows_and_fewer_columns_than_the_threads_need(n, isa, rng, threads):
    """Nothing before c is written, and the bits are those of one thread."""
    a, b = drawn(rng, (3, 200_000), "float32"), in_order(drawn(rng, (200_000, n), "float32"), "F")
    threads(1)
    whole = kernels.matmul(a, b)
    for count in (2, 3, 4):
        threads(count)
        around = np.full((5, 3 * n), np.nan, np.float32)
        kernels.matmul(a, b, out=around[1:4, n : 2 * n])
        np.testing.assert_array_equal(around[1:4, n : 2 * n], whole)
        assert np.isnan(around).sum() == around.size - whole.size


@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("m", "k", "n"), [(32, 784, 128), (9, 500, 70), (100, 40, 10), (17, 900, 33)])
def test_results_stored_by_columns(m, k, n, dtype, activation, isa, rng):
    """Tiles that are transposed before they are stored: plain, added to, with a bias along either side."""
    a, weight = stored(rng, (m, k), dtype, "C"), stored(rng, (n, k), dtype, "C")
    bias = rng.uniform(-1, 1, n).astype(dtype)
    check(a, weight.T, bias, activation)
    out = np.full((n, m), np.nan, dtype).T
    kernels.matmul(a, weight.T, bias, activation, out)
    np.testing.assert_array_equal(out, kernels.matmul(a, weight.T, bias, activation))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_shape(data):
    """Vectors, matrices and batches that broadcast, in any layout, empty ones included."""
    rng = np.random.default_rng(0)
    k = data.draw(st.integers(0, 20))
    batch = data.draw(st.lists(st.integers(0, 3), max_size=3))
    operands = []
    for vector, matrix in (((k,), (None, k)), ((k,), (k, None))):
        if data.draw(st.integers(0, 4)) == 0:
            shape = vector
        else:
            inner = tuple(data.draw(st.integers(0, 20)) if n is None else n for n in matrix)
            sizes = [data.draw(st.sampled_from([n, 1])) for n in batch]
            shape = (*sizes[data.draw(st.integers(0, len(sizes))) :], *inner)
        operands.append(
            in_layout(rng.uniform(-1, 1, shape).astype(np.float32), data.draw(st.sampled_from(LAYOUTS)))
        )
    check(*operands)


@pytest.mark.parametrize(("m", "k", "n"), [(16, 1000, 0), (0, 1000, 300), (0, 2000, 3000), (0, 3000, 0)])
@grouped("orders", ["CC", "CF", "FC", "FF"])
def test_no_results_from_large_operands(m, k, n, orders, isa):
    """More products in a chain than one block has: the plan of the blocks must not divide by the sizes."""
    a, b = np.ones((m, k), np.float32, orders[0]), np.ones((k, n), np.float32, orders[1])
    assert kernels.matmul(a, b).shape == (m, n)
    assert kernels.matmul(np.stack([a, a]), b).shape == (2, m, n)


@pytest.mark.parametrize("activation", ["none", "relu"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 0, 9), (33, 300, 65), (1, 784, 10), (128, 20, 1)], ids=str)
def test_epilogue(shape, activation, isa, rng):
    m, k, n = shape
    bias = rng.uniform(-1, 1, 2 * n).astype(np.float32)
    for b in (bias[:n], bias[::2], None):
        check(stored(rng, (m, k), "float32", "C"), stored(rng, (k, n), "float32", "F"), b, activation)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_out(layout, isa, rng):
    a, b = stored(rng, (2, 3, 20, 30), "float32", "C"), stored(rng, (2, 3, 30, 40), "float32", "C")
    out = in_layout(np.full((2, 3, 20, 40), np.nan, np.float32), layout)
    assert kernels.matmul(a, b, out=out) is out
    np.testing.assert_array_equal(out, kernels.matmul(a, b))


def test_same_bits_at_any_thread_count(isa, rng, threads):
    for m, k, n in (
        (1, 3000, 300), (300, 600, 40), (40, 600, 300), (257, 257, 257), (3, 20, 9000), (32, 784, 128),
        (8, 900, 1000), (60, 900, 420), (300, 900, 290), (128, 784, 128), (64, 128, 20), (30, 5000, 40),
        (100, 2500, 70),
    ):  # fmt: skip
        for orders in ("CC", "FF", "CF"):
            a, b = stored(rng, (m, k), "float32", orders[0]), stored(rng, (k, n), "float32", orders[1])
            same_bits(threads, lambda a=a, b=b: kernels.matmul(a, b))
    batch = rng.uniform(-1, 1, (7, 60, 60)).astype(np.float32)
    same_bits(threads, lambda: kernels.matmul(batch, batch))


@pytest.mark.parametrize("k", [400, 900, 5000])
def test_an_element_has_the_same_bits_at_any_place(k, isa, rng):
    """A row's product is the same alone and among others, however the operands are stored."""
    a, b = rng.uniform(-1, 1, (37, k)).astype(np.float32), rng.uniform(-1, 1, (k, 53)).astype(np.float32)
    whole = kernels.matmul(a, b)
    np.testing.assert_array_equal(kernels.matmul(a[5:6], b), whole[5:6])
    np.testing.assert_array_equal(kernels.matmul(a, b[:, 3:11]), whole[:, 3:11])
    np.testing.assert_array_equal(kernels.matmul(np.asfortranarray(a), np.asfortranarray(b)), whole)


@pytest.mark.parametrize("orders", ["CC", "CF", "FC", "SC", "SS"])
@grouped(
    "size",
    [
        (5, 5, 1),
        (32, 32, 20),
        (32, 20, 32),
        (10, 64, 64),
        (64, 17, 9),
        (33, 8, 3),
        (6, 64, 40),
        (3, 25, 3),
        (7, 50, 63),
        *((10, 100, 20), (10, 16, 200), (9, 3, 250), (7, 250, 16)),
        *((16, 3, 5), (23, 20, 9), (41, 33, 12), (64, 50, 64), (9, 12, 7)),  # up to four columns left over
    ],
)
def test_small_products_have_the_bits_of_large_ones(size, orders, isa, rng):
    """Up to 64 columns and products, and 64 rows or a bias, there is another kernel than for more."""
    m, n, k = size
    a = stored(rng, (m + 100, k), np.float32, orders[0])
    b = stored(rng, (k, n), np.float32, orders[1])
    bias = rng.uniform(-1, 1, n).astype(np.float32)
    for activation in ("none", "relu"):
        large = kernels.matmul(a, b, bias, activation)
        np.testing.assert_array_equal(kernels.matmul(a[:m], b, bias, activation), large[:m])
    np.testing.assert_array_equal(kernels.matmul(a[:m], b), kernels.matmul(a, b)[:m])
    np.testing.assert_array_equal(kernels.matmul(a, b, bias), kernels.matmul(a, b) + bias)


@grouped("size", [(1, 40, 33), (2, 32, 32), (2, 33, 64), (3, 20, 50), (4, 64, 17), (4, 7, 16)])
def test_few_rows_or_columns_have_the_bits_of_more(size, isa, rng):
    """Few rows beside few columns or many; few columns, which are dot products, beside few rows or many."""
    m, n, k = size
    a, b = stored(rng, (m, k), np.float32, "C"), stored(rng, (k, n + 100), np.float32, "F")
    bias = rng.uniform(-1, 1, n + 100).astype(np.float32)
    for activation in ("none", "relu", "tanh"):
        large = kernels.matmul(a, b, bias, activation)
        np.testing.assert_array_equal(kernels.matmul(a, b[:, :n], bias[:n], activation), large[:, :n])
        large = kernels.matmul(b.T, a.T, bias[:m], activation)
        np.testing.assert_array_equal(kernels.matmul(b.T[:n], a.T, bias[:m], activation), large[:n])
    np.testing.assert_array_equal(kernels.matmul(b.T[:n], a.T), kernels.matmul(b.T, a.T)[:n])


@grouped("k", [4, 7, 8, 16, 33, 100, 383, 384, 385, 769, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_has_the_bits_that_it_has_beside_others(k, dtype, isa, rng):
    """Rows of a alone, a few, and many, with a b that is contiguous along k, or along its rows."""
    for n in (1, 3, 4, 5, 6, 7, 8, 9, 16, 31, 32, 33, 50):
        a, bias = stored(rng, (40, k), dtype, "C"), rng.uniform(-1, 1, n).astype(dtype)
        for order in "FC":
            b = stored(rng, (k, n), dtype, order)
            alone = np.concatenate([kernels.matmul(row[None], b, bias, "relu") for row in a])
            for m in (2, 3, 4, 5, 8, 12, 13, 40):
                np.testing.assert_array_equal(kernels.matmul(a[:m], b, bias, "relu"), alone[:m])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 2, 9])
def test_a_batch_with_one_b_has_the_bits_of_separate_products(rows, dtype, isa, rng, threads):
    """One product where the rows of the next follow, a batch of products where they do not."""
    a = rng.standard_normal((5, rows + 1, 40)).astype(dtype)
    b, bias = rng.standard_normal((40, 33)).astype(dtype), rng.standard_normal(33).astype(dtype)
    saved = rng.standard_normal((5, rows, 33)).astype(dtype)
    for x in (np.ascontiguousarray(a[:, :rows]), a[:, :rows], a[:, :rows][::-1]):
        for activation, kept in (("none", None), ("gelu", None), ("gelu", saved)):
            got = kernels.matmul(x, b, bias, activation, None, kept)
            for i in range(5):
                own = kernels.matmul(x[i], b, bias, activation, None, None if kept is None else kept[i])
                np.testing.assert_array_equal(got[i], own)
