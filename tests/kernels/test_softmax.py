"""The softmax kernels on raw arrays: every width, memory order, out=."""

import numpy as np
import pytest
from ranvier import _core, kernels
from reference import softmax as reference
from support.tolerance import tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_every_width(name, axis, dtype, isa, rng):
    """Lines of 1 to 2 vectors and a bit, of one tile and two, along and across; out's neighbours are not
    touched."""
    for n in [*range(1, 36), 127, 128, 129, 130, 191, 256, 257]:
        x = rng.uniform(-4, 4, (n, 5) if axis == 0 else (5, n)).astype(dtype)
        dy = rng.uniform(-1, 1, x.shape).astype(dtype)
        block = np.full((x.shape[0], x.shape[1] + 1), 7, dtype)
        y = getattr(_core, name)(x, axis, out=block[:, :-1])
        assert (block[:, -1] == 7).all()
        want = getattr(reference, name)(x.astype(np.float64), axis)
        np.testing.assert_allclose(y, want, rtol=0, atol=tolerance(dtype, n, 8))
        np.testing.assert_allclose(getattr(_core, name)(x, axis), want, rtol=0, atol=tolerance(dtype, n, 8))
        dx = getattr(_core, f"{name}_backward")(dy, y, axis)
        want = getattr(reference, f"{name}_backward")(dy.astype(np.float64), want, axis)
        np.testing.assert_allclose(dx, want, rtol=0, atol=tolerance(dtype, n, 8))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [3, 21, 128, 129, 300])
def test_every_number_of_lines(n, dtype, isa, rng):
    """One vector of lines and some more, in every order of memory: a line gives the same at any place."""
    for lines in [*range(1, 19), 31, 32, 33, 63, 64, 65]:
        x, dy = (rng.uniform(-4, 4, (lines, n)).astype(dtype) for _ in range(2))
        wide = np.zeros((lines, 2 * n), dtype)
        for name in ("softmax", "log_softmax"):
            want = getattr(reference, name)(x.astype(np.float64), 1)
            back = getattr(reference, f"{name}_backward")(dy.astype(np.float64), want, 1)
            for view in (x, np.asfortranarray(x), wide[:, ::2]):
                view[...] = x
                y = getattr(_core, name)(view, 1)
                np.testing.assert_allclose(y, want, rtol=0, atol=tolerance(dtype, n, 8))
                dx = getattr(_core, f"{name}_backward")(dy, y, 1)
                np.testing.assert_allclose(dx, back, rtol=0, atol=tolerance(dtype, n, 8))


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


def test_in_place():
    x = np.linspace(-1, 1, 60, dtype="float32").reshape(3, 20)
    want = _core.softmax(x, 1)
    assert _core.softmax(x, 1, out=x) is x
    np.testing.assert_array_equal(x, want)


def test_errors():
    y = np.ones((2, 3), "float32")
    with pytest.raises(ValueError, match=r"\[softmax\] got dy of shape \(3,\) and y of shape \(2, 3\)"):
        _core.softmax_backward(np.ones(3, "float32"), y, 0)
    with pytest.raises(ValueError, match=r"\[softmax\] got out of shape \(3, 2\); expected \(2, 3\)"):
        _core.softmax(y, 0, out=np.ones((3, 2), "float32"))


def test_negative_axes(rng):
    x = rng.standard_normal((2, 3, 4))
    for function in (kernels.softmax, kernels.log_softmax):
        np.testing.assert_array_equal(function(x), function(x, 2))
        for axis in (-1, -2, -3):
            np.testing.assert_array_equal(function(x, axis), function(x, axis + 3))
