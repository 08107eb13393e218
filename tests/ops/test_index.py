"""Elements picked by keys, and put there."""

from collections import deque

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference.shape import moved_backward
from support.op_case import OpCase
from support.refused import refused

X = (2, 3, 4, 5)
ALL = slice(None)
I, J = np.array([1, 0, 1]), np.array([[1], [0]])
KEYS = (
    1,
    -1,
    (ALL, 2),
    (0, 1, 2, 3),
    (slice(None, None, 2), ..., slice(4, None, -2)),
    (None, 1, ..., None),
    slice(5, 5),
    I,
    (ALL, np.array([2, 0, -3])),
    (I, np.array([2, 2, 2])),
    np.arange(6).reshape(2, 3) % 2 == 0,
    (ALL, ALL, np.arange(20).reshape(4, 5) % 3 == 0),
    np.arange(120).reshape(X) % 7 == 0,
    [1, 1],
    (I, ALL, I),
    (J, I),
    (..., J, I),
    (None, I, ALL, None, J),
    (I, slice(1, 3), slice(None, None, -2), I),
    ([True, False], ALL, [0, 3]),
    np.zeros(0, int),
    (np.zeros((2, 0), int), I[:0]),
)
TORCH_KEYS = ((0, ALL, I), (1, ..., J), (I, 0, ALL, J), (I, ALL, np.array(1)))  # NumPy gives other shapes


class PickCase(OpCase):
    """y = some elements of x"""

    shape = X

    def reduction(self, x):
        return max(8, x.size)

    def reference(self, x):
        return self.move(x)

    def reference_backward(self, dy, x):
        return (moved_backward(dy, x, self.move),)


class TestGetItem(PickCase):
    op_name = ()
    variants = tuple({"key": key} for key in KEYS)
    draw = None  # see below

    def large_inputs(self, rng, dtype):
        return self.sized(rng, dtype, (2, 3, 40, 500) if self.key is I else X)

    def op(self, x):
        return x[self.key]

    def move(self, x):
        return np.asarray(x[self.key])


class TestGetItemAsPyTorch(PickCase):
    op_name = ()
    variants = tuple({"key": key} for key in TORCH_KEYS)

    def drawn_shape(self, rng):
        return X

    def op(self, x):
        return x[self.key]

    def move(self, x):  # numbers first
        key = tuple(int(k) if np.ndim(k) == 0 and isinstance(k, np.ndarray) else k for k in self.key)
        key = (
            (*key, *[ALL] * (4 - len(key)))
            if not any(k is ... for k in self.key)
            else (key[0], ALL, ALL, key[-1])
        )
        view = x[tuple(k if isinstance(k, int) else ALL for k in key)]
        return view[tuple(k for k in key if not isinstance(k, int))]


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


def test_assignment_goes_where_the_key_reads():
    for key in (*KEYS, *TORCH_KEYS):
        x = rv.zeros(X)
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


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (np.array([3]), "[gather] got index 3 for an axis of length 3; expected -3 to 2"),
        ((I, np.array([7, 0, 0])), "[getitem] got index 7 for an axis of length 4; expected -4 to 3"),
        (np.zeros(2, bool), "[getitem] got a mask of shape (2,) for dimensions (3,)"),
        (1.5, "[getitem] got an index of float; expected integers"),
        (np.array([1.0]), "[getitem] got an index of float64"),
        ((I, np.arange(2)), "[getitem] got indices of shapes (3,), (2,); expected shapes that broadcast"),
        ((I, 0, 0), "[getitem] got an index of 3 dimensions for x of shape (3, 4)"),
        ((0, I + 5), "[gather] got index 6"),
        ((4, I), "[getitem] got index 4 for an axis of length 3"),
    ],
)
def test_wrong_keys(key, text):
    refused(IndexError, text, lambda: rv.zeros(3, 4)[key])


def test_wrong_calls():
    x, index = rv.zeros(3, 4), rv.tensor([[0], [1]])
    refused(TypeError, "[gather] got index of dtype float32; expected integers", x.gather, 0, rv.zeros(3, 4))
    text = "[gather] got index of shape (5, 1) for x of shape (3, 4)"
    refused(ValueError, text, x.gather, 1, rv.zeros(5, 1, dtype=rv.int64))
    refused(ValueError, "[take_along_dim] got indices of shape (2, 1)", x.take_along_dim, index, 1)
    refused(ValueError, "[index_select] got index of shape (2, 1)", x.index_select, 0, index)
    refused(IndexError, "[index_select] got index 1 to 5", x.index_select, 0, rv.tensor([1, 5]))
    for dtype in (rv.float32, rv.int64):
        y = x.to(dtype)
        refused(IndexError, "[index_select] got index -1", y.index_select, 0, rv.tensor([1, -1]))
        refused(IndexError, "[index_add] got index -2; expected", y.index_add, 0, rv.tensor([-2]), y[:1])
        refused(IndexError, "[index_add] got index -1; expected", y.index_add_, 1, rv.tensor([-1]), y[:, :1])
        assert y.tolist() == x.tolist()
        refused(IndexError, "[index_copy] got index -3; expected", y.index_copy, 0, rv.tensor([-3]), y[:1])
        last, one = rv.tensor([[-1]]), y[:1, :1]
        refused(IndexError, "[gather] got index -1 for an axis", y.gather, 1, last)
        refused(IndexError, "[take_along_dim] got index -1 for an axis", ops.take_along_dim, y, last)
        for call in (y.scatter, y.scatter_, y.scatter_add, y.scatter_add_):
            refused(IndexError, "got index -1", call, 0, last, one)
        refused(IndexError, "[scatter] got index -1", ops.scatter, y, 0, last, one, reduce="multiply")
        for reduction in ("sum", "mean", "amax"):
            refused(IndexError, "[scatter_reduce] got", ops.scatter_reduce, y, 0, last, one, reduction)
        assert y.tolist() == x.tolist()
        assert ops.take_along_dim(y, last, 0).tolist() == [[0, 0, 0, 0]]  # PyTorch takes these
    assert x.take(rv.tensor([-1])).tolist() == [0]
    refused(TypeError, "[masked_select] got mask of dtype float32; expected bool", x.masked_select, x)
    refused(ValueError, "[scatter] got index of shape (2, 1), ", x.scatter, 1, index, rv.ones(1, 1))
    text, double = "[scatter_add] got src of dtype float64 for x of dtype float32", index.double()
    refused(TypeError, text, x.scatter_add, 1, index, double)
    refused(ValueError, "[index_add] got x of shape (3, 4)", x.index_add, 0, rv.tensor([0]), rv.ones(2, 4))
    refused(TypeError, "[scatter] got src and value, or neither", x.scatter, 1, index)


@pytest.mark.parametrize("dtype", [rv.float32, rv.int64, rv.bool])
def test_gather_names_an_index_out_of_range(dtype):
    x = rv.ones(2, 3).to(dtype)
    with pytest.raises(IndexError, match=r"\[gather\] got index 3 for an axis of length 3; expected 0 to 2"):
        x.gather(1, rv.tensor([[0, 3]]))
    text = "[take_along_dim] got index -4 for an axis of length 3; expected -3 to 2"
    refused(IndexError, text, x.take_along_dim, rv.tensor([[-4]]), 1)


def test_a_tensor_of_uint8_is_a_mask():
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
    """Of one shape, from the end too, in any memory order; beside NumPy."""
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
