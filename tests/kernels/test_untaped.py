"""Calls of Tensors in one step (`bindings/tape/untaped.cpp`) beside NumPy: dtypes, layouts and reductions."""

import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from support.layouts import LAYOUTS, in_layout
from support.refused import refused

KINDS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")
WHOLE = KINDS[:6]
OF_TWO = {"maximum": np.maximum, "minimum": np.minimum, "add": np.add, "mul": np.multiply}
OF_TWO |= {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal}
OF_TWO |= {"gt": np.greater, "ge": np.greater_equal}
every_dtype = pytest.mark.parametrize("dtype", KINDS)
floats = pytest.mark.parametrize("dtype", ["float32", "float64"])


def values(dtype, shape, seed=0):
    """From -4 to 4, from 0 to 4 without a sign."""
    rng = np.random.default_rng(seed)
    return rng.integers(0 if dtype in ("bool", "uint8") else -4, 5, shape).astype(dtype)


def tensors(array):
    """The same values with other strides."""
    return [rv.from_numpy(in_layout(array, layout)) for layout in ("", *LAYOUTS[:3])]


def equal(got, wanted):
    np.testing.assert_array_equal(got.numpy(), wanted, strict=True)


@every_dtype
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 3, 64), (65, 67), (0, 4), (4, 0)])
def test_pairs_of_one_dtype(dtype, shape):
    a, b = values(dtype, shape), values(dtype, shape, 1)
    for x in tensors(a):
        for y in tensors(b):
            for name, function in OF_TWO.items():
                equal(getattr(rv, name)(x, y), function(a, b))


@pytest.mark.parametrize("dtype", WHOLE)
def test_bits_and_shapes_that_broadcast(dtype):
    a, b = values(dtype, (4, 1, 6)), values(dtype, (5, 1), 1)
    for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
        equal(getattr(rv, name)(rv.from_numpy(a), rv.from_numpy(b)), getattr(np, name)(a, b))
    equal(~rv.from_numpy(a), ~a)
    x, y = (rv.from_numpy(values(dtype, n)) for n in ((3,), (4,)))
    refused(ValueError, "[bitwise_and] got shapes (3,) and (4,)", rv.bitwise_and, x, y)


@every_dtype
def test_two_dtypes_and_numbers_of_python_and_numpy(dtype):
    x = values(dtype, (3, 4))
    numbers = True, 2, 2.5, np.int32(2), np.float32(2.5), np.bool_(True)
    for other in (*(values(d, s, 2) for d in KINDS for s in ((3, 4), ())), *numbers):
        plain = other.item() if isinstance(other, np.generic) else other
        operand = rv.from_numpy(other) if isinstance(other, np.ndarray) else other
        wanted = rv.ops.elementwise.dtypes.result_dtype(
            rv.from_numpy(x), operand if operand is not other else plain
        )
        equal(rv.mul(rv.from_numpy(x), operand), x.astype(wanted) * np.asarray(plain, wanted))
        equal(rv.add(operand, rv.from_numpy(x)), np.asarray(plain, wanted) + x.astype(wanted))


def test_numbers_that_a_dtype_cannot_hold():
    x = rv.tensor([1, 2], dtype=rv.uint8)
    refused(ValueError, "[add] got 300; expected a number that uint8 can hold", rv.add, x, 300)
    refused(ValueError, "got -1; expected a number", rv.mul, x, -1)
    assert (x < 300).tolist() == [True, True]
    assert (x == -1).tolist() == [False, False]
    equal(x + 254, np.array([255, 0], np.uint8))


@pytest.mark.parametrize("dtype", WHOLE[1:])
@pytest.mark.parametrize("name", ["remainder", "fmod", "floor_divide"])
def test_divisions_of_integers(name, dtype):
    a, b = values(dtype, (6, 7)), values(dtype, (6, 7), 1)
    b[b == 0] = 3
    divide, x = getattr(rv, name), rv.from_numpy(a)
    for other in (b, np.asarray(3, dtype)):
        equal(divide(x, rv.from_numpy(other) if other.ndim else 3), getattr(np, name)(a, other))
    b[2, 2] = 0
    for zero in (rv.from_numpy(b), 0):
        refused(ValueError, f"[{name}] got integers divided by 0", divide, x, zero)


@every_dtype
@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (4, 3, 64), (66, 65), (0, 3), (3, 0)])
def test_reductions(dtype, shape):
    array = values(dtype, shape)
    axes = [None, *range(-len(shape), len(shape)), *([(0, 1)] if len(shape) > 1 else [])]
    for x in tensors(array):
        for settings in ({"axis": axis, "keepdims": keep} for axis in axes for keep in (False, True)):
            total = x.sum(**settings).numpy()
            exact = np.sum(array, dtype=np.int64 if dtype in WHOLE else dtype, **settings)
            np.testing.assert_allclose(total, exact, rtol=1e-6)
            assert (total.dtype, total.shape) == (exact.dtype, np.shape(exact))
            for name in ("all", "any"):
                wanted = np.asarray(getattr(np, name)(array, **settings))
                equal(getattr(x, name)(**settings), wanted.astype(np.uint8) if dtype == "uint8" else wanted)
            for name in ("amax", "amin") if array.size else ():
                equal(getattr(x, name)(**settings), np.asarray(getattr(np, name)(array, **settings)))


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "float32", "float64"])
def test_where_of_dtypes_that_are_moved(dtype, rng):
    condition = rng.random((5, 6)) > 0.5
    a, b = (rng.integers(0, 2**31, (5, 6)).astype(dtype) for _ in range(2))
    if dtype == "int64":
        a[0, 0], b[0, 0] = 2**62 + 1, -(2**62) - 1
    for x in tensors(a):
        equal(rv.where(rv.from_numpy(condition), x, rv.from_numpy(b)), np.where(condition, a, b))
        equal(rv.where(rv.from_numpy(condition), x, 7), np.where(condition, a, a.dtype.type(7)))
    refused(TypeError, "got a number beside an array of integers", _core.where, condition, 1, np.arange(6))


def test_a_result_keeps_the_order_of_memory():
    x = rv.from_numpy(np.arange(24).reshape(1, 2, 3, 4)).permute(0, 3, 1, 2)
    assert (x + x).stride() == (x == 3).stride() == x.stride()


def test_gradients_are_kept():
    x, y = rv.ones(2, requires_grad=True), rv.tensor([2.0, 3.0])
    pairs = x + y, x * 2, 2 - x, 2 / x, x % 2, rv.maximum(x, y), rv.where(y > 2, x, y)
    assert all(result.requires_grad for result in (*pairs, x.sum(), x.max()))
    assert not any(result.requires_grad for result in (x > y, x == 1, x.any(), y + y, y.sum()))
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
        for t in tensors(x):
            equal(t[rv.from_numpy(mask)], x[mask])
            equal(t[rv.from_numpy(mask[:, 0])], x[mask[:, 0]])
    bytes_ = rv.tensor([0, 5] * 8 + [255], dtype=rv.uint8)  # a mask, as in PyTorch
    equal(rv.from_numpy(x)[bytes_], x[bytes_.numpy() != 0])
    with pytest.raises(IndexError, match="got a mask of shape"):
        rv.from_numpy(x)[rv.ones(16, dtype=rv.bool)]


@every_dtype
def test_slices_and_elements_at_an_index(dtype, rng):
    x = values(dtype, (9, 11))
    rows, places = np.array([3, 0, 8, 3]), rng.integers(0, 11, (9, 20))
    for t in tensors(x):
        equal(t[rv.from_numpy(rows - 9)], x[rows])
        for dim in (0, 1, -1):
            equal(t.index_select(dim, rv.from_numpy(rows)), np.take(x, rows, dim))
        for index in (places, np.asfortranarray(places), places[:5, :3], places[::-1, :1]):
            equal(t.gather(1, rv.from_numpy(index)), np.take_along_axis(x[: len(index)], index, 1))
    for wrong in (11, -1):
        index = places.copy()
        index[7, 5] = wrong
        text = f"got index {wrong} for an axis of length 11; expected 0 to 10"
        refused(IndexError, text, rv.from_numpy(x).gather, 1, rv.from_numpy(index))
    with pytest.raises(IndexError, match="index 9"):
        rv.from_numpy(x)[rv.tensor([9])]


@floats
@pytest.mark.parametrize("reduction", ["max", "min"])
def test_extremes_along_an_axis(reduction, dtype, rng):
    x = rng.integers(0, 5, (4, 7, 6)).astype(dtype)
    x[1, 2, 3] = np.nan
    for t in tensors(x):
        for dim in (-1, 0, 1):
            place = getattr(np, f"arg{reduction}")(x, dim, keepdims=True)
            wanted = np.take_along_axis(x, place, dim)
            for keepdim in (False, True):
                got = getattr(t, reduction)(dim, keepdim)
                equal(got.values, wanted if keepdim else wanted.squeeze(dim))
                equal(got.indices, place if keepdim else place.squeeze(dim))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "int16"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 8, 33])
def test_places_in_sorted_rows(dtype, size, rng):
    row = np.sort(rng.integers(-9, 10, size)).astype(dtype)
    v = rng.integers(-12, 13, (7, 9)).astype(dtype)
    if dtype[0] == "f" and size:
        row[-1], v[0, 0] = np.nan, np.nan
    for right in (False, True):
        wanted = np.searchsorted(row, v, "right" if right else "left")
        for t in tensors(v):
            equal(rv.searchsorted(rv.from_numpy(row), t, right=right), wanted)
        found = rv.bucketize(rv.from_numpy(v), rv.from_numpy(row), right=right, out_int32=True)
        equal(found, wanted.astype(np.int32))
    rows = rv.from_numpy(np.stack([row, row]))
    equal(rv.searchsorted(rows, rv.from_numpy(v[:2])), np.searchsorted(row, v[:2]))


@floats
def test_values_between_two(dtype, rng):
    a, b = rng.normal(size=(2, 5, 33)).astype(dtype)
    for t in tensors(a):
        equal(rv.lerp(t, rv.from_numpy(b), 0.25), a + a.dtype.type(0.25) * (b - a))
        equal(rv.lerp(t, rv.from_numpy(b), 0.75), b + a.dtype.type(0.25) * (a - b))


@floats
@pytest.mark.parametrize("n", [1, 4, 5, 15, 16, 17, 31, 32, 64, 100, 127, 128, 129])
def test_short_lines_in_order(dtype, n, rng):
    x = rng.integers(-3, 4, (6, n)).astype(dtype)  # with many equal elements
    x[1, 0], x[2, -1], x[3] = np.nan, -np.inf, rng.permutation(n)
    x[4] = np.where(rng.random(n) > 0.5, 0.0, -0.0)
    rising = np.argsort(x, 1, kind="stable")
    falling = np.argsort(np.where(np.isnan(x), -np.inf, -x), 1, kind="stable")
    falling[1] = [0, *falling[1][falling[1] != 0]]  # the NaN; -inf of another line is its last
    for t in tensors(x):
        found, order = t.sort(1)
        equal(order, rising)
        equal(found, np.take_along_axis(x, rising, 1))
        equal(t.argsort(1, descending=True), falling)


def test_arrays_that_are_close(rng):
    x = rng.uniform(1, 2, (3, 5)).astype(np.float32)
    for change, near in ((0, True), (1e-7, True), (1e-3, False), (np.nan, False), (np.inf, False)):
        y = x.copy()
        y[1, 2] += change
        assert rv.allclose(rv.from_numpy(x), rv.from_numpy(y)) is near
        assert rv.allclose(rv.from_numpy(y), rv.from_numpy(x)) is near
    ends = rv.tensor([np.inf, -np.inf, 1.0])
    assert rv.allclose(ends, ends.clone())
    assert not rv.allclose(ends, -ends)
    assert not rv.allclose(rv.tensor([1.0]), rv.tensor([np.inf]))
