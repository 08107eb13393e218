"""pow: a^b with a tensor or a number on either side."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.arithmetic import AddNumber, OfNumber, Reciprocal, Square
from ranvier.ops.elementwise.dtypes import Array, is_floating, is_number, is_pair, promoted, unbroadcast
from ranvier.ops.elementwise.functions import Sqrt

__all__ = ["pow"]
METHODS = [*__all__, "pow_"]


class Pow(Function):
    """y = a^b"""

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        self.y = _core.pow(a, b, None)
        return self.y

    def backward(self, dy: Array) -> tuple[Array | None, Array | None]:
        da = db = None
        if self.needs[0]:
            da = unbroadcast(_core.pow_backward(dy, self.a, self.b, None), self.a.shape)
        if self.needs[1]:
            db = unbroadcast(_core.exponent_backward(dy, self.a, self.y, None), self.b.shape)
        return da, db


class PowNumber(OfNumber):
    """y = x^number"""

    def forward(self, x: Array) -> Array:
        self.x = x
        return _core.pow(x, self.number, None)

    def backward(self, dy: Array) -> Array:
        return _core.pow_backward(dy, self.x, self.number, None)


class NumberPow(OfNumber):
    """y = number^x"""

    def forward(self, x: Array) -> Array:
        self.y = _core.pow(self.number, x, None)
        return self.y

    def backward(self, dy: Array) -> Array:
        return _core.exponent_backward(dy, self.number, self.y, None)


def pow(input: Any, exponent: Any) -> Tensor:
    """a^b, element by element: nan for a negative a and a b that is not whole.

    The exponents 2, 0.5 and -1 take the square, the square root and the reciprocal. Shapes and dtypes as in
    :func:`ranvier.add`. dy/da = b a^(b-1), 0 at b = 0; dy/db = a^b log a, 0 at a = 0, b >= 0.

    >>> import ranvier as rv
    >>> rv.tensor([1.0, 2.0, 3.0]) ** 2
    tensor([1., 4., 9.])
    >>> 2 ** rv.tensor([3.0, -1.0])
    tensor([8.0000, 0.5000])
    """
    if is_pair(input, exponent):
        return Pow().apply(input, exponent)
    if is_number(exponent) and is_floating(input):
        return _of_number(float(exponent)).apply(input)
    if is_number(input) and is_floating(exponent):
        return NumberPow(float(input)).apply(exponent)
    if isinstance(exponent, int) and exponent < 0 and not isinstance(input, float):
        raise ValueError(f"[pow] got integers to the power {exponent}; expected an exponent >= 0, or floats")
    return promoted("pow", Pow, _whole_power, input, exponent)


def _whole_power(a: Any, b: Any) -> Any:
    """a^b of integers; for negative b 1 and -1 stay, others become 0. Of half floats as NumPy's."""
    if a.dtype.kind == "f" or not np.any(np.less(b, 0)):
        return np.power(a, b)
    whole = np.power(a, np.where(np.less(b, 0), np.remainder(b, 2), b))  # a or 1, as b is odd or even
    return np.where(np.less(b, 0) & (np.abs(a) != 1), whole.dtype.type(0), whole)


def _of_number(exponent: float) -> Function:
    if exponent == 2:
        return Square()
    if exponent == 1:
        return AddNumber(-0.0)  # x + -0 is x, -0 included
    if exponent == 0.5:
        return Sqrt()
    if exponent == -1:
        return Reciprocal()
    return PowNumber(exponent)
