"""The smallest shapes: sizes of 0 and 1, and no dimensions.

With other sizes a call gives an answer, with gradients of the inputs' shapes, or is refused. A tensor without
dimensions counts as one with one dimension, of one element, and keeps its gradient.
"""

import itertools

import ranvier as rv
from ranvier import nn
from support.tolerance import close
from support.wrong_input import attempt

from properties.every import every_op, lacks, weights_for


def resized(x, shape):
    y = x.detach()[tuple(slice(0, n) for n in shape)] if x.ndim else x.detach()
    return y.clone().requires_grad_(x.requires_grad)


def ways(call):
    """Shapes of all inputs: each size in all of them 0 or 1, all sizes, and each input alone."""
    shapes = [x.shape for x in call.inputs]
    sizes = sorted({n for shape in shapes for n in shape})
    for changed in (
        *({n: m} for n in sizes for m in (0, 1)),
        dict.fromkeys(sizes, 0),
        dict.fromkeys(sizes, 1),
    ):
        yield [tuple(changed.get(n, n) for n in shape) for shape in shapes]
    for place, shape in enumerate(shapes):
        for alone in itertools.product(*({0, 1, n} for n in shape)):
            yield [*shapes[:place], alone, *shapes[place + 1 :]]


@every_op({})
def test_empty(sample):
    call = sample.tensors(rv.float32)
    for shapes in ways(call):
        inputs = [resized(x, shape) for x, shape in zip(call.inputs, shapes, strict=True)]

        def run(inputs=inputs):
            return call.with_inputs(*inputs)

        ys = attempt(run, f"{sample}, {shapes}")
        if ys is None:  # refused
            continue
        moving = [y for y in ys if y.requires_grad]
        leaves = [x for x in inputs if x.requires_grad]
        leaves += [p for p in call.leaves if isinstance(p, nn.Parameter)]
        if moving and leaves:
            slopes = rv.autograd.grad(moving, leaves, [*map(rv.ones_like, moving)], allow_unused=True)
            for x, slope in zip(leaves, slopes, strict=True):
                if slope is None:
                    continue
                assert (slope.shape, slope.dtype) == (x.shape, x.dtype)
                if not any(y.numel() for y in moving):  # results without elements: the gradient is 0
                    assert not slope.numpy().any()


def of_one_element(call, shape):
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
    expected = attempt(lambda: of_one_element(call, (1,)), f"{sample}, (1,)")
    if expected is None:
        return
    found = attempt(lambda: of_one_element(call, ()), f"{sample}, ()")
    if found is None and lacks(sample, "0-d"):
        return
    assert found is not None, f"{sample} is refused without dimensions"
    for y, z in zip(found, expected, strict=True):
        close(y, z, 1e-12, 1e-12)
