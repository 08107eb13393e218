"""Calls of Tensors in one step (`bindings/tape/untaped.cpp`) beside NumPy: dtypes, layouts and reductions."""

import sys

import numpy as np
import pytest
import ranvier as rv
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


def test_a_result_keeps_the_order_of_memory():
    x = rv.from_numpy(np.arange(24).reshape(1, 2, 3, 4)).permute(0, 3, 1, 2)
    assert (x + x).stride() == (x == 3).stride() == x.stride()


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
