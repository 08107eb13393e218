"""Zeta, polygamma and the incomplete gamma functions of torch.special, in float64 and rounded once.

Source of all formulas: NIST Digital Library of Mathematical Functions (DLMF), by their numbers there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import ModuleType

import numpy as np

import ranvier as rv
import ranvier._core as _core
from ranvier import Tensor
from ranvier.ops.elementwise.op import Elementwise
from ranvier.ops.namespaces import Operations, Value
from ranvier.tape.function import in_dtypes
from ranvier.tensors.failures import OpError
from ranvier.tensors.types import TensorLike
from ranvier.torch.functions.bessel import EULER, Array, either, in_float64, rounded_once

# The Bernoulli numbers B_2, B_4 ... (24.2.3), for the Euler-Maclaurin formula.
_BERNOULLI = [1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798]
# The most terms of a series or a continued fraction; if they do not suffice, no error is raised.
_TERMS = 100_000


def _zeta(s: Array, q: Array) -> Array:
    """The sum of (q + k)^-s over k >= 0. As in PyTorch nan for s < 1, inf at s = 1 and else at q = 0, -1 ...

    Far below 0 the terms are those of r, r + 1 ... -q with the sign (-1)^s, and those from 1 - r on, where r
    is the fraction of -q.
    """
    s, q = np.broadcast_arrays(s, q)
    pole = (s == 1) | ((q <= 0) & (q == np.floor(q)) & ~(s < 1))
    outside = (s < 1) | ((q < 0) & (s != np.floor(s))) | np.isnan(s) | np.isnan(q)
    usable = ~pole & ~outside
    s = np.where(usable, s, 2.0)
    q = np.where(usable, q, 1.0)
    far = q < -100  # else the terms from q on are few enough to be added one by one
    fraction = -q - np.floor(-q)
    y = _sum_of_terms(s, np.where(far, 1 - fraction, q))
    if far.any():
        n = s[far]
        r = fraction[far]
        last = 1 - q[far]
        below = _sum_of_terms(n, r) - _sum_of_terms(n, last)
        y[far] += np.where(n % 2 == 0, below, -below)
    return np.where(outside & ~pole, math.nan, np.where(pole, math.inf, y))


def _sum_of_terms(s: Array, q: Array) -> Array:
    """The same for q > -100 and s > 1: terms up to q + k = s + 10, or until they are negligible, and the
    Euler-Maclaurin formula (25.2.9, with q in place of 1)."""
    total = np.zeros(s.shape)
    negligible = np.zeros(s.shape, bool)
    left = q < s + 10
    at = q
    while left.any():
        term = np.where(left, at, 1.0) ** -s
        total = np.where(left, total + term, total)
        negligible |= left & (at > 0) & (term <= np.abs(total) * 1e-18)
        at = np.where(left, at + 1, at)
        left = (at < s + 10) & ~negligible
    power = at**-s
    rest = at * power / (s - 1) + power / 2
    factor = s / at
    for j, number in enumerate(_BERNOULLI, 1):
        rest += number / math.factorial(2 * j) * factor * power
        factor = factor * (s + 2 * j - 1) * (s + 2 * j) / (at * at)
    return total + np.where(negligible, 0.0, rest)


def _no_slope_of_first(name: str) -> Callable[..., Value]:
    def slope(f: Operations, dy: Value, a: Value, b: Value) -> Value:
        raise NotImplementedError(
            f"[{name}] got a first argument that requires gradients; expected a detached one, since its "
            "derivative is not implemented (nor is it in PyTorch)"
        )

    return slope


def _slope_of_zeta(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return dy * -a * either(f, _zeta, zeta, a + 1.0, b)


_zeta_op = Elementwise(numpy=rounded_once(_zeta), gradient=(_no_slope_of_first("zeta"), _slope_of_zeta)).op(
    "zeta"
)


def zeta(input: TensorLike, other: TensorLike) -> Tensor:
    """Hurwitz's zeta function, the sum of (other + k)^-input over k >= 0.

    >>> import ranvier as rv
    >>> zeta(2.0, rv.tensor([1.0]))
    tensor([1.6449])
    """
    return _zeta_op(input, other)


@in_dtypes()
def polygamma(n: int, input: TensorLike) -> Tensor:
    """The n-th derivative of digamma: (-1)^(n + 1) n! zeta(n + 1, x) (5.15.1).

    >>> import ranvier as rv
    >>> polygamma(2, rv.tensor([1.0]))
    tensor([-2.4041])
    """
    if not hasattr(n, "__index__") or n < 0:
        raise OpError(f"[polygamma] got n {n!r}; expected a whole number >= 0")
    if n == 0:
        return rv.digamma(input)
    x = rv.as_tensor(input)
    if not x.is_floating_point():
        x = x.to(rv.get_default_dtype())
    return zeta(float(n + 1), x) * float((-1) ** (n + 1) * math.factorial(n))


def _log_ratio(a: Array, x: Array) -> Array:
    """m - log(1 + m) of m = x / a - 1, by its series where the two terms cancel: with t = m / (2 + m),
    log(1 + m) is 2 (t + t^3 / 3 + ...) and m - 2 t is m t."""
    m = (x - a) / a
    t = m / (2 + m)
    square = t * t
    series = np.zeros_like(m)
    for k in range(41, 1, -2):  # t^2 <= 1 / 9 where the series is used, so its last term is below 1e-19
        series = (series + 1 / k) * square
    near = m * t - 2 * t * series
    return np.where(np.abs(m) < 0.5, near, m - np.log(x / a))


def _prefactor(a: Array, x: Array) -> Array:
    """x^a exp(-x) / gamma(a + 1), for large a by Stirling's series (5.11.1), whose large terms cancel in
    `_log_ratio`."""
    big = np.maximum(a, 10.0)
    w = 1 / (big * big)
    series = (
        1 / 12 - w * (1 / 360 - w * (1 / 1260 - w * (1 / 1680 - w * (1 / 1188 - w * 691 / 360360))))
    ) / big
    large = np.exp(-big * _log_ratio(big, x) - series) / np.sqrt(2 * math.pi * big)
    low = np.minimum(a, 10.0)
    # 5e-324: the least number above 0, whose logarithm is finite
    small = np.exp(low * np.log(np.maximum(x, 5e-324)) - x - _core.lgamma(low + 1, None))
    return np.where(a >= 10, large, small)


def _incomplete(a: Array, x: Array, upper: bool) -> Array:
    """P(a, x), or Q(a, x) = 1 - P (8.2.4): P by its series (8.7.1) where x <= a + 1, else Q by its continued
    fraction (8.9.2, by Lentz's method)."""
    same_shape = np.broadcast_arrays(a, x)
    a = np.array(same_shape[0])
    x = np.array(same_shape[1])
    defined = (a >= 0) & (x >= 0) & ~((a == 0) & (x == 0)) & ~(np.isinf(a) & np.isinf(x))
    plain = defined & (a > 0) & (x > 0) & np.isfinite(a) & np.isfinite(x)
    p = np.where((x == 0) | np.isinf(a), 0.0, 1.0)  # a = 0 or x = inf: 1
    p = np.where(defined, p, math.nan)
    y = 1 - p if upper else p
    y[plain] = _of_plain(a[plain], x[plain], upper)
    return y


def _of_plain(a: Array, x: Array, upper: bool) -> Array:
    """`_incomplete` for vectors of a and x above 0 and finite."""
    factor = _prefactor(a, x)
    series = x <= a + 1
    y = np.empty_like(x)
    p = factor[series] * _sum_of_powers(a[series], x[series])
    q = factor[~series] * a[~series] * _continued_fraction(a[~series], x[~series])
    if not upper:
        y[series] = p
        y[~series] = 1 - q
        return y
    y[series] = 1 - p
    y[~series] = q
    tiny = series & (a < 1)
    if tiny.any():  # 1 - P cancels
        y[tiny] = _upper_of_small(a[tiny], x[tiny])
    return y


def _sum_of_powers(a: Array, x: Array) -> Array:
    """1 + x / (a + 1) + x^2 / ((a + 1) (a + 2)) + ..."""
    term = np.ones_like(x)
    total = np.ones_like(x)
    for k in range(1, _TERMS):
        term = term * (x / (a + k))
        total += term
        if not (term > total * 1e-17).any():
            break
    return total


def _continued_fraction(a: Array, x: Array) -> Array:
    """gamma(a, x) / (x^a exp(-x)): 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / ...))."""
    b = x + 1 - a
    c = np.full_like(x, 1e300)
    d = 1 / b
    y = d.copy()
    for k in range(1, _TERMS):
        step = -k * (k - a)
        b = b + 2
        d = step * d + b
        d = 1 / np.where(d == 0, 1e-300, d)
        c = b + step / c
        c = np.where(c == 0, 1e-300, c)
        change = c * d
        y *= change
        if not (np.abs(change - 1) > 3e-16).any():
            break
    return y


_ORDERS = np.arange(2.0, 40.0)
_LOG_GAMMA = _zeta(_ORDERS, np.ones(1)) / _ORDERS * (-1.0) ** _ORDERS


def _log_gamma_1(a: Array) -> Array:
    """log(gamma(1 + a)) for 0 < a < 1; for small a by 5.7.3, since 1 + a would be rounded."""
    near = np.minimum(a, 0.25)
    series = np.zeros_like(a)
    for number in _LOG_GAMMA[::-1]:
        series = (series + number) * near
    return np.where(a < 0.25, (series - EULER) * near, _core.lgamma(a + 1, None))


def _upper_of_small(a: Array, x: Array) -> Array:
    """Q(a, x) for a < 1 and x <= a + 1: 1 - x^a / gamma(a + 1) times (1 + a sum of (-x)^k / (k! (a + k))),
    k >= 1 (8.7.1), where 1 - x^a / gamma(a + 1) is an expm1."""
    term = np.ones_like(x)
    total = np.zeros_like(x)
    for k in range(1, 40):  # x < 2, so the terms that follow are negligible
        term = term * (-x / k)
        total += term / (a + k)
    power = a * np.log(x) - _log_gamma_1(a)
    return -np.expm1(power) - np.exp(power) * a * total


def _density_values(a: Array, x: Array) -> Array:
    """x^(a - 1) exp(-x) / gamma(a)."""
    return np.exp((a - 1) * np.log(x) - x - _core.lgamma(a, None))


def _density(f: Operations | ModuleType, a: Value, x: Value) -> Value:
    """The slope of P by x."""
    if f is np:
        return in_float64(_density_values, a, x)
    return f.exp((a - 1.0) * f.log(x) - x - f.lgamma(a))


def _slope_of_gammainc(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return dy * _density(f, a, b)


def _slope_of_gammaincc(f: Operations, dy: Value, a: Value, b: Value) -> Value:
    return -dy * _density(f, a, b)


_gammainc_op = Elementwise(
    numpy=rounded_once(partial(_incomplete, upper=False)),
    gradient=(_no_slope_of_first("gammainc"), _slope_of_gammainc),
).op("gammainc")


def gammainc(input: TensorLike, other: TensorLike) -> Tensor:
    """The regularized lower incomplete gamma function P(a, x) of a = input and x = other.

    >>> import ranvier as rv
    >>> gammainc(1.0, rv.tensor([1.0]))
    tensor([0.6321])
    """
    return _gammainc_op(input, other)


_gammaincc_op = Elementwise(
    numpy=rounded_once(partial(_incomplete, upper=True)),
    gradient=(_no_slope_of_first("gammaincc"), _slope_of_gammaincc),
).op("gammaincc")


def gammaincc(input: TensorLike, other: TensorLike) -> Tensor:
    """The regularized upper incomplete gamma function, 1 - P(a, x).

    >>> import ranvier as rv
    >>> gammaincc(1.0, rv.tensor([1.0]))
    tensor([0.3679])
    """
    return _gammaincc_op(input, other)
