"""matmul and linear, forward and backward, against the references."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, ops
from reference import matmul as reference
from support.draws import any_shape, broadcast_shapes
from support.op_case import OpCase
from support.refused import refused


class TestMatmul(OpCase):
    op_name = "matmul"
    module = reference
    variants = (
        {"shape": ((5, 3), (3, 4))},
        {"shape": ((1, 1), (1, 1))},
        {"shape": ((17, 33), (33, 15))},
        {"shape": ((63, 65), (65, 97))},
        {"shape": ((1, 130), (130, 31))},
        {"shape": ((31, 7), (7, 1))},
        {"shape": ((7,), (7,))},
        {"shape": ((7,), (7, 5))},
        {"shape": ((5, 7), (7,))},
        {"shape": ((2, 3, 5, 7), (2, 3, 7, 4))},
        {"shape": ((3, 5, 7), (7, 4))},
        {"shape": ((2, 1, 5, 7), (3, 7, 4))},
    )
    large, empty = ((301, 203), (203, 157)), ((3, 0), (0, 2))

    def drawn_shape(self, rng):
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
        return a, b

    def reduction(self, a, b):
        batch = int(np.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2])))
        return batch * max(*a.shape, *b.shape)


class TestLinear(OpCase):
    op_name = "linear"
    module = reference
    variants = (
        {"lead": (9,), "count": 3},
        {"lead": (9,), "count": 2},  # without a bias
        {"lead": (2, 5), "count": 3},
        {"lead": (), "count": 3},
        {"lead": (1,), "count": 3},
    )
    large, empty = ((301, 203), (157, 203), (157,)), ((0, 33), (17, 33), (17,))

    def sized(self, rng, dtype, shape):
        return super().sized(rng, dtype, shape[: self.count])

    def inputs(self, rng, dtype):
        return self.sized(rng, dtype, ((*self.lead, 33), (17, 33), (17,)))

    def drawn_shape(self, rng):
        lead, (k, n) = any_shape(rng, most=3), rng.integers(1, 71, 2)
        return (*lead, k), (n, k), (n,)

    def reduction(self, x, weight, bias=None):
        return max(*weight.shape, x.size // weight.shape[1])

    def reference_backward(self, dy, *arrays):
        return reference.linear_backward(dy, *arrays)[: len(arrays)]


def test_integers_are_multiplied_too():
    assert (rv.tensor([[1, 2]]) @ rv.tensor([[3], [4]])).tolist() == [[11]]


def test_numpy_on_either_side_keeps_the_tape():
    w = rv.ones(2, 2, requires_grad=True)
    x = np.ones((2, 2), np.float32)
    ((x @ w) + (w @ x)).sum().backward()
    assert w.grad.tolist() == [[4, 4], [4, 4]]


def test_wrong_shapes_and_dtypes():
    refused(ValueError, "[matmul]", lambda: rv.ones(2, 3) @ rv.ones(2, 3))
    refused(TypeError, "[matmul]", lambda: rv.ones(2, 2) @ rv.ones(2, 2, dtype=rv.float64))
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
    with pytest.raises(ValueError, match=r"\[linear\] got a of shape \(4, 3\) and b of shape \(2,\)"):
        rv.nn.functional.linear(x, rv.ones(2))
