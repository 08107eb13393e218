"""Questions about Tensors."""

import itertools
import math

import numpy as np
import pytest
import ranvier as rv


def test_where_numbers_are_not_finite():
    x = rv.tensor([1.0, float("nan"), float("inf")])
    assert rv.isnan(x).tolist() == [False, True, False]
    assert rv.isinf(x).tolist() == [False, False, True]
    assert rv.isfinite(x).tolist() == [True, False, False]
    assert rv.isnan(rv.tensor(1.0)).shape == ()


def test_comparisons_of_whole_tensors():
    x = rv.ones(2, requires_grad=True)
    assert rv.allclose(x, np.ones(2) + 1e-7)
    assert not rv.allclose(x, np.ones(2) + 1e-3)
    with pytest.raises(ValueError, match=r"\[allclose\] got shapes \(2,\) and \(4,\)"):
        rv.allclose(x, rv.ones(4))
    assert rv.allclose(x, np.ones(2) + 1e-3, atol=1e-2)
    assert rv.equal(x, np.ones(2))
    assert not rv.equal(x, np.ones(3))
    assert rv.is_tensor(x)
    assert not rv.is_tensor(np.ones(2))
    assert rv.numel(x) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_allclose_is_as_numpys(dtype):
    values = (
        [0, 1, 2, 1000] if dtype == np.int64 else [0.0, 1.0, 1.01, -1.0, 3e38, math.inf, -math.inf, math.nan]
    )
    for a, b in itertools.product(values, repeat=2):
        x, y = np.array([1, a], dtype), np.array([1, b], dtype)
        for rtol, atol, equal_nan in (
            (1e-5, 1e-8, False),
            (0.1, 0.0, True),
            (0, 2.5, False),
            (10.0, 0.0, False),
        ):
            with np.errstate(over="ignore"):
                expected = np.allclose(x, y, rtol, atol, equal_nan)
                seen = rv.allclose(rv.tensor(x), rv.tensor(y), rtol, atol, equal_nan)
            assert seen is expected, (a, b, rtol, atol)


def test_equal_compares_values_not_bits():
    zeros, nan = rv.tensor([0.0, -0.0]), rv.tensor([1.0, math.nan])
    assert rv.equal(zeros, -zeros)
    assert not rv.equal(nan, nan)
    assert rv.equal(rv.zeros(0), rv.zeros(0))
    assert rv.equal(rv.tensor(2), rv.tensor(2.0))
    assert not rv.equal(rv.zeros(2, 1), rv.zeros(1, 2))
    assert rv.equal(rv.arange(12).reshape(3, 4).T, rv.arange(12).reshape(3, 4).T.contiguous())
