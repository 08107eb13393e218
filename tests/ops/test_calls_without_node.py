"""Calls of integers, which need no node, and errors, which are those of a call with one."""

import numpy as np
import pytest
import ranvier as rv


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "bool"])
def test_whole_numbers_as_numpy(dtype, rng):
    x = rng.integers(0, 2 if dtype == "bool" else 9, (4, 3)).astype(dtype)
    t = rv.tensor(x)
    for axis in (0, 1, -1):
        values, places = t.max(axis)
        np.testing.assert_array_equal(values.numpy(), x.max(axis))
        np.testing.assert_array_equal(places.numpy(), x.argmax(axis))
        np.testing.assert_array_equal(t.argmin(axis, keepdim=True).numpy(), x.argmin(axis, keepdims=True))
        np.testing.assert_array_equal(t.prod(axis).numpy(), x.prod(axis, dtype=np.int64))
    assert t.argmax().item() == x.argmax()
    assert t.prod().dtype is rv.int64
    np.testing.assert_array_equal(rv.nonzero(t).numpy(), np.argwhere(x))
    if dtype != "bool":
        np.testing.assert_array_equal(t.clamp(2, 5).numpy(), x.clip(2, 5))
        np.testing.assert_array_equal(t.clamp(max=3).numpy(), np.minimum(x, x.dtype.type(3)))
        np.testing.assert_array_equal((t**2).numpy(), x**2)
        assert t.clamp(2, 5).dtype is t.dtype


def test_lists_of_whole_numbers():
    for data in ([1, 2], [[1], [2]], [True, 3], 5):
        assert rv.tensor(data, dtype=rv.int64).tolist() == np.array(data, np.int64).tolist()
    assert rv.LongTensor([1, 2]).dtype is rv.int64
    assert rv.tensor([1.5, -2.7], dtype=rv.int64).tolist() == [1, -2]
    assert rv.tensor([True, False], dtype=rv.int64).tolist() == [1, 0]


def test_indices_of_unequal_shapes_are_broadcast(rng):
    x = rng.standard_normal((6, 5)).astype("float32")
    rows, columns = rng.integers(-6, 6, (4, 1)), rng.integers(0, 5, 3)
    np.testing.assert_array_equal(rv.tensor(x)[rv.tensor(rows), rv.tensor(columns)].numpy(), x[rows, columns])
    with pytest.raises(IndexError, match=r"\[getitem\] got index 6 for an axis of length 6"):
        rv.tensor(x)[rv.tensor([6]), rv.tensor([0])]
    with pytest.raises(IndexError, match=r"\[getitem\] got indices of shapes"):
        rv.tensor(x)[rv.tensor([1, 2]), rv.tensor([0, 1, 2])]


@pytest.mark.parametrize("keepdim", [None, 0, 1])
def test_keepdim_is_true_or_false(keepdim):
    with pytest.raises(TypeError, match=r"\[argmax\] got keepdim .*; expected True or False"):
        rv.zeros(2, 3).argmax(0, keepdim=keepdim)


def test_shapes_that_no_tensor_has():
    with pytest.raises(ValueError, match=r"\[randint\] got shape .*; expected at most 8 dimensions"):
        rv.randint(0, 2**40, (1,) * 9)
    with pytest.raises(MemoryError, match=r"\[randint\] .*; expected a result that fits in memory"):
        rv.randint(0, 10, (2**63,))
