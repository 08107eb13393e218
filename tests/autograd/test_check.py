"""Questions about Tensors."""

import numpy as np
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
    assert rv.allclose(x, np.ones(2) + 1e-3, atol=1e-2)
    assert rv.equal(x, np.ones(2))
    assert not rv.equal(x, np.ones(3))
    assert rv.is_tensor(x)
    assert not rv.is_tensor(np.ones(2))
    assert rv.numel(x) == 2
