"""Gradients of small batches, added up, make the step of the large batch."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.tolerance import tolerance

SAMPLES, PARTS, STEPS = 24, 4, 5


def train(x, y, parts, dtype):
    """Parameters after a few steps, each of which adds up the gradients of so many parts of the batch."""
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    model = model.double() if dtype == "float64" else model
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        for xs, ys in zip(np.split(x, parts), np.split(y, parts), strict=True):
            loss = nn.functional.cross_entropy(model(xs), ys) / parts  # the mean over the whole batch
            loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
    return np.concatenate([p.detach().numpy().reshape(-1) for p in model.parameters()])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_small_batches_make_the_large_one(dtype):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (SAMPLES, 6)).astype(dtype), rng.integers(0, 3, SAMPLES)
    whole, added = (train(x, y, parts, dtype) for parts in (1, PARTS))
    # Each gradient is a sum over the samples of products of at most 8 terms, all below 1; a step is below 1
    # of it, since lr / (1 - momentum) is 1, and five are made.
    limit = tolerance(dtype, STEPS * SAMPLES * 8, 1.0)
    np.testing.assert_allclose(added, whole, rtol=0, atol=limit)
    assert np.abs(whole - train(x[:6], y[:6], 1, dtype)).max() > 100 * limit  # other data, other weights
