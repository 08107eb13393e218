"""Loss layers: the op of the same name behind each."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, ops


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("layer", "op"),
    [(nn.MSELoss, ops.mse), (nn.BCELoss, ops.bce), (nn.BCEWithLogitsLoss, ops.bce_with_logits)],
)
def test_element_losses(layer, op, reduction, rng):
    x, target = (rng.uniform(0.1, 0.9, (5, 3)).astype("float32") for _ in range(2))
    loss = layer(reduction=reduction)
    np.testing.assert_array_equal(loss(x, target).numpy(), op(x, target, reduction).numpy())


def test_cross_entropy_takes_indices_and_probabilities():
    x = rv.tensor([[2.0, 1.0, 0.1], [0.0, 3.0, 0.5]])
    loss = nn.CrossEntropyLoss()
    np.testing.assert_allclose(loss(x, np.array([0, 1])).item(), loss(x, np.eye(3)[:2]).item(), rtol=1e-6)


def test_errors_name_the_loss():
    with pytest.raises(ValueError, match=r"\[mse\] got x of shape \(3,\) and target of shape \(3, 1\)"):
        nn.MSELoss()(rv.zeros(3), rv.zeros(3, 1))
    assert repr(nn.BCELoss(reduction="sum")) == "BCELoss(reduction='sum')"
