"""Forward mode, in float64: the transpose of the gradient, and of higher order nested gradients.

With weights w of the results and a direction v of the inputs, <w, jvp(v)> = <vjp(w), v>.
"""

import contextlib

import numpy as np
import ranvier as rv
from support.tolerance import equal

from properties.every import every_op, floats, is_smooth, lacking, lacks, weights_for
from properties.test_kinks import has_gradient, placed_at_kinks


def product(xs, ys):
    """The sum of the products of all elements, and the sum of their magnitudes."""
    terms = [(x.numpy(force=True) * y.numpy(force=True)).ravel() for x, y in zip(xs, ys, strict=True)]
    terms = np.concatenate([np.zeros(0), *terms])
    return terms.sum(), np.abs(terms).sum()


def compare(call):
    """Compares tangents with gradients: along all inputs together, and along each alone."""
    ys = [y for y in floats(call()) if y.requires_grad]
    if not ys:
        return
    ws, vs = [weights_for(y, 1) for y in ys], [weights_for(x, 2) for x in call.leaves]
    slopes = rv.autograd.grad(ys, call.leaves, ws, allow_unused=True, materialize_grads=True)
    if not all(np.isfinite(slope.numpy()).all() for slope in slopes):
        return  # at a pole
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


@every_op(lacking("second"), of=is_smooth)
def test_forward_mode(sample):
    compare(sample.tensors(rv.float64))


def is_compared(sample):
    return has_gradient(sample) and "forward_mode" not in sample.left_out


@every_op(lacking("second"), of=is_compared)
def test_forward_mode_at_kinks(sample):
    for value in placed_at_kinks(sample):
        if value in (0.0, *sample.op.kinks):
            with contextlib.suppress(ValueError, RuntimeError):  # out of the domain
                compare(sample.tensors(rv.float64))


def nested_gradients(function, leaves, directions, order):
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
    for order, wanted in enumerate(nested_gradients(function, leaves, directions, 3)):
        weighted = [(t[order] * weights_for(t[order], 1)).numpy() for t in terms]
        size = 1 + sum(np.abs(w).sum() for w in weighted)
        found = sum(w.sum() for w in weighted)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * size, err_msg=str(order))
