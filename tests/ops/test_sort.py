"""Elements in order, forward and backward, against the references."""

import numpy as np
import pytest
import ranvier as rv
from reference import reduce as reference
from reference.shape import moved_backward
from support.draws import any_axis, any_shape
from support.op_case import OpCase
from support.refused import refused


class TestSort(OpCase):
    op_name = ("sort", "topk", "kthvalue", "median")
    module = reference
    variants = (
        {"name": "sort", "axis": 0, "settings": (False,)},
        {"name": "sort", "axis": 1, "settings": (True,)},
        {"name": "sort", "axis": -1, "settings": (False,)},
        {"name": "topk", "axis": -1, "settings": (3, True)},
        {"name": "topk", "axis": 0, "settings": (5, False)},
        {"name": "kthvalue", "axis": 1, "settings": (2, True)},
        {"name": "kthvalue", "axis": -1, "settings": (19, False)},
        {"name": "median", "axis": 0, "settings": (False,)},
        {"name": "median", "axis": 1, "settings": (True,)},
    )
    shape = (6, 3, 19)

    def sized(self, rng, dtype, shape):
        return (rng.permutation(int(np.prod(shape))).reshape(shape).astype(dtype) / 64,)  # no ties

    def large_inputs(self, rng, dtype):
        return (rng.integers(0, 99, (31, 37, 53)).astype(dtype),)

    def draw(self, rng, dtype):
        shape = rng.integers(1, 70, rng.integers(1, 4))
        axis = any_axis(rng, len(shape))
        name = TestSort.op_name[rng.integers(4)]
        flag, k = bool(rng.integers(2)), int(rng.integers(1, shape[axis] + 1))
        settings = (flag,) if name in ("sort", "median") else (k, flag)
        return {"name": name, "axis": axis, "settings": settings}, self.sized(rng, dtype, shape)

    def after(self, *arrays):
        """(k, axis, flag) or (axis, flag)"""
        return (*self.settings[:-1], self.axis, self.settings[-1])

    def op(self, x):
        return tuple(super().op(x))

    def reference_backward(self, dy, x):
        order = np.asarray(self.reference(x)[1])
        keep = order.ndim == x.ndim
        order = order if keep else np.expand_dims(order, self.axis)
        dy = dy if keep else np.expand_dims(dy, self.axis)
        return (moved_backward(dy, x, lambda a: np.take_along_axis(a, order, self.axis)),)


class TestSortWithoutElements(TestSort):
    op_name = ()
    variants = TestSort.variants[:2]
    empty = (2, 0, 3)


class TestArgsort(OpCase):
    op_name = "argsort"
    module = reference
    differentiable = False
    arguments = ("axis", "descending")
    variants = tuple({"axis": axis, "descending": d} for axis in (0, 1, -1) for d in (False, True))
    shape = (6, 3, 70)

    def sized(self, rng, dtype, shape):
        return (rng.integers(0, 9, shape).astype(dtype),)  # with ties, which keep their order

    def draw(self, rng, dtype):
        shape = any_shape(rng, least=1)
        settings = {"axis": any_axis(rng, len(shape)), "descending": bool(rng.integers(2))}
        return settings, self.sized(rng, dtype, shape)


def test_nan_is_greatest():
    x = rv.tensor([2.0, float("nan"), 1.0, float("inf")])
    assert x.argsort().tolist() == [2, 0, 3, 1]
    assert x.argsort(descending=True).tolist() == [1, 3, 0, 2]
    assert x.topk(1).indices.tolist() == [1]
    values, indices = x.median(0)
    assert rv.isnan(values).item()
    assert indices.item() == 1


def test_median_of_everything():
    x = rv.tensor([[3.0, 1.0], [2.0, 9.0]], requires_grad=True)
    y = x.median()
    y.backward()
    assert (y.item(), x.grad.tolist()) == (2, [[0, 0], [1, 0]])


def test_integers_and_numbers():
    x = rv.tensor([3, 1, 3, 2])
    assert x.sort().values.tolist() == [1, 2, 3, 3]
    assert x.argsort(descending=True).tolist() == [0, 2, 3, 1]
    assert x.topk(2).indices.tolist() == [0, 2]
    assert x.median().item() == 2
    assert x.kthvalue(1).indices.item() == 1
    assert x.kthvalue(rv.tensor(1)).values.item() == x.kthvalue(1).values.item()
    assert rv.tensor([True, False]).argsort().tolist() == [1, 0]
    for found in (rv.tensor(3.0).sort(), rv.tensor(3.0).topk(1), rv.tensor(3).median(0)):
        assert (found.values.item(), found.indices.item()) == (3, 0)


def test_topk_of_none():
    x = rv.ones(2, 3, requires_grad=True)
    for dim, shape in ((0, (0, 3)), (1, (2, 0))):
        values, indices = x.topk(0, dim)
        assert (values.shape, indices.shape, indices.dtype) == (shape, shape, rv.int64)
        values.sum().backward()
    assert x.grad.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_wrong_calls():
    x = rv.zeros(2, 3)
    refused(ValueError, "[topk] got k 4 for a dimension of 3; expected 0 to 3", x.topk, 4)
    refused(ValueError, "[kthvalue] got k 0 for a dimension of 3; expected 1 to 3", x.kthvalue, 0)
    refused(TypeError, "[topk] got k 1.5; expected a whole number", x.topk, 1.5)
    refused(IndexError, "[sort] got dim 2 for 2 dimensions", x.sort, 2)
    refused(ValueError, "[median] got x of shape (0,), empty along 0", rv.zeros(0).median)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "bool"])
def test_integers_are_in_order_as_numpys(dtype, rng):
    """Also those that no float has, and equal ones, whose order stays."""
    draws = [rng.integers(0, 2, (3, 50)), rng.integers(-100, 100, (3, 50))]
    if dtype == "int64":
        draws.append(2**60 + rng.integers(0, 9, (3, 50)))
    for x in draws:
        a = x.astype(dtype)
        t, order = rv.tensor(a), np.argsort(a, 1, kind="stable")
        for descending in (False, True):
            values, indices = rv.sort(t, 1, descending)
            if descending:
                order = 49 - np.argsort(a[:, ::-1], 1, kind="stable")[:, ::-1]
            np.testing.assert_array_equal(indices.numpy(), order)
            np.testing.assert_array_equal(values.numpy(), np.take_along_axis(a, order, 1), strict=True)
        largest, _ = rv.topk(t, 3, 1)
        np.testing.assert_array_equal(largest.numpy(), np.sort(a, 1)[:, ::-1][:, :3], strict=True)
        middle = np.sort(a, 1)[:, 24]
        np.testing.assert_array_equal(rv.median(t, 1).values.numpy(), middle, strict=True)
        assert rv.median(t).item() == np.sort(a, None)[74]
        best, places = rv.cummax(t, 1)
        np.testing.assert_array_equal(best.numpy(), np.maximum.accumulate(a, 1), strict=True)
        np.testing.assert_array_equal(np.take_along_axis(a, places.numpy(), 1), best.numpy())
        values, places = rv.mode(t, 1)
        for row, value, place in zip(a, values.numpy(), places.numpy(), strict=True):
            each, counts = np.unique(row, return_counts=True)
            assert value == each[counts.argmax()]
            assert place == np.flatnonzero(row == value)[-1]
