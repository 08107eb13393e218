"""Functions of two tensors that broadcast, element by element: remainders, angles, logic, blends.

Where the dtypes differ they follow PyTorch's promotion. Raises ValueError for shapes that do not broadcast.

A declaration has two gradients, of a and of b. The names of a gradient's parameters decide what it is called
with: f, dy, the inputs a and b or the result y (`Declaration` in declaration.py). 0 is a gradient of zeros.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.activation.smooth import logsigmoid
from ranvier.ops.elementwise import fused
from ranvier.ops.elementwise.arithmetic import add, div, mul, no_bools, sub
from ranvier.ops.elementwise.choice import clip, where
from ranvier.ops.elementwise.compare import eq, lt
from ranvier.ops.elementwise.dtypes import (
    F32,
    as_operand,
    as_tensor,
    cast,
    floating,
    is_floating,
    result_dtype,
)
from ranvier.ops.elementwise.functions import abs, pow
from ranvier.ops.elementwise.op import EVERY_DTYPE, Elementwise
from ranvier.ops.namespaces import TENSORS, Operations, Value, formula_of
from ranvier.tape.function import Dtypes, by_kernel, in_dtypes
from ranvier.tensors.memory import BF16, Array
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike


def _shared_gradients(first: Callable[[Any, Any], Any]) -> tuple[Callable[..., Value], Callable[..., Value]]:
    """The gradients of fmax or fmin. Where a and b are equal, a gets the whole gradient; where one operand is
    NaN, the other operand gets it. first(a, b): whether the result is a."""

    def of_a(f: Operations, dy: Value, a: Value, b: Value) -> Value:
        return dy * f.where(first(a, b) | (b != b), 1.0, 0.0)

    def of_b(f: Operations, dy: Value, a: Value, b: Value) -> Value:
        return dy * f.where(first(a, b) | (b != b), 0.0, 1.0)

    return of_a, of_b


def _over_square(f: Operations, along: Value, a: Value, b: Value) -> Value:
    """A slope of atan2: `along` divided by a^2 + b^2; 0 where that is 0."""
    size = f.abs(a) + f.abs(b)
    # The squares of such numbers may leave the range of float32. They are divided by |a| + |b| first.
    far = (size > 0) & (size < np.inf) & ((size < 1e-8) | (size > 1e8))
    size = f.where(far, size, 1.0)
    p = a / size
    q = b / size
    square = p * p + q * q
    zero = square == 0
    return f.where(zero, 0.0, along / size / f.where(zero, 1.0, square) / size)


def _log_or_zero(f: Operations, a: Value, b: Value) -> Value:
    """The slope of xlogy by a: log(b), but 0 where a = 0 and b <= 0."""
    zero = (a == 0) & (b <= 0)
    return f.where(zero, 0.0, f.log(f.where(zero, 1.0, b)))


def _atan2_gradient_a(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return dy * _over_square(f, b, a, b)


def _atan2_gradient_b(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return dy * _over_square(f, -a, a, b)


_atan2_op = Elementwise(
    numpy=np.arctan2,
    gradient=(
        _atan2_gradient_a,
        _atan2_gradient_b,
    ),
).op("atan2")


def atan2(input: TensorLike, other: TensorLike) -> Tensor:
    """The angle in [-pi, pi] of the point (b, a): atan(a / b) in the quadrant of the signs of both. The
    gradients are 0 at (0, 0).

    >>> import ranvier as rv
    >>> rv.atan2(rv.tensor([1.0, 1.0]), rv.tensor([1.0, -1.0]))
    tensor([0.7854, 2.3562])
    """
    return _atan2_op(input, other)


arctan2 = atan2


def _copysign_gradient_a(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return dy * f.where(a == 0, 0.0, f.sign(a) * f.copysign(1.0, b))


_copysign_op = Elementwise(
    numpy=np.copysign,
    gradient=(_copysign_gradient_a, 0),
).op("copysign")


def copysign(input: TensorLike, other: TensorLike) -> Tensor:
    """|a| with the sign of b; the gradient of b is 0.

    >>> import ranvier as rv
    >>> rv.copysign(rv.tensor([1.0, -2.0]), -1.0)
    tensor([-1., -2.])
    """
    return _copysign_op(input, other)


_floor_divide_op = Elementwise(
    _core.floor_divide, numpy=np.floor_divide, gradient=(0, 0), check_dtype=no_bools
).op("floor_divide")


def floor_divide(input: TensorLike, other: TensorLike) -> Tensor:
    """floor(a / b), Python's //; the gradients are 0.

    >>> import ranvier as rv
    >>> rv.floor_divide(rv.tensor([-5.0, 5.0]), 3)
    tensor([-2.,  1.])
    """
    return _floor_divide_op(input, other)


_fmax_op = Elementwise(numpy=np.fmax, gradient=_shared_gradients(operator.ge), dtypes=EVERY_DTYPE).op("fmax")


def fmax(input: TensorLike, other: TensorLike) -> Tensor:
    """The greater of a and b; where one is NaN, the other.

    >>> import ranvier as rv
    >>> rv.fmax(rv.tensor([1.0, float("nan")]), rv.tensor([2.0, 3.0]))
    tensor([2., 3.])
    """
    return _fmax_op(input, other)


_fmin_op = Elementwise(numpy=np.fmin, gradient=_shared_gradients(operator.le), dtypes=EVERY_DTYPE).op("fmin")


def fmin(input: TensorLike, other: TensorLike) -> Tensor:
    """The smaller of a and b; where one is NaN, the other.

    >>> import ranvier as rv
    >>> rv.fmin(rv.tensor([1.0, float("nan")]), rv.tensor([2.0, 3.0]))
    tensor([1., 3.])
    """
    return _fmin_op(input, other)


@formula_of("truncated_quotient")
def _truncated_quotient(f: Operations, a: Value, b: Value) -> Value:
    return f.trunc(a / b)


# The formula above is for exports. On Tensors the slope is 0, also where the slope of a / b is infinite.
TENSORS.truncated_quotient = partial(div, rounding_mode="trunc")


def _fmod_gradient_a(f: Operations, dy: Value) -> Value:
    return dy


def _fmod_gradient_b(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return -(dy * f.truncated_quotient(a, b))


_fmod_op = Elementwise(
    _core.fmod,
    numpy=np.fmod,
    gradient=(_fmod_gradient_a, _fmod_gradient_b),
    check_dtype=no_bools,
).op("fmod")


def fmod(input: TensorLike, other: TensorLike) -> Tensor:
    """The remainder of a / b with the sign of a: a - b trunc(a / b).

    >>> import ranvier as rv
    >>> rv.fmod(rv.tensor([-5.0, 5.0]), 3)
    tensor([-2.,  2.])
    """
    return _fmod_op(input, other)


def _hypot_gradient_a(f: Operations, dy: Value, a: Value, y: Value) -> Value:
    return dy * (a / y)


def _hypot_gradient_b(f: Operations, dy: Value, b: Value, y: Value) -> Value:
    return dy * (b / y)


_hypot_op = Elementwise(numpy=np.hypot, gradient=(_hypot_gradient_a, _hypot_gradient_b)).op("hypot")


def hypot(input: TensorLike, other: TensorLike) -> Tensor:
    """sqrt(a^2 + b^2) without overflow.

    >>> import ranvier as rv
    >>> rv.hypot(rv.tensor([3.0]), rv.tensor([4.0]))
    tensor([5.])
    """
    return _hypot_op(input, other)


def _next(a: Array, b: Array) -> Array:
    """NumPy's nextafter. A bfloat16, which NumPy's function does not know, is taken as an integer, its bits,
    such that the integers are in the order of the values; the next value is the integer +- 1."""
    if a.dtype != BF16:
        return np.nextafter(a, b)
    values = a.astype(F32)
    to = b.astype(F32)
    bits = a.view(np.uint16).astype(np.int32)
    step = np.where(to > values, 1, -1)
    ordered = np.where(bits < 2**15, bits, 2**15 - bits) + step
    bits = np.where(ordered < 0, 2**15 - ordered, ordered).astype(np.uint16)
    y = np.where(to == values, to, bits.view(BF16).astype(F32))
    return np.where(np.isnan(values) | np.isnan(to), np.nan, y)


# The dtype of half floats is "own": computed in float32, the next number would be another one.
def _nextafter_gradient_a(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return dy * f.where(a != b, 1.0, 0.0)


_nextafter_op = Elementwise(
    numpy=_next,
    gradient=(_nextafter_gradient_a, 0),
    dtypes=Dtypes(halves="own", integers="floats"),
).op("nextafter")


def nextafter(input: TensorLike, other: TensorLike) -> Tensor:
    """The next number after a towards b. The gradient goes to a; it is 0 where a = b.

    >>> import ranvier as rv
    >>> rv.nextafter(rv.tensor([1.0]), rv.tensor([2.0]))
    tensor([1.0000])
    """
    return _nextafter_op(input, other)


def _remainder_gradient_a(f: Operations, dy: Value) -> Value:
    return dy


def _remainder_gradient_b(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return -(dy * f.floor_divide(a, b))


_remainder_op = Elementwise(
    _core.remainder,
    numpy=np.remainder,
    gradient=(_remainder_gradient_a, _remainder_gradient_b),
    check_dtype=no_bools,
).op("remainder")


def remainder(input: TensorLike, other: TensorLike) -> Tensor:
    """The remainder of a / b with the sign of b, Python's %: a - b floor(a / b).

    >>> import ranvier as rv
    >>> rv.remainder(rv.tensor([-5.0, 5.0]), 3)
    tensor([1., 2.])
    """
    return _remainder_op(input, other)


def _xlogy_by_numpy(a: Array, b: Array) -> Array:
    return np.where((a == 0) & ~np.isnan(b), 0, a * np.log(b))


def _xlogy_gradient_a(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return dy * _log_or_zero(f, a, b)


def _xlogy_gradient_b(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return dy * a / b


_xlogy_op = Elementwise(
    numpy=_xlogy_by_numpy,
    gradient=(_xlogy_gradient_a, _xlogy_gradient_b),
).op("xlogy")


def xlogy(input: TensorLike, other: TensorLike) -> Tensor:
    """a log(b); 0 where a is 0, unless b is NaN.

    >>> import ranvier as rv
    >>> rv.xlogy(rv.tensor([0.0, 2.0]), rv.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """
    return _xlogy_op(input, other)


def true_divide(input: TensorLike, other: TensorLike) -> Tensor:
    """a / b: see :func:`ranvier.div`.

    >>> import ranvier as rv
    >>> rv.true_divide(rv.tensor([1, 3]), 2)
    tensor([0.5000, 1.5000])
    """
    return div(input, other)


def clamp_min(input: TensorLike, min: TensorLike) -> Tensor:
    """x, at least min: see :func:`ranvier.clamp`.

    >>> import ranvier as rv
    >>> rv.clamp_min(rv.tensor([1.0, 5.0]), 2)
    tensor([2., 5.])
    """
    return clip(input, min, None)


def clamp_max(input: TensorLike, max: TensorLike) -> Tensor:
    """x, at most max: see :func:`ranvier.clamp`.

    >>> import ranvier as rv
    >>> rv.clamp_max(rv.tensor([1.0, 5.0]), 2)
    tensor([1., 2.])
    """
    return clip(input, None, max)


def rsub(input: TensorLike, other: TensorLike, *, alpha: float = 1) -> Tensor:
    """b - alpha a

    >>> import ranvier as rv
    >>> rv.rsub(rv.tensor([1.0, 2.0]), 5)
    tensor([4., 3.])
    """
    return sub(other, input, alpha=alpha)


def lerp(input: TensorLike, end: TensorLike, weight: TensorLike) -> Tensor:
    """start + weight (end - start), from the nearer end: exactly end for a weight of 1.

    >>> import ranvier as rv
    >>> rv.lerp(rv.tensor([0.0, 10.0]), rv.tensor([4.0, 20.0]), 0.25)
    tensor([ 1.0000, 12.5000])
    """
    return _lerp(input, end, weight)


@by_kernel(fused.lerp, floats=True)
@in_dtypes()
def _lerp(input: TensorLike, end: TensorLike, weight: TensorLike) -> Tensor:
    if result_dtype(as_operand("lerp", input), as_operand("lerp", end)).kind in "iu":
        input = mul(input, 1.0)  # In floats, since the difference of unsigned integers would wrap around.
    step = sub(end, input)
    if isinstance(weight, (int, float, np.number)):
        if -0.5 < weight < 0.5:
            return add(input, mul(weight, step))
        return add(end, mul(weight - 1, step))
    near = lt(abs(weight), 0.5)
    nearest = where(near, input, end)
    factor = where(near, weight, sub(weight, 1))
    return add(nearest, mul(factor, step))


def _added(name: str, combine: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The op x + value combine(a, b), with the kernel of this name."""

    @by_kernel(getattr(_core, name), floats=True)
    @in_dtypes()
    def in_python(input: TensorLike, tensor1: TensorLike, tensor2: TensorLike, value: TensorLike) -> Tensor:
        if isinstance(input, Tensor) and isinstance(tensor1, Tensor):
            # Computed in the dtype of the sum: a product of small integers could overflow otherwise.
            tensor1 = cast(tensor1, result_dtype(input, tensor1))
        y = combine(tensor1, tensor2)
        if value != 1:
            y = mul(y, value)
        return add(input, y)

    return in_python


_ADDCMUL = _added("addcmul", mul)
_ADDCDIV = _added("addcdiv", div)


def addcmul(
    input: TensorLike,
    tensor1: TensorLike,
    tensor2: TensorLike,
    third: TensorLike | None = None,
    *,
    value: TensorLike = 1,
) -> Tensor:
    """x + value a b

    >>> import ranvier as rv
    >>> rv.addcmul(rv.tensor([1.0, 1.0]), rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]), value=0.5)
    tensor([2.5000, 5.0000])
    """
    if third is not None:  # addcmul(x, value, a, b)
        value = tensor1
        tensor1 = tensor2
        tensor2 = third
    return _ADDCMUL(input, tensor1, tensor2, value)


def addcdiv(
    input: TensorLike,
    tensor1: TensorLike,
    tensor2: TensorLike,
    third: TensorLike | None = None,
    *,
    value: TensorLike = 1,
) -> Tensor:
    """x + value a / b

    >>> import ranvier as rv
    >>> rv.addcdiv(rv.tensor([1.0, 1.0]), rv.tensor([1.0, 2.0]), rv.tensor([2.0, 4.0]))
    tensor([1.5000, 1.5000])
    """
    if third is not None:  # addcdiv(x, value, a, b)
        value = tensor1
        tensor1 = tensor2
        tensor2 = third
    return _ADDCDIV(input, tensor1, tensor2, value)


@in_dtypes()
def ldexp(input: TensorLike, other: TensorLike) -> Tensor:
    """x 2^exponent.

    >>> import ranvier as rv
    >>> rv.ldexp(rv.tensor([1.0, 3.0]), rv.tensor([2, 1]))
    tensor([4., 6.])
    """
    input = as_operand("ldexp", input)
    other = as_operand("ldexp", other)
    if not is_floating(other):
        input = floating(input, "ldexp")
        other = as_tensor("ldexp", other).to(input.dtype)
    # With larger exponents the result is 0 or infinite for every x, so that they are clipped. Numbers of
    # float32 go from 2^-149 to 2^128, those of float64 from 2^-1074 to 2^1024.
    if result_dtype(input, other) == F32:
        most = 300
    else:
        most = 2100
    exponent = clip(other, -most, most)
    # 2^exponent itself may overflow where x 2^exponent does not. It is multiplied in three factors.
    third = floor_divide(exponent, 3)
    power = pow(2.0, third)
    y = mul(mul(input, power), power)
    return mul(y, pow(2.0, exponent - third * 2))


@in_dtypes()
def logaddexp(input: TensorLike, other: TensorLike) -> Tensor:
    """log(e^a + e^b) without overflow.

    >>> import ranvier as rv
    >>> rv.logaddexp(rv.tensor([1000.0]), rv.tensor([1000.0]))
    tensor([1000.6932])
    """
    input = as_operand("logaddexp", input)
    other = as_operand("logaddexp", other)
    dtype = result_dtype(input, other)
    a = floating(cast(input, dtype))
    b = floating(cast(other, dtype))
    both_infinite = eq(a, b) & eq(a.abs(), math.inf)
    d = where(both_infinite, 0.0, sub(a, b))
    y = where(d > 0, sub(a, logsigmoid(d)), sub(b, logsigmoid(-d)))
    return where(both_infinite, mul(a, 0.5) + mul(b, 0.5), y)  # equal infinities share the gradient
