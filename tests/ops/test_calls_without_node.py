"""Calls that the core answers without Python, as no gradient is recorded: their numbers, the order of their
memory, and that no reference to an object is lost or kept.
"""

import sys

import numpy as np
import pytest
import ranvier as rv
from support.layouts import LAYOUTS, in_layout
from support.refused import refused


def test_numbers_that_a_dtype_cannot_hold():
    x = rv.tensor([1, 2], dtype=rv.uint8)
    refused(ValueError, "[add] got 300; expected a number that uint8 can hold", rv.add, x, 300)
    refused(ValueError, "got -1; expected a number", rv.mul, x, -1)
    assert (x < 300).tolist() == [True, True]
    assert (x == -1).tolist() == [False, False]
    assert (x + 254).tolist() == [255, 0]


def test_a_result_keeps_the_order_of_memory():
    x = rv.from_numpy(np.arange(24).reshape(1, 2, 3, 4)).permute(0, 3, 1, 2)
    assert (x + x).stride() == (x == 3).stride() == x.stride()


def test_calls_keep_no_references():
    """After many calls each array, and None, is referred to as often as before."""
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


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "int16", "int32", "int64", "uint64", "float16", "float32", "float64"]
)
@pytest.mark.parametrize("trailing", [(), (1,), (3,)])
def test_an_index_by_a_mask(dtype, trailing, rng):
    x = rng.integers(0, 5, (17, 13, *trailing)).astype(dtype)
    for mask in (rng.random((17, 13)) < 0.5, np.zeros((17, 13), bool), np.ones((17, 13), bool)):
        for t in (rv.from_numpy(in_layout(x, layout)) for layout in ("", *LAYOUTS)):
            np.testing.assert_array_equal(t[rv.from_numpy(mask)].numpy(), x[mask], strict=True)
            np.testing.assert_array_equal(t[rv.from_numpy(mask[:, 0])].numpy(), x[mask[:, 0]], strict=True)
    bytes_ = rv.tensor([0, 5] * 8 + [255], dtype=rv.uint8)  # a mask, as in PyTorch
    np.testing.assert_array_equal(rv.from_numpy(x)[bytes_].numpy(), x[bytes_.numpy() != 0], strict=True)
    with pytest.raises(IndexError, match="got a mask of shape"):
        rv.from_numpy(x)[rv.ones(16, dtype=rv.bool)]
