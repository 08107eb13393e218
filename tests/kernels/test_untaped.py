"""Calls of Tensors in one step (`bindings/tape/untaped.cpp`) beside NumPy: dtypes, layouts and reductions."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core

KINDS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
WHOLE = KINDS[:6]


def values(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """From -4 to 4, from 0 to 4 without a sign."""
    rng = np.random.default_rng(seed)
    return rng.integers(0 if dtype in ("bool", "uint8") else -4, 5, shape).astype(dtype)


def layouts(array: np.ndarray) -> list[np.ndarray]:
    """The same values with other strides."""
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    wide[..., ::2] = array
    reversed_ = np.ascontiguousarray(array[::-1])[::-1]
    return [array, np.asfortranarray(array), wide[..., ::2], reversed_]


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 3, 64), (65, 67), (0, 4), (4, 0)])
def test_pairs_of_one_dtype(dtype, shape):
    a, b = values(dtype, shape), values(dtype, shape, 1)
    for x in layouts(a):
        for y in layouts(b):
            for op in (np.maximum, np.minimum, np.add, np.multiply):
                got = getattr(rv, {"add": "add", "multiply": "mul"}.get(op.__name__, op.__name__))(
                    rv.from_numpy(x), rv.from_numpy(y)
                )
                np.testing.assert_array_equal(got.numpy(), op(a, b), strict=True)
            for name in ("eq", "ne", "lt", "le", "gt", "ge"):
                long = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal"}
                long |= {"gt": "greater", "ge": "greater_equal"}
                got = getattr(rv, name)(rv.from_numpy(x), rv.from_numpy(y))
                np.testing.assert_array_equal(got.numpy(), getattr(np, long[name])(a, b), strict=True)


@pytest.mark.parametrize("dtype", WHOLE)
def test_bits_and_shapes_that_broadcast(dtype):
    a, b = values(dtype, (4, 1, 6)), values(dtype, (5, 1), 1)
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        got = getattr(rv, name)(rv.from_numpy(a), rv.from_numpy(b))
        np.testing.assert_array_equal(got.numpy(), getattr(np, name)(a, b), strict=True)
    np.testing.assert_array_equal((~rv.from_numpy(a)).numpy(), ~a, strict=True)
    with pytest.raises(ValueError, match=r"\[bitwise_and\] got shapes \(3,\) and \(4,\)"):
        rv.from_numpy(values(dtype, (3,))) & rv.from_numpy(values(dtype, (4,)))


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_two_dtypes_as_by_the_rules_of_python(first, second):
    for shapes in (((3, 4), (3, 4)), ((3, 4), ()), ((), (3, 4)), ((), ())):
        a, b = (rv.from_numpy(values(d, s, 2)) for d, s in zip((first, second), shapes, strict=True))
        wanted = rv.ops.elementwise.dtypes.result_dtype(a, b)
        got = rv.mul(a, b)
        assert got._array.dtype == wanted
        np.testing.assert_array_equal(got.numpy(), a.numpy().astype(wanted) * b.numpy().astype(wanted))


@pytest.mark.parametrize("dtype", KINDS)
def test_numbers_of_python_and_numpy(dtype):
    x = values(dtype, (3, 5))
    for number in (True, 2, 2.5, np.int32(2), np.float32(2.5), np.bool_(True)):
        plain = number.item() if isinstance(number, np.generic) else number
        wanted = rv.ops.elementwise.dtypes.result_dtype(rv.from_numpy(x), plain)
        got = rv.mul(rv.from_numpy(x), number)
        np.testing.assert_array_equal(got.numpy(), x.astype(wanted) * wanted.type(plain), strict=True)
        got = rv.add(number, rv.from_numpy(x))
        np.testing.assert_array_equal(got.numpy(), wanted.type(plain) + x.astype(wanted), strict=True)


def test_numbers_that_a_dtype_cannot_hold():
    x = rv.tensor([1, 2], dtype=rv.uint8)
    with pytest.raises(ValueError, match=r"\[add\] got 300; expected a number that uint8 can hold"):
        x + 300
    with pytest.raises(ValueError, match="got -1; expected a number"):
        x * -1
    assert (x < 300).tolist() == [True, True]
    assert (x == -1).tolist() == [False, False]
    np.testing.assert_array_equal((x + 254).numpy(), np.array([255, 0], np.uint8))


@pytest.mark.parametrize("dtype", WHOLE[1:])
def test_divisions_of_integers(dtype):
    a, b = values(dtype, (6, 7)), values(dtype, (6, 7), 1)
    b[b == 0] = 3
    for name in ("remainder", "fmod", "floor_divide"):
        got = getattr(rv, name)(rv.from_numpy(a), rv.from_numpy(b))
        np.testing.assert_array_equal(got.numpy(), getattr(np, name)(a, b), strict=True)
        got = getattr(rv, name)(rv.from_numpy(a), 3)
        np.testing.assert_array_equal(got.numpy(), getattr(np, name)(a, np.asarray(3, dtype)), strict=True)
        b[2, 2] = 0
        for zero in (rv.from_numpy(b), 0):
            with pytest.raises(ValueError, match=rf"\[{name}\] got integers divided by 0"):
                getattr(rv, name)(rv.from_numpy(a), zero)
        b[2, 2] = 1


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (4, 3, 64), (66, 65), (0, 3), (3, 0)])
def test_reductions(dtype, shape):
    array = values(dtype, shape)
    axes = [None, *range(-len(shape), len(shape)), *([(0, 1)] if len(shape) > 1 else [])]
    for x in layouts(array) if array.ndim else [array]:
        for axis in axes:
            for keepdims in (False, True):
                settings = {"axis": axis, "keepdims": keepdims}
                total = rv.from_numpy(x).sum(**settings).numpy()
                exact = np.sum(array, dtype=np.int64 if dtype in WHOLE else dtype, **settings)
                np.testing.assert_allclose(total, exact, rtol=1e-6)
                assert (total.dtype, total.shape) == (exact.dtype, np.shape(exact))
                for name in ("all", "any"):
                    wanted = np.asarray(getattr(np, name)(array, **settings))
                    wanted = wanted.astype(np.uint8) if dtype == "uint8" else wanted
                    got = getattr(rv.from_numpy(x), name)(**settings).numpy()
                    np.testing.assert_array_equal(got, wanted, strict=True)
                empty = array.size == 0
                for name in () if empty else ("amax", "amin"):
                    wanted = np.asarray(getattr(np, name)(array, **settings))
                    got = getattr(rv.from_numpy(x), name)(**settings).numpy()
                    np.testing.assert_array_equal(got, wanted, strict=True)


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "float32", "float64"])
def test_where_of_dtypes_that_are_moved(dtype):
    rng = np.random.default_rng(3)
    condition = rng.random((5, 6)) > 0.5
    a, b = (rng.integers(0, 2**31, (5, 6)).astype(dtype) for _ in range(2))
    if dtype == "int64":
        a[0, 0], b[0, 0] = 2**62 + 1, -(2**62) - 1
    for x in layouts(a):
        got = rv.where(rv.from_numpy(condition), rv.from_numpy(x), rv.from_numpy(b))
        np.testing.assert_array_equal(got.numpy(), np.where(condition, a, b), strict=True)
    got = rv.where(rv.from_numpy(condition), rv.from_numpy(a), 7)
    np.testing.assert_array_equal(got.numpy(), np.where(condition, a, a.dtype.type(7)), strict=True)
    with pytest.raises(TypeError, match="got a number beside an array of integers"):
        _core.where(condition, 1, np.arange(6))


def test_a_result_keeps_the_order_of_memory():
    x = rv.from_numpy(np.arange(24).reshape(1, 2, 3, 4)).permute(0, 3, 1, 2)
    assert (x + x).stride() == (x == 3).stride() == x.stride()


def test_gradients_are_kept():
    x, y = rv.ones(2, requires_grad=True), rv.tensor([2.0, 3.0])
    for result in (
        x + y,
        x * 2,
        2 - x,
        2 / x,
        x % 2,
        rv.maximum(x, y),
        rv.where(y > 2, x, y),
        x.sum(),
        x.max(),
    ):
        assert result.requires_grad
    for result in (x > y, x == 1, x.any(), y + y, y.sum()):
        assert not result.requires_grad
    with rv.no_grad():
        assert not (x + y).requires_grad


def test_calls_keep_no_references():
    a, b, mask = rv.arange(6).reshape(2, 3), rv.rand(2, 3), rv.rand(2, 3) > 0.5
    arrays = [a._array, b._array, mask._array]

    def calls():
        _ = a + a, a * 2, b + a, b * 2.5, ~mask, mask & mask, a.sum(0), b.max(), mask.any(), a // 2
        _ = rv.where(mask, a, a), rv.where(mask, b, 0.0), b.floor(), a == 2

    calls()  # the first ones load modules, which hold None
    before = [sys.getrefcount(x) for x in arrays], sys.getrefcount(None)
    for _ in range(1000):
        calls()
    assert [sys.getrefcount(x) for x in arrays] == before[0]
    assert abs(sys.getrefcount(None) - before[1]) < 100


@pytest.mark.parametrize("dtype", [*KINDS, "float16", "uint64"])
@pytest.mark.parametrize("trailing", [(), (1,), (3,)])
def test_an_index_by_a_mask(dtype, trailing):
    x = values(dtype, (17, 13, *trailing))
    for mask in (values("bool", (17, 13)) > 0, np.zeros((17, 13), bool), np.ones((17, 13), bool)):
        for array in layouts(x):
            got = rv.from_numpy(array)[rv.from_numpy(mask)]
            np.testing.assert_array_equal(got.numpy(), x[mask], strict=True)
            got = rv.from_numpy(array)[rv.from_numpy(mask[:, 0])]
            np.testing.assert_array_equal(got.numpy(), x[mask[:, 0]], strict=True)
    bytes_ = rv.tensor([0, 5] * 8 + [255], dtype=rv.uint8)  # a mask, as in PyTorch
    np.testing.assert_array_equal(rv.from_numpy(x)[bytes_].numpy(), x[bytes_.numpy() != 0], strict=True)
    with pytest.raises(IndexError, match="got a mask of shape"):
        rv.from_numpy(x)[rv.ones(16, dtype=rv.bool)]


@pytest.mark.parametrize("dtype", KINDS)
def test_slices_and_elements_at_an_index(dtype):
    x = values(dtype, (9, 11))
    rows, places = np.array([3, 0, 8, 3]), np.random.default_rng(0).integers(0, 11, (9, 20))
    for array in layouts(x):
        t = rv.from_numpy(array)
        np.testing.assert_array_equal(t[rv.from_numpy(rows - 9)].numpy(), x[rows], strict=True)
        for dim in (0, 1, -1):
            got = t.index_select(dim, rv.from_numpy(rows)).numpy()
            np.testing.assert_array_equal(got, np.take(x, rows, dim), strict=True)
        for index in (places, np.asfortranarray(places), places[:5, :3], places[::-1, :1]):
            got = t.gather(1, rv.from_numpy(index)).numpy()
            wanted = np.take_along_axis(x[: len(index)], index, 1)
            np.testing.assert_array_equal(got, wanted, strict=True)
    for wrong in (11, -1):
        index = places.copy()
        index[7, 5] = wrong
        with pytest.raises(
            IndexError, match=rf"got index {wrong} for an axis of length 11; expected 0 to 10"
        ):
            rv.from_numpy(x).gather(1, rv.from_numpy(index))
    with pytest.raises(IndexError, match="index 9"):
        rv.from_numpy(x)[rv.tensor([9])]


@pytest.mark.parametrize("reduction", ["max", "min"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_along_an_axis(reduction, dtype):
    x = np.random.default_rng(1).integers(0, 5, (4, 7, 6)).astype(dtype)
    x[1, 2, 3] = np.nan
    for array in layouts(x):
        for dim in (-1, 0, 1):
            for keepdim in (False, True):
                got = getattr(rv.from_numpy(array), reduction)(dim, keepdim)
                place = getattr(np, f"arg{reduction}")(x, dim, keepdims=True)
                wanted = np.take_along_axis(x, place, dim)
                if not keepdim:
                    place, wanted = place.squeeze(dim), wanted.squeeze(dim)
                np.testing.assert_array_equal(got.values.numpy(), wanted, strict=True)
                np.testing.assert_array_equal(got.indices.numpy(), place, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "int16"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 8, 33])
def test_places_in_sorted_rows(dtype, size):
    rng = np.random.default_rng(size)
    row = np.sort(rng.integers(-9, 10, size)).astype(dtype)
    v = rng.integers(-12, 13, (7, 9)).astype(dtype)
    if dtype[0] == "f" and size:
        row[-1], v[0, 0] = np.nan, np.nan
    for right in (False, True):
        wanted = np.searchsorted(row, v, "right" if right else "left")
        for array in layouts(v):
            got = rv.searchsorted(rv.from_numpy(row), rv.from_numpy(array), right=right).numpy()
            np.testing.assert_array_equal(got, wanted, strict=True)
        got = rv.bucketize(rv.from_numpy(v), rv.from_numpy(row), right=right, out_int32=True).numpy()
        np.testing.assert_array_equal(got, wanted.astype(np.int32), strict=True)
    rows = np.stack([row, row])
    got = rv.searchsorted(rv.from_numpy(rows), rv.from_numpy(v[:2])).numpy()
    np.testing.assert_array_equal(got, np.searchsorted(row, v[:2]), strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values_between_two(dtype):
    a, b = (np.random.default_rng(s).normal(size=(5, 33)).astype(dtype) for s in (0, 1))
    for array in layouts(a):
        got = rv.lerp(rv.from_numpy(array), rv.from_numpy(b), 0.25).numpy()
        np.testing.assert_array_equal(got, a + a.dtype.type(0.25) * (b - a), strict=True)
        got = rv.lerp(rv.from_numpy(array), rv.from_numpy(b), 0.75).numpy()
        np.testing.assert_array_equal(got, b + a.dtype.type(0.25) * (a - b), strict=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 4, 5, 15, 16, 17, 31, 32, 64, 100, 127, 128, 129])
def test_short_lines_in_order(dtype, n):
    rng = np.random.default_rng(n)
    x = rng.integers(-3, 4, (6, n)).astype(dtype)  # with many equal elements
    x[1, 0], x[2, -1], x[3] = np.nan, -np.inf, rng.permutation(n)
    x[4] = np.where(rng.random(n) > 0.5, 0.0, -0.0)
    for array in layouts(x):
        values, order = rv.from_numpy(array).sort(1)
        wanted = np.argsort(x, 1, kind="stable")
        np.testing.assert_array_equal(order.numpy(), wanted)
        np.testing.assert_array_equal(values.numpy(), np.take_along_axis(x, wanted, 1), strict=True)
        order = rv.from_numpy(array).argsort(1, descending=True).numpy()
        wanted = np.argsort(np.where(np.isnan(x), -np.inf, -x), 1, kind="stable")
        wanted[1] = [0, *wanted[1][wanted[1] != 0]]  # the NaN; -inf of another line is its last
        np.testing.assert_array_equal(order, wanted)


def test_arrays_that_are_close():
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    for change, near in ((0, True), (1e-7, True), (1e-3, False), (np.nan, False), (np.inf, False)):
        y = x.copy()
        y[1, 2] += change
        assert rv.allclose(rv.from_numpy(x), rv.from_numpy(y)) is near
        assert rv.allclose(rv.from_numpy(y), rv.from_numpy(x)) is near
    ends = rv.tensor([np.inf, -np.inf, 1.0])
    assert rv.allclose(ends, ends.clone())
    assert not rv.allclose(ends, -ends)
    assert not rv.allclose(rv.tensor([1.0]), rv.tensor([np.inf]))
