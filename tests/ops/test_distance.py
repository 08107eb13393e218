"""Cosine similarity and pairwise distances: zero and equal vectors, broadcasting, errors."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops


def test_zero_vectors(isa):
    """No angle: 0, with the slope that the bound on the norm gives."""
    x1 = rv.tensor([[0.0, 0.0]], requires_grad=True)
    y = ops.cosine_similarity(x1, rv.tensor([[3.0, 4.0]]), eps=0.5)
    y.sum().backward()
    assert y.item() == 0
    np.testing.assert_allclose(x1.grad.numpy(), [[1.2, 1.6]], rtol=1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
def test_equal_vectors(p, isa):
    """No distance and no slope, rather than 0 / 0."""
    x = rv.tensor([[1.0, 2.0]], requires_grad=True)
    y = ops.pairwise_distance(x, rv.tensor([[1.0, 2.0]]), p=p, eps=0.0)
    y.sum().backward()
    assert y.item() == 0
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0]])


def test_shapes_broadcast(rng):
    x1 = rv.tensor(rng.normal(size=(4, 1, 3)), requires_grad=True)
    x2 = rv.tensor(rng.normal(size=(5, 3)), requires_grad=True)
    for op in (ops.cosine_similarity, ops.pairwise_distance):
        settings = {"dim": -1} if op is ops.cosine_similarity else {}
        y = op(x1, x2, **settings)
        assert y.shape == (4, 5)
        x1.grad = x2.grad = None
        y.sum().backward()
        assert (x1.grad.shape, x2.grad.shape) == ((4, 1, 3), (5, 3))
        row = op(x1[2, 0].detach(), x2.detach(), **settings)
        np.testing.assert_allclose(row.numpy(), y.detach().numpy()[2], rtol=1e-12)


def test_errors():
    x = np.ones((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"\[cosine_similarity\] got shapes \(2, 3\) and \(3, 2\); expected"):
        ops.cosine_similarity(x, x.T.copy())
    with pytest.raises(ValueError, match=r"\[pairwise_distance\] got p 0; expected a number above 0"):
        ops.pairwise_distance(x, x, p=0)
    with pytest.raises(ValueError, match=r"\[cosine_embedding\] got target of shape \(3,\) for x1 of shape"):
        ops.cosine_embedding(x, x, np.ones(3))
