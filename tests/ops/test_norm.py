"""Normalisations: running statistics beside the formula in float64, backward after they changed.

A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import norm as reference
from support.tolerance import tolerance


@pytest.mark.parametrize("momentum", [0.1, 0.5, 1.0, None])
@pytest.mark.parametrize("shape", [(7, 3), (5, 3, 4), (2, 3, 6, 5)])
def test_running_statistics(shape, momentum, rng, isa):
    """They are written in place, as the formula has it; the count goes up; versions change."""
    mean, var = np.zeros(3), np.ones(3)
    running = rv.zeros(3), rv.ones(3)
    count = rv.tensor(0)
    for step in range(1, 4):
        x = rng.uniform(-1, 4, shape).astype("float32")
        places = [r._array.ctypes.data for r in running]
        ops.batch_norm(x, *running, training=True, momentum=momentum, num_batches_tracked=count)
        factor = 1 / step if momentum is None else momentum
        mean, var = reference.running(mean, var, x.astype("float64"), factor)
        assert count.item() == step
        assert [r._version for r in running] == [step, step]
        assert places == [r._array.ctypes.data for r in running]
        limit = tolerance("float32", x.size, 16)
        np.testing.assert_allclose(running[0].numpy(), mean, rtol=0, atol=limit)
        np.testing.assert_allclose(running[1].numpy(), var, rtol=0, atol=limit)
    before = [r.numpy().copy() for r in running]
    ops.batch_norm(x, *running, training=False)
    assert all((r.numpy() == b).all() for r, b in zip(running, before, strict=True))


def test_running_statistics_of_instance_norm(rng):
    """The means over the samples of their means and unbiased variances."""
    x = rng.uniform(-1, 4, (2, 3, 5))
    mean, var = rv.zeros(3, dtype=rv.float64), rv.ones(3, dtype=rv.float64)
    ops.instance_norm(x, mean, var, momentum=0.7)
    np.testing.assert_allclose(mean.numpy(), 0.7 * x.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.3 + 0.7 * x.var(2, ddof=1).mean(0), rtol=1e-12)


def test_backward_after_the_running_statistics_moved_on(rng):
    """Evaluation's backward has the statistics that its forward had."""
    x = rv.tensor(rng.standard_normal((4, 3)), requires_grad=True)
    mean, var = rv.zeros(3, dtype=rv.float64), rv.full((3,), 4.0, dtype=rv.float64)
    y = ops.batch_norm(x, mean, var, eps=0)
    var.fill_(100)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((4, 3), 0.5))
