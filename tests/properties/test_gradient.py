"""Gradients and second gradients of floating inputs are central differences, in float64."""

import numpy as np
import ranvier as rv

from properties.every import every_op, floats, is_smooth, weights_for

LEAVES_OUT = {
    "normal poisson": "the gradients of numbers that are drawn are 0, as in PyTorch",
    "ctc_loss CTCLoss": "the gradient is that of normalised probabilities, as PyTorch's",
}
ENTRIES = 25  # elements of each input that are changed; of second gradients a fifth


def checked(sample, check, entries):
    call = sample.tensors(rv.float64)
    if any(y.requires_grad for y in call()):
        assert check(lambda *xs: tuple(floats(call.with_leaves(*xs))), call.leaves, entries=entries)


@every_op(LEAVES_OUT, of=is_smooth)
def test_gradient(sample):
    checked(sample, rv.autograd.gradcheck, ENTRIES)


def first(sample, **settings):
    call = sample.tensors(rv.float64)
    ys = [y for y in call() if y.requires_grad]
    weights = [weights_for(y, 1) for y in ys]
    return rv.autograd.grad(ys, call.leaves, weights, allow_unused=True, materialize_grads=True, **settings)


@every_op({}, of=is_smooth)
def test_gradients_of_each_result(sample):
    """They add up to those of all results."""
    call = sample.tensors(rv.float64)
    ys = [y for y in call() if y.requires_grad]
    if len(ys) > 1:
        weights = [weights_for(y, 1) for y in ys]
        settings = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
        whole = rv.autograd.grad(ys, call.leaves, weights, **settings)
        each = [rv.autograd.grad(y, call.leaves, w, **settings) for y, w in zip(ys, weights, strict=True)]
        for of_all, *parts in zip(whole, *each, strict=True):
            np.testing.assert_allclose(sum(parts).numpy(), of_all.numpy(), 1e-9, 1e-12)


@every_op(LEAVES_OUT, of=is_smooth)
def test_second_gradient(sample):
    """And first gradients are the same with a graph and without one."""
    for graph, plain in zip(first(sample, create_graph=True), first(sample), strict=True):
        np.testing.assert_allclose(graph.numpy(force=True), plain.numpy(), 1e-9, 1e-12)
    checked(sample, rv.autograd.gradgradcheck, ENTRIES // 5)
