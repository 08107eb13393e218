"""Elements picked by keys, and put there: x[key] and x[key] = value for all kinds of keys, beside NumPy, or
beside the NumPy expression that means what PyTorch's rule means.
"""

from collections import deque

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from samples.index import BACKWARDS, KEYS, KEYS_WITH_NUMBERS, MASKS, I, J
from support.refused import refused

X, ALL = (2, 3, 4, 5), slice(None)


@pytest.mark.parametrize(
    ("key", "same"),
    [
        ((0, ALL, I), lambda x: x[0][:, I]),
        ((1, ..., J), lambda x: x[1][..., J]),
        ((I, 0, ALL, J), lambda x: x[:, 0][I, :, J]),
        ((I, ALL, np.array(1)), lambda x: x[:, :, 1][I]),
    ],
    ids=["one", "ellipsis", "between", "array"],
)
def test_numbers_are_taken_first(key, same):
    """As in PyTorch; NumPy gives another shape."""
    x = np.arange(120.0).reshape(X)
    np.testing.assert_array_equal(rv.tensor(x)[key].numpy(), same(x), strict=True)


T, V = np.array([0, 2, 1]), np.array([1, 3, 0])
ROWS = np.array([True, False, True])


@pytest.mark.parametrize(
    ("given", "same"),  # a sequence, and the key that NumPy reads as PyTorch reads it
    [
        ([ALL, slice(1, 3)], (ALL, slice(1, 3))),
        ([..., 0], (..., 0)),
        ([None, 1], (None, 1)),
        ([None], (None,)),
        ([rv.tensor(T), rv.tensor(V)], (T, V)),
        ([rv.tensor(T)], (T,)),
        ([rv.tensor(T), 1], (T, 1)),
        ([1, rv.tensor(V)], (1, V)),
        ([rv.tensor(1), rv.tensor(2)], (1, 2)),
        ([rv.tensor(1)], (1,)),
        ([T, V], (T, V)),
        ([rv.tensor(T), slice(1, 3)], (T, slice(1, 3))),
        ([[0, 1], [1, 2]], ([0, 1], [1, 2])),
        ([[0, 1]], ([0, 1],)),
        ([(0, 1), range(2)], ([0, 1], [0, 1])),
        ([[[0, 1]], [[1], [2]]], ([[0, 1]], [[1], [2]])),
        ([0, [1, 2]], (0, [1, 2])),
        ([[True, False, True], ..., 1], (ROWS, 1)),
        ([rv.tensor(ROWS)], (ROWS,)),
        ([0, 2], np.array([0, 2])),
        ([True, False, True], ROWS),
        (range(2), np.arange(2)),
        ([], np.zeros(0, int)),
        (deque([0, 2]), np.array([0, 2])),
        (deque([rv.tensor(T), rv.tensor(V)]), (T, V)),
        ([np.int64(1), np.int64(2)], np.array([1, 2])),
        ([[0, 1]] * 40, np.array([[0, 1]] * 40)),  # 32 parts and more
        ([rv.tensor(1)] * 32, np.ones(32, int)),
        (([rv.tensor(0), rv.tensor(2)], [1, 2]), ([0, 2], [1, 2])),
        (((0, 1), range(1, 3)), ([0, 1], [1, 2])),
    ],
    ids=str,
)
def test_a_sequence_is_a_tuple_or_an_index(given, same):
    """Read, gradient of the read, written and added to: as NumPy with the key `same`."""
    x = np.arange(12.0).reshape(3, 4)
    leaf = rv.tensor(x, requires_grad=True)
    y = leaf[given]
    np.testing.assert_array_equal(y.detach().numpy(), x[same], strict=True)
    y.sum().backward()
    expected = np.zeros_like(x)
    np.add.at(expected, same, 1)
    np.testing.assert_array_equal(leaf.grad.numpy(), expected)
    for of in (rv.tensor(x), leaf * 1):  # off the tape and on it
        put, added, changed, more = of.clone(), of.clone(), x.copy(), x.copy()
        put[given], changed[same] = -1.0, -1.0
        added[given] += 100
        more[same] += 100
        np.testing.assert_array_equal(put.detach().numpy(), changed)
        np.testing.assert_array_equal(added.detach().numpy(), more)


def test_a_list_with_slices_gives_a_view():
    x = rv.zeros(3, 4)
    x[[slice(1), 1]].fill_(5.0)
    assert x.sum().item() == 5
    refused(IndexError, "[getitem] got lists of unequal lengths", lambda: x[([[0, 1], [1]],)])
    refused(IndexError, "[setitem] got lists of unequal lengths", x.__setitem__, ([[0, 1], [1]],), 1.0)


@pytest.mark.parametrize("dtype", [rv.bool, rv.int32, rv.int64, rv.float32, rv.float64], ids=str)
def test_assignment_goes_where_the_key_reads(dtype):
    for key in (*KEYS, *MASKS, *BACKWARDS, *KEYS_WITH_NUMBERS):
        x = rv.zeros(X, dtype=dtype)
        x[key] = 1
        assert x[key].numpy().all()
        assert x.sum().item() == np.unique(rv.arange(120).reshape(X)[key].numpy()).size


def test_layouts_of_two_axes(rng, threads):
    """Two index arrays into axes that are not one in memory; many picks of few places, at any team size."""
    x = rng.standard_normal((7, 6, 5)).astype(np.float32)
    i, j = rng.integers(0, 7, 5000), rng.integers(0, 6, 5000)
    for y in (x, np.asfortranarray(x), x[:, ::-1]):
        runs = set()
        for count in (1, 2, 3):
            threads(count)
            leaf = rv.from_numpy(y).requires_grad_()
            out = leaf[i, j]
            np.testing.assert_array_equal(out.detach().numpy(), y[i, j])
            (out * out).sum().backward()
            runs.add(leaf.grad.numpy().tobytes())
        assert len(runs) == 1


def test_integers_are_picked_and_put_within_range():
    """Refused floats are in the samples."""
    y, last = rv.zeros(3, 4, dtype=rv.int64), rv.tensor([[-1]])
    one = y[:1, :1]
    refused(IndexError, "[index_select] got index -1", y.index_select, 0, rv.tensor([1, -1]))
    refused(IndexError, "[index_add] got index -2; expected", y.index_add, 0, rv.tensor([-2]), y[:1])
    refused(IndexError, "[index_add] got index -1; expected", y.index_add_, 1, rv.tensor([-1]), y[:, :1])
    refused(IndexError, "[index_copy] got index -3; expected", y.index_copy, 0, rv.tensor([-3]), y[:1])
    refused(IndexError, "[gather] got index -1 for an axis", y.gather, 1, last)
    refused(IndexError, "[take_along_dim] got index -1 for an axis", ops.take_along_dim, y, last)
    for call in (y.scatter, y.scatter_, y.scatter_add, y.scatter_add_):
        refused(IndexError, "got index -1", call, 0, last, one)
    refused(IndexError, "[scatter] got index -1", ops.scatter, y, 0, last, one, reduce="multiply")
    for reduction in ("sum", "mean", "amax"):
        refused(IndexError, "[scatter_reduce] got", ops.scatter_reduce, y, 0, last, one, reduction)
    assert not y.numpy().any()


def test_a_tensor_of_uint8_is_a_mask():
    """As in PyTorch, not an array of places."""
    w = rv.tensor([1.0, 2.0, 3.0], requires_grad=True)
    mask = rv.tensor([1, 0, 2], dtype=rv.uint8)
    y = rv.arange(3.0).index_put((mask,), rv.tensor([5.0, 6.0]), accumulate=True)
    assert y.tolist() == [5.0, 1.0, 8.0]
    assert rv.where(mask, 1.0, 2.0).tolist() == [1.0, 2.0, 1.0]
    assert rv.where(mask)[0].tolist() == [0, 2]
    y = w[mask]
    assert y.tolist() == [1.0, 3.0]
    y.sum().backward()
    assert w.grad.tolist() == [1.0, 0.0, 1.0]
    x = rv.arange(6.0).reshape(2, 3)
    assert x[:, mask].tolist() == [[0.0, 2.0], [3.0, 5.0]]
    x[0, mask] = 9.0
    assert x.tolist() == [[9.0, 1.0, 9.0], [3.0, 4.0, 5.0]]
    assert w.detach()[mask.long()].tolist() == [2.0, 1.0, 3.0]
    assert w.detach()[mask.numpy()].tolist() == [2.0, 1.0, 3.0]  # NumPy's rule for NumPy's arrays
    refused(IndexError, "got a mask of shape (3,) for dimensions (2,)", lambda: rv.ones(2)[mask])


@pytest.mark.parametrize(
    "key", [rv.tensor([True, True, False]), rv.tensor([0, 1]), [0, 1], rv.tensor([1, 1, 0]) > 0]
)
def test_leading_dimensions_of_size_1_of_a_value_are_dropped(key):
    for value in (rv.tensor([[5.0, 6.0]]), rv.tensor([[[5.0, 6.0]]], requires_grad=True)):
        x = rv.zeros(3)
        x[key] = value
        assert x.tolist() == [5.0, 6.0, 0.0]
    x = rv.zeros(3)
    text = "[setitem] got a value of shape (2, 1, 2) for (2,)"
    refused(ValueError, text, x.__setitem__, key, rv.ones(2, 1, 2))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32"])
@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 5), (2, 3, 4, 2), (7, 1)])
def test_several_vectors_of_places(dtype, shape, rng):
    """Vectors of one shape, with places from the end too, in any memory order; beside NumPy."""
    a = (100 * rng.standard_normal(shape)).astype(dtype)
    for n in range(2, len(shape) + 1):
        for size in ((4,), (2, 3), (0,), (1, 1)):
            keys = [rng.integers(-length, length, size) for length in shape[:n]]
            for kind in (np.int64, np.int32):
                key = tuple(rv.tensor(k.astype(kind)) for k in keys)
                for x in (rv.tensor(a), rv.tensor(a.T.copy()).permute(*range(len(shape))[::-1])):
                    np.testing.assert_array_equal(x[key].numpy(), a[tuple(keys)], strict=True)
    for places in ([0, shape[1]], [0, -shape[1] - 1]):
        key = (rv.tensor([0, 0]), rv.tensor(places))
        refused(IndexError, "for an axis of length", rv.tensor(a).__getitem__, key)
