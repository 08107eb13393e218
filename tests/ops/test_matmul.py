"""matmul and linear: integers, arrays of NumPy, errors, one output."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, ops
from support.refused import refused


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
