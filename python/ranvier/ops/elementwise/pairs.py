"""Functions of two tensors that broadcast, element by element: remainders, angles, logic, blends.

Where the dtypes differ they follow PyTorch's promotion. Raises ValueError for shapes that do not broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation.smooth import logsigmoid
from ranvier.ops.elementwise.arithmetic import add, div, mul, neg, sub
from ranvier.ops.elementwise.by_numpy import SLOPES, of_two
from ranvier.ops.elementwise.choice import clip, where
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.dtypes import as_operand, as_tensor, cast, floating, is_floating, result_dtype
from ranvier.ops.elementwise.functions import log, pow


def _share(first: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The slopes of fmax or fmin: of equal values a gets all; where one is NaN, the other does."""

    def of_a(a: Any, b: Any, y: Any) -> Any:
        return (first(a, b) | np.isnan(b)).astype(y.dtype)

    return of_a, lambda a, b, y: 1 - of_a(a, b, y)


def _of_angle(along: Any) -> Callable[..., Any]:
    """A slope of atan2: `along` divided by a^2 + b^2; 0 where that is 0."""

    def slope(a: Any, b: Any, y: Any) -> Any:
        square = a * a + b * b
        return np.where(square == 0, 0, along(a, b) / square)

    return slope


atan2 = of_two(
    "atan2",
    "The angle in [-pi, pi] of the point (b, a): atan(a / b) in the quadrant of the signs of both. "
    "The gradients are 0 at (0, 0).",
    np.arctan2,
    (_of_angle(lambda a, b: b), _of_angle(lambda a, b: -a)),
    ("rv.atan2(rv.tensor([1.0, 1.0]), rv.tensor([1.0, -1.0]))", "tensor([0.7854, 2.3562])"),
)
arctan2 = atan2
copysign = of_two(
    "copysign",
    "|a| with the sign of b; the gradient of b is 0.",
    np.copysign,
    (lambda a, b, y: np.where(a == 0, 0, np.sign(a) * np.copysign(1, b)), None),
    ("rv.copysign(rv.tensor([1.0, -2.0]), -1.0)", "tensor([-1., -2.])"),
)
fmod = of_two(
    "fmod",
    "The remainder of a / b with the sign of a: a - b trunc(a / b).",
    np.fmod,
    (lambda a, b, y: y.dtype.type(1), lambda a, b, y: -np.trunc(a / b)),
    ("rv.fmod(rv.tensor([-5.0, 5.0]), 3)", "tensor([-2.,  2.])"),
    integers=True,
)
remainder = of_two(
    "remainder",
    "The remainder of a / b with the sign of b, Python's %: a - b floor(a / b).",
    np.remainder,
    (lambda a, b, y: y.dtype.type(1), lambda a, b, y: -np.floor_divide(a, b)),
    ("rv.remainder(rv.tensor([-5.0, 5.0]), 3)", "tensor([1., 2.])"),
    integers=True,
)
floor_divide = of_two(
    "floor_divide",
    "floor(a / b), Python's //; the gradients are 0.",
    np.floor_divide,
    (None, None),
    ("rv.floor_divide(rv.tensor([-5.0, 5.0]), 3)", "tensor([-2.,  1.])"),
    integers=True,
)
hypot = of_two(
    "hypot",
    "sqrt(a^2 + b^2) without overflow.",
    np.hypot,
    (lambda a, b, y: a / y, lambda a, b, y: b / y),
    ("rv.hypot(rv.tensor([3.0]), rv.tensor([4.0]))", "tensor([5.])"),
)
fmax = of_two(
    "fmax",
    "The greater of a and b; where one is NaN, the other.",
    np.fmax,
    _share(np.greater_equal),
    ('rv.fmax(rv.tensor([1.0, float("nan")]), rv.tensor([2.0, 3.0]))', "tensor([2., 3.])"),
    integers=True,
)
fmin = of_two(
    "fmin",
    "The smaller of a and b; where one is NaN, the other.",
    np.fmin,
    _share(np.less_equal),
    ('rv.fmin(rv.tensor([1.0, float("nan")]), rv.tensor([2.0, 3.0]))', "tensor([1., 3.])"),
    integers=True,
)
nextafter = of_two(
    "nextafter",
    "The next number after a towards b; the gradient is that of a, and 0 where a = b.",
    np.nextafter,
    (lambda a, b, y: a != b, None),
    ("rv.nextafter(rv.tensor([1.0]), rv.tensor([2.0])) > 1", "tensor([True])"),
)
xlogy = of_two(
    "xlogy",
    "a log(b); 0 where a is 0, unless b is NaN.",
    lambda a, b: np.where((a == 0) & ~np.isnan(b), 0, a * np.log(b)),
    (lambda a, b, y: np.where((a == 0) & (b <= 0), 0, np.log(b)), lambda a, b, y: a / b),
    ("rv.xlogy(rv.tensor([0.0, 2.0]), rv.tensor([0.0, 1.0]))", "tensor([0., 0.])"),
)


def true_divide(input: Any, other: Any) -> Tensor:
    """a / b: see :func:`ranvier.div`.

    >>> import ranvier as rv
    >>> rv.true_divide(rv.tensor([1, 3]), 2)
    tensor([0.5000, 1.5000])
    """
    return div(input, other)


def rsub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """b - alpha a

    >>> import ranvier as rv
    >>> rv.rsub(rv.tensor([1.0, 2.0]), 5)
    tensor([4., 3.])
    """
    return sub(other, input, alpha=alpha)


def float_power(input: Any, exponent: Any) -> Tensor:
    """a^b in float64.

    >>> import ranvier as rv
    >>> rv.float_power(rv.tensor([2, 3]), 2).dtype
    dtype('float64')
    """
    wide = [x.to(np.float64) if isinstance(x, Tensor) else x for x in map(_operand, (input, exponent))]
    return pow(*wide)


def _operand(x: Any) -> Any:
    return as_operand("float_power", x)


def ldexp(input: Any, other: Any) -> Tensor:
    """x 2^exponent.

    >>> import ranvier as rv
    >>> rv.ldexp(rv.tensor([1.0, 3.0]), rv.tensor([2, 1]))
    tensor([4., 6.])
    """
    input, other = floating(as_tensor("ldexp", input)), as_operand("ldexp", other)
    if isinstance(other, Tensor) and other.dtype.kind in "biu":
        other = other.to(input.dtype)
    return mul(input, pow(2.0, other))


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


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """start + weight (end - start).

    >>> import ranvier as rv
    >>> rv.lerp(rv.tensor([0.0, 10.0]), rv.tensor([4.0, 20.0]), 0.25)
    tensor([ 1.0000, 12.5000])
    """
    return add(input, mul(weight, sub(end, input)))


def addcmul(input: Any, tensor1: Any, tensor2: Any, third: Any = None, *, value: float = 1) -> Tensor:
    """x + value a b

    >>> import ranvier as rv
    >>> rv.addcmul(rv.ones(2), rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]), value=0.5)
    tensor([2.5000, 5.0000])
    """
    if third is not None:
        value, tensor1, tensor2 = tensor1, tensor2, third
    if isinstance(input, Tensor) and is_floating(input) and isinstance(tensor1, Tensor):
        tensor1 = cast(tensor1, result_dtype(input, tensor1))  # the product of small integers would overflow
    return add(input, mul(mul(tensor1, tensor2), value) if value != 1 else mul(tensor1, tensor2))


def addcdiv(input: Any, tensor1: Any, tensor2: Any, third: Any = None, *, value: float = 1) -> Tensor:
    """x + value a / b

    >>> import ranvier as rv
    >>> rv.addcdiv(rv.ones(2), rv.tensor([1.0, 2.0]), rv.tensor([2.0, 4.0]))
    tensor([1.5000, 1.5000])
    """
    if third is not None:
        value, tensor1, tensor2 = tensor1, tensor2, third
    return add(input, mul(div(tensor1, tensor2), value) if value != 1 else div(tensor1, tensor2))


def logaddexp(input: Any, other: Any) -> Tensor:
    """log(e^a + e^b) without overflow.

    >>> import ranvier as rv
    >>> rv.logaddexp(rv.tensor([1000.0]), rv.tensor([1000.0]))
    tensor([1000.6932])
    """
    input, other = _same_floats("logaddexp", input, other)
    endless = (input == other) & (input.abs() == math.inf)
    d = where(endless, 0.0, sub(input, other))
    y = where(d > 0, sub(input, logsigmoid(d)), sub(other, logsigmoid(-d)))
    return where(endless, mul(input, 0.5) + mul(other, 0.5), y)  # equal infinities share the gradient


def logaddexp2(input: Any, other: Any) -> Tensor:
    """log2(2^a + 2^b) without overflow.

    >>> import ranvier as rv
    >>> rv.logaddexp2(rv.tensor([3.0]), rv.tensor([3.0]))
    tensor([4.])
    """
    input, other = _same_floats("logaddexp2", input, other)
    return logaddexp(mul(input, math.log(2)), mul(other, math.log(2))) / math.log(2)


def _same_floats(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Two operands as Tensors of their common floating dtype."""
    a, b = floating(as_tensor(name, a)), floating(as_tensor(name, b))
    dtype = result_dtype(a, b)
    return a.to(dtype), b.to(dtype)


SYMBOLS: dict[str, Any] = {
    "__floordiv__": floor_divide,
    "__rfloordiv__": lambda self, other: floor_divide(other, self),
    "__ifloordiv__": "floor_divide_",
    "__mod__": remainder,
    "__rmod__": lambda self, other: remainder(other, self),
    "__imod__": "remainder_",
}


def _over_square(along: Tensor, a: Tensor, b: Tensor) -> Tensor:
    square = a * a + b * b
    zero = eq(wrap(square._array), 0.0)
    return where(zero, 0.0, along / where(zero, 1.0, square))


def _xlogy_slope(a: Tensor, b: Tensor, y: Tensor) -> Tensor:
    zero = eq(wrap(a._array), 0.0) & (wrap(b._array) <= 0.0)
    return where(zero, 0.0, log(where(zero, 1.0, b)))


SLOPES.update(
    {
        "Atan2": (lambda a, b, y: _over_square(b, a, b), lambda a, b, y: neg(_over_square(a, a, b))),
        "Hypot": (lambda a, b, y: a / y, lambda a, b, y: b / y),
        "Xlogy": (_xlogy_slope, lambda a, b, y: a / b),
    }
)
