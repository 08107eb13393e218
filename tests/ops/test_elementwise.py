"""Operators of elementwise ops: numbers, in place, shapes that meet, objects of a program."""

import itertools
from collections import deque

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused


def test_operators_and_numbers():
    x = rv.tensor([1.0, 2.0, 4.0], requires_grad=True)
    assert (2 - x).tolist() == [1, 0, -2]
    assert (2 / x).tolist() == [2, 1, 0.5]
    assert (2**x).tolist() == [2, 4, 16]
    assert (np.array([1.0, 1.0, 1.0], np.float32) - x).tolist() == [0, -1, -3]
    (2 / x + (3 - x) * x).sum().backward()
    assert x.grad.tolist() == [-1.0, -1.5, -5.125]  # -2 / x^2 + 3 - 2 x
    assert (x == 2).tolist() == [False, True, False]
    assert (x == None) is False  # noqa: E711
    y = x.detach().clone()
    y += 1
    y *= 2
    y -= 1
    y /= 3
    assert rv.allclose(y, [1, 5 / 3, 3])


def test_in_place_arithmetic_on_the_tape():
    x = rv.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y += x
    y *= y
    y.sum().backward()
    assert x.grad.tolist() == [32.0, 64.0]  # y = (4 x)^2


@pytest.mark.parametrize("shapes", list(itertools.product(range(4), repeat=3)), ids=str)
def test_shapes_that_do_not_fit_are_refused(shapes):
    a, b, c = shapes
    x, y = rv.zeros(a, b), rv.zeros(c)
    if b == c or 1 in (b, c):
        assert (x + y).shape == np.broadcast_shapes((a, b), (c,))
    else:
        refused(ValueError, "[add] got", lambda: x + y)


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
