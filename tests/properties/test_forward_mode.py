"""Forward mode is the transpose of the gradient: <w, jvp(v)> = <vjp(w), v>, in float64."""

import numpy as np
import ranvier as rv
from support.tolerance import equal

from properties.every import every_op, floats, is_smooth, lacking, weights_for


def product(xs, ys):
    terms = [(x.numpy(force=True) * y.numpy(force=True)).ravel() for x, y in zip(xs, ys, strict=True)]
    terms = np.concatenate([np.zeros(0), *terms])
    return terms.sum(), np.abs(terms).sum()


@every_op(lacking("second"), of=is_smooth)
def test_forward_mode(sample):
    """Of all inputs together and of each alone."""
    call = sample.tensors(rv.float64)
    ys = [y for y in floats(call()) if y.requires_grad]
    if not ys:
        return
    ws, vs = [weights_for(y, 1) for y in ys], [weights_for(x, 2) for x in call.leaves]
    slopes = rv.autograd.grad(ys, call.leaves, ws, allow_unused=True, materialize_grads=True)
    leaves = tuple(x.detach() for x in call.leaves)
    moving = [i for i, y in enumerate(floats(call())) if y.requires_grad]
    for alone in (None, *range(len(leaves))):
        tangents = tuple(v if alone in (None, i) else rv.zeros_like(v) for i, v in enumerate(vs))
        found, pushed = rv.func.jvp(lambda *xs: tuple(floats(call.with_leaves(*xs))), leaves, tangents)
        for y, z in zip(found, floats(call()), strict=True):
            assert y.dtype == z.dtype
            equal(y.numpy(), z.numpy(force=True))
        (left, size), (right, _) = product(ws, [pushed[i] for i in moving]), product(slopes, tangents)
        np.testing.assert_allclose(left, right, rtol=0, atol=1e-11 * (1 + size), err_msg=str(alone))
