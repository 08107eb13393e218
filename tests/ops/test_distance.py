"""Cosine similarity and pairwise distances: zero and equal vectors."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from support.refused import refused


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


def test_a_norm_of_no_power():
    x = rv.ones(2, 3)
    refused(
        ValueError, "[pairwise_distance] got p 0; expected a number above 0", ops.pairwise_distance, x, x, p=0
    )
