"""Operators of a Tensor and an object of a program whose class defines the reflected operator."""

from collections import deque

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


def test_a_whole_number_repeats_a_sequence():
    n, kept = rv.tensor(2), [1]
    for sequence in ([1], (1,), "ab", b"ab", Pair((n,))[:], deque([1])):
        assert sequence * n == n * sequence == sequence * 2
    same = kept
    same *= n
    assert same is kept
    assert kept == [1, 1]
    for wrong in (rv.tensor(1.5), rv.tensor([1, 2])):
        with pytest.raises(TypeError):
            kept * wrong


@pytest.mark.parametrize("other", [[1.0], (1.0,), "2", object(), None])
def test_others_are_refused(other):
    refused(TypeError, "[mul] got", lambda: rv.tensor([2.0]) * other)
    refused(TypeError, "[matmul] got", lambda: rv.tensor([2.0]) @ other)
