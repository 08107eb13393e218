"""Gradients and second gradients of floating inputs are central differences, in float64.

A call without a node has the bits and strides of one that records; a gradient alone those of all.
"""

import numpy as np
import ranvier as rv
from support.tolerance import equal

from properties.every import every_op, floats, gradients, has_halves, is_smooth, weights_for
from properties.slopes import check_slopes

LEAVES_OUT = {
    "normal poisson": "the gradients of numbers that are drawn are 0, as in PyTorch",
    "ctc_loss CTCLoss": "the gradient is that of normalised probabilities, as PyTorch's",
}


@every_op(LEAVES_OUT, of=is_smooth)
def test_gradient(sample):
    call = sample.tensors(rv.float64)
    if any(y.requires_grad for y in call()):
        check_slopes(call.with_leaves, call.leaves, 2, alone=True)


def first(call, leaves, weights, **settings):
    """The gradients of the results that have one, times these weights."""
    ys = [y for y in call.with_leaves(*leaves) if y.requires_grad]
    return rv.autograd.grad(ys, leaves, weights, allow_unused=True, materialize_grads=True, **settings)


@every_op({}, of=is_smooth)
def test_gradients_of_each_result(sample):
    """They add up to those of all results."""
    call = sample.tensors(rv.float64)
    ys = [y for y in call() if y.requires_grad]
    if len(ys) > 1:
        whole = gradients(ys, call.leaves, retain_graph=True)
        each = [gradients([y], call.leaves, retain_graph=True) for y in ys]
        for of_all, *parts in zip(whole, *each, strict=True):
            np.testing.assert_allclose(sum(parts).numpy(), of_all.numpy(), 1e-9, 1e-12)


@every_op(LEAVES_OUT, of=is_smooth)
def test_second_gradient(sample):
    """First gradients as functions of the leaves and of the weights; they are the same without a graph."""
    call = sample.tensors(rv.float64)
    ys = [y for y in floats(call()) if y.requires_grad]
    if not ys:
        return
    count, weights = len(call.leaves), [weights_for(y, 1).requires_grad_() for y in ys]

    def of_all(*given):
        graph, leaves = given[-1].requires_grad, [x.requires_grad_() for x in given[:count]]
        return first(call, leaves, given[count:], create_graph=graph)

    plain_ones = of_all(*call.leaves, *(w.detach() for w in weights))
    for graph, plain in zip(of_all(*call.leaves, *weights), plain_ones, strict=True):
        np.testing.assert_allclose(graph.numpy(force=True), plain.numpy(), 1e-9, 1e-12)
    check_slopes(of_all, [*call.leaves, *weights], 3, alone=False)


ROUNDED_OTHERWISE = {"scaled_dot_product_attention": "halves without a node are rounded after other parts"}


def same(y, z):
    assert y.dtype == z.dtype
    equal(*((x.float() if x.is_floating_point() else x).numpy(force=True) for x in (y, z)))


@every_op(ROUNDED_OTHERWISE)
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
