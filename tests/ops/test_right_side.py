"""Operators of a Tensor and an object of a program whose class defines the reflected operator."""

import pytest
import ranvier as rv
from support.refused import refused


class Pair(tuple):
    """Several tensors as one."""

    def __rmul__(self, other):
        return Pair(other * x for x in self)

    __radd__ = __rsub__ = __rtruediv__ = __rmatmul__ = lambda self, other: (type(other).__name__, len(self))


def test_the_class_on_the_right_answers():
    x, pair = rv.tensor([2.0]), Pair((rv.ones(1), rv.ones(2)))
    assert [y.tolist() for y in x * pair] == [[2.0], [2.0, 2.0]]
    assert x + pair == x - pair == x / pair == x @ pair == ("Tensor", 2)
    assert rv.arange(2) + pair == ("Tensor", 2)


@pytest.mark.parametrize("other", [[1.0], (1.0,), "2", object(), None])
def test_others_are_refused(other):
    refused(TypeError, "[mul] got", lambda: rv.tensor([2.0]) * other)
    refused(TypeError, "[matmul] got", lambda: rv.tensor([2.0]) @ other)
