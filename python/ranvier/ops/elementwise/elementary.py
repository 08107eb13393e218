"""Elementary functions of one tensor, element by element, one row each.

Integers are computed in float32, as in PyTorch; ceil, floor and trunc keep them. Outside its domain a
function gives nan or inf without a warning. Except for rsqrt and tan, NumPy computes them (see
:mod:`ranvier.ops.elementwise.by_numpy`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.autograd.tensor import Tensor, by_numpy, wrap
from ranvier.ops.elementwise.arithmetic import div, neg
from ranvier.ops.elementwise.by_numpy import (
    SLOPES,
    digamma_of,
    erf_of,
    erfc_of,
    erfinv_of,
    lgamma_of,
    of_one,
    trigamma_of,
)
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.dtypes import as_tensor, floating, is_floating, require_no_gradient
from ranvier.ops.elementwise.functions import cos, exp, log, log1p, reciprocal, sign, sin, sqrt

_LN2, _LN10, _DEGREE = math.log(2), math.log(10), math.pi / 180
_ROOT_PI = math.sqrt(math.pi)

acos = of_one(
    "acos",
    "The angle in [0, pi] with cosine x; nan outside [-1, 1].",
    np.arccos,
    lambda x, y: -1 / np.sqrt(1 - x * x),
    ("rv.acos(rv.tensor([1.0, 0.0]))", "tensor([0.0000, 1.5708])"),
)
acosh = of_one(
    "acosh",
    "The inverse of cosh, log(x + sqrt(x^2 - 1)); nan below 1.",
    np.arccosh,
    lambda x, y: 1 / np.sqrt(x * x - 1),
    ("rv.acosh(rv.tensor([1.0, 2.0]))", "tensor([0.0000, 1.3170])"),
)
asin = of_one(
    "asin",
    "The angle in [-pi/2, pi/2] with sine x; nan outside [-1, 1].",
    np.arcsin,
    lambda x, y: 1 / np.sqrt(1 - x * x),
    ("rv.asin(rv.tensor([0.0, 1.0]))", "tensor([0.0000, 1.5708])"),
)
asinh = of_one(
    "asinh",
    "The inverse of sinh, log(x + sqrt(x^2 + 1)).",
    np.arcsinh,
    lambda x, y: 1 / np.sqrt(x * x + 1),
    ("rv.asinh(rv.tensor([0.0, 1.0]))", "tensor([0.0000, 0.8814])"),
)
atan = of_one(
    "atan",
    "The angle in (-pi/2, pi/2) with tangent x.",
    np.arctan,
    lambda x, y: 1 / (x * x + 1),
    ("rv.atan(rv.tensor([0.0, 1.0]))", "tensor([0.0000, 0.7854])"),
)
atanh = of_one(
    "atanh",
    "The inverse of tanh, log((1 + x) / (1 - x)) / 2; nan outside [-1, 1].",
    np.arctanh,
    lambda x, y: 1 / (1 - x * x),
    ("rv.atanh(rv.tensor([0.0, 0.5]))", "tensor([0.0000, 0.5493])"),
)
ceil = of_one(
    "ceil",
    "The least integer >= x; the gradient is 0.",
    np.ceil,
    None,
    ("rv.ceil(rv.tensor([0.5, -0.5, 2.0]))", "tensor([1., -0., 2.])"),
    integers=True,
)
cosh = of_one(
    "cosh",
    "(e^x + e^-x) / 2",
    np.cosh,
    lambda x, y: np.sinh(x),
    ("rv.cosh(rv.tensor([0.0, 1.0]))", "tensor([1.0000, 1.5431])"),
)
deg2rad = of_one(
    "deg2rad",
    "x degrees in radians: x pi / 180.",
    lambda x: x * x.dtype.type(_DEGREE),
    lambda x, y: x.dtype.type(_DEGREE),
    ("rv.deg2rad(rv.tensor([180.0]))", "tensor([3.1416])"),
)
digamma = of_one(
    "digamma",
    "The derivative of lgamma; nan at negative integers, -inf at 0 (Abramowitz and Stegun 6.3).",
    digamma_of,
    lambda x, y: trigamma_of(x),
    ("rv.digamma(rv.tensor([1.0, 0.5]))", "tensor([-0.5772, -1.9635])"),
)
erf = of_one(
    "erf",
    "The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.",
    erf_of,
    lambda x, y: 2 / _ROOT_PI * np.exp(-x * x),
    ("rv.erf(rv.tensor([0.0, 1.0]))", "tensor([0.0000, 0.8427])"),
)
erfc = of_one(
    "erfc",
    "1 - erf(x), accurate for large x.",
    erfc_of,
    lambda x, y: -2 / _ROOT_PI * np.exp(-x * x),
    ("rv.erfc(rv.tensor([0.0, 1.0]))", "tensor([1.0000, 0.1573])"),
)
erfinv = of_one(
    "erfinv",
    "The inverse of erf on (-1, 1); inf at 1, nan outside.",
    erfinv_of,
    lambda x, y: _ROOT_PI / 2 * np.exp(y * y),
    ("rv.erfinv(rv.tensor([0.0, 0.5]))", "tensor([0.0000, 0.4769])"),
)
exp2 = of_one(
    "exp2",
    "2^x",
    np.exp2,
    lambda x, y: y * y.dtype.type(_LN2),
    ("rv.exp2(rv.tensor([0.0, 3.0]))", "tensor([1., 8.])"),
)
floor = of_one(
    "floor",
    "The greatest integer <= x; the gradient is 0.",
    np.floor,
    None,
    ("rv.floor(rv.tensor([0.5, -0.5]))", "tensor([ 0., -1.])"),
    integers=True,
)
frac = of_one(
    "frac",
    "x - trunc(x), the part after the decimal point, with the sign of x.",
    lambda x: x - np.trunc(x),
    lambda x, y: x.dtype.type(1),
    ("rv.frac(rv.tensor([1.5, -2.25]))", "tensor([ 0.5000, -0.2500])"),
)
lgamma = of_one(
    "lgamma",
    "The logarithm of |gamma(x)|; inf at 0 and the negative integers.",
    lgamma_of,
    lambda x, y: digamma_of(x),
    ("rv.lgamma(rv.tensor([1.0, 5.0]))", "tensor([0.0000, 3.1781])"),
)
log10 = of_one(
    "log10",
    "The logarithm with base 10: -inf at 0, nan below.",
    np.log10,
    lambda x, y: 1 / (x * x.dtype.type(_LN10)),
    ("rv.log10(rv.tensor([1.0, 100.0]))", "tensor([0., 2.])"),
)
log2 = of_one(
    "log2",
    "The logarithm with base 2: -inf at 0, nan below.",
    np.log2,
    lambda x, y: 1 / (x * x.dtype.type(_LN2)),
    ("rv.log2(rv.tensor([1.0, 8.0]))", "tensor([0., 3.])"),
)
rad2deg = of_one(
    "rad2deg",
    "x radians in degrees: 180 x / pi.",
    lambda x: x * x.dtype.type(1 / _DEGREE),
    lambda x, y: x.dtype.type(1 / _DEGREE),
    ("rv.rad2deg(rv.tensor([3.14159265]))", "tensor([180.])"),
)
NEAR = 0.1  # below it cos(pi x) - sinc(x) cancels


def sinc_slope_near_0(x: Any) -> Any:
    """The derivative of sinc by its series, of an array or a Tensor: below NEAR to 1e-16."""
    square, y = x * x * math.pi**2, 0.0
    for k in range(7, 0, -1):
        y = y * square + (-1) ** k * 2 * k / math.factorial(2 * k + 1)
    return y * x * math.pi**2


sinc = of_one(
    "sinc",
    "sin(pi x) / (pi x); 1 at 0.",
    np.sinc,
    lambda x, y: np.where(
        np.abs(x) < NEAR, sinc_slope_near_0(x), (np.cos(np.pi * x) - y) / np.where(x == 0, 1, x)
    ),
    ("rv.sinc(rv.tensor([0.0, 0.5]))", "tensor([1.0000, 0.6366])"),
)
sinh = of_one(
    "sinh",
    "(e^x - e^-x) / 2",
    np.sinh,
    lambda x, y: np.cosh(x),
    ("rv.sinh(rv.tensor([0.0, 1.0]))", "tensor([0.0000, 1.1752])"),
)
trunc = of_one(
    "trunc",
    "x without the part after the decimal point; the gradient is 0.",
    np.trunc,
    None,
    ("rv.trunc(rv.tensor([1.5, -1.5]))", "tensor([ 1., -1.])"),
    integers=True,
)
fix, sgn = trunc, sign
arccos, arccosh, arcsin, arcsinh, arctan, arctanh = acos, acosh, asin, asinh, atan, atanh


def rsqrt(input: Any) -> Tensor:
    """1 / sqrt(x): inf at 0, nan below.

    >>> import ranvier as rv
    >>> rv.rsqrt(rv.tensor([4.0, 1.0]))
    tensor([0.5000, 1.0000])
    """
    return reciprocal(sqrt(input))


def tan(input: Any) -> Tensor:
    """sin(x) / cos(x), of x radians.

    >>> import ranvier as rv
    >>> rv.tan(rv.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5574])
    """
    input = floating(as_tensor("tan", input))
    return div(sin(input), cos(input))


def positive(input: Any) -> Tensor:
    """+x: x as it is. Raises TypeError for bools.

    >>> import ranvier as rv
    >>> rv.positive(rv.tensor([-1.0]))
    tensor([-1.])
    """
    input = as_tensor("positive", input)
    if input.dtype == np.bool_:
        raise TypeError("[positive] got bools; expected numbers: use x.int()")
    return input


def logit(input: Any, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid; with eps, of x limited to [eps, 1 - eps].

    nan outside [0, 1]. The gradient is 0 where the limit takes effect.

    >>> import ranvier as rv
    >>> rv.logit(rv.tensor([0.5, 0.9]))
    tensor([0.0000, 2.1972])
    """
    input = floating(as_tensor("logit", input))
    if eps is not None:
        input = input.clip(eps, 1 - eps)
    return log(input) - log1p(-input)


def nan_to_num(
    input: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """x with nan, inf and -inf replaced; by default by 0 and the greatest and least number of the dtype.

    The gradient of replaced elements is 0.

    >>> import ranvier as rv
    >>> rv.nan_to_num(rv.tensor([float("nan"), 1.0]), nan=-1.0)
    tensor([-1.,  1.])
    """
    input = as_tensor("nan_to_num", input)
    if not is_floating(input):
        require_no_gradient("nan_to_num", input)
        return by_numpy(_without_nan, input._array, nan, posinf, neginf)
    limits = np.finfo(input.dtype)
    high = float(limits.max) if posinf is None else float(posinf)
    low = float(limits.min) if neginf is None else float(neginf)
    y = where(input != input, float(0.0 if nan is None else nan), input)
    y = where(input == math.inf, high, y)
    return where(input == -math.inf, low, y)


def _without_nan(x: Any, nan: Any, posinf: Any, neginf: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.nan_to_num(x, True, nan, posinf, neginf)


def isposinf(input: Any) -> Tensor:
    """True where x is inf; bool.

    >>> import ranvier as rv
    >>> rv.isposinf(rv.tensor([1.0, float("inf")]))
    tensor([False,  True])
    """
    return eq(as_tensor("isposinf", input), math.inf)


def isneginf(input: Any) -> Tensor:
    """True where x is -inf; bool.

    >>> import ranvier as rv
    >>> rv.isneginf(rv.tensor([1.0, -float("inf")]))
    tensor([False,  True])
    """
    return eq(as_tensor("isneginf", input), -math.inf)


def signbit(input: Any) -> Tensor:
    """True where x is negative, -0.0 included; bool.

    >>> import ranvier as rv
    >>> rv.signbit(rv.tensor([-0.0, 0.0]))
    tensor([ True, False])
    """
    input = as_tensor("signbit", input)
    return by_numpy(_signbit, input._array)


def _signbit(x: Any) -> Any:
    return np.zeros(x.shape, bool) if x.dtype == np.bool_ else np.signbit(x)


SYMBOLS: dict[str, Any] = {"__pos__": positive}


def _sinc_slope(x: Tensor, y: Tensor) -> Tensor:
    near = wrap(np.asarray(np.abs(x._array) < NEAR))
    far = where(near, 1.0, x)
    return where(near, sinc_slope_near_0(x), (cos(far * math.pi) - where(near, 0.0, y)) / far)


SLOPES.update(
    {
        "Acos": (lambda x, y: neg(reciprocal(sqrt(1.0 - x * x))),),
        "Acosh": (lambda x, y: reciprocal(sqrt(x * x - 1.0)),),
        "Asin": (lambda x, y: reciprocal(sqrt(1.0 - x * x)),),
        "Asinh": (lambda x, y: reciprocal(sqrt(x * x + 1.0)),),
        "Atan": (lambda x, y: reciprocal(x * x + 1.0),),
        "Atanh": (lambda x, y: reciprocal(1.0 - x * x),),
        "Cosh": (lambda x, y: sinh(x),),
        "Erf": (lambda x, y: exp(neg(x * x)) * (2 / math.sqrt(math.pi)),),
        "Erfc": (lambda x, y: exp(neg(x * x)) * (-2 / math.sqrt(math.pi)),),
        "Erfinv": (lambda x, y: exp(y * y) * (math.sqrt(math.pi) / 2),),
        "Exp2": (lambda x, y: y * math.log(2),),
        "Lgamma": (lambda x, y: digamma(x),),
        "Log10": (lambda x, y: reciprocal(x * math.log(10)),),
        "Log2": (lambda x, y: reciprocal(x * math.log(2)),),
        "Sinc": (_sinc_slope,),
        "Sinh": (lambda x, y: cosh(x),),
    }
)
