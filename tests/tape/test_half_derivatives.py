"""Second gradients of activations in halves, far from 0."""

import numpy as np
import pytest
import ranvier as rv
from properties.every import weights_for
from ranvier.ops.activation.table import TABLE
from samples import OPS

ACTIVATIONS = [*(row.layer for row in TABLE.values()), "GELU_tanh"]
EPS = {rv.float16: 2.0**-10, rv.bfloat16: 2.0**-7}


def second(module, x):
    """Values, gradients and second gradients."""
    y = module(x)
    (first,) = rv.autograd.grad(y, x, weights_for(y, 1), create_graph=True)
    if not first.requires_grad:
        return [y, first]
    settings = {"allow_unused": True, "materialize_grads": True}
    return [y, first, *rv.autograd.grad(first, x, weights_for(first, 2), **settings)]


@pytest.mark.parametrize("own", [rv.float16, rv.bfloat16], ids=str)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_far_from_0(name, own):
    """Powers of a half in a formula may leave its range where the slope does not."""
    points = [0.0, 0.25, 1.0, 2.0, 5.0, 8.0, 12.0, 20.0, 60.0, 300.0]
    module = OPS[name].samples[0].args[0]
    found = []
    for dtype in (own, rv.float64):
        x = rv.tensor([*points, *[-x - 0.125 for x in points]]).to(dtype).requires_grad_()
        found.append(second(module, x))
    for y, z in zip(*found, strict=True):
        y, z = (t.double().numpy(force=True) for t in (y, z))
        np.testing.assert_allclose(y, z, 8 * EPS[own], EPS[own] / 8)
