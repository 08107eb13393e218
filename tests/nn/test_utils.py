"""nn.utils: clipping of the gradients of parameters."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier.nn.utils import clip_grad_norm_, clip_grad_value_


def with_gradient(values, dtype="float32"):
    p = rv.tensor(np.zeros(len(values), dtype), requires_grad=True)
    p.grad = rv.tensor(np.array(values, dtype))
    return p


def test_clip_grad_norm():
    p, q, without = (
        with_gradient([3.0]),
        with_gradient([4.0], "float64"),
        rv.tensor([1.0], requires_grad=True),
    )
    assert clip_grad_norm_([p, q, without], 1.0).item() == 5.0
    np.testing.assert_allclose([p.grad.item(), q.grad.item()], [0.6, 0.8], rtol=1e-6)
    assert clip_grad_norm_(p, 10.0, float("inf")).item() == p.grad.item()
    assert clip_grad_norm_([], 1.0).item() == 0.0


def test_clip_grad_norm_that_is_not_finite():
    p = with_gradient([np.inf])
    with pytest.raises(RuntimeError, match="expected a finite norm"):
        clip_grad_norm_(p, 1.0, error_if_nonfinite=True)
    with pytest.raises(ValueError, match="got norm_type"):
        clip_grad_norm_(p, 1.0, -1.0)


def test_clip_grad_value():
    p = with_gradient([-3.0, 0.5, 3.0])
    clip_grad_value_([p], 1.0)
    assert p.grad.numpy().tolist() == [-1.0, 0.5, 1.0]


def test_shared_gradient_is_clipped_once():
    """Both terms of a sum may get the same array as their gradient."""
    a, b = rv.tensor([1.0, 2.0], requires_grad=True), rv.tensor([3.0, 4.0], requires_grad=True)
    (a + b).backward(np.array([3.0, 4.0], np.float32))
    clip_grad_norm_([a, b], 1.0)
    expected = np.array([3.0, 4.0]) / np.sqrt(50)
    np.testing.assert_allclose(a.grad.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(b.grad.numpy(), expected, rtol=1e-5)
