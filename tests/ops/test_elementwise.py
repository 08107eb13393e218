"""Elementwise ops, forward and backward, against the references."""

from __future__ import annotations

import itertools
import operator

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.reference import elementwise as reference
from support.draws import any_shape, broadcast_shapes
from support.op_case import OpCase

BROADCASTS = (
    {"shapes": ((3, 7, 5), (3, 7, 5))},
    {"shapes": ((3, 7, 5), (5,))},
    {"shapes": ((3, 1, 5), (7, 1))},
    {"shapes": ((), (2, 9))},
    {"shapes": ((2, 3, 5, 7), (1, 3, 1, 1))},
)


class PairCase(OpCase):
    """y = f(a, b) with broadcasting; ``low`` keeps operands away from zero where f needs it."""

    variants = BROADCASTS
    low = -3.0

    def inputs(self, rng, dtype):
        return tuple(rng.uniform(self.low, 3, shape).astype(dtype) for shape in self.shapes)

    def large_inputs(self, rng, dtype):
        return tuple(rng.uniform(self.low, 3, shape).astype(dtype) for shape in ((301, 1013), (1013,)))

    def empty_inputs(self, dtype):
        return np.ones((2, 0, 3), dtype), np.ones(3, dtype)

    def draw(self, rng, dtype):
        return {}, tuple(rng.uniform(self.low, 3, shape).astype(dtype) for shape in broadcast_shapes(rng))

    def reduction(self, a, b):
        return max(1, max(a.size, b.size))  # a repeated operand's gradient is a sum

    def op(self, a, b):
        return getattr(ops, self.op_name)(a, b)

    def reference(self, a, b):
        return getattr(reference, self.op_name)(a, b)

    def reference_backward(self, dy, a, b):
        return getattr(reference, f"{self.op_name}_backward")(dy, a, b)

    def torch_op(self, torch, a, b):
        return getattr(torch, self.op_name)(a, b)


class TestAdd(PairCase):
    op_name = "add"


class TestSub(PairCase):
    op_name = "sub"


class TestMul(PairCase):
    op_name = "mul"


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

    def inputs(self, rng, dtype):
        a, b = rng.standard_normal((3, 7, 5)).astype(dtype), rng.standard_normal((7, 1)).astype(dtype)
        return rng.random((3, 7, 5)) > 0.5, a, b

    def draw(self, rng, dtype):
        condition, a, b = broadcast_shapes(rng, 3)
        return {}, (rng.random(condition) > 0.5, *(rng.standard_normal(s).astype(dtype) for s in (a, b)))

    def reduction(self, condition, a, b):
        return max(condition.size, a.size, b.size)

    def op(self, condition, a, b):
        return ops.where(condition, a, b)

    def reference(self, condition, a, b):
        return reference.where(condition, a, b)

    def reference_backward(self, dy, condition, a, b):
        return None, *reference.where_backward(dy, condition, a, b)

    def torch_op(self, torch, condition, a, b):
        return torch.where(condition, a, b)


class OneCase(OpCase):
    """y = f(x); ``interval`` is the range of x, ``kinks`` where f has no derivative."""

    interval = (-3.0, 3.0)
    kinks = ()

    def inputs(self, rng, dtype):
        return (rng.uniform(*self.interval, (3, 5, 4, 11)).astype(dtype),)

    def large_inputs(self, rng, dtype):
        return (rng.uniform(*self.interval, (301, 1013)).astype(dtype),)

    def empty_inputs(self, dtype):
        return (np.ones((2, 0, 3), dtype),)

    def draw(self, rng, dtype):
        return self.drawn_variant(rng), (rng.uniform(*self.interval, any_shape(rng)).astype(dtype),)

    def off_kinks(self, x):
        for kink in self.kinks:
            x = np.where(np.abs(x - kink) < 0.01, x + np.asarray(0.03, x.dtype), x)
        return (x,)

    def op(self, x):
        return getattr(ops, self.op_name)(x)

    def reference(self, x):
        return getattr(reference, self.op_name)(x)

    def reference_backward(self, dy, x):
        return (getattr(reference, f"{self.op_name}_backward")(dy, x),)

    def torch_op(self, torch, x):
        return getattr(torch, self.op_name)(x)


class TestNeg(OneCase):
    op_name = "neg"


class TestAbs(OneCase):
    op_name = "abs"
    kinks = (0.0,)


class TestSign(OneCase):
    op_name = "sign"
    kinks = (0.0,)


class TestRound(OneCase):
    op_name = "round"
    kinks = (-2.5, -1.5, -0.5, 0.5, 1.5, 2.5)


class TestSquare(OneCase):
    op_name = "square"


class TestReciprocal(OneCase):
    op_name = "reciprocal"
    interval = (0.5, 3.0)


class TestSqrt(OneCase):
    op_name = "sqrt"
    interval = (0.25, 3.0)


class TestExp(OneCase):
    op_name = "exp"


class TestExpm1(OneCase):
    op_name = "expm1"


class TestLog(OneCase):
    op_name = "log"
    interval = (0.25, 3.0)


class TestLog1p(OneCase):
    op_name = "log1p"
    interval = (-0.5, 3.0)


class TestSin(OneCase):
    op_name = "sin"


class TestCos(OneCase):
    op_name = "cos"


class TestClip(OneCase):
    op_name = ("clip", "clamp")
    variants = ({"bounds": (-1.0, 2.0)}, {"bounds": (None, 0.5)}, {"bounds": (0.5, None)})
    kinks = (-1.0, 0.5, 2.0)

    def op(self, x):
        return ops.clip(x, *self.bounds)

    def reference(self, x):
        return reference.clip(x, *self.bounds)

    def reference_backward(self, dy, x):
        return (reference.clip_backward(dy, x, *self.bounds),)

    def torch_op(self, torch, x):
        return torch.clip(x, *self.bounds)


class TestMaskedFill(OpCase):
    op_name = "masked_fill"

    def inputs(self, rng, dtype):
        return rng.standard_normal((3, 7, 5)).astype(dtype), rng.random((7, 5)) > 0.5

    def draw(self, rng, dtype):
        x, mask = broadcast_shapes(rng)
        shape = np.broadcast_shapes(x, mask)
        return {}, (rng.standard_normal(shape).astype(dtype), rng.random(mask) > 0.5)

    def op(self, x, mask):
        return ops.masked_fill(x, mask, -2.0)

    def reference(self, x, mask):
        return reference.masked_fill(x, mask, -2.0)

    def reference_backward(self, dy, x, mask):
        return reference.masked_fill_backward(dy, x, mask, -2.0), None

    def torch_op(self, torch, x, mask):
        return x.masked_fill(mask, -2.0)


class TestComparison(OpCase):
    op_name = ("eq", "ne", "lt", "le", "gt", "ge")
    variants = tuple({"name": name} for name in op_name)
    differentiable = False

    def inputs(self, rng, dtype):
        return rng.integers(0, 3, (3, 7, 5)).astype(dtype), rng.integers(0, 3, (7, 1)).astype(dtype)

    def empty_inputs(self, dtype):
        return np.ones((2, 0, 3), dtype), np.ones(3, dtype)

    def draw(self, rng, dtype):
        a, b = (rng.integers(0, 3, shape).astype(dtype) for shape in broadcast_shapes(rng))
        return self.drawn_variant(rng), (a, b)

    def op(self, a, b):
        return getattr(ops, self.name)(a, b)

    def reference(self, a, b):
        return getattr(operator, self.name)(a, b)

    def torch_op(self, torch, a, b):
        return getattr(torch, self.name)(a, b)


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
        with pytest.raises(ValueError, match=r"\[add\] got"):
            x + y
