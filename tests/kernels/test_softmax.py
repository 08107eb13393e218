"""The softmax kernels on raw arrays: rare values, axes and errors; sizes: tests/ops."""

import numpy as np
import pytest
from ranvier import _core, kernels


@pytest.mark.parametrize("n", [7, 200])
def test_infinities_and_nan(n, isa):
    """One line's numbers are nothing to the next; -inf has no weight, +inf and NaN make the line NaN."""
    x = np.zeros((20, n), "float32")
    x[1, 0], x[2, -1], x[3], x[4, n // 2] = np.inf, np.nan, -np.inf, -np.inf
    for view in (x, np.asfortranarray(x)):
        for name in ("softmax", "log_softmax"):
            y = getattr(_core, name)(view, 1)
            assert np.isnan(y[[1, 2, 3]]).any(1).all()
            assert not np.isnan(y[[0, *range(4, 20)]]).any()
        y = _core.softmax(view, 1)
        assert y[4, n // 2] == 0
        np.testing.assert_allclose(y[4].sum(), 1, rtol=1e-6)


@pytest.mark.parametrize("n", [7, 128, 131, 200])
@pytest.mark.parametrize("lowest", [-80, -95, -110, -np.inf])
def test_scores_far_below_the_maximum(n, lowest, isa, rng):
    """Weights down to the subnormal ones keep their bits; below, they are 0."""
    x = rng.uniform(-3, 0, (20, n)).astype("float32")
    x[rng.random(x.shape) < 0.4] = lowest
    x[:, n // 2] = 0
    exact = np.exp(x.astype(float))
    exact /= exact.sum(1, keepdims=True)
    for view in (x, np.asfortranarray(x)):
        y = _core.softmax(view, 1)
        np.testing.assert_allclose(y, exact, rtol=2e-6, atol=2.0**-149)
        far = x == lowest
        np.testing.assert_array_equal(y[far] > 0, np.full(far.sum(), lowest > -100))
        z = _core.log_softmax(view, 1)
        with np.errstate(divide="ignore"):
            wanted = np.where(far, lowest, x) - np.log(np.exp(x.astype(float)).sum(1, keepdims=True))
        np.testing.assert_allclose(z, wanted, rtol=1e-6, atol=1e-6)


def test_negative_axes(rng):
    x = rng.standard_normal((2, 3, 4))
    for function in (kernels.softmax, kernels.log_softmax):
        np.testing.assert_array_equal(function(x), function(x, 2))
        for axis in (-1, -2, -3):
            np.testing.assert_array_equal(function(x, axis), function(x, axis + 3))
