"""The kernels of similarity and distance on raw arrays: every width, memory order, out=, errors."""

import numpy as np
import pytest
from ranvier import _core, kernels
from reference import distance as reference
from support.tolerance import tolerance

CASES = [("cosine_similarity", {}), *(("pairwise_distance", {"p": p}) for p in (1.0, 2.0, 2.5, float("inf")))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_every_width(name, settings, dtype, isa, rng):
    back = f"{name}_backward"
    for n in [*range(1, 37), 127, 128, 129, 145, 257]:  # a tile holds 128
        x1, x2 = (rng.uniform(-1, 1, (3, n)).astype(dtype) for _ in range(2))
        dy = rng.uniform(0.5, 1, 3).astype(dtype)
        out = np.full(4, 7, dtype)
        getattr(_core, name)(x1, x2, 1, **settings, out=out[:3])
        want = getattr(reference, name)(x1.astype(np.float64), x2.astype(np.float64), 1, **settings)
        np.testing.assert_allclose(out[:3], want, rtol=0, atol=tolerance(dtype, n, 4))
        assert out[3] == 7
        wide = (a.astype(np.float64) for a in (dy, x1, x2))
        wanted = getattr(reference, back)(*wide, 1, **settings)
        size = max(1.0, *(float(np.abs(w).max()) for w in wanted))
        for of_second in (False, True):
            got = getattr(_core, back)(dy, x1, x2, 1, **settings, of_second=of_second)
            limit = tolerance(dtype, n, 16 * size**3)  # a short vector's quotients
            np.testing.assert_allclose(got, wanted[of_second], rtol=0, atol=limit)


@pytest.mark.parametrize("n", [3, 130])
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_every_number_of_pairs(name, settings, n, isa, rng):
    """A vector of pairs and a bit, in every order of memory."""
    back = f"{name}_backward"
    for pairs in (1, 2, 3, 4, 5, 8, 15, 16, 17, 33):
        x1, x2 = (rng.uniform(-1, 1, (pairs, n)).astype("float32") for _ in range(2))
        dy = rng.uniform(0.5, 1, pairs).astype("float32")
        exact = [a.astype(np.float64) for a in (dy, x1, x2)]
        want = getattr(reference, name)(*exact[1:], 1, **settings)
        slopes = getattr(reference, back)(*exact, 1, **settings)
        wide = np.zeros((pairs, 2 * n), "float32")
        limit = tolerance("float32", n, 16 * max(1.0, *(float(np.abs(s).max()) for s in slopes)) ** 3)
        for view in (x1, np.asfortranarray(x1), wide[:, ::2]):
            view[...] = x1
            y = getattr(_core, name)(view, x2, 1, **settings)
            np.testing.assert_allclose(y, want, rtol=0, atol=tolerance("float32", n, 4))
            for of_second in (False, True):
                got = getattr(_core, back)(dy, view, x2, 1, **settings, of_second=of_second)
                np.testing.assert_allclose(got, slopes[of_second], rtol=0, atol=limit)


def test_errors():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"\[cosine_similarity\] got x1 of shape \(2, 3\) and x2 of shape"):
        _core.cosine_similarity(x, x[:1])
    with pytest.raises(TypeError, match=r"\[pairwise_distance\] got x1 of dtype float32 and x2 of dtype"):
        _core.pairwise_distance(x, x.astype("float64"))
    with pytest.raises(ValueError, match=r"\[pairwise_distance\] got p nan; expected a number above 0"):
        _core.pairwise_distance(x, x, p=float("nan"))
    with pytest.raises(ValueError, match=r"\[cosine_similarity\] got dy of shape \(3,\); expected \(2,\)"):
        _core.cosine_similarity_backward(x[0], x, x)


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 3.0, np.inf])
@pytest.mark.parametrize("d", [1, 3, 16, 200])
def test_sums_over_all_pairs(p, d, threads, isa, rng):
    """Beside the kernel of single pairs: equal rows, more than a group."""
    threads(2)
    x, z = rng.standard_normal((2, 70, d)), rng.standard_normal((2, 5, d))
    x[:, 3] = x[:, 4]
    z[0, 2] = x[0, 7]
    dy = rng.standard_normal((2, 70, 5))
    pairs = [np.broadcast_to(v, (2, 70, 5, d)) for v in (x[:, :, None], z[:, None])]
    of_pairs = kernels.pairwise_distance_backward(dy, *pairs, -1, p, 0.0)
    near = {"rtol": 1e-10, "atol": 1e-11}
    np.testing.assert_allclose(kernels.cdist_backward(dy, x, z, p), of_pairs.sum(2), **near)
    of_pairs = kernels.pairwise_distance_backward(dy, *pairs, -1, p, 0.0, True)
    np.testing.assert_allclose(kernels.cdist_backward(dy.swapaxes(1, 2), z, x, p), of_pairs.sum(1), **near)
