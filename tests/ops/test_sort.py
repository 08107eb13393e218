"""Order of NaN, integers and single numbers."""

import numpy as np
import pytest
import ranvier as rv


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
