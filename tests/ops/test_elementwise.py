"""Operators: with numbers and objects of a program, in place, of shapes that do not fit; comparisons of whole
tensors beside NumPy's.
"""

import itertools
import math
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


def test_comparisons_of_whole_tensors():
    x = rv.ones(2, requires_grad=True)
    assert rv.allclose(x, np.ones(2) + 1e-7)
    assert not rv.allclose(x, np.ones(2) + 1e-3)
    refused(ValueError, "[allclose] got shapes (2,) and (4,)", rv.allclose, x, rv.ones(4))
    assert rv.allclose(x, np.ones(2) + 1e-3, atol=1e-2)
    assert rv.equal(x, np.ones(2))
    assert not rv.equal(x, np.ones(3))
    assert rv.is_tensor(x)
    assert not rv.is_tensor(np.ones(2))
    assert rv.numel(x) == 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_allclose_is_as_numpys(dtype):
    values = (
        [0, 1, 2, 1000] if dtype == np.int64 else [0.0, 1.0, 1.01, -1.0, 3e38, math.inf, -math.inf, math.nan]
    )
    for a, b in itertools.product(values, repeat=2):
        x, y = np.array([1, a], dtype), np.array([1, b], dtype)
        for rtol, atol, equal_nan in (
            (1e-5, 1e-8, False),
            (0.1, 0.0, True),
            (0, 2.5, False),
            (10.0, 0.0, False),
        ):
            with np.errstate(over="ignore"):
                expected = np.allclose(x, y, rtol, atol, equal_nan)
                seen = rv.allclose(rv.tensor(x), rv.tensor(y), rtol, atol, equal_nan)
            assert seen is expected, (a, b, rtol, atol)


def test_equal_compares_values_not_bits():
    zeros, nan = rv.tensor([0.0, -0.0]), rv.tensor([1.0, math.nan])
    assert rv.equal(zeros, -zeros)
    assert not rv.equal(nan, nan)
    assert rv.equal(rv.zeros(0), rv.zeros(0))
    assert rv.equal(rv.tensor(2), rv.tensor(2.0))
    assert not rv.equal(rv.zeros(2, 1), rv.zeros(1, 2))
    assert rv.equal(rv.arange(12).reshape(3, 4).T, rv.arange(12).reshape(3, 4).T.contiguous())
