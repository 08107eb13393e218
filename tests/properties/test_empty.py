"""Each size of a sample is 0, then 1: an answer with gradients of the inputs' shapes, or a refusal."""

import ranvier as rv
from ranvier import nn
from support.wrong_input import attempt

from properties.every import every_op

LEAVES_OUT: dict[str, str] = {}


def resized(x, sizes):
    """The tensor with other sizes, by those that it has."""
    shape = [sizes.get(n, n) for n in x.shape]
    y = x.detach()[tuple(slice(0, n) for n in shape)] if x.ndim else x.detach()
    return y.clone().requires_grad_(x.requires_grad)


def ways(call):
    sizes = sorted({n for x in call.inputs for n in x.shape})
    yield from ({n: m} for n in sizes for m in (0, 1))
    yield dict.fromkeys(sizes, 0)
    yield dict.fromkeys(sizes, 1)


@every_op(LEAVES_OUT)
def test_empty(sample):
    call = sample.tensors(rv.float32)
    for sizes in ways(call):
        inputs = [resized(x, sizes) for x in call.inputs]

        def run(inputs=inputs):
            return call.with_inputs(*inputs)

        ys = attempt(run, f"{sample}, {sizes}")
        moving = [y for y in ys or () if y.requires_grad]
        leaves = [x for x in inputs if x.requires_grad]
        leaves += [p for p in call.leaves if isinstance(p, nn.Parameter)]
        if moving and leaves:
            slopes = rv.autograd.grad(moving, leaves, [*map(rv.ones_like, moving)], allow_unused=True)
            for x, slope in zip(leaves, slopes, strict=True):
                assert slope is None or (slope.shape, slope.dtype) == (x.shape, x.dtype)
                assert slope is None or any(y.numel() for y in moving) or not slope.numpy().any()
