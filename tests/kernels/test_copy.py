"""copy and concatenate on raw arrays: from any memory order to any other, bit for bit."""

import numpy as np
import pytest
from ranvier import kernels
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
