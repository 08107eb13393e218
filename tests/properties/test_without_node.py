"""A call without a node has the bits and strides of one that records; a gradient alone those of all."""

import ranvier as rv
from support.tolerance import equal

from properties.every import every_op, has_halves, weights_for

LEAVES_OUT = {"scaled_dot_product_attention": "halves without a node are rounded after other parts"}


def same(y, z):
    assert y.dtype == z.dtype
    equal(*((x.float() if x.is_floating_point() else x).numpy(force=True) for x in (y, z)))


@every_op(LEAVES_OUT)
def test_without_node(sample):
    for dtype in (rv.float32, rv.float64, rv.float16)[: 3 if has_halves(sample.op) else 2]:
        plain, noted = (sample.tensors(dtype, records=records) for records in (False, True))
        without, ys = plain(), noted()
        for y, z in zip([*without, *plain.states], [*ys, *noted.states], strict=True):
            assert y.stride() == z.stride() or not y.numel()
            same(y, z)
        moving = [y for y in ys if y.requires_grad]
        if not moving:
            continue
        assert sample.is_layer or not any(y.requires_grad for y in without)
        ws, settings = [weights_for(y, 1) for y in moving], {"retain_graph": True, "allow_unused": True}
        together = rv.autograd.grad(moving, noted.leaves, ws, **settings)
        for x, slope in zip(noted.leaves, together, strict=True):
            (alone,) = rv.autograd.grad(moving, x, ws, **settings)
            assert (alone is None) == (slope is None)
            if slope is not None:
                same(alone, slope)
