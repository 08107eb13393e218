"""Each size of a sample is 0, then 1: an answer with gradients of the inputs' shapes, or a refusal."""

import itertools

import ranvier as rv
from ranvier import nn
from support.wrong_input import attempt

from properties.every import every_op


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
        moving = [y for y in ys or () if y.requires_grad]
        leaves = [x for x in inputs if x.requires_grad]
        leaves += [p for p in call.leaves if isinstance(p, nn.Parameter)]
        if moving and leaves:
            slopes = rv.autograd.grad(moving, leaves, [*map(rv.ones_like, moving)], allow_unused=True)
            for x, slope in zip(leaves, slopes, strict=True):
                assert slope is None or (slope.shape, slope.dtype) == (x.shape, x.dtype)
                assert slope is None or any(y.numel() for y in moving) or not slope.numpy().any()
