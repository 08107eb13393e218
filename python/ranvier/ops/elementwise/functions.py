"""Functions of one tensor, element by element: y = f(x) in the shape, dtype and memory order of x.

exp, expm1, log, log1p, sin and cos are within 2 ulp. Integers are computed in float32, as in PyTorch; abs,
sign and round keep them. Outside its domain a function gives nan or inf without a warning.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor, by_numpy
from ranvier.ops.elementwise.dtypes import Array, as_operand, floating, is_floating, require_no_gradient
from ranvier.ops.layout import is_channels_last, zeros
from ranvier.ops.unary import of_input, of_output

__all__ = ["abs", "absolute", "cos", "exp", "expm1", "log", "log1p", "round", "sign", "sin", "sqrt"]
METHODS = [*__all__, *(f"{name}_" for name in __all__)]

Exp = of_output("Exp", _core.exp, _core.mul)
Expm1 = of_output("Expm1", _core.expm1, _core.expm1_backward)
Log = of_input("Log", _core.log, _core.div)
Log1p = of_input("Log1p", _core.log1p, _core.log1p_backward)
Sqrt = of_output("Sqrt", _core.sqrt, _core.sqrt_backward)
Sin = of_input("Sin", _core.sin, _core.sin_backward)
Cos = of_input("Cos", _core.cos, _core.cos_backward)
Abs = of_input("Abs", _core.abs, _core.abs_backward)


class _Step(Function):
    """A function that is constant between its jumps: its gradient is 0."""

    def backward(self, dy: Array) -> Array:
        return zeros(dy.shape, dy.dtype, is_channels_last(dy))


class Sign(_Step):
    def forward(self, x: Array) -> Array:
        return _core.sign(x, None)


class Round(_Step):
    def forward(self, x: Array) -> Array:
        return _core.round(x, None)


def exp(input: Any) -> Tensor:
    """e^x

    >>> import ranvier as rv
    >>> rv.exp(rv.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return Exp().apply(floating(input))


def expm1(input: Any) -> Tensor:
    """e^x - 1, accurate near 0

    >>> import ranvier as rv
    >>> rv.expm1(rv.tensor([0.0, 1e-8])).tolist() == [0.0, 9.99999993922529e-09]
    True
    """
    return Expm1().apply(floating(input))


def log(input: Any) -> Tensor:
    """The natural logarithm: -inf at 0, nan below.

    >>> import ranvier as rv
    >>> rv.log(rv.tensor([1.0, 0.0, -1.0]))
    tensor([0., -inf, nan])
    """
    return Log().apply(floating(input))


def log1p(input: Any) -> Tensor:
    """log(1 + x), accurate near 0

    >>> import ranvier as rv
    >>> rv.log1p(rv.tensor([0.0, -1.0]))
    tensor([0., -inf])
    """
    return Log1p().apply(floating(input))


def sqrt(input: Any) -> Tensor:
    """The square root: nan below 0.

    >>> import ranvier as rv
    >>> rv.sqrt(rv.tensor([4.0, 2.25]))
    tensor([2.0000, 1.5000])
    """
    return Sqrt().apply(floating(input))


def sin(input: Any) -> Tensor:
    """The sine of x radians.

    >>> import ranvier as rv
    >>> rv.sin(rv.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    return Sin().apply(floating(input))


def cos(input: Any) -> Tensor:
    """The cosine of x radians.

    >>> import ranvier as rv
    >>> rv.cos(rv.tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """
    return Cos().apply(floating(input))


def abs(input: Any) -> Tensor:
    """|x|; its slope at 0 is 0, at NaN NaN (0 in PyTorch).

    >>> import ranvier as rv
    >>> rv.abs(rv.tensor([-1.5, 2.0]))
    tensor([1.5000, 2.0000])
    """
    return _keeping_integers(Abs, np.abs, "abs", input)


absolute = abs


def _sign_of_integers(x: Any) -> Any:
    """np.sign, which NumPy lacks for bools: they stay as they are."""
    return np.array(x) if np.asarray(x).dtype == np.bool_ else np.sign(x)


def sign(input: Any) -> Tensor:
    """-1, 0 or 1, NaN of NaN, as in NumPy (0 in PyTorch); the gradient is 0.

    >>> import ranvier as rv
    >>> rv.sign(rv.tensor([-2.0, 0.0, 3.0]))
    tensor([-1.,  0.,  1.])
    """
    return _keeping_integers(Sign, _sign_of_integers, "sign", input)


def round(input: Any, decimals: int = 0) -> Tensor:
    """The nearest integer, halves to even, or the nearest multiple of 10^-decimals; the gradient is 0.

    >>> import ranvier as rv
    >>> rv.round(rv.tensor([0.5, 1.5, -1.2]))
    tensor([ 0.,  2., -1.])
    """
    if decimals and is_floating(input):
        return round(input * 10.0**decimals) / 10.0**decimals
    return _keeping_integers(Round, partial(np.round, decimals=decimals), "round", input)


def _keeping_integers(function: type[Function], numpy_function: Any, name: str, x: Any) -> Tensor:
    x = as_operand(name, x)
    if not is_floating(x):
        require_no_gradient(name, x)
        return by_numpy(numpy_function, getattr(x, "_array", x))
    return function().apply(x)
