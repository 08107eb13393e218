"""Functions of torch.special for which the library has no op: of the normal distribution and of entropies.

Bessel functions, gamma functions and polynomials are in modules of their own.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier import Tensor
from ranvier.ops.elementwise.op import Elementwise
from ranvier.ops.namespaces import Operations, Value
from ranvier.tensors.types import TensorLike
from ranvier.torch.functions.bessel import Array, either, rounded_once

_ROOT_HALF = math.sqrt(0.5)


def _erfcx(x: Array) -> Array:
    """exp(x^2) erfc(x).

    Below 3 it is that product, where x^2 is split so that its rounding does no harm; up to 12 the trapezoidal
    rule on the integral x / pi exp(-t^2) / (x^2 + t^2) over all t (DLMF 7.7.1), with an error below 1e-17;
    then the series of DLMF 7.12.1.
    """
    near = np.minimum(x, 3.0)
    middle = np.clip(x, 3, 12)
    far = np.maximum(x, 12.0)
    top = np.rint(near * 16) / 16  # its square is exact
    rest = (near - top) * (near + top)
    product = np.exp(top * top) * np.exp(rest) * _core.erfc(np.ascontiguousarray(near), None)
    h = 0.4
    square = middle * middle
    total = 0.5 / square
    for k in range(1, 17):
        t = k * k * h * h
        total += math.exp(-t) / (square + t)
    step = 0.5 / (far * far)
    series = np.ones_like(far)
    for k in range(25, 0, -2):
        series = 1 - k * step * series
    asymptotic = series / (far * math.sqrt(math.pi))
    y = np.where(x < 3, product, np.where(x < 12, 2 * h / math.pi * middle * total, asymptotic))
    return np.where(x < -26.7, math.inf, y)  # beyond the range of float64, where the factors are inf and 2


def _slope_of_erfcx(f: Operations, dy: Value, x: Value) -> Value:
    """2 x erfcx(x) - 2 / sqrt(pi)."""
    return dy * (2.0 * x * either(f, _erfcx, erfcx, x) - 2 / math.sqrt(math.pi))


_erfcx_op = Elementwise(numpy=rounded_once(_erfcx), gradient=_slope_of_erfcx).op("erfcx")


def erfcx(input: TensorLike) -> Tensor:
    """exp(x^2) erfc(x), the scaled complement of the error function.

    >>> import ranvier as rv
    >>> erfcx(rv.tensor([0.0, 1.0]))
    tensor([1.0000, 0.4276])
    """
    return _erfcx_op(input)


def _density(f: Operations, x: Value) -> Value:
    """The normal distribution's density."""
    return f.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)


def _slope_of_ndtr(f: Operations, dy: Value, x: Value) -> Value:
    return dy * _density(f, x)


def _ndtr(x: Array) -> Array:
    return _core.erfc(x * -_ROOT_HALF, None) / 2


_ndtr_op = Elementwise(numpy=rounded_once(_ndtr), gradient=_slope_of_ndtr).op("ndtr")


def ndtr(input: TensorLike) -> Tensor:
    """The normal distribution's cumulative function.

    >>> import ranvier as rv
    >>> ndtr(rv.tensor([0.0]))
    tensor([0.5000])
    """
    return _ndtr_op(input)


def _log_ndtr(x: Array) -> Array:
    far = np.minimum(x, -1.0)
    near = np.maximum(x, -1.0)
    tail = np.log(_erfcx(far * -_ROOT_HALF) / 2) - far * far / 2
    return np.where(x < -1, tail, np.log1p(_core.erfc(near * _ROOT_HALF, None) / -2))


def _slope_of_log_ndtr(f: Operations, dy: Value, x: Value) -> Value:
    """The density by ndtr: below 0 by erfcx, in which the exponential has cancelled."""
    low = f.where(x < 0, x, 0.0)
    high = f.where(x < 0, 0.0, x)
    below = math.sqrt(2 / math.pi) / either(f, _erfcx, erfcx, low * -_ROOT_HALF)
    return dy * f.where(x < 0, below, _density(f, high) / either(f, _ndtr, ndtr, high))


_log_ndtr_op = Elementwise(numpy=rounded_once(_log_ndtr), gradient=_slope_of_log_ndtr).op("log_ndtr")


def log_ndtr(input: TensorLike) -> Tensor:
    """The logarithm of :func:`ndtr`.

    >>> import ranvier as rv
    >>> log_ndtr(rv.tensor([-20.0, 0.0]))
    tensor([-203.9172,   -0.6931])
    """
    return _log_ndtr_op(input)


# The rational functions of Wichura, "Algorithm AS 241: The Percentage Points of the Normal Distribution",
# Applied Statistics 37 (1988): numerators and denominators, from the highest power down.
_CENTRE = (
    [2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608],
    [5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867,
     5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0],
)  # fmt: skip
_TAIL = (
    [7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734],
    [1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0],
)  # fmt: skip
_FAR_TAIL = (
    [2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386, 0.026532189526576123093,
     0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699, 6.6579046435011037772],
    [2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5, 7.868691311456132591e-4,
     0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0],
)  # fmt: skip


def _ndtri(p: Array) -> Array:
    """The three cases and their limits (0.425, 5) are those of the article."""

    def ratio(parts: tuple[list[float], list[float]], at: Array) -> Array:
        return np.polyval(parts[0], at) / np.polyval(parts[1], at)

    q = p - 0.5
    centre = q * ratio(_CENTRE, 0.180625 - q * q)
    r = np.sqrt(-np.log(np.minimum(p, 1 - p)))
    tail = np.where(r <= 5, ratio(_TAIL, np.minimum(r, 5) - 1.6), ratio(_FAR_TAIL, np.maximum(r, 5) - 5))
    y = np.where(np.abs(q) <= 0.425, centre, np.copysign(tail, q))
    y = np.where(p == 0, -math.inf, np.where(p == 1, math.inf, y))
    return np.where((p < 0) | (p > 1), math.nan, y)


def _slope_of_ndtri(f: Operations, dy: Value, x: Value) -> Value:
    """1 by the density at the result."""
    y: Any = either(f, _ndtri, ndtri, x)
    return dy * math.sqrt(2 * math.pi) * f.exp(0.5 * y**2)


_ndtri_op = Elementwise(numpy=rounded_once(_ndtri), gradient=_slope_of_ndtri).op("ndtri")


def ndtri(input: TensorLike) -> Tensor:
    """The inverse of :func:`ndtr`; nan outside [0, 1].

    >>> import ranvier as rv
    >>> ndtri(rv.tensor([0.5, 1e-9]))
    tensor([ 0.0000, -5.9978])
    """
    return _ndtri_op(input)


def _entr(x: Array) -> Array:
    terms = np.where(x == 0, 0.0, -x * np.log(np.where(x == 0, 1.0, x)))
    return np.where(x < 0, -math.inf, terms)


def _slope_of_entr(f: Operations, dy: Value, x: Value) -> Value:
    return dy * (-1 - f.log(x))


_entr_op = Elementwise(numpy=rounded_once(_entr), gradient=_slope_of_entr).op("entr")


def entr(input: TensorLike) -> Tensor:
    """-x log(x), 0 at 0 and -inf below.

    >>> import ranvier as rv
    >>> entr(rv.tensor([0.0, 0.5]))
    tensor([0.0000, 0.3466])
    """
    return _entr_op(input)


def _xlog1py(a: Array, b: Array) -> Array:
    return np.where((a == 0) & ~np.isnan(b), 0.0, a * np.log1p(b))


def _log1p_or_zero(f: Operations, a: Value, b: Value) -> Value:
    """The slope of xlog1py by a: log(1 + b), but 0 where a = 0 and b <= -1."""
    zero = (a == 0) & (b <= -1)
    return f.where(zero, 0.0, f.log1p(f.where(zero, 0.0, b)))


def _slope_of_first(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return dy * _log1p_or_zero(f, a, b)


def _slope_of_second(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return dy * a / (b + 1)


_xlog1py_op = Elementwise(
    numpy=rounded_once(_xlog1py),
    gradient=(_slope_of_first, _slope_of_second),
).op("xlog1py")


def xlog1py(input: TensorLike, other: TensorLike) -> Tensor:
    """a log(1 + b), 0 where a is 0 and b a number.

    >>> import ranvier as rv
    >>> xlog1py(rv.tensor([2.0]), rv.tensor([1.0]))
    tensor([1.3863])
    """
    return _xlog1py_op(input, other)
