"""The support class itself: a right op passes every test of its case, a wrong one fails."""

import pytest
from ranvier.autograd import Function
from support.op_case import OpCase
from support.refused import refused


class Scale(Function):
    """y = factor * x * w, w of the length of the last axis."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, x, w):
        self.x, self.w = x, w
        return self.factor * x * w

    def backward(self, dy):
        dw = (self.factor * dy * self.x).reshape(-1, self.w.size).sum(0)
        return self.factor * dy * self.w, dw


class TestScale(OpCase):
    op_name = ()
    twice = False
    variants = ({"factor": 1.0}, {"factor": -2.5})
    shape, empty = ((2, 3, 4, 5), (5,)), ((0, 3, 4, 5), (5,))

    def drawn_shape(self, rng):
        *shape, n = rng.integers(1, 9, 4).tolist()
        return (*shape, n), (n,)

    def op(self, x, w):
        return Scale(self.factor).apply(x, w)

    def reference(self, x, w):
        return self.factor * x * w

    def reference_backward(self, dy, x, w):
        return self.factor * dy * w, (self.factor * dy * x).sum((0, 1, 2))

    def reduction(self, x, w):
        return x.size // w.size


class Wrong(Scale):
    def backward(self, dy):
        dx, dw = super().backward(dy)
        return dx, 1.0001 * dw


class WrongCase(TestScale):
    __test__ = False

    def op(self, x, w):
        return Wrong(1.0).apply(x, w)


def test_a_wrong_gradient_is_found(rng):
    case = WrongCase()
    case.factor = 1.0
    refused(AssertionError, "gradient of input 1", case._compare, case.inputs(rng, "float32"), gradients=True)


class SmallCase(TestScale):
    """One element far below the others."""

    __test__ = False

    def inputs(self, rng, dtype):
        x = rng.standard_normal((3, 5)).astype(dtype)
        x[1, 2] = 1e-6
        return x, rng.uniform(1, 2, 5).astype(dtype)

    def op(self, x, w):
        y = Scale(1.0).apply(x, w)
        y._array[1, 2] *= 1 + self.error
        return y


def test_a_wrong_small_element_is_found(rng):
    case = SmallCase()
    case.factor, case.error = 1.0, 0.0
    case._compare(case.inputs(rng, "float32"), gradients=False)
    case.error = 1e-3
    refused(AssertionError, "element by element", case._compare, case.inputs(rng, "float32"), gradients=False)


def test_a_gradient_too_few_or_too_many_is_found(rng):
    class Detached(WrongCase):
        __test__ = False

        def op(self, x, w):
            return Scale(1.0).apply(x, w.detach())

    class Unexpected(WrongCase):
        __test__ = False

        def op(self, x, w):
            return Scale(1.0).apply(x, w)

        def reference_backward(self, dy, x, w):
            return dy * w, None

    for kind, message in ((Detached, "input 1 is missing"), (Unexpected, "input 1: got one")):
        case = kind()
        case.factor = 1.0
        with pytest.raises(AssertionError, match=message):
            case._compare(case.inputs(rng, "float32"), gradients=True)
