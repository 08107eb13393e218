"""Kernels that read, put and add elements and rows at indices, and sum bags of rows: NumPy's bits, with sums
in the order of the index; any dtype of an index, places beyond the axis, threads. Other sizes: tests/ops.
`_core.inside(x, low, high, above=False)` says whether all elements are from low, or above it, to high. A test
with the fixture `isa` runs at each ISA level (instruction set).
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core, kernels
from support.layouts import LAYOUTS, in_layout
from support.refused import refused
from support.threads import same_bits


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_rows(dtype, rng, threads):
    x = rng.standard_normal((50, 130)).astype(np.float32)
    index = rng.integers(0, 50, 999).astype(dtype)
    np.testing.assert_array_equal(kernels.gather(x, index[:, None], 0), x[index])
    dy = rng.standard_normal((999, 130)).astype(np.float32)
    same_bits(threads, lambda: kernels.scatter_add(dy, index[:, None], 0, 50))
    dx = np.zeros((50, 130), np.float32)
    for row, at in zip(dy, index, strict=True):  # the order that is promised
        dx[at] += row
    np.testing.assert_array_equal(kernels.scatter_add(dy, index[:, None], 0, 50), dx)


@pytest.mark.parametrize(
    ("shape", "picks"), [((9000,), 20000), ((300, 3), 20000), ((3, 700), 900), ((40, 3000), 300)]
)
def test_same_bits_at_any_thread_count(shape, picks, rng, threads):
    x = rng.standard_normal(shape).astype(np.float32)
    rows = rng.integers(0, shape[0], picks).reshape(-1, *[1] * (x.ndim - 1))
    src = rng.standard_normal((picks, *shape[1:])).astype(np.float32)

    def run():
        moved = (kernels.scatter(x, rows, src, 0, add) for add in (True, False))
        back = kernels.scatter_backward(x, np.broadcast_to(rows, src.shape), 0)
        return kernels.gather(x, rows, 0), *moved, *back

    same_bits(threads, run)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8, 15, 16, 17, 32, 33, 200])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_rows_of_every_width(width, dtype, rng):
    """Rows are copied whole, in pieces that overlap; nothing beside the last is written."""
    x = rng.standard_normal((50, width)).astype(np.dtype(getattr(rv, dtype)))
    for picks in (0, 1, 11, 12, 13, 40):
        rows = rng.integers(-50, 50, picks)
        out = np.full((picks + 1, width), 7, x.dtype)
        _core.gather(x, rows[:, None], 0, out[:-1])
        np.testing.assert_array_equal(out[:-1], x[rows])
        assert (out[-1] == 7).all()
        np.testing.assert_array_equal(_core.gather(x[::-2], rows[:, None] // 2, 0, None), x[::-2][rows // 2])


@pytest.mark.parametrize("picks", [1, 7, 8, 9, 17, 300])
def test_an_index_outside_is_found_at_every_place(picks):
    x = np.arange(50, dtype=np.float32)[:, None]
    for at in {0, 1, 6, 7, 8, picks // 2, picks - 2, picks - 1}:
        if not 0 <= at < picks:
            continue
        for wrong in (50, -51, 2**62, -(2**63)):
            rows = np.where(np.arange(picks) % 2, 49, -50)
            np.testing.assert_array_equal(kernels.gather(x, rows[:, None], 0), x[rows])
            rows[at] = wrong
            with pytest.raises(IndexError, match=f"got index {wrong} for an axis of length 50"):
                kernels.gather(x, rows[:, None], 0)


@pytest.mark.parametrize("length", [3, 40000], ids=["near", "far"])
@pytest.mark.parametrize("width", [8, 15, 16, 17, 33, 130])
def test_rows_put_and_added(width, length, isa, rng):
    """Long rows are moved whole; of a table that fits no cache they are fetched ahead."""
    rows = rng.integers(-length, length, 60)
    rows[7] = rows[50]
    base, src, dy = (rng.standard_normal((n, width)).astype(np.float32) for n in (length, 60, length))
    put, added = base.copy(), base.copy()
    for row, at in zip(src, rows, strict=True):
        put[at] = row
        added[at] += row
    dsrc, dbase = np.zeros_like(src), dy.copy()
    for k in reversed(range(60)):
        dsrc[k], dbase[rows[k]] = dbase[rows[k]], 0
    index = rows[:, None]
    np.testing.assert_array_equal(kernels.scatter(base, index, src, 0, False), put)
    np.testing.assert_array_equal(kernels.scatter(base, index, src, 0, True), added)
    back = kernels.scatter_backward(dy, np.broadcast_to(index, src.shape), 0)
    for found, wanted in zip(back, (dbase, dsrc), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_an_index_repeats_along_the_other_axes_only():
    x = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(_core.gather(x, np.array([[2, 0]]), 1, None), x[:, [2, 0]])
    np.testing.assert_array_equal(_core.gather(x, np.array([[2], [0]]), 0, None), x[[2, 0]])
    for index, axis in ((np.zeros((2, 2), int), 1), (np.zeros((2, 3), int), 0)):
        refused(ValueError, "expected one that broadcasts to", _core.gather, x, index, axis, None)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8"])
def test_inside_finds_one_value_anywhere(dtype, layout):
    for n in (1, 3, 16, 35, 300):  # vectors, and what they leave
        x = in_layout((np.arange(4 * n).reshape(4, n) % 5 + 1).astype(dtype), layout)
        assert _core.inside(x, 1, 5)
        for at in {(0, 0), (1, n // 2), (3, n - 1)}:
            for wrong in (0, 6):
                kept, x[at] = x[at], wrong
                assert not _core.inside(x, 1, 5)
                x[at] = kept


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("step", [1, 2])
def test_nan_is_never_inside(dtype, step):
    for n in (1, 5, 64):
        for at in range(0, n, 3):
            x = np.zeros(2 * n, dtype)[::step][:n]
            assert _core.inside(x, -np.inf, np.inf)
            x[at] = np.nan
            assert not _core.inside(x, -np.inf, np.inf)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inside_above_a_limit(dtype):
    limits = np.finfo(dtype)
    above = {0.0: limits.smallest_subnormal, 1.0: 1 + limits.eps, -1.0: limits.epsneg - 1}
    for low, least in above.items():
        x = np.array([5, least], dtype)
        assert _core.inside(x, low, np.inf, True)
        x[0] = low
        assert _core.inside(x, low, np.inf)
        assert not _core.inside(x, low, np.inf, True)
    assert _core.inside(np.array([2, 3]), 1, 5, True)
    assert not _core.inside(np.array([1, 3]), 1, 5, True)


def test_inside_of_nothing_and_of_repeated_values():
    assert _core.inside(np.zeros((0, 3), np.float32), 1, 0)
    assert not _core.inside(np.zeros(1, np.int64), 1, 0)
    repeated = np.broadcast_to(np.float32(2), (1 << 20, 1 << 10))
    assert _core.inside(repeated, 2, 2)
    assert not _core.inside(repeated, 0, 1)


@pytest.mark.parametrize("dtype", [rv.float32, rv.float64, rv.float16, rv.bfloat16])
def test_places_are_written_where_they_are(dtype, rng):
    """scatter with out=x reads and writes nothing else; out may be no other input."""
    x = rng.standard_normal((3, 40, 5)).astype(np.dtype(dtype))
    new, rows = (2 * x[:, :2]).astype(x.dtype), np.array([7, 30])
    wanted = x.copy()
    wanted[:, rows] = new
    assert _core.scatter(x, rows, new, 1, False, x) is x
    np.testing.assert_array_equal(x, wanted)
    with pytest.raises(ValueError, match=r"\[scatter\] got out that overlaps an input"):
        _core.scatter(x, rows, x[:, :2], 1, False, x)


def test_one_row_picked_by_all(threads, rng):
    """The hardest case for sums that threads share: the same bits all the same."""
    dy = rng.standard_normal((20000, 48)).astype("float32")
    index = np.zeros(20000, np.int64)
    same_bits(threads, lambda: _core.embedding_backward(dy, index, 3))


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_gradients_of_bags_by_frequency(mode, rng):
    """Those of each row are divided by how often it is picked; of a row that is not, they are 0."""
    index, weight, dy = (
        rng.integers(0, 7, (12, 5)),
        rng.standard_normal((9, 33)),
        rng.standard_normal((12, 33)),
    )
    y = kernels.embedding_bag(index, weight, None, None, mode, padding_idx=2)
    given = dy, y, index, weight, None, None, mode, False, 2
    plain, divided = (
        kernels.embedding_bag_backward(*given, by_frequency)[0] for by_frequency in (False, True)
    )
    picks = np.maximum(np.bincount(index[index != 2], minlength=9), 1)
    np.testing.assert_allclose(divided, plain / picks[:, None], rtol=1e-12)


def test_equal_rows_share_the_gradient_of_a_bag(isa):
    index, weight = np.array([[0, 1, 2, 2]]), np.repeat([[1.0], [2.0], [2.0]], 33, 1)
    y = kernels.embedding_bag(index, weight, None, None, "max")
    back = kernels.embedding_bag_backward(np.ones_like(y), y, index, weight, None, None, "max")[0]
    np.testing.assert_allclose(back[:, 0], [0, 1 / 3, 2 / 3])
    assert (back == back[:, :1]).all()
