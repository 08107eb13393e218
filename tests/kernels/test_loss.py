"""The element-wise loss kernels on raw arrays: weights, rare values, errors; sizes: tests/ops."""

import numpy as np
import pytest
from ranvier import _core
from reference import loss as reference
from support.grouped import grouped
from support.tolerance import tolerance


def inputs(rng, dtype, *shape):
    return [rng.uniform(0.1, 0.9, shape).astype(dtype) for _ in range(2)]


@grouped("shape", [(), (1,), (7,), (5, 7), (3, 1, 7), (3, 5, 1), (3, 5, 7)])
@pytest.mark.parametrize("name", ["bce", "bce_with_logits"])
def test_weights_that_broadcast(name, shape, isa, rng):
    x, t = inputs(rng, "float32", 3, 5, 7)
    weights = {"weight": rng.uniform(0.5, 2, shape).astype("float32")}
    if name == "bce_with_logits":
        weights["pos_weight"] = rng.uniform(0.5, 4, shape).astype("float32")
    dy = rng.uniform(0.5, 2, x.shape).astype("float32")
    for reduction in ("sum", "none"):
        want = getattr(reference, name)(x, t, reduction=reduction, **weights)
        got = getattr(_core, name)(x, t, reduction, **weights)
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance("float32", x.size, 6))
    want = getattr(reference, name).backward(dy, x, t, reduction="none", **weights)
    for of_target in (False, True):
        got = getattr(_core, f"{name}_backward")(dy, x, t, "none", of_target, **weights)
        np.testing.assert_allclose(got, want[of_target], rtol=0, atol=tolerance("float32", 4, 50))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bce_with_logits_is_never_subnormal(dtype, isa):
    """0 where the loss, the slope or the probability would be: scores from just above that to far below."""
    tiny = np.finfo(dtype).tiny
    score = np.log(tiny) + np.linspace(5, -50, 300, dtype=dtype)
    x, t = np.concatenate([score, -score]), np.repeat(np.array([0, 1], dtype), 300)

    def compare(got, want, scale):
        assert not ((got != 0) & (np.abs(got) < tiny)).any()
        bound = tolerance(dtype, 1, 50 - np.log(tiny)) * np.abs(want)  # by the rounding of a score
        assert (np.abs(got - want) <= bound + 3 * tiny * max(scale, 1)).all()

    compare(_core.bce_with_logits(x, t, "none"), np.logaddexp(0, -np.abs(x.astype(float))), 1)
    for scale in (1 / 64, 1, 64):
        got = _core.bce_with_logits_backward(np.array(scale, dtype), x, t, "sum")
        compare(got[:300], scale * np.exp(score.astype(float)), scale)
        np.testing.assert_array_equal(got[300:], 0)  # 1 - 1
