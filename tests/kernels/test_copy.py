"""What moves, repeats or makes elements, on raw arrays: from any memory order to any other, bit for bit."""

import numpy as np
import pytest
from ranvier import _core, kernels
from support.grouped import grouped
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
@grouped("n", [1, 3, 4, 5, 8, 15, 16, 17, 31, 33, 63, 64, 65, 130])
def test_rows(n, dtype, isa, threads, rng):
    """Short and long rows, of one array after another and of a part of one."""
    x = rng.standard_normal((5, 7, n)).astype(dtype)
    for count in (1, 3):
        threads(count)
        np.testing.assert_array_equal(kernels.concatenate([x, x[:, :, ::-1]], 2)[:, :, n:], x[:, :, ::-1])
        np.testing.assert_array_equal(kernels.concatenate([x, x], 2)[:, :, n:], x)
        np.testing.assert_array_equal(kernels.concatenate([x, x], 1)[:, 7:], x)
        np.testing.assert_array_equal(kernels.copy(x[:, ::2]), x[:, ::2])
        np.testing.assert_array_equal(kernels.copy(x.transpose(1, 0, 2)), x.transpose(1, 0, 2))


@pytest.mark.parametrize("n", [2047, 2048, 2049, 5000])
def test_long_rows(n, isa, threads, rng):
    """Many rows with gaps after them, in what is read and in what is written."""
    x = rng.standard_normal((20, n + 3)).astype(np.float32)
    for count in (1, 2):
        threads(count)
        np.testing.assert_array_equal(kernels.copy(x[:, :n]), x[:, :n])
        np.testing.assert_array_equal(kernels.concatenate([x, x[::-1]], 1), np.concatenate([x, x[::-1]], 1))


@pytest.mark.parametrize("target", LAYOUTS)
@pytest.mark.parametrize("source", LAYOUTS)
def test_any_layout_to_any_other(source, target, isa, rng):
    x = in_layout(rng.standard_normal((3, 18, 5, 7)).astype(np.float32), source)
    out = in_layout(np.zeros_like(x), target)
    assert kernels.copy(x, out=out) is out
    np.testing.assert_array_equal(out, x)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_concatenate(axis, layout, rng):
    parts = []
    for n in (1, 0, 4):
        shape = [2, 3, 5, 4]
        shape[axis] = n
        parts.append(in_layout(rng.standard_normal(shape).astype(np.float32), layout))
    np.testing.assert_array_equal(kernels.concatenate(parts, axis), np.concatenate(parts, axis))


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
SIZES = [0, 1, 2, 7, 255, 256, 257, 1000]


def test_progressions_are_numpys(rng):
    for n in SIZES:
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
    [1, 2.5, True, [1], [True, False], [1, 2.5], [True, 2], [[1, 2], [3, 4]], ([1.0], (2,)),
     [[[0.1]] * 3] * 2, [2**53], -7, [[True], [0.5]]],
)  # fmt: skip
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
        [], [[]], [1, [2]], [[1], 2], [[1, 2], [3]], [2**53 + 1], [2**70], [np.float64(1)], np.ones(2), "1",
        None, [None], {1: 2}, [1j], deep, endless, range(3), [[1], [[2]]], [[1], []],
    ]  # fmt: skip
    for data in others:
        assert _core._literal(data, F32) is None


def test_shapes():
    for size, shape in [
        ((), ()), ((2, 3), (2, 3)), (((2, 3),), (2, 3)), (([2],), (2,)), ((np.int32(4),), (4,)), (((),), ()),
    ]:  # fmt: skip
        assert _core._shape(size, "zeros") == shape
    for size in (("2",), (2.0,), ((2, None),), ((1, (2,)),)):
        with pytest.raises(TypeError, match=r"\[zeros\] got size .*; expected whole numbers"):
            _core._shape(size, "zeros")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64", "float32", "float64"])
def test_triangles(dtype, rng):
    for shape in ((1, 1), (3, 3), (2, 5), (5, 2), (0, 3), (3, 0), (2, 3, 33, 17), (2, 0, 3, 3)):
        x = rng.integers(1, 9, shape).astype(dtype)
        for a in (x, x.swapaxes(-1, -2), x[..., ::-1], np.repeat(x, 2, -1)[..., ::2]):
            for k in (-(2**70), -4, -1, 0, 1, 2, 40, 2**70):
                near = max(min(k, 99), -99)
                for upper, function in ((False, np.tril), (True, np.triu)):
                    np.testing.assert_array_equal(_core.triangle(a, k, upper), function(a, near), strict=True)


def test_triangle_leaves_nan_out():
    x = np.full((3, 3), np.nan, np.float32)
    assert np.isnan(_core.triangle(x, 0, False)).sum() == 6


@pytest.mark.parametrize("dtype", ["bool", "int8", "int32", "int64", "float32", "float64"])
def test_stacks(dtype, rng):
    for shape in ((), (1,), (0, 2), (3, 4), (64, 3), (2, 3, 4, 5)):
        for count in (1, 2, 3, 5, 9):
            arrays = [np.array(rng.integers(0, 9, shape), dtype) for _ in range(count)]
            for axis in range(-len(shape) - 1, len(shape) + 1):
                np.testing.assert_array_equal(_core.stack(arrays, axis), np.stack(arrays, axis), strict=True)
    for layout in LAYOUTS:
        x = in_layout(rng.normal(size=(2, 3, 4, 5)), layout).astype(dtype)
        np.testing.assert_array_equal(_core.stack((x, x[::-1]), 1), np.stack([x, x[::-1]], 1))


def test_concatenate_of_integers(rng):
    for dtype in ("bool", "uint8", "int32", "uint32", "int64"):
        for axis in (0, 1, -1):
            parts = [rng.integers(0, 2**31, (4, 4)).astype(dtype) for _ in range(3)]
            np.testing.assert_array_equal(
                _core.concatenate(parts, axis), np.concatenate(parts, axis), strict=True
            )


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float32", "float64"])
def test_elements_that_move(dtype, rng):
    for shape in ((1,), (7,), (3, 5), (2, 3, 4), (0, 3), (33, 65), (2, 3, 4, 5)):
        whole = rng.integers(0, 9, (*shape, 2)).astype(dtype)
        for x in (np.ascontiguousarray(whole[..., 0]), whole[..., 1], whole[..., 0].T, whole[::-1, ..., 0]):
            for axis in (*range(x.ndim), -1):
                for n in (0, 1, -2, 7, 10**9):
                    np.testing.assert_array_equal(_core.roll(x, n, axis), np.roll(x, n, axis), strict=True)
                    if x.flags.c_contiguous:
                        np.testing.assert_array_equal(_core.roll(x, n, None), np.roll(x, n), strict=True)
                for n in (0, 1, 2, 5):
                    np.testing.assert_array_equal(
                        _core.repeat_each(x, n, axis), np.repeat(x, n, axis), strict=True
                    )
                np.testing.assert_array_equal(_core.flip(x, (axis,)), np.flip(x, axis), strict=True)
            np.testing.assert_array_equal(_core.flip(x, tuple(range(x.ndim))), np.flip(x), strict=True)
            for times in ((1,) * x.ndim, (2,) * x.ndim, (3, *range(1, x.ndim + 1)), (0,) * x.ndim):
                np.testing.assert_array_equal(_core.repeat(x, times), np.tile(x, times), strict=True)


def test_places_of_triangles():
    for rows, columns, k in ((3, 3, 0), (2, 5, 1), (5, 2, -1), (0, 3, 0), (3, 0, 2), (4, 4, 9), (4, 4, -9)):
        for upper, function in ((False, np.tril_indices), (True, np.triu_indices)):
            expected = np.stack(function(rows, k, columns))
            np.testing.assert_array_equal(_core._triangle_indices(rows, columns, k, upper), expected)
