"""The jet kernels on raw arrays: every width and layout, threads, and the text of each error."""

import numpy as np
import pytest
from ranvier import _core
from reference import activation as reference
from support.tolerance import tolerance

WEIGHTS = np.array([1.0, -0.5])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_every_width(dtype, weights, isa, rng):
    """Lines around the width of vectors, dense and strided."""
    for n in [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 33, 64, 65]:
        y, t, dy = (rng.uniform(-0.9, 0.9, shape) for shape in ((n,), (3, n), (3, n)))
        given = None if weights is None else weights.astype(dtype)
        want = reference.jet(y, t, "tanh", weights)
        dx, dt = reference.jet_backward(dy, y, t, "tanh", weights)
        for layout in (lambda a: a, lambda a: np.repeat(a, 2, -1)[..., ::2]):
            args = [layout(a.astype(dtype)) for a in (dy, y, t)]
            got = _core.jet(args[1], args[2], "tanh", given)
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(dtype, 16, 4))
            got_dx, got_dt = _core.jet_backward(*args, "tanh", given)
            np.testing.assert_allclose(got_dx, dx, rtol=0, atol=tolerance(dtype, 16, 16))
            np.testing.assert_allclose(got_dt, dt, rtol=0, atol=tolerance(dtype, 16, 16))


@pytest.mark.parametrize("weights", [None, np.ones(5, np.float32)])
def test_threads(weights, threads, rng):
    x, t = rng.uniform(-2, 2, (300, 400)).astype("f"), rng.uniform(-1, 1, (6, 300, 400)).astype("f")
    results = []
    for count in (1, 2, 4):
        threads(count)
        results.append((_core.jet(x, t, "gelu", weights), *_core.jet_backward(t, x, t, "gelu", weights)))
    assert all(np.array_equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


def test_infinities():
    """Far from 0 the derivatives have their limits."""
    x, t = np.array([-np.inf, -1e30, 1e30, np.inf], "f"), np.ones((2, 4), "f")
    for name in ("silu", "gelu", "softplus"):
        assert _core.jet(x, t, name).tolist() == [[0, 0, 1, 1]] * 2
