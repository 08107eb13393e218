"""matmul and linear, forward and backward, against the references."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, ops
from ranvier.reference import matmul as reference
from support.draws import any_shape, broadcast_shapes
from support.op_case import OpCase


class TestMatmul(OpCase):
    op_name = "matmul"
    variants = (
        {"shapes": ((5, 3), (3, 4))},
        {"shapes": ((1, 1), (1, 1))},
        {"shapes": ((17, 33), (33, 15))},
        {"shapes": ((63, 65), (65, 97))},
        {"shapes": ((1, 130), (130, 31))},
        {"shapes": ((31, 7), (7, 1))},
        {"shapes": ((7,), (7,))},
        {"shapes": ((7,), (7, 5))},
        {"shapes": ((5, 7), (7,))},
        {"shapes": ((2, 3, 5, 7), (2, 3, 7, 4))},
        {"shapes": ((3, 5, 7), (7, 4))},
        {"shapes": ((2, 1, 5, 7), (3, 7, 4))},
    )

    def inputs(self, rng, dtype):
        return tuple(rng.uniform(-1, 1, shape).astype(dtype) for shape in self.shapes)

    def large_inputs(self, rng, dtype):
        return tuple(rng.uniform(-1, 1, shape).astype(dtype) for shape in ((301, 203), (203, 157)))

    def empty_inputs(self, dtype):
        return np.ones((3, 0), dtype), np.ones((0, 2), dtype)

    def draw(self, rng, dtype):
        batches = [shape[:3] for shape in broadcast_shapes(rng)]
        batches = batches if rng.random() < 0.6 else [(), ()]
        batches = [shape if np.prod(shape, dtype=int) < 40 else () for shape in batches]
        try:
            np.broadcast_shapes(*batches)
        except ValueError:  # cut to other lengths they need not fit
            batches[1] = ()
        m, k, n = (int(size) for size in rng.integers(1, 71, 3))
        a = batches[0] + ((k,) if batches[0] == () and rng.random() < 0.2 else (m, k))
        b = batches[1] + ((k,) if batches[1] == () and rng.random() < 0.2 else (k, n))
        return {}, tuple(rng.uniform(-1, 1, shape).astype(dtype) for shape in (a, b))

    def reduction(self, a, b):
        batch = int(np.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2])))
        return batch * max(*a.shape, *b.shape)

    def op(self, a, b):
        return ops.matmul(a, b)

    def reference(self, a, b):
        return reference.matmul(a, b)

    def reference_backward(self, dy, a, b):
        return reference.matmul_backward(dy, a, b)

    def torch_op(self, torch, a, b):
        return torch.matmul(a, b)


class TestLinear(OpCase):
    op_name = "linear"
    variants = (
        {"lead": (9,), "biased": True},
        {"lead": (9,), "biased": False},
        {"lead": (2, 5), "biased": True},
        {"lead": (), "biased": True},
        {"lead": (1,), "biased": True},
    )

    def inputs(self, rng, dtype):
        shapes = [(*self.lead, 33), (17, 33), (17,)][: 3 if self.biased else 2]
        return tuple(rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes)

    def large_inputs(self, rng, dtype):
        shapes = [(301, 203), (157, 203), (157,)][: 3 if self.biased else 2]
        return tuple(rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes)

    def empty_inputs(self, dtype):
        shapes = [(0, 33), (17, 33), (17,)][: 3 if self.biased else 2]
        return tuple(np.ones(shape, dtype) for shape in shapes)

    def draw(self, rng, dtype):
        lead, (k, n) = any_shape(rng, most=3), rng.integers(1, 71, 2)
        shapes = [(*lead, k), (n, k), (n,)][: int(rng.integers(2, 4))]
        return {}, tuple(rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes)

    def reduction(self, x, weight, bias=None):
        return max(*weight.shape, x.size // weight.shape[1])

    def op(self, *inputs):
        return ops.linear(*inputs)

    def reference(self, *arrays):
        return reference.linear(*arrays)

    def reference_backward(self, dy, *arrays):
        return reference.linear_backward(dy, *arrays)[: len(arrays)]

    def torch_op(self, torch, *tensors):
        return torch.nn.functional.linear(*tensors)


def test_integers_are_multiplied_too():
    assert (rv.tensor([[1, 2]]) @ rv.tensor([[3], [4]])).tolist() == [[11]]


def test_numpy_on_either_side_keeps_the_tape():
    w = rv.ones(2, 2, requires_grad=True)
    x = np.ones((2, 2), np.float32)
    ((x @ w) + (w @ x)).sum().backward()
    assert w.grad.tolist() == [[4, 4], [4, 4]]


def test_wrong_shapes_and_dtypes():
    with pytest.raises(ValueError, match=r"\[matmul\]"):
        rv.ones(2, 3) @ rv.ones(2, 3)
    with pytest.raises(TypeError, match=r"\[matmul\]"):
        rv.ones(2, 2) @ rv.ones(2, 2, dtype=rv.float64)
    with pytest.raises(ValueError, match=r"\[linear\] got x of shape \(2, 4\) and weight of shape \(5, 3\)"):
        ops.linear(rv.ones(2, 4), rv.ones(5, 3))
    with pytest.raises(ValueError, match=r'\[linear\] .* \(in layer "1"\)'):
        nn.Sequential(nn.Linear(4, 4), nn.Linear(3, 2))(rv.ones(2, 4))


def test_linear_with_a_weight_of_one_output():
    """A vector: the result has no dimension for the output."""
    x, weight = rv.ones(4, 3, requires_grad=True), rv.tensor([1.0, 2.0, 3.0], requires_grad=True)
    bias = rv.tensor(0.5, requires_grad=True)
    y = rv.nn.functional.linear(x, weight, bias)
    assert y.tolist() == [6.5] * 4
    (y * 2.0).sum().backward()
    assert x.grad.tolist() == [[2, 4, 6]] * 4
    assert (weight.grad.tolist(), bias.grad.item()) == ([8, 8, 8], 8)
    with pytest.raises(ValueError, match=r"\[matmul\] got a of shape \(4, 3\) and b of shape \(2,\)"):
        rv.nn.functional.linear(x, rv.ones(2))
