"""Derivatives of second and third order along a direction, by forward mode, are those of nested gradients."""

import numpy as np
import ranvier as rv

from properties.every import every_op, floats, is_smooth, lacks, weights_for


def nested(function, leaves, directions, order):
    """Derivatives of the results at s = 0 with leaves + s directions, weighted."""
    s = rv.zeros((), dtype=rv.float64, requires_grad=True)
    ys = function(*(x + s * v for x, v in zip(leaves, directions, strict=True)))
    total = sum((y * weights_for(y, 1)).sum() for y in ys)
    found = []
    for _ in range(order):
        (total,) = rv.autograd.grad(total, s, create_graph=True, allow_unused=True, materialize_grads=True)
        found.append(total.item())
        if not total.requires_grad:
            total = s * 0
    return found


@every_op({}, of=is_smooth)
def test_jet(sample):
    call = sample.tensors(rv.float64)
    moving = [i for i, y in enumerate(floats(call())) if y.requires_grad]
    if not moving:
        return
    leaves = tuple(x.detach() for x in call.leaves)
    directions = [weights_for(x, 2) for x in leaves]

    def function(*xs):
        ys = floats(call.with_leaves(*xs))
        return tuple(ys[i] for i in moving)

    try:
        _, terms = rv.func.jet(function, leaves, tuple((v, 0.0, 0.0) for v in directions))
    except NotImplementedError as error:
        text = str(error)
        assert text.startswith("[")
        assert lacks(sample, "jet"), text
        return
    for order, wanted in enumerate(nested(function, leaves, directions, 3)):
        weighted = [(t[order] * weights_for(t[order], 1)).numpy() for t in terms]
        size = 1 + sum(np.abs(w).sum() for w in weighted)
        found = sum(w.sum() for w in weighted)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * size, err_msg=str(order))
