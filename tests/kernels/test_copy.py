"""Kernels that make, move, cast and write elements. All are compared bit for bit with what NumPy does: each
dtype, any memory order. The internal ones: `_progression` is arange and linspace, `_literal` an array of
nested lists of numbers (None where the core leaves it to NumPy), `_shape` the shape in a call's arguments,
`_put` an assignment x[key] = value, `write` one of broadcast values. A test with the fixture `isa` runs at
each ISA level (instruction set).
"""

import itertools

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core, kernels
from support.grouped import grouped  # parametrize, with many cases a test
from support.halves import HALVES, all_halves, as_half
from support.layouts import LAYOUTS, in_layout

SHAPES = [
    (2, 3, 4, 5),
    (1, 17, 5, 7),
    (3, 64, 5, 5),
    (2, 1, 3, 3),
    (0, 3, 2, 2),
    (5, 33, 16, 17),
    (1, 16, 1, 16),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("shape", SHAPES, ids=str)
def test_to_and_from_channels_last(shape, dtype, isa, rng):
    x = rng.standard_normal(shape).astype(dtype)
    last = kernels.copy(x, channels_last=True)
    np.testing.assert_array_equal(last, x)
    assert last.transpose(0, 2, 3, 1).flags.c_contiguous
    back = kernels.copy(last)
    np.testing.assert_array_equal(back, x)
    assert back.flags.c_contiguous


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("width", [1, 3, 4, 5, 8, 15, 16, 17, 31, 33, 50, 1023, 1025])
def test_pictures(width, dtype, isa, rng):
    """Three channels have their own loops."""
    x = rng.standard_normal((2, 3, 3, width)).astype(dtype)
    last = kernels.copy(x, channels_last=True)
    np.testing.assert_array_equal(last, x)
    np.testing.assert_array_equal(kernels.copy(last), x)
    for part in (x[:, :, ::2], x[:, :, :, :-1], last[:, :, ::2], last[:, :, :, :-1], last[:, :2]):
        np.testing.assert_array_equal(kernels.copy(part, channels_last=True), part)
        np.testing.assert_array_equal(kernels.copy(part), part)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [1, 3, 4, 5, 8, 15, 16, 17, 31, 33, 63, 64, 65, 130, 2047, 2048, 2049, 5000])
def test_rows(n, dtype, isa, threads, rng):
    """Short and long rows, of one array after another and of a part of one, with gaps after them."""
    wide = rng.standard_normal((5, 7, n + 3)).astype(dtype)[:, :, :n]
    for count, x in itertools.product((1, 3), (wide, wide.copy())):
        threads(count)
        for parts, axis in (([x, x[:, :, ::-1]], 2), ([x, x], 2), ([x, x[:, ::-1]], 2), ([x, x], 1)):
            np.testing.assert_array_equal(kernels.concatenate(parts, axis), np.concatenate(parts, axis))
        for part in (x, x[:, ::2], x.transpose(1, 0, 2)):
            np.testing.assert_array_equal(kernels.copy(part), part)


@pytest.mark.parametrize("target", LAYOUTS)
@pytest.mark.parametrize("source", LAYOUTS)
def test_any_layout_to_any_other(source, target, isa, rng):
    x = in_layout(rng.standard_normal((3, 18, 5, 7)).astype(np.float32), source)
    out = in_layout(np.zeros_like(x), target)
    assert kernels.copy(x, out=out) is out
    np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped(
    "widths", [(1,), (1, 2, 3), (16, 1, 15, 17), (5,) * 9, (0, 20, 0, 7, 0), (0,) * 4 + (3, 31, 33)], ids=str
)
def test_joined_rows(widths, dtype, isa, threads, rng):
    """Short rows of many arrays side by side, in C order and channels-last; few rows are copied otherwise."""
    for rows in (1, 15, 16, 17, 3001):
        parts = [rng.standard_normal((rows, n)).astype(dtype) for n in widths]
        expected = np.concatenate(parts, 1)
        for count in (1, 2, 3):
            threads(count)
            np.testing.assert_array_equal(kernels.concatenate(parts, 1), expected)
        if min(widths) == 0:
            continue
        images = [
            in_layout(part.reshape(1, 1, rows, -1).transpose(0, 3, 1, 2), "channels_last") for part in parts
        ]
        joined = kernels.concatenate([np.concatenate([x, -x], 2) for x in images], 1)
        np.testing.assert_array_equal(joined[0, :, 0].T, expected)
        joined = kernels.concatenate(images, 1)
        np.testing.assert_array_equal(joined[0, :, 0].T, expected)
        np.testing.assert_array_equal(
            kernels.concatenate([x[..., ::-1] for x in images], 1), joined[..., ::-1]
        )
        np.testing.assert_array_equal(
            kernels.concatenate([part.T for part in parts], 0), np.concatenate([part.T for part in parts], 0)
        )


@pytest.mark.parametrize("widths", [(3, 16, 21), (1, 40), (20, 20, 20, 20, 3), (1500, 600)], ids=str)
def test_joined_rows_of_a_large_array(widths, isa, threads, rng):
    """More than the second cache holds: blocks of rows are made in a buffer."""
    rows = 2 + 6_000_000 // (4 * sum(widths))
    parts = [rng.standard_normal((rows, n), dtype=np.float32) for n in widths]
    for count in (1, 2):
        threads(count)
        np.testing.assert_array_equal(kernels.concatenate(parts, 1), np.concatenate(parts, 1))


F32, F64, I64 = (np.dtype(name) for name in ("float32", "float64", "int64"))


def test_progressions_are_numpys(rng):
    for n in (0, 1, 2, 7, 255, 256, 257, 1000):
        for first, step in [(0.0, 1.0), (-3.0, 0.1), *rng.normal(size=(5, 2))]:
            expected = np.arange(n) * step + first
            for dtype in (F32, F64):
                np.testing.assert_array_equal(
                    _core._progression(first, step, n, dtype), expected.astype(dtype), strict=True
                )
            if n > 1:
                expected[-1] = 7
                np.testing.assert_array_equal(_core._progression(first, step, n, F64, 7.0), expected)
        np.testing.assert_array_equal(_core._progression(5, -3, n, I64), 5 - 3 * np.arange(n), strict=True)


@pytest.mark.parametrize(
    "data",
    [
        1,
        2.5,
        True,
        [1],
        [True, False],
        [1, 2.5],
        [True, 2],
        [[1, 2], [3, 4]],
        ([1.0], (2,)),
        [[[0.1]] * 3] * 2,
        [2**53],
        -7,
        [[True], [0.5]],
    ],
)
def test_lists_of_numbers(data):
    expected = np.array(data)
    kind = F32 if expected.dtype.kind == "f" else expected.dtype
    np.testing.assert_array_equal(_core._literal(data, F32), expected.astype(kind), strict=True)
    np.testing.assert_array_equal(_core._literal(data, F64, True), expected.astype(F64), strict=True)


def test_what_is_no_regular_list_of_numbers():
    deep = 1
    for _ in range(9):
        deep = [deep]
    endless = []
    endless.append(endless)
    others = [
        [],
        [[]],
        [1, [2]],
        [[1], 2],
        [[1, 2], [3]],
        [2**53 + 1],
        [2**70],
        [np.float64(1)],
        np.ones(2),
        "1",
        None,
        [None],
        {1: 2},
        [1j],
        deep,
        endless,
        range(3),
        [[1], [[2]]],
        [[1], []],
    ]
    for data in others:
        assert _core._literal(data, F32) is None


def test_shapes():
    for size, shape in [
        ((), ()),
        ((2, 3), (2, 3)),
        (((2, 3),), (2, 3)),
        (([2],), (2,)),
        ((np.int32(4),), (4,)),
        (((),), ()),
    ]:
        assert _core._shape(size, "zeros") == shape
    for size in (("2",), (2.0,), ((2, None),), ((1, (2,)),)):
        with pytest.raises(TypeError, match=r"\[zeros\] got size .*; expected whole numbers"):
            _core._shape(size, "zeros")


# --- full, fill, cast, copy_like, write

FROM = ["bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "float32", "float64", *HALVES]
TO = ["bool", "int32", "int64", "float32", "float64", *HALVES]
ROWS = TO[:-2]  # dtypes that the core writes row by row
SIZES = [0, 1, 3, 255, 256, 257, 5000]


@pytest.mark.parametrize("to", TO)
@grouped("dtype", FROM)
def test_casts_are_numpys(dtype, to, isa, rng):
    for size in SIZES:
        x = rng.uniform(0, 100, size).astype(dtype)
        if np.dtype(dtype).kind in "if":
            x = x - np.asarray(50, dtype)
        for a in (x, x[::-1], x[::3]):
            y = _core.cast(a, np.dtype(to), None)
            assert y.dtype == to
            np.testing.assert_array_equal(y, a.astype(to))


@pytest.mark.parametrize("dtype", FROM)
def test_largest_and_smallest(dtype):
    """The limits of each dtype, NaN, infinity and -0.0, cast to each other one."""
    kind = np.dtype(dtype).kind
    limits = np.iinfo(dtype) if kind in "iu" else None
    values = [limits.min, limits.max] if limits else [0, 1] if kind == "b" else [0.5, np.nan, np.inf, -0.0]
    x = np.array(values, dtype)
    for to in TO:
        if to in ("int32", "int64") and kind == "f":
            continue  # NaN and Inf have no integer
        with np.errstate(over="ignore"):
            y, wanted = _core.cast(x, np.dtype(to), None), x.astype(to)
        np.testing.assert_array_equal(y.astype(np.float64), wanted.astype(np.float64))


@pytest.mark.parametrize("dtype", TO)
@pytest.mark.parametrize("value", [0.0, -0.0, 1.0])
def test_fill_writes_each_element_and_no_other(value, dtype):
    """Runs are filled a line of cache at a time; -0.0 has bits that are not zero."""
    for n in (1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 200):
        y = np.full(n + 2, 3, dtype)
        _core.fill(y[1:-1], np.dtype(dtype).type(value).item())
        wanted = np.full(n + 2, 3, dtype)
        wanted[1:-1] = value
        assert y.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("source", LAYOUTS)
@pytest.mark.parametrize("target", LAYOUTS)
def test_copy_like_takes_the_order_of_the_other(source, target, rng):
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    like = in_layout(np.zeros(x.shape), target)
    y = _core.copy_like(in_layout(x, source), like)
    np.testing.assert_array_equal(y, x)
    assert y.strides == np.empty_like(like, np.float32).strides


@pytest.mark.parametrize("dtype", TO)
def test_full_like_has_the_order_of_memory(dtype, rng):
    for layout in LAYOUTS:
        x = in_layout(rng.integers(0, 9, (2, 3, 4, 5)), layout)
        y = _core.full_like(x, np.dtype(dtype), 1)
        assert y.dtype == dtype
        assert y.strides == tuple(n // x.itemsize * y.itemsize for n in np.empty_like(x).strides)
        np.testing.assert_array_equal(y, np.ones(x.shape, dtype))
    assert _core.full_like(x, np.dtype(dtype), None).shape == _core.full(x.shape, np.dtype(dtype), None).shape


@pytest.mark.parametrize("dtype", ROWS)
@grouped("source", FROM)
def test_write_casts_and_broadcasts(source, dtype, rng):
    for shape in ((), (0,), (3, 5), (65, 33)):
        x = rng.integers(0, 9, shape).astype(source)
        for whole in (np.zeros(shape, dtype), np.zeros((*shape, 3), dtype)[..., 1]):
            _core.write(x, whole)
            np.testing.assert_array_equal(whole, x.astype(dtype))
    if source == dtype:
        rows = np.zeros((4, 3, 2), dtype).transpose(1, 0, 2)
        for value in (x := rng.integers(0, 9, (4, 1)).astype(source), x[0], x[:1, 0], x[:1, :1].reshape(())):
            if dtype != "bool":
                _core.write(value, rows)
                np.testing.assert_array_equal(rows, np.broadcast_to(value, rows.shape))


@pytest.mark.parametrize("dtype", ROWS)
def test_put_of_rows_and_masks(dtype, rng):
    """Rows at an array of places, of which the last one stays, and a number where a mask is True."""
    for shape in ((5,), (5, 3), (4, 2, 3)):
        values = rng.integers(0, 9, (6, *shape[1:])).astype(dtype)
        for index in ([0], [3, -1], [2, 2, 0, -4], [1] * 6):
            rows = np.array(index)
            for value in (1, np.array(values[0]), values[: len(index)]):
                x = rng.integers(0, 9, shape).astype(dtype)
                expected = x.copy()
                for i, row in zip(index, np.broadcast_to(value, (len(index), *shape[1:])), strict=True):
                    expected[i] = row
                _core._put(rows, value, x)
                np.testing.assert_array_equal(x, expected)
        if np.dtype(dtype).kind == "f":
            mask = rng.random(shape) < 0.5
            x = rng.random((*shape, 2)).astype(dtype)[..., 0]
            expected = np.where(mask, np.dtype(dtype).type(0.3), x)
            _core._put(mask, 0.3, x)
            np.testing.assert_array_equal(x, expected)


def test_put_of_rows_that_are_the_memory_of_the_indices():
    x = np.arange(5)
    _core._put(x[:-2], 3, x[2:])
    np.testing.assert_array_equal(x, [0, 1, 3, 3, 3])


def test_write_refuses_what_it_would_change():
    """Values that the dtype cannot hold, shapes that do not fit, memory that overlaps: nothing is written."""
    whole, small = np.zeros(3, np.int64), np.zeros(3, np.int32)
    x = np.zeros((2, 3), np.float32)
    wrong = [
        (lambda: _core.write(1.5, whole), TypeError),
        (lambda: _core.write(2**63, whole), ValueError),
        (lambda: _core.write(-(2**70), whole), ValueError),
        (lambda: _core.write(2**31, small), ValueError),
        (lambda: _core.write(np.ones((3, 2), np.float32), x), ValueError),
        (lambda: _core.write(np.ones((1, 2, 3), np.float32), x), ValueError),
        (lambda: _core.write(x[:, ::-1], x), ValueError),
        (lambda: _core.write("1", x), TypeError),
        (lambda: _core.write(1.0, np.broadcast_to(x[0], (2, 3))), ValueError),
        (lambda: _core._put(True, 1.0, x), TypeError),
        (lambda: _core._put([0], 1.0, x), TypeError),
        (lambda: _core._put(np.array([2]), 1.0, x), TypeError),
        (lambda: _core._put(np.array([[0]]), 1.0, x), TypeError),
        (lambda: _core._put(np.array([0, 1], np.uint8), 1.0, x), TypeError),
        (lambda: _core._put(np.array([0]), 1.0, x[:, ::2]), TypeError),
        (lambda: _core._put(np.array([0]), np.ones((2, 3), np.float32), x), ValueError),
        (lambda: _core._put(np.ones(3, bool), 1.0, x), ValueError),
        (lambda: _core._put(np.ones((2, 3), bool), x, x), TypeError),
    ]
    for call, error in wrong:
        with pytest.raises(error):
            call()
    with pytest.raises(IndexError):
        _core._put(2, 1.0, x)
    for array in (x, whole, small):
        assert not array.any()


def _edges(dtype: np.dtype) -> np.ndarray:
    """Around every half float and halfway between neighbours, in float32."""
    with np.errstate(invalid="ignore"):
        bits = all_halves(dtype)[1].view(np.uint32).astype(np.int64)
    shifts = [0, 1, -1, 0xFFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001]
    return (bits[:, None] + np.array(shifts)).reshape(-1).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_halves_are_the_nearest(dtype, isa):
    """A cast to 16 bits gives the nearest number, ties to even: around each number and each midpoint."""
    x = _edges(dtype)
    for n in (len(x), 1000):  # NaN of all kinds, too
        y = _core.cast(x[:n], dtype, None)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y.astype(np.float32), as_half(x[:n], dtype))
    zeros = _core.cast(np.array([-0.0, 0.0, -1e-45], np.float32), dtype, None)
    assert np.signbit(zeros.astype(np.float32)).tolist() == [True, False, True]


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_each_half_has_its_value(dtype, isa):
    """All 65536 numbers of 16 bits, cast to float32 and back."""
    halves, values = all_halves(dtype)
    y = _core.cast(halves, np.dtype("float32"), None)
    np.testing.assert_array_equal(y, values)
    np.testing.assert_array_equal(np.signbit(y), np.signbit(values))
    np.testing.assert_array_equal(_core.cast(halves, HALVES[0], None), as_half(values, HALVES[0]))
    assert _core.cast(halves, dtype, None).tobytes() == halves.tobytes()


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_halves_of_every_size_and_order(dtype, isa, rng):
    """Beside `as_half`, which rounds by arithmetic on exponent and fraction."""
    for n in [*range(70), 4099]:
        x = rng.standard_normal(n).astype("float32")
        y = _core.cast(x, dtype, None)
        np.testing.assert_array_equal(y.astype(np.float32), as_half(x, dtype))
        np.testing.assert_array_equal(_core.cast(y, x.dtype, None), as_half(x, dtype), strict=True)
    x = rng.standard_normal((4, 5, 6)).astype("float32")
    x.flags.writeable = False
    orders = [x.transpose(order) for order in itertools.permutations(range(3))]
    for view in (*orders, x[:, ::2], x[::-1], x[1, 2, 3, ...], x[:, :0], x[:1].transpose(2, 0, 1)):
        y = _core.cast(view, dtype, None)
        np.testing.assert_array_equal(y.astype(np.float32), as_half(view, dtype))
        assert y.flags.writeable
    np.testing.assert_array_equal(_core.cast(np.asfortranarray(x[0]), dtype, None).strides, (2, 10))
    swapped = x.byteswap().view(x.dtype.newbyteorder())
    assert rv.tensor(swapped).half().numpy().tolist() == x.astype("float16").tolist()
