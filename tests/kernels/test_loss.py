"""The loss kernels on raw arrays: every width, memory order, out=, errors."""

from __future__ import annotations

import numpy as np
import pytest
from ranvier import _core
from ranvier.reference import loss as reference
from support.layouts import LAYOUTS, in_layout
from support.tolerance import tolerance

NAMES = ("mse", "bce", "bce_with_logits")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_every_width(name, dtype, isa, rng):
    """Sums take in no lane beyond the last element; out's neighbours are not touched."""
    for n in range(1, 38):
        x, t = (rng.uniform(0.1, 0.9, n).astype(dtype) for _ in range(2))
        wide = (x.astype(np.float64), t.astype(np.float64))
        for reduction in ("sum", "mean", "none"):
            want = getattr(reference, name)(*wide, reduction)
            got = getattr(_core, name)(x, t, reduction)
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(dtype, n, 3))
        out = np.full(n + 1, 7, dtype)
        getattr(_core, name)(x, t, "none", out=out[:n])
        assert out[n] == 7
        getattr(_core, f"{name}_backward")(np.ones((), dtype), x, t, "sum", out=out[:n])
        want = getattr(reference, f"{name}_backward")(np.ones(()), *wide, "sum")[0]
        np.testing.assert_allclose(out[:n], want, rtol=0, atol=tolerance(dtype, 1, 12))
        assert out[n] == 7


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_layouts(name, layout, rng):
    x, t, dy = (rng.uniform(0.1, 0.9, (2, 5, 3, 7)).astype("float32") for _ in range(3))
    want = getattr(_core, name)(x, t, "sum")
    got = getattr(_core, name)(in_layout(x, layout), t, "sum")
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance("float32", x.size, 3))
    back = getattr(_core, f"{name}_backward")
    np.testing.assert_array_equal(
        back(in_layout(dy, layout), in_layout(x, layout), t, "none"), back(dy, x, t, "none")
    )


@pytest.mark.parametrize("n", range(1, 36))
def test_cross_entropy_of_every_width(n, isa, rng):
    x = rng.uniform(-4, 4, (5, n)).astype("float32")
    index, p = rng.integers(0, n, 5), rng.uniform(0, 1, (5, n)).astype("float32")
    for target in (index, p):
        want = reference.cross_entropy(x.astype(np.float64), target, "none")
        loss, log_sum_exp = _core.cross_entropy(x, target, "none")
        np.testing.assert_allclose(loss, want, rtol=0, atol=tolerance("float32", n, 10))
        dx = _core.cross_entropy_backward(np.ones(5, "float32"), x, target, log_sum_exp, "none")
        want, _ = reference.cross_entropy_backward(np.ones(5), x.astype(np.float64), target, "none")
        np.testing.assert_allclose(dx, want, rtol=0, atol=tolerance("float32", n, 10))


def test_backward_errors():
    x, dy = np.zeros((4, 3), "float32"), np.ones((), "float32")
    index = np.zeros(4, int)
    _, log_sum_exp = _core.cross_entropy(x, index)
    with pytest.raises(ValueError, match=r"\[cross_entropy\] got dy of shape \(\); expected \(4,\)"):
        _core.cross_entropy_backward(dy, x, index, log_sum_exp, "none")
    with pytest.raises(ValueError, match=r"\[cross_entropy\] got class indices, which have no gradient"):
        _core.cross_entropy_backward(dy, x, index, log_sum_exp, "mean", True)
    with pytest.raises(ValueError, match=r"\[mse\] got dy of shape \(\); expected \(4, 3\)"):
        _core.mse_backward(dy, x, x, "none")
    with pytest.raises(TypeError, match=r"\[mse\] got dy of dtype float64 and x of dtype float32"):
        _core.mse_backward(np.ones(()), x, x, "mean")
