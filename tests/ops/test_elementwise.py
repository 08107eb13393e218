"""Elementwise ops, forward and backward, against the references."""

import itertools
import operator

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from reference import elementwise as reference
from support.draws import broadcast_shapes
from support.op_case import OpCase, cases
from support.refused import refused

BROADCASTS = (
    {"shape": ((3, 7, 5), (3, 7, 5))},
    {"shape": ((3, 7, 5), (5,))},
    {"shape": ((3, 1, 5), (7, 1))},
    {"shape": ((), (2, 9))},
    {"shape": ((2, 3, 5, 7), (1, 3, 1, 1))},
)


class PairCase(OpCase):
    """y = f(a, b) with broadcasting; ``low`` keeps operands away from zero where f needs it."""

    module = reference
    variants = BROADCASTS
    any_size = True
    low, high = -3, 3
    large, empty = ((301, 1013), (1013,)), ((2, 0, 3), (3,))

    def drawn_shape(self, rng):
        return broadcast_shapes(rng)

    def reduction(self, a, b):
        return max(1, max(a.size, b.size))  # a repeated operand's gradient is a sum


class TestArithmetic(PairCase):
    op_name = ("add", "sub", "mul")
    variants = tuple({"name": name, **case} for name in op_name for case in BROADCASTS)


class TestDiv(PairCase):
    op_name = "div"
    low = 0.5


class TestPow(PairCase):
    op_name = "pow"
    low = 0.5

    def magnitude(self, *arrays):
        return 27 * super().magnitude(*arrays)  # rounding of the exponent is multiplied by log a^b <= log 27


class TestMaximum(PairCase):
    op_name = "maximum"

    def off_kinks(self, a, b):
        return a, b + np.asarray(0.02, b.dtype) * np.any(np.abs(a - b) < 0.015)


class TestMinimum(TestMaximum):
    op_name = "minimum"


class TestWhere(OpCase):
    op_name = "where"
    module = reference
    shape = (3, 7, 5), (3, 7, 5), (7, 1)

    def sized(self, rng, dtype, shape):
        condition, *arrays = super().sized(rng, dtype, shape)
        return condition > 0, *arrays

    def drawn_shape(self, rng):
        return broadcast_shapes(rng, 3)

    def reduction(self, condition, a, b):
        return max(condition.size, a.size, b.size)

    def reference_backward(self, dy, condition, a, b):
        return None, *reference.where_backward(dy, condition, a, b)


class OneCase(OpCase):
    """y = f(x)"""

    module = reference
    any_size = True
    low, high = -3, 3
    shape, large, empty = (3, 1, 5, 11), (301, 1013), (2, 0, 3)


cases(
    globals(),
    OneCase,
    {
        **{name: {} for name in ("neg", "square", "exp", "expm1", "sin", "cos")},
        **{name: {"kinks": (0.0,)} for name in ("abs", "sign")},
        "round": {"kinks": (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)},
        "reciprocal": {"low": 0.5},
        "sqrt": {"low": 0.25},
        "log": {"low": 0.25},
        "log1p": {"low": -0.5},
    },
)


class TestClip(OneCase):
    op_name = ("clip", "clamp")
    name = "clip"
    arguments = ("least", "most")
    variants = ({"least": -1.0, "most": 2.0}, {"least": None, "most": 0.5}, {"least": 0.5, "most": None})
    kinks = (-1.0, 0.5, 2.0)


class TestMaskedFill(OpCase):
    op_name = "masked_fill"
    module = reference
    arguments, value = ("value",), -2.0
    shape = (3, 7, 5), (7, 5)

    def sized(self, rng, dtype, shape):
        x, mask = super().sized(rng, dtype, shape)
        return x, mask > 0

    def drawn_shape(self, rng):
        x, mask = broadcast_shapes(rng)
        return np.broadcast_shapes(x, mask), mask


class TestComparison(OpCase):
    op_name = ("eq", "ne", "lt", "le", "gt", "ge")
    module = operator
    variants = tuple({"name": name} for name in op_name)
    differentiable = False
    shape, empty = ((3, 7, 5), (7, 1)), ((2, 0, 3), (3,))
    high = 2

    def sized(self, rng, dtype, shape):
        return tuple(np.round(x) for x in super().sized(rng, dtype, shape))  # some are equal

    def drawn_shape(self, rng):
        return broadcast_shapes(rng)


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_extremes_propagate_nan(name):
    nan = float("nan")
    y = getattr(ops, name)(rv.tensor([nan, 1.0, nan]), rv.tensor([1.0, nan, nan]))
    assert rv.isnan(y).tolist() == [True, True, True]


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


def test_float32_and_float64_promote():
    a, b = rv.ones(2, requires_grad=True), rv.ones(2, dtype=rv.float64, requires_grad=True)
    y = a * b
    assert y.dtype == np.float64
    y.sum().backward()
    assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\[add\] .*\(2,\).*\(3,\)"):
        rv.ones(2) + rv.ones(3)


@pytest.mark.parametrize("shapes", list(itertools.product(range(4), repeat=3)), ids=str)
def test_shapes_that_do_not_fit_are_refused(shapes):
    a, b, c = shapes
    x, y = rv.zeros(a, b), rv.zeros(c)
    if b == c or 1 in (b, c):
        assert (x + y).shape == np.broadcast_shapes((a, b), (c,))
    else:
        refused(ValueError, "[add] got", lambda: x + y)
