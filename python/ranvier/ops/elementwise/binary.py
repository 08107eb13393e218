"""Functions of two tensors that broadcast, element by element: remainders, angles, logic, blends.

Where the dtypes differ they follow PyTorch's promotion. Raises ValueError for shapes that do not broadcast.
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
from ranvier.ops.elementwise.compare import lt
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
from ranvier.ops.elementwise.row import KEPT, elementwise
from ranvier.ops.namespaces import TENSORS, Operations, Value, formula_of
from ranvier.tape.function import Dtypes, by_kernel, in_dtypes
from ranvier.tensors.memory import BF16
from ranvier.tensors.tensor import Tensor


def _share(first: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
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


@elementwise(
    numpy=np.arctan2,
    gradient=(
        lambda f, dy, a, b: dy * _over_square(f, b, a, b),
        lambda f, dy, a, b: dy * _over_square(f, -a, a, b),
    ),
)
def atan2(input: Any, other: Any) -> Tensor:
    """The angle in [-pi, pi] of the point (b, a): atan(a / b) in the quadrant of the signs of both. The
    gradients are 0 at (0, 0).

    >>> import ranvier as rv
    >>> rv.atan2(rv.tensor([1.0, 1.0]), rv.tensor([1.0, -1.0]))
    tensor([0.7854, 2.3562])
    """


arctan2 = atan2


@elementwise(
    numpy=np.copysign,
    gradient=(lambda f, dy, a, b: dy * f.where(a == 0, 0.0, f.sign(a) * f.copysign(1.0, b)), 0),
)
def copysign(input: Any, other: Any) -> Tensor:
    """|a| with the sign of b; the gradient of b is 0.

    >>> import ranvier as rv
    >>> rv.copysign(rv.tensor([1.0, -2.0]), -1.0)
    tensor([-1., -2.])
    """


@elementwise(_core.floor_divide, numpy=np.floor_divide, gradient=(0, 0), check_dtype=no_bools)
def floor_divide(input: Any, other: Any) -> Tensor:
    """floor(a / b), Python's //; the gradients are 0.

    >>> import ranvier as rv
    >>> rv.floor_divide(rv.tensor([-5.0, 5.0]), 3)
    tensor([-2.,  1.])
    """


@elementwise(numpy=np.fmax, gradient=_share(operator.ge), dtypes=KEPT)
def fmax(input: Any, other: Any) -> Tensor:
    """The greater of a and b; where one is NaN, the other.

    >>> import ranvier as rv
    >>> rv.fmax(rv.tensor([1.0, float("nan")]), rv.tensor([2.0, 3.0]))
    tensor([2., 3.])
    """


@elementwise(numpy=np.fmin, gradient=_share(operator.le), dtypes=KEPT)
def fmin(input: Any, other: Any) -> Tensor:
    """The smaller of a and b; where one is NaN, the other.

    >>> import ranvier as rv
    >>> rv.fmin(rv.tensor([1.0, float("nan")]), rv.tensor([2.0, 3.0]))
    tensor([1., 3.])
    """


formula_of("truncated_quotient")(lambda f, a, b: f.trunc(a / b))
# Its slope is 0, also where the slope of a / b is infinite.
TENSORS.truncated_quotient = partial(div, rounding_mode="trunc")


@elementwise(
    _core.fmod,
    numpy=np.fmod,
    gradient=(lambda f, dy: dy, lambda f, dy, a, b: -(dy * f.truncated_quotient(a, b))),
    check_dtype=no_bools,
)
def fmod(input: Any, other: Any) -> Tensor:
    """The remainder of a / b with the sign of a: a - b trunc(a / b).

    >>> import ranvier as rv
    >>> rv.fmod(rv.tensor([-5.0, 5.0]), 3)
    tensor([-2.,  2.])
    """


@elementwise(numpy=np.hypot, gradient=(lambda f, dy, a, y: dy * (a / y), lambda f, dy, b, y: dy * (b / y)))
def hypot(input: Any, other: Any) -> Tensor:
    """sqrt(a^2 + b^2) without overflow.

    >>> import ranvier as rv
    >>> rv.hypot(rv.tensor([3.0]), rv.tensor([4.0]))
    tensor([5.])
    """


def _next(a: Any, b: Any) -> Any:
    """NumPy's nextafter. A bfloat16, which NumPy's function does not know, is taken as an integer, its bits,
    such that the integers are in the order of the values; the next value is the integer +- 1."""
    if a.dtype != BF16:
        return np.nextafter(a, b)
    values = a.astype(F32)
    to = b.astype(F32)
    bits = a.view(np.uint16).astype(np.int32)
    place = np.where(bits < 2**15, bits, 2**15 - bits) + np.where(to > values, 1, -1)
    bits = np.where(place < 0, 2**15 - place, place).astype(np.uint16)
    y = np.where(to == values, to, bits.view(BF16).astype(F32))
    return np.where(np.isnan(values) | np.isnan(to), np.nan, y)


# The dtype of half floats is "own": computed in float32, the next number would be another one.
@elementwise(
    numpy=_next,
    gradient=(lambda f, dy, a, b: dy * f.where(a != b, 1.0, 0.0), 0),
    dtypes=Dtypes("own", integers="floats"),
)
def nextafter(input: Any, other: Any) -> Tensor:
    """The next number after a towards b. The gradient goes to a; it is 0 where a = b.

    >>> import ranvier as rv
    >>> rv.nextafter(rv.tensor([1.0]), rv.tensor([2.0]))
    tensor([1.0000])
    """


@elementwise(
    _core.remainder,
    numpy=np.remainder,
    gradient=(lambda f, dy: dy, lambda f, dy, a, b: -(dy * f.floor_divide(a, b))),
    check_dtype=no_bools,
)
def remainder(input: Any, other: Any) -> Tensor:
    """The remainder of a / b with the sign of b, Python's %: a - b floor(a / b).

    >>> import ranvier as rv
    >>> rv.remainder(rv.tensor([-5.0, 5.0]), 3)
    tensor([1., 2.])
    """


@elementwise(
    numpy=lambda a, b: np.where((a == 0) & ~np.isnan(b), 0, a * np.log(b)),
    gradient=(lambda f, dy, a, b: dy * _log_or_zero(f, a, b), lambda f, dy, a, b: dy * a / b),
)
def xlogy(input: Any, other: Any) -> Tensor:
    """a log(b); 0 where a is 0, unless b is NaN.

    >>> import ranvier as rv
    >>> rv.xlogy(rv.tensor([0.0, 2.0]), rv.tensor([0.0, 1.0]))
    tensor([0., 0.])
    """


def true_divide(input: Any, other: Any) -> Tensor:
    """a / b: see :func:`ranvier.div`.

    >>> import ranvier as rv
    >>> rv.true_divide(rv.tensor([1, 3]), 2)
    tensor([0.5000, 1.5000])
    """
    return div(input, other)


def clamp_min(input: Any, min: Any) -> Tensor:
    """x, at least min: see :func:`ranvier.clamp`.

    >>> import ranvier as rv
    >>> rv.clamp_min(rv.tensor([1.0, 5.0]), 2)
    tensor([2., 5.])
    """
    return clip(input, min, None)


def clamp_max(input: Any, max: Any) -> Tensor:
    """x, at most max: see :func:`ranvier.clamp`.

    >>> import ranvier as rv
    >>> rv.clamp_max(rv.tensor([1.0, 5.0]), 2)
    tensor([1., 2.])
    """
    return clip(input, None, max)


def rsub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """b - alpha a

    >>> import ranvier as rv
    >>> rv.rsub(rv.tensor([1.0, 2.0]), 5)
    tensor([4., 3.])
    """
    return sub(other, input, alpha=alpha)


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """start + weight (end - start), from the nearer end: exactly end for a weight of 1.

    >>> import ranvier as rv
    >>> rv.lerp(rv.tensor([0.0, 10.0]), rv.tensor([4.0, 20.0]), 0.25)
    tensor([ 1.0000, 12.5000])
    """
    return _lerp(input, end, weight)


@by_kernel(fused.lerp, floats=True)
@in_dtypes()
def _lerp(input: Any, end: Any, weight: Any) -> Tensor:
    if result_dtype(as_operand("lerp", input), as_operand("lerp", end)).kind in "iu":
        input = mul(input, 1.0)  # In floats, since the difference of unsigned integers would wrap around.
    step = sub(end, input)
    if isinstance(weight, (int, float, np.number)):
        if -0.5 < weight < 0.5:
            return add(input, mul(weight, step))
        return add(end, mul(weight - 1, step))
    near = lt(abs(weight), 0.5)
    return add(where(near, input, end), mul(where(near, weight, sub(weight, 1)), step))


def _added(name: str, joined: Any) -> Callable[..., Tensor]:
    """The op x + value joined(a, b), with the kernel of this name."""

    @by_kernel(getattr(_core, name), floats=True)
    @in_dtypes()
    def in_python(input: Any, tensor1: Any, tensor2: Any, value: float) -> Tensor:
        if isinstance(input, Tensor) and isinstance(tensor1, Tensor):
            # Computed in the dtype of the sum: a product of small integers could overflow otherwise.
            tensor1 = cast(tensor1, result_dtype(input, tensor1))
        y = joined(tensor1, tensor2)
        return add(input, mul(y, value) if value != 1 else y)

    return in_python


_ADDCMUL = _added("addcmul", mul)
_ADDCDIV = _added("addcdiv", div)


def addcmul(input: Any, tensor1: Any, tensor2: Any, third: Any = None, *, value: float = 1) -> Tensor:
    """x + value a b

    >>> import ranvier as rv
    >>> rv.addcmul(rv.tensor([1.0, 1.0]), rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]), value=0.5)
    tensor([2.5000, 5.0000])
    """
    if third is not None:
        value = tensor1
        tensor1 = tensor2
        tensor2 = third
    return _ADDCMUL(input, tensor1, tensor2, value)


def addcdiv(input: Any, tensor1: Any, tensor2: Any, third: Any = None, *, value: float = 1) -> Tensor:
    """x + value a / b

    >>> import ranvier as rv
    >>> rv.addcdiv(rv.tensor([1.0, 1.0]), rv.tensor([1.0, 2.0]), rv.tensor([2.0, 4.0]))
    tensor([1.5000, 1.5000])
    """
    if third is not None:
        value = tensor1
        tensor1 = tensor2
        tensor2 = third
    return _ADDCDIV(input, tensor1, tensor2, value)


@in_dtypes()
def ldexp(input: Any, other: Any) -> Tensor:
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
    # With larger exponents the result is 0 or infinite for every x, so that they are clipped.
    most = 300 if result_dtype(input, other) == F32 else 2100
    exponent = clip(other, -most, most)
    # 2^exponent itself may overflow where x 2^exponent does not. It is multiplied in three factors.
    part = floor_divide(exponent, 3)
    power = pow(2.0, part)
    return mul(mul(mul(input, power), power), pow(2.0, exponent - part * 2))


@in_dtypes()
def logaddexp(input: Any, other: Any) -> Tensor:
    """log(e^a + e^b) without overflow.

    >>> import ranvier as rv
    >>> rv.logaddexp(rv.tensor([1000.0]), rv.tensor([1000.0]))
    tensor([1000.6932])
    """
    input = as_operand("logaddexp", input)
    other = as_operand("logaddexp", other)
    dtype = result_dtype(input, other)
    input, other = (floating(cast(x, dtype)) for x in (input, other))
    endless = (input == other) & (input.abs() == math.inf)
    d = where(endless, 0.0, sub(input, other))
    y = where(d > 0, sub(input, logsigmoid(d)), sub(other, logsigmoid(-d)))
    return where(endless, mul(input, 0.5) + mul(other, 0.5), y)  # Equal infinities share the gradient.
