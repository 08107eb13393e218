"""Functions of one tensor, element by element: y = f(x) in the shape, dtype and memory order of x; and pow.

The errors of exp, expm1, log, log1p, sin and cos are at most 2 units in the last place (ulp). Integers become
floats of the default dtype, as in PyTorch, except that abs, sign, round and square keep them. Outside its
domain a function gives nan or inf without a warning.

The names of a gradient's parameters decide what it is called with: f, dy, the input x or the result y
(`Declaration` in declaration.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.arithmetic import AddNumber, OfNumber
from ranvier.ops.elementwise.dtypes import Array, as_tensor, is_floating, is_number, is_pair
from ranvier.ops.elementwise.op import DECLARATIONS, EVERY_DTYPE, Elementwise
from ranvier.ops.gradient_rules import none
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    RESULT,
    SECOND_INPUT,
    TENSORS,
    Operations,
    Value,
    differentiable_backward,
)
from ranvier.tape.function import Dtypes, Function, in_dtypes
from ranvier.tensors.errors import whole
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import HALVES, filled_like
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike


def _of_bools(x: Array, function: Callable[[Array], Array]) -> Array:
    """function(x) of integers. Bools, which NumPy's function does not take, are returned as they are."""
    if x.dtype == np.bool_:
        return np.array(x)
    return function(x)


def _square_of_integers(x: Array) -> Array:
    if x.dtype == np.bool_:
        x = x.astype(np.int64)
    return np.square(x)


def _abs_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * f.sign(x)


_abs_op = Elementwise(_core.abs, gradient=_abs_gradient, numpy=np.abs).op("abs")


def abs(input: TensorLike) -> Tensor:
    """|x|; its slope at 0 is 0, at NaN NaN (0 in PyTorch).

    >>> import ranvier as rv
    >>> rv.abs(rv.tensor([-1.5, 2.0]))
    tensor([1.5000, 2.0000])
    """
    return _abs_op(input)


def _cos_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return -(dy * f.sin(x))


_cos_op = Elementwise(_core.cos, gradient=_cos_gradient).op("cos")


def cos(input: TensorLike) -> Tensor:
    """The cosine of x radians.

    >>> import ranvier as rv
    >>> rv.cos(rv.tensor([0.0, 1.0]))
    tensor([1.0000, 0.5403])
    """
    return _cos_op(input)


# backward_kernel, of exp and log: the core has no kernel for these gradients alone; mul and div compute them.
def _exp_gradient(f: Operations, dy: Value, y: Value) -> Value:
    return f.mul(dy, y)


_exp_op = Elementwise(_core.exp, gradient=_exp_gradient, backward_kernel="mul").op("exp")


def exp(input: TensorLike) -> Tensor:
    """e^x

    >>> import ranvier as rv
    >>> rv.exp(rv.tensor([0.0, 1.0]))
    tensor([1.0000, 2.7183])
    """
    return _exp_op(input)


def _expm1_gradient(f: Operations, dy: Value, y: Value) -> Value:
    return dy * (y + 1.0)


_expm1_op = Elementwise(_core.expm1, gradient=_expm1_gradient).op("expm1")


def expm1(input: TensorLike) -> Tensor:
    """e^x - 1, accurate near 0

    >>> import ranvier as rv
    >>> rv.expm1(rv.tensor([0.0, 1e-8]))
    tensor([0.0000e+00, 1.0000e-08])
    """
    return _expm1_op(input)


def _log_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return f.div(dy, x)


_log_op = Elementwise(_core.log, gradient=_log_gradient, backward_kernel="div").op("log")


def log(input: TensorLike) -> Tensor:
    """The natural logarithm: -inf at 0, nan below.

    >>> import ranvier as rv
    >>> rv.log(rv.tensor([1.0, 0.0, -1.0]))
    tensor([0., -inf, nan])
    """
    return _log_op(input)


def _log1p_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy / (x + 1.0)


_log1p_op = Elementwise(_core.log1p, gradient=_log1p_gradient).op("log1p")


def log1p(input: TensorLike) -> Tensor:
    """log(1 + x), accurate near 0

    >>> import ranvier as rv
    >>> rv.log1p(rv.tensor([0.0, -1.0]))
    tensor([0., -inf])
    """
    return _log1p_op(input)


def _reciprocal_gradient(f: Operations, dy: Value, y: Value) -> Value:
    return -(dy * y * y)


_reciprocal_op = Elementwise(_core.reciprocal, gradient=_reciprocal_gradient).op("reciprocal")


def reciprocal(input: TensorLike) -> Tensor:
    """1 / x

    >>> import ranvier as rv
    >>> rv.reciprocal(rv.tensor([4.0, 0.0]))
    tensor([0.2500,    inf])
    """
    return _reciprocal_op(input)


_sign_op = Elementwise(_core.sign, 0, numpy=partial(_of_bools, function=np.sign), ufunc=np.sign).op("sign")


def sign(input: TensorLike) -> Tensor:
    """-1, 0 or 1, NaN of NaN, as in NumPy (0 in PyTorch); the gradient is 0.

    >>> import ranvier as rv
    >>> rv.sign(rv.tensor([-2.0, 0.0, 3.0]))
    tensor([-1.,  0.,  1.])
    """
    return _sign_op(input)


def _sin_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * f.cos(x)


_sin_op = Elementwise(_core.sin, gradient=_sin_gradient).op("sin")


def sin(input: TensorLike) -> Tensor:
    """The sine of x radians.

    >>> import ranvier as rv
    >>> rv.sin(rv.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    return _sin_op(input)


def _sqrt_gradient(f: Operations, dy: Value, y: Value) -> Value:
    return dy / (y * 2.0)


_sqrt_op = Elementwise(_core.sqrt, gradient=_sqrt_gradient).op("sqrt")


def sqrt(input: TensorLike) -> Tensor:
    """The square root: nan below 0.

    >>> import ranvier as rv
    >>> rv.sqrt(rv.tensor([4.0, 2.25]))
    tensor([2.0000, 1.5000])
    """
    return _sqrt_op(input)


def _square_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * (x * 2.0)


_square_op = Elementwise(_core.square, gradient=_square_gradient, numpy=_square_of_integers).op("square")


def square(input: TensorLike) -> Tensor:
    """x^2

    >>> import ranvier as rv
    >>> rv.square(rv.tensor([1.0, -3.0]))
    tensor([1., 9.])
    """
    return _square_op(input)


absolute = abs


# Not `_round_op`: the public name would call an op of this name itself (`_op_of` in tensors/spellings.py),
# but calls with decimals have to go through round.
_ROUND = Elementwise(_core.round, 0, numpy=partial(_of_bools, function=np.round), ufunc=np.rint).op("round")


def round(input: TensorLike, decimals: int = 0) -> Tensor:
    """The nearest integer, halves to even, or the nearest multiple of 10^-decimals; the gradient is 0.

    >>> import ranvier as rv
    >>> rv.round(rv.tensor([0.5, 1.5, -1.2]))
    tensor([ 0.,  2., -1.])
    """
    if type(decimals) is int and decimals == 0:
        return _ROUND(input)
    return _round_to(input, whole("round", "decimals", decimals))


@in_dtypes()
def _round_to(input: TensorLike, decimals: int) -> Tensor:
    if not is_floating(input):
        dtype = as_tensor("round", input).dtype
        raise DtypeError(
            f"[round] got x of dtype {dtype.name} and decimals {decimals}; expected floats: use x.float()"
        )
    scale = 10.0**decimals
    return round(input * scale) / scale


@differentiable_backward(a=FIRST_INPUT, b=SECOND_INPUT, y=RESULT)
class Pow(Function):
    """y = a^b"""

    broadcasts = True

    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def forward(self, a: Array, b: Array) -> Array:
        self.a = a
        self.b = b
        self.y = _core.pow(a, b, None)
        return self.y

    def backward(self, dy: Value, f: Operations = KERNELS) -> tuple[Value | None, Value | None]:
        a = self.a
        b = self.b
        da = None
        db = None
        if self.needs[0]:
            da = f.sum_to(f.pow_backward(dy, a, b), a.shape)
        if self.needs[1]:
            db = f.sum_to(f.exponent_backward(dy, a, self.y), b.shape)
        return da, db


def _pow_backward(dy: Tensor, a: Tensor, b: Tensor | float) -> Tensor:
    """dy b a^(b-1); 0 at b = 0, also at a = 0."""
    if isinstance(b, Tensor):
        flat = wrap(b._array).eq(0.0)
        return (dy * (b * a ** (b.masked_fill(flat, 1.0) - 1.0))).masked_fill(flat, 0.0)
    if b == 0:
        return none(dy.shape, dy)
    if b == 1.5:  # a ** 0.5 would be sqrt(a), which is nan at -inf. The kernel of pow is inf there.
        power = PowNumber(0.5).apply(a)
    else:
        power = a ** (b - 1.0)
    return dy * (power * b)


def _exponent_backward(dy: Tensor, a: Tensor | float, y: Tensor) -> Tensor:
    """dy y log(a), where y = a^b; 0 at a = 0, b >= 0."""
    if isinstance(a, Tensor):
        zero = wrap(a._array).eq(0.0) & (wrap(y._array) < math.inf)
        return (dy * (y * a.masked_fill(zero, 1.0).log())).masked_fill(zero, 0.0)
    if a > 0:
        return dy * (y * math.log(a))
    # For a <= 0 the slope y log(a) is 0, infinite or nan. The second backward treats it as a constant.
    return dy * wrap(_core.exponent_backward(filled_like(1, y._array), a, y._array))


# The gradients of Pow call these kernels by f (ops/namespaces.py).
TENSORS.pow_backward = _pow_backward
TENSORS.exponent_backward = _exponent_backward


@differentiable_backward(x=FIRST_INPUT)
class PowNumber(OfNumber):
    """y = x^number"""

    def forward(self, x: Array) -> Array:
        self.x = x
        return _core.pow(x, self.number, None)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Value:
        """dy number x^(number - 1)."""
        b = self.number
        if float(np.float32(b)) == b:
            return f.pow_backward(dy, self.x, b)
        # The kernel rounds the number to x's dtype before it subtracts 1, which costs digits of the power.
        return f.mul(dy, f.mul(f.pow(self.x, b - 1.0), b))


@differentiable_backward(y=RESULT)
class NumberPow(OfNumber):
    """y = number^x"""

    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def forward(self, x: Array) -> Array:
        self.y = _core.pow(self.number, x, None)
        return self.y

    def backward(self, dy: Value, f: Operations = KERNELS) -> Value:
        """dy y log(number)."""
        if self.number <= 0:
            return f.exponent_backward(dy, self.number, self.y)
        # The kernel would round the number before its logarithm, which is ill-conditioned near 1.
        return f.mul(dy, f.mul(self.y, math.log(self.number)))


def _power_of_integers(a: Array, b: Array) -> Array:
    """a^b of integers and bools. For b < 0 it is 1 / a^|b|, rounded towards 0: 1 or -1 for a = 1 or -1, else
    0."""
    if a.dtype.kind == "b":  # a^b is False only for a = False and b = True
        return a | ~b
    is_negative = np.less(b, 0)
    if not np.any(is_negative):
        return np.power(a, b)
    # A negative b is replaced by 1 if it is odd, by 0 if it is even. The powers of 1 and -1 stay the same.
    powers = np.power(a, np.where(is_negative, np.remainder(b, 2), b))
    return np.where(is_negative & (np.abs(a) != 1), powers.dtype.type(0), powers)


# In _POWER b may be negative, so that integers need _power_of_integers. In _INTEGER_POWER b is a Python int,
# >= 0 where a has integers (`pow` has checked it), so that the core may run np.power's inner loops on them.
_POWER = Elementwise(_core.pow, numpy=_power_of_integers, node=Pow).op("pow")
_INTEGER_POWER = Elementwise(numpy=_power_of_integers, dtypes=EVERY_DTYPE, ufunc=np.power, node=Pow).op("pow")


def pow(input: TensorLike, exponent: TensorLike) -> Tensor:
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
    # Half floats are squared. Their other powers are computed in float32 and rounded once: sqrt would differ
    # from that at -0 and -inf.
    if is_number(exponent) and is_floating(input) and (exponent == 2 or input._array.dtype not in HALVES):
        return _power_node(float(exponent)).apply(input)
    if is_number(input) and is_floating(exponent):
        return NumberPow(float(input)).apply(exponent)
    is_integer = not isinstance(input, float) and getattr(input, "dtype", np.dtype(int)).kind != "f"
    if is_integer and isinstance(exponent, (int, np.integer)) and exponent < 0:
        raise OpError(f"[pow] got integers to the power {exponent}; expected an exponent >= 0, or floats")
    if type(exponent) is int:
        return _INTEGER_POWER(input, exponent)
    return _POWER(input, exponent)


_SPECIAL_POWERS = {-1.0: "reciprocal", 0.5: "sqrt", 2.0: "square"}  # exponent -> op


def _power_node(exponent: float) -> Function:
    """The node of x^exponent: square, sqrt or reciprocal where it is one of these. x has floats."""
    if exponent == 1.0:
        return AddNumber(-0.0)  # x + -0.0 is x for all x, also for -0.0
    if exponent in _SPECIAL_POWERS:
        node: Function = DECLARATIONS[_SPECIAL_POWERS[exponent]].node()
        return node
    return PowNumber(exponent)
