"""Gradients and second gradients of floating inputs are central differences, in float64."""

import numpy as np
import ranvier as rv

from properties.every import every_op, floats, is_smooth, weights_for
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


SETTINGS = {"allow_unused": True, "materialize_grads": True}


def first(call, leaves, weights, **settings):
    """The gradients of the results that have one, times these weights."""
    ys = [y for y in call.with_leaves(*leaves) if y.requires_grad]
    return rv.autograd.grad(ys, leaves, weights, **SETTINGS, **settings)


@every_op({}, of=is_smooth)
def test_gradients_of_each_result(sample):
    """They add up to those of all results."""
    call = sample.tensors(rv.float64)
    ys = [y for y in call() if y.requires_grad]
    if len(ys) > 1:
        weights = [weights_for(y, 1) for y in ys]
        whole = rv.autograd.grad(ys, call.leaves, weights, retain_graph=True, **SETTINGS)
        each = [
            rv.autograd.grad(y, call.leaves, w, retain_graph=True, **SETTINGS)
            for y, w in zip(ys, weights, strict=True)
        ]
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

    def gradients(*given):
        graph, leaves = given[-1].requires_grad, [x.requires_grad_() for x in given[:count]]
        return first(call, leaves, given[count:], create_graph=graph)

    plain_ones = gradients(*call.leaves, *(w.detach() for w in weights))
    for graph, plain in zip(gradients(*call.leaves, *weights), plain_ones, strict=True):
        np.testing.assert_allclose(graph.numpy(force=True), plain.numpy(), 1e-9, 1e-12)
    check_slopes(gradients, [*call.leaves, *weights], 3, alone=False)
