"""A tensor without dimensions counts as one with one dimension, of one element, and keeps its gradient."""

import ranvier as rv
from support.tolerance import close
from support.wrong_input import attempt

from properties.every import every_op, lacks, weights_for


def outcome(call, shape):
    """The numbers of results and gradients, where all inputs have this shape."""
    inputs = [x.detach().reshape(-1)[:1].reshape(shape).requires_grad_(x.requires_grad) for x in call.inputs]
    ys = call.with_inputs(*inputs)
    moving, leaves = [y for y in ys if y.requires_grad], [x for x in inputs if x.requires_grad]
    slopes = ()
    if moving and leaves:
        ws = [weights_for(y.reshape(-1), 1).reshape(y.shape) for y in moving]
        slopes = rv.autograd.grad(moving, leaves, ws, allow_unused=True, materialize_grads=True)
        assert all(s.shape == shape for s in slopes)
    return [y.numpy(force=True).ravel() for y in (*ys, *slopes)]


def has_elements(sample):
    arrays = sample.arrays
    return sample.error is None and arrays and not sample.is_layer and all(x.size for x in arrays)


@every_op({"argwhere nonzero": "give places, which then have no coordinate"}, of=has_elements)
def test_zero_dimensions(sample):
    call = sample.tensors(rv.float64)
    if (expected := attempt(lambda: outcome(call, (1,)), f"{sample}, (1,)")) is None:
        return
    found = attempt(lambda: outcome(call, ()), f"{sample}, ()")
    if found is None and lacks(sample, "0-d"):
        return
    for y, z in zip(found, expected, strict=True):
        close(y, z, 1e-12, 1e-12)
