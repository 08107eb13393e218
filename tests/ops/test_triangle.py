"""tril and triu against NumPy's."""

import numpy as np
import ranvier as rv
from support.draws import any_shape
from support.op_case import OpCase
from support.refused import refused


class TestTriangle(OpCase):
    op_name = ("tril", "triu")
    module = np
    arguments = ("diagonal",)
    variants = tuple({"name": name, "diagonal": d} for name in op_name for d in (0, -2, 1))
    exact = True
    shape, empty = (2, 5, 7), (3, 0, 2)

    def draw(self, rng, dtype):
        settings = {**self.drawn_variant(rng), "diagonal": int(rng.integers(-20, 21))}
        return settings, self.sized(rng, dtype, any_shape(rng, least=2))

    def reference_backward(self, dy, x):
        return (self.reference(dy),)


def test_a_vector_has_no_triangle():
    refused(ValueError, "[tril] got x of shape (3,); expected at least 2 dimensions", rv.tril, rv.ones(3))


def test_backward_runs_again_as_nothing_is_saved_of_x():
    x = rv.ones(2, 2, requires_grad=True)
    y = x.tril()
    y.sum().backward()
    y.sum().backward()
    assert x.grad.tolist() == [[2, 0], [2, 2]]
