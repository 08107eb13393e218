"""clip with tensors as limits: values, and where the gradient goes, at equal values and NaN too."""

import itertools

import numpy as np
import pytest
import ranvier as rv

NAN = float("nan")


def clipped(library, x, low, high):
    """The result, and the gradients of all three."""
    parts = [
        None if v is None else library.tensor(v, dtype=library.float64, requires_grad=True)
        for v in (x, low, high)
    ]
    y = library.clip(*parts)
    (y * library.arange(1.0, 1.0 + y.numel())).sum().backward()
    return [y.tolist(), *(None if p is None else p.grad.tolist() for p in parts)]


def test_where_the_gradient_goes():
    got = clipped(rv, [-1.0, 0.0, 0.5, 1.0, 2.0], [0.0] * 5, [1.0] * 5)
    assert got == [[0, 0, 0.5, 1, 1], [0, 2, 3, 4, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 5]]
    assert clipped(rv, [1.0, 3.0], [1.0, 4.0], None) == [[1, 4], [1, 0], [0, 2], None]
    assert clipped(rv, [1.0, 3.0], None, [1.0, 2.0]) == [[1, 2], [1, 0], None, [0, 2]]
    assert clipped(rv, [5.0, 0.0], 3.0, [1.0, 3.0]) == [[1, 3], [0, 0], 0, [1, 0]]


@pytest.mark.parametrize("use", ["both", "low", "high", "one low"])
def test_equal_values_and_nan_against_torch(use, torch):
    drawn = itertools.product((-1.0, 0.0, 1.0, NAN), (-1.0, 0.0, NAN), (-1.0, 0.0, NAN))
    x, low, high = map(list, zip(*drawn, strict=True))
    limits = {"both": (low, high), "low": (low, None), "high": (None, high), "one low": (0.0, high)}[use]
    for got, expected in zip(clipped(rv, x, *limits), clipped(torch, x, *limits), strict=True):
        assert (got is None) == (expected is None)
        if got is not None:
            np.testing.assert_array_equal(got, expected)


def test_limits_of_another_dtype_meet_in_the_wider():
    x = rv.tensor([-2.0, 2.0], requires_grad=True)
    low = rv.tensor([-1, -1])
    high = rv.ones(2, dtype=rv.float64, requires_grad=True)
    y = x.clamp(low, high)
    assert (y.dtype, y.tolist()) == (np.float64, [-1, 1])
    y.sum().backward()
    assert (x.grad.dtype, x.grad.tolist(), high.grad.tolist()) == (np.float32, [0, 0], [0, 1])
    whole = rv.tensor([5, -5]).clamp(low, rv.tensor(3))
    assert (whole.dtype, whole.tolist()) == (np.int64, [3, -1])
