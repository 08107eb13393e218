"""tril and triu against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from support.draws import any_shape
from support.op_case import OpCase


class TestTril(OpCase):
    op_name = "tril"
    reference_of = staticmethod(np.tril)
    variants = ({"diagonal": 0}, {"diagonal": -2}, {"diagonal": 1})
    exact = True

    def inputs(self, rng, dtype):
        return (rng.standard_normal((2, 5, 7)).astype(dtype),)

    def empty_inputs(self, dtype):
        return (np.zeros((3, 0, 2), dtype),)

    def draw(self, rng, dtype):
        x = rng.standard_normal(any_shape(rng, least=2)).astype(dtype)
        return {"diagonal": int(rng.integers(-20, 21))}, (x,)

    def op(self, x):
        return getattr(ops, self.op_name)(x, self.diagonal)

    def reference(self, x):
        return self.reference_of(x, self.diagonal)

    def reference_backward(self, dy, x):
        return (self.reference_of(dy, self.diagonal),)

    def torch_op(self, torch, x):
        return getattr(torch, self.op_name)(x, self.diagonal)


class TestTriu(TestTril):
    op_name = "triu"
    reference_of = staticmethod(np.triu)


def test_a_vector_has_no_triangle():
    with pytest.raises(ValueError, match=r"\[tril\] got x of shape \(3,\); expected at least 2 dimensions"):
        rv.tril(rv.ones(3))


def test_backward_runs_again_as_nothing_is_saved_of_x():
    x = rv.ones(2, 2, requires_grad=True)
    y = x.tril()
    y.sum().backward()
    y.sum().backward()
    assert x.grad.tolist() == [[2, 0], [2, 2]]
