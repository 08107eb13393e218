"""Elementary functions of one tensor, element by element, each declared above its function (`op.py`).

Integers become floats of the default dtype, as in PyTorch; ceil, floor and trunc keep them. Outside its
domain a function gives nan or inf without a warning. Kernels compute erf, erfc, erfinv, lgamma and digamma,
with errors of at most 5 units in the last place (ulp); for lgamma below 0 and for digamma the ulp is that of
the terms that cancel. Most other functions are computed by NumPy.

The names of a gradient's parameters decide what it is called with: f, dy, the input x or the result y
(`Declaration` in declaration.py).
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.arithmetic import div
from ranvier.ops.elementwise.choice import clip, where
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.dtypes import F32, F64, as_tensor, floating, is_floating
from ranvier.ops.elementwise.functions import cos, log, log1p, reciprocal, sign, sin, sqrt
from ranvier.ops.elementwise.op import FLOATS_ONLY, Elementwise
from ranvier.ops.namespaces import KERNELS, TENSORS, Operations, Value
from ranvier.tape.function import by_kernel, in_dtypes
from ranvier.tensors.dtypes import finfo
from ranvier.tensors.errors import count, number
from ranvier.tensors.memory import BF16, F16, Array
from ranvier.tensors.tensor import Tensor, by_numpy
from ranvier.tensors.types import TensorLike

_LN2 = math.log(2)
_LN10 = math.log(10)
_DEGREE = math.pi / 180
_ROOT_PI = math.sqrt(math.pi)
NEAR = 0.1  # For smaller |x|, the difference cos(pi x) - sinc(x) loses digits by cancellation.


def _sinc_gradient(f: Operations, dy: Value, x: Value, y: Value) -> Value:
    """dy (cos(pi x) - y) / x; for |x| < NEAR the series of this slope, whose error there is below 1e-16.

    The series is the sum over k >= 1 of (-1)^k 2k / (2k + 1)! pi^(2k) x^(2k - 1).
    """
    square = x * x * math.pi**2
    series = 0.0
    for k in range(7, 0, -1):
        series = series * square + (-1) ** k * 2 * k / math.factorial(2 * k + 1)
    near = f.abs(x) < NEAR
    far = f.where(near, 1.0, x)
    slope = f.where(near, series * x * math.pi**2, (f.cos(far * math.pi) - f.where(near, 0.0, y)) / far)
    return dy * slope


def _over_root(f: Operations, x: Value) -> Value:
    """1 / sqrt(x^2 + 1); for large x, whose square may overflow, 1 / |x|."""
    far = f.abs(x) > 1e10  # where x^2 + 1 is rounded to x^2, also in float64
    near = f.where(far, 1.0, x)
    return f.where(far, 1 / f.abs(f.where(far, x, 1.0)), 1 / f.sqrt(near * near + 1))


def _tetragamma(x: Array) -> Array:
    """The slope of trigamma (Abramowitz and Stegun 6.4), psi''.

    psi''(z) = psi''(z + 16) - 2 (sum of (z + k)^-3 for k < 16), and psi''(z + 16) by its asymptotic series.
    For x < 1/2 by reflection: psi''(x) = psi''(1 - x) - 2 pi^3 cos(pi x) / sin(pi x)^3.
    """
    wide = x.astype(F64)
    left = wide < 0.5
    angle = math.pi * (wide - np.round(wide))
    z = np.where(left, 1 - wide, wide)
    terms = sum((z + k) ** -3.0 for k in range(16))
    z = z + 16
    w = z**-2.0
    y = -2 * terms - w * (1 + 1 / z + w * (1 / 2 - w * (1 / 6 - w * (1 / 6 - w * (3 / 10 - w * 5 / 6)))))
    reflected = y - 2 * math.pi**3 * np.cos(angle) / np.sin(angle) ** 3
    return np.where(left, reflected, y).astype(x.dtype)


def _no_third(f: Operations, dy: Value, x: Value) -> Value:
    raise NotImplementedError("[digamma] got a third derivative; expected two at most")


# frees_result, of erfinv and sinc: PyTorch saves the input of the op, not y, so that a change of y in place
# before backward is no error. Here backward reads y, and y is copied before such a change. Of exp2 PyTorch
# saves y, too, and a change is an error in both libraries.


def _acos_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * (-1 / f.sqrt(1 - x * x))


_acos_op = Elementwise(numpy=np.arccos, gradient=_acos_gradient).op("acos")


def acos(input: TensorLike) -> Tensor:
    """The angle in [0, pi] with cosine x; nan outside [-1, 1].

    >>> import ranvier as rv
    >>> rv.acos(rv.tensor([1.0, 0.0]))
    tensor([0.0000, 1.5708])
    """
    return _acos_op(input)


def _acosh_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy / (f.sqrt(f.abs(x) - 1) * f.sqrt(f.abs(x) + 1))


_acosh_op = Elementwise(numpy=np.arccosh, gradient=_acosh_gradient).op("acosh")


def acosh(input: TensorLike) -> Tensor:
    """The inverse of cosh, log(x + sqrt(x^2 - 1)); nan below 1.

    >>> import ranvier as rv
    >>> rv.acosh(rv.tensor([1.0, 2.0]))
    tensor([0.0000, 1.3170])
    """
    return _acosh_op(input)


def _asin_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy / f.sqrt(1 - x * x)


# in float64, rounded once: NumPy's loop in float32 has an error of 2.3 ulp
_asin_op = Elementwise(numpy=partial(np.arcsin, dtype=F64), gradient=_asin_gradient).op("asin")


def asin(input: TensorLike) -> Tensor:
    """The angle in [-pi/2, pi/2] with sine x; nan outside [-1, 1].

    >>> import ranvier as rv
    >>> rv.asin(rv.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5708])
    """
    return _asin_op(input)


def _asinh_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * _over_root(f, x)


_asinh_op = Elementwise(numpy=np.arcsinh, gradient=_asinh_gradient).op("asinh")


def asinh(input: TensorLike) -> Tensor:
    """The inverse of sinh, log(x + sqrt(x^2 + 1)).

    >>> import ranvier as rv
    >>> rv.asinh(rv.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8814])
    """
    return _asinh_op(input)


def _atan_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy / (x * x + 1)


_atan_op = Elementwise(numpy=np.arctan, gradient=_atan_gradient).op("atan")


def atan(input: TensorLike) -> Tensor:
    """The angle in (-pi/2, pi/2) with tangent x.

    >>> import ranvier as rv
    >>> rv.atan(rv.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7854])
    """
    return _atan_op(input)


def _atanh_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy / (1 - x * x)


_atanh_op = Elementwise(numpy=np.arctanh, gradient=_atanh_gradient).op("atanh")


def atanh(input: TensorLike) -> Tensor:
    """The inverse of tanh, log((1 + x) / (1 - x)) / 2; nan outside [-1, 1].

    >>> import ranvier as rv
    >>> rv.atanh(rv.tensor([0.0, 0.5]))
    tensor([0.0000, 0.5493])
    """
    return _atanh_op(input)


_ceil_op = Elementwise(_core.ceil, 0, numpy=np.ceil).op("ceil")


def ceil(input: TensorLike) -> Tensor:
    """The least integer >= x; the gradient is 0.

    >>> import ranvier as rv
    >>> rv.ceil(rv.tensor([0.5, -0.5, 2.0]))
    tensor([1., -0., 2.])
    """
    return _ceil_op(input)


def _cosh_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * f.sinh(x)


_cosh_op = Elementwise(numpy=np.cosh, gradient=_cosh_gradient).op("cosh")


def cosh(input: TensorLike) -> Tensor:
    """(e^x + e^-x) / 2

    >>> import ranvier as rv
    >>> rv.cosh(rv.tensor([0.0, 1.0]))
    tensor([1.0000, 1.5431])
    """
    return _cosh_op(input)


def _deg2rad_by_numpy(x: Array) -> Array:
    return x * x.dtype.type(_DEGREE)


def _deg2rad_gradient(f: Operations, dy: Value) -> Value:
    return dy * _DEGREE


_deg2rad_op = Elementwise(numpy=_deg2rad_by_numpy, gradient=_deg2rad_gradient).op("deg2rad")


def deg2rad(input: TensorLike) -> Tensor:
    """x degrees in radians: x pi / 180.

    >>> import ranvier as rv
    >>> rv.deg2rad(rv.tensor([180.0]))
    tensor([3.1416])
    """
    return _deg2rad_op(input)


_tetragamma_op = Elementwise(numpy=_tetragamma, gradient=_no_third).op("tetragamma")


def tetragamma(input: TensorLike) -> Tensor:
    """The slope of trigamma, for the second derivative of digamma by `_trigamma_gradient`."""
    return _tetragamma_op(input)


def _trigamma_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * f.tetragamma(x)


_trigamma_op = Elementwise(_core.trigamma, gradient=_trigamma_gradient).op("trigamma")


def trigamma(input: TensorLike) -> Tensor:
    """The slope of digamma, which `_digamma_gradient` calls as f.trigamma."""
    return _trigamma_op(input)


def _digamma_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * f.trigamma(x)


_digamma_op = Elementwise(_core.digamma, gradient=_digamma_gradient).op("digamma")


def digamma(input: TensorLike) -> Tensor:
    """The derivative of lgamma; nan at negative integers, -inf at 0 (Abramowitz and Stegun 6.3).

    >>> import ranvier as rv
    >>> rv.digamma(rv.tensor([1.0, 0.5]))
    tensor([-0.5772, -1.9635])
    """
    return _digamma_op(input)


def _erf_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * (2 / _ROOT_PI * f.exp(-x * x))


_erf_op = Elementwise(_core.erf, gradient=_erf_gradient).op("erf")


def erf(input: TensorLike) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    >>> import ranvier as rv
    >>> rv.erf(rv.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8427])
    """
    return _erf_op(input)


def _erfc_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * (-2 / _ROOT_PI * f.exp(-x * x))


_erfc_op = Elementwise(_core.erfc, gradient=_erfc_gradient).op("erfc")


def erfc(input: TensorLike) -> Tensor:
    """1 - erf(x), accurate for large x.

    >>> import ranvier as rv
    >>> rv.erfc(rv.tensor([0.0, 1.0]))
    tensor([1.0000, 0.1573])
    """
    return _erfc_op(input)


def _erfinv_gradient(f: Operations, dy: Value, y: Value) -> Value:
    return dy * (_ROOT_PI / 2 * f.exp(y * y))


_erfinv_op = Elementwise(_core.erfinv, gradient=_erfinv_gradient, frees_result=True).op("erfinv")


def erfinv(input: TensorLike) -> Tensor:
    """The inverse of erf on (-1, 1); inf at 1, nan outside.

    >>> import ranvier as rv
    >>> rv.erfinv(rv.tensor([0.0, 0.5]))
    tensor([0.0000, 0.4769])
    """
    return _erfinv_op(input)


def _exp2_gradient(f: Operations, dy: Value, y: Value) -> Value:
    return dy * (y * _LN2)


_exp2_op = Elementwise(numpy=np.exp2, gradient=_exp2_gradient).op("exp2")


def exp2(input: TensorLike) -> Tensor:
    """2^x

    >>> import ranvier as rv
    >>> rv.exp2(rv.tensor([0.0, 3.0]))
    tensor([1., 8.])
    """
    return _exp2_op(input)


_floor_op = Elementwise(_core.floor, 0, numpy=np.floor).op("floor")


def floor(input: TensorLike) -> Tensor:
    """The greatest integer <= x; the gradient is 0.

    >>> import ranvier as rv
    >>> rv.floor(rv.tensor([0.5, -0.5]))
    tensor([ 0., -1.])
    """
    return _floor_op(input)


def _frac_by_numpy(x: Array) -> Array:
    return x - np.trunc(x)


def _frac_gradient(f: Operations, dy: Value) -> Value:
    return dy


_frac_op = Elementwise(numpy=_frac_by_numpy, gradient=_frac_gradient).op("frac")


def frac(input: TensorLike) -> Tensor:
    """x - trunc(x), the part after the decimal point, with the sign of x.

    >>> import ranvier as rv
    >>> rv.frac(rv.tensor([1.5, -2.25]))
    tensor([ 0.5000, -0.2500])
    """
    return _frac_op(input)


def _lgamma_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * f.digamma(x)


_lgamma_op = Elementwise(_core.lgamma, gradient=_lgamma_gradient).op("lgamma")


def lgamma(input: TensorLike) -> Tensor:
    """The logarithm of |gamma(x)|; inf at 0 and the negative integers.

    >>> import ranvier as rv
    >>> rv.lgamma(rv.tensor([1.0, 5.0]))
    tensor([0.0000, 3.1781])
    """
    return _lgamma_op(input)


def _log10_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy / (x * _LN10)


_log10_op = Elementwise(numpy=np.log10, gradient=_log10_gradient).op("log10")


def log10(input: TensorLike) -> Tensor:
    """The logarithm with base 10: -inf at 0, nan below.

    >>> import ranvier as rv
    >>> rv.log10(rv.tensor([1.0, 2.0]))
    tensor([0.0000, 0.3010])
    """
    return _log10_op(input)


def _log2_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy / (x * _LN2)


_log2_op = Elementwise(numpy=np.log2, gradient=_log2_gradient).op("log2")


def log2(input: TensorLike) -> Tensor:
    """The logarithm with base 2: -inf at 0, nan below.

    >>> import ranvier as rv
    >>> rv.log2(rv.tensor([1.0, 8.0]))
    tensor([0., 3.])
    """
    return _log2_op(input)


def _rad2deg_by_numpy(x: Array) -> Array:
    return x * x.dtype.type(1 / _DEGREE)


def _rad2deg_gradient(f: Operations, dy: Value) -> Value:
    return dy * (1 / _DEGREE)


_rad2deg_op = Elementwise(numpy=_rad2deg_by_numpy, gradient=_rad2deg_gradient).op("rad2deg")


def rad2deg(input: TensorLike) -> Tensor:
    """x radians in degrees: 180 x / pi.

    >>> import ranvier as rv
    >>> rv.rad2deg(rv.tensor([3.14159265]))
    tensor([180.])
    """
    return _rad2deg_op(input)


_sinc_op = Elementwise(numpy=np.sinc, gradient=_sinc_gradient, frees_result=True).op("sinc")


def sinc(input: TensorLike) -> Tensor:
    """sin(pi x) / (pi x); 1 at 0.

    >>> import ranvier as rv
    >>> rv.sinc(rv.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])
    """
    return _sinc_op(input)


def _sinh_gradient(f: Operations, dy: Value, x: Value) -> Value:
    return dy * f.cosh(x)


_sinh_op = Elementwise(numpy=np.sinh, gradient=_sinh_gradient).op("sinh")


def sinh(input: TensorLike) -> Tensor:
    """(e^x - e^-x) / 2

    >>> import ranvier as rv
    >>> rv.sinh(rv.tensor([0.0, 1.0]))
    tensor([0.0000, 1.1752])
    """
    return _sinh_op(input)


_trunc_op = Elementwise(_core.trunc, 0, numpy=np.trunc).op("trunc")


def trunc(input: TensorLike) -> Tensor:
    """x without the part after the decimal point; the gradient is 0.

    >>> import ranvier as rv
    >>> rv.trunc(rv.tensor([1.5, -1.5]))
    tensor([ 1., -1.])
    """
    return _trunc_op(input)


arccos = acos
arccosh = acosh
arcsin = asin
arcsinh = asinh
arctan = atan
arctanh = atanh
fix = trunc
sgn = sign
# TENSORS finds public ops by their names (ops/namespaces.py). These two ops are not public.
TENSORS.trigamma = trigamma
TENSORS.tetragamma = tetragamma


@in_dtypes()
def mvlgamma(input: TensorLike, p: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension p, for x > (p - 1) / 2.

    >>> import ranvier as rv
    >>> rv.mvlgamma(rv.tensor([2.0]), 2)
    tensor([0.4516])
    """
    input = as_tensor("mvlgamma", input)
    p = count("mvlgamma", "p", p, 1, 2**16)
    total = p * (p - 1) / 4 * math.log(math.pi) + lgamma(input)
    for i in range(1, p):
        total = total + lgamma(input - i / 2)
    return total


def rsqrt(input: TensorLike) -> Tensor:
    """1 / sqrt(x): inf at 0, nan below.

    >>> import ranvier as rv
    >>> rv.rsqrt(rv.tensor([4.0, 1.0]))
    tensor([0.5000, 1.0000])
    """
    return _rsqrt(input)


# The core tries the kernel first. For calls that the kernel does not support (half floats, integers,
# gradients) it calls the function below, which in_dtypes() computes in float32 for half floats.
@by_kernel(_core.rsqrt)
@in_dtypes()
def _rsqrt(input: TensorLike) -> Tensor:
    return reciprocal(sqrt(input))


@in_dtypes()
def tan(input: TensorLike) -> Tensor:
    """sin(x) / cos(x), of x radians.

    >>> import ranvier as rv
    >>> rv.tan(rv.tensor([0.0, 1.0]))
    tensor([0.0000, 1.5574])
    """
    input = floating(input, "tan")
    return div(sin(input), cos(input))


def positive(input: TensorLike) -> Tensor:
    """+x: x as it is. Raises TypeError for bools.

    >>> import ranvier as rv
    >>> rv.positive(rv.tensor([-1.0]))
    tensor([-1.])
    """
    input = as_tensor("positive", input)
    if input.dtype == np.bool_:
        raise TypeError("[positive] got bools; expected numbers: use x.int()")
    return input


@in_dtypes()
def logit(input: TensorLike, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of sigmoid; with eps, of x limited to [eps, 1 - eps].

    nan outside [0, 1]. The gradient is 0 where the limit takes effect.

    >>> import ranvier as rv
    >>> rv.logit(rv.tensor([0.5, 0.9]))
    tensor([0.0000, 2.1972])
    """
    p = floating(input, "logit")
    if eps is not None:
        p = clip(p, eps, 1 - eps)
    return log(p) - log1p(-p)


def _finite_gradient(f: Operations, dy: Value, x: Value, nan: float, high: float, low: float) -> Value:
    return f.where(x > -math.inf, f.where(x < math.inf, dy, 0.0), 0.0)


def _finite_backward(dy: Array, x: Array, nan: float, high: float, low: float) -> Array:
    return _core.where_finite(dy, x, None)


KERNELS.nan_to_num_backward = _finite_backward


def _finite_formula(x: Tensor, nan: float, high: float, low: float) -> Tensor:
    y = where(eq(x, x), x, nan)
    y = where(eq(x, math.inf), high, y)
    return where(eq(x, -math.inf), low, y)


_finite_op = Elementwise(
    _core.nan_to_num, gradient=_finite_gradient, formula=_finite_formula, dtypes=FLOATS_ONLY
).op("nan_to_num")


def nan_to_num(
    input: TensorLike, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """x with nan, inf and -inf replaced; by default by 0 and the greatest and least number of the dtype.

    The gradient of replaced elements is 0.

    >>> import ranvier as rv
    >>> rv.nan_to_num(rv.tensor([float("nan"), 1.0]), nan=-1.0)
    tensor([-1.,  1.])
    """
    input = as_tensor("nan_to_num", input)
    if not is_floating(input):
        replacements = {"nan": nan, "posinf": posinf, "neginf": neginf}
        for name, value in replacements.items():
            if value is not None:
                number("nan_to_num", name, value)
        return by_numpy(_without_nan, input._array, nan, posinf, neginf)
    least, greatest = _LIMITS[input._array.dtype]
    if nan is None:
        nan = 0.0
    if posinf is None:
        posinf = greatest
    if neginf is None:
        neginf = least
    return _finite_op(input, float(nan), float(posinf), float(neginf))


_LIMITS = {dtype: (finfo(dtype).min, finfo(dtype).max) for dtype in (F16, BF16, F32, F64)}


def _without_nan(x: Array, nan: float, posinf: float | None, neginf: float | None) -> Array:
    with np.errstate(all="ignore"):
        return np.nan_to_num(x, True, nan, posinf, neginf)


def isposinf(input: TensorLike) -> Tensor:
    """True where x is inf; bool.

    >>> import ranvier as rv
    >>> rv.isposinf(rv.tensor([1.0, float("inf")]))
    tensor([False,  True])
    """
    return eq(as_tensor("isposinf", input), math.inf)


def isneginf(input: TensorLike) -> Tensor:
    """True where x is -inf; bool.

    >>> import ranvier as rv
    >>> rv.isneginf(rv.tensor([1.0, -float("inf")]))
    tensor([False,  True])
    """
    return eq(as_tensor("isneginf", input), -math.inf)


def signbit(input: TensorLike) -> Tensor:
    """True where x is negative, -0.0 included; bool.

    >>> import ranvier as rv
    >>> rv.signbit(rv.tensor([-0.0, 0.0]))
    tensor([ True, False])
    """
    input = as_tensor("signbit", input)
    return by_numpy(_signbit, input._array)


def _signbit(x: Array) -> Array:
    if x.dtype == np.bool_:
        return np.zeros(x.shape, bool)
    return np.signbit(x)
