"""Bessel and Airy functions of torch.special, in float64 and rounded once.

Sums over equidistant points of an integral (trapezoidal rule) converge geometrically for the integrands used
here, and have positive terms where the functions are positive. Beside them stand power series for small x and
asymptotic series for large x. Source of all formulas: NIST Digital Library of Mathematical Functions (DLMF),
chapters 9 and 10, by their numbers there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, wraps
from types import ModuleType
from typing import Any

import numpy as np

from ranvier import Tensor
from ranvier.ops.elementwise.op import Elementwise
from ranvier.ops.namespaces import Operations, Value
from ranvier.tensors.types import TensorLike

Array = np.ndarray[Any, Any]
Values = Callable[..., Array]
EULER = 0.57721566490153286061
_FAR = 30.0  # from here on asymptotic series have errors below 1e-20


def in_float64(function: Values, *xs: TensorLike | Value) -> Array:
    """A function of float64 arrays of at least one dimension, for arrays of any dtype and dimensions."""
    arrays = [np.asarray(x, np.float64) for x in xs]
    shape = np.broadcast_shapes(*[x.shape for x in arrays])
    with np.errstate(all="ignore"):
        y = function(*map(np.atleast_1d, arrays))
    return y.reshape(shape)


def rounded_once(function: Values) -> Values:
    """The same as a function that rounds its result to the dtype of its first argument."""

    @wraps(function)
    def values(*arrays: Array) -> Array:
        return np.asarray(in_float64(function, *arrays), np.asarray(arrays[0]).dtype)

    return values


def either(f: Operations | ModuleType, values: Values, op: Callable[..., Tensor], *xs: Value) -> Value:
    """In a gradient formula: `values` of arrays in float64 (f is NumPy), or the op on Tensors."""
    if f is np:
        return in_float64(values, *xs)
    return op(*xs)


def _series(x: Array, order: int, sign: float, terms: int = 30) -> tuple[Array, Array]:
    """The sums of q_k and of q_k (psi(k + 1) + psi(k + order + 1)), q_k = (sign x^2 / 4)^k / (k! (k +
    order)!), order 0 or 1: those of J and Y (10.2.2, 10.8.1), I and K (10.25.2, 10.31.1). x: up to 4, where
    30 terms are enough."""
    step = sign * x * x / 4
    term = np.ones_like(x)
    psi = -2 * EULER + order
    plain = term.copy()
    weighted = term * psi
    for k in range(1, terms):
        term = term * step / (k * (k + order))
        psi += 1 / k + 1 / (k + order)
        plain += term
        weighted += term * psi
    return plain, weighted


def _hankel(x: Array, order: int, sign: float) -> tuple[Array, Array]:
    """The even and the odd terms of the sum of sign^(k // 2) a_k / x^k (10.17.1), for x from _FAR on."""
    term = np.ones_like(x)
    even = term.copy()
    odd = np.zeros_like(x)
    for k in range(1, 31):  # the terms fall up to k of about 2 x, here 60
        term = term * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k * x)
        if k % 2:
            odd += sign ** (k // 2) * term
        else:
            even += sign ** (k // 2) * term
    return even, odd


def _scaled_i(x: Array, order: int) -> Array:
    """exp(-x) I(x) for x >= 0: the mean of exp(x (cos t - 1)) cos(order t) (10.32.3), or 10.40.1."""
    near = np.minimum(x, _FAR)
    far = np.maximum(x, _FAR)
    count = 40  # intervals; from 28 on the sum is exact to rounding for x < _FAR
    total = np.zeros_like(x)
    for k in range(count + 1):
        t = math.pi * k / count
        weight = math.cos(order * t) / count
        if k in (0, count):
            weight *= 0.5
        total += weight * np.exp(-2 * math.sin(t / 2) ** 2 * near)
    if order:
        small = np.minimum(x, 4.0)  # here the terms would cancel
        total = np.where(x < 4, np.exp(-small) * small / 2 * _series(small, 1, 1)[0], total)
    even, odd = _hankel(far, order, 1)
    asymptotic = (even - odd) / np.sqrt(2 * math.pi * far)
    return np.where(x < _FAR, total, np.where(x == math.inf, 0.0, asymptotic))


def _i0e(x: Array) -> Array:
    return _scaled_i(np.abs(x), 0)


def _i1e(x: Array) -> Array:
    return np.copysign(_scaled_i(np.abs(x), 1), x)


def _i0(x: Array) -> Array:
    half = np.exp(np.abs(x) / 2)
    y = half * _i0e(x) * half
    return np.where(np.isinf(x), math.inf, y)


def _i1(x: Array) -> Array:
    half = np.exp(np.abs(x) / 2)
    y = half * _i1e(x) * half
    return np.where(np.isinf(x), x, y)


def _scaled_k(x: Array, order: int) -> Array:
    """exp(x) K(x): the integral of exp(-x (cosh t - 1)) cosh(order t) over t > 0 (10.32.9); for x <= 1 the
    series 10.31.1 and 10.31.2."""
    near = np.clip(x, 0, 1)
    far = np.maximum(x, 1.0)
    i, psi = _series(near, order, 1)
    logarithm = np.log(near / 2)
    small = psi / 2 - logarithm * i
    if order:
        small = 1 / near + logarithm * (near / 2) * i - near / 4 * psi
    h = np.minimum(0.2, 0.7 / np.sqrt(far))  # with 22 points or more the sum is exact to rounding
    total = np.full_like(x, 0.5)
    for k in range(1, 26):
        t = k * h
        total += np.exp(-2 * far * np.sinh(t / 2) ** 2) * np.cosh(order * t)
    y = np.where(x <= 1, np.exp(near) * small, h * total)
    y = np.where(x == 0, math.inf, np.where(x == math.inf, 0.0, y))
    return np.where(x < 0, math.nan, y)


def _k(x: Array, order: int) -> Array:
    return np.where(x == 0, math.inf, np.exp(-x) * _scaled_k(x, order))


def _recurrence(x: Array) -> tuple[Array, Array, Array, Array]:
    """J0, J1, Y0 and Y1 for x from 2 to 30: J_n from n = 110 down, where it is below 1e-48 (10.6.1,
    10.74.iv), scaled by 10.12.4, and Y as sums of them (10.23.31 and its derivative)."""
    last = np.zeros_like(x)
    here = np.full_like(x, 1e-280)  # any number: `unit` divides it out; small, since the values grow
    unit = np.zeros_like(x)
    y0 = np.zeros_like(x)
    y1 = np.zeros_like(x)
    for n in range(110, 0, -1):
        if n % 2 == 0:
            k = n // 2
            unit += 2 * here
            y0 += (-1) ** k * here / k
        elif n > 1:
            k = n // 2
            y1 += (-1) ** k * (2 * k + 1) / (k * (k + 1)) * here
        last, here = here, 2 * n / x * here - last
    unit += here
    j0 = here / unit
    j1 = last / unit
    logarithm = np.log(x / 2) + EULER
    first = 2 / math.pi * (logarithm * j0 - 2 * y0 / unit)
    second = 2 / math.pi * ((logarithm - 1) * j1 - y1 / unit - j0 / x)
    return j0, j1, first, second


def _oscillating(x: Array, order: int, second: bool) -> Array:
    """J or Y (second) of x >= 0: 10.2.2 and 10.8 below 2, the recurrence, and 10.17.3 from _FAR on."""
    near = np.minimum(x, 2.0)
    middle = np.clip(x, 2, _FAR)
    far = np.maximum(x, _FAR)
    plain, psi = _series(near, order, -1)
    j = plain * (near / 2) ** order
    if second:
        pole: Array | float = 1 / near if order else 0.0
        small = (2 * np.log(near / 2) * j - 2 * pole - psi * (near / 2) ** order) / math.pi
    else:
        small = j
    between = _recurrence(middle)[order + 2 * second]
    even, odd = _hankel(far, order, -1)
    cos = np.cos(far)
    sin = np.sin(far)
    # The cosine and the sine of x - (order / 2 + 1 / 4) pi, times sqrt(2).
    if order:
        cosine = sin - cos
        sine = -sin - cos
    else:
        cosine = cos + sin
        sine = sin - cos
    if second:
        wave = even * sine + odd * cosine
    else:
        wave = even * cosine - odd * sine
    y = np.where(x < 2, small, np.where(x < _FAR, between, wave / np.sqrt(math.pi * far)))
    y = np.where(x == math.inf, 0.0, y)
    if second:
        y = np.where(x == 0, -math.inf, np.where(x < 0, math.nan, y))
    return y


def _airy(x: Array) -> Array:
    """Ai: 9.4.1 for |x| <= 2, else the integral 9.5.7, for negative x at two complex points (9.2.14)."""
    near = np.clip(x, -2, 2)
    cube = near**3
    f = np.ones_like(x)
    g = near.copy()
    first = f.copy()
    second = g.copy()
    for k in range(1, 25):
        f = f * cube / ((3 * k - 1) * (3 * k))
        g = g * cube / ((3 * k) * (3 * k + 1))
        first += f
        second += g
    # Ai(0) and -Ai'(0) (9.2.3, 9.2.4)
    small = 0.35502805388781723926 * first - 0.25881940379280679841 * second
    size = np.maximum(np.abs(x), 2.0)
    turn = np.where(x < 0, np.exp(1j * math.pi / 3), 1.0)
    # The integral of exp(-sqrt(z) t^2) cos(t^3 / 3), with t = s / size^(1/4).
    h = 0.09  # with 70 points or more the sum is exact to rounding
    total = np.full(x.shape, 0.5 + 0j)
    angle = np.sqrt(turn)
    for k in range(1, 76):
        s = k * h
        total += np.exp(-angle * s * s) * np.cos(s**3 / 3 / size**0.75)
    decay = np.exp(-2 / 3 * size * np.sqrt(size) * np.where(x < 0, 1j, 1.0))
    value = decay * h * total / (math.pi * np.sqrt(np.sqrt(size)))
    large = np.where(x < 0, 2 * (turn * value).real, value.real)
    y = np.where(np.abs(x) <= 2, small, large)
    return np.where(np.isnan(x), x, np.where(np.isinf(x), 0.0, y))


def _spherical(x: Array) -> Array:
    divisor = np.where(x == 0, 1.0, x)
    return np.where(x == 0, 1.0, np.where(np.isinf(x), 0.0, np.sin(x) / divisor))


def _j1(x: Array) -> Array:
    return np.copysign(1.0, x) * _oscillating(np.abs(x), 1, False)


def _slope_of_i0(f: Operations, dy: Value, x: Value) -> Value:
    return dy * either(f, _i1, i1, x)


def _slope_of_i0e(f: Operations, dy: Value, x: Value) -> Value:
    return dy * (either(f, _i1e, i1e, x) - f.sign(x) * either(f, _i0e, i0e, x))


def _slope_of_i1(f: Operations, dy: Value, x: Value) -> Value:
    """I0 - I1 / x, which is 1 / 2 at 0."""
    zero = x == 0
    over = f.where(zero, 1.0, x)
    slope = either(f, _i0, i0, x) - either(f, _i1, i1, over) / over
    return dy * f.where(zero, 0.5, slope)


def _slope_of_i1e(f: Operations, dy: Value, x: Value) -> Value:
    """exp(-|x|) I0 - (sign(x) + 1 / x) exp(-|x|) I1, which is 1 / 2 at 0."""
    zero = x == 0
    over = f.where(zero, 1.0, x)
    slope = either(f, _i0e, i0e, x) - either(f, _i1e, i1e, over) * (f.sign(over) + 1 / over)
    return dy * f.where(zero, 0.5, slope)


_i0_op = Elementwise(numpy=rounded_once(_i0), gradient=_slope_of_i0).op("i0")


def i0(input: TensorLike) -> Tensor:
    """The modified Bessel function I of order 0.

    >>> import ranvier as rv
    >>> i0(rv.tensor([0.0]))
    tensor([1.])
    """
    return _i0_op(input)


_i1_op = Elementwise(numpy=rounded_once(_i1), gradient=_slope_of_i1).op("i1")


def i1(input: TensorLike) -> Tensor:
    """The modified Bessel function I of order 1.

    >>> import ranvier as rv
    >>> i1(rv.tensor([0.0]))
    tensor([0.])
    """
    return _i1_op(input)


_i0e_op = Elementwise(numpy=rounded_once(_i0e), gradient=_slope_of_i0e).op("i0e")


def i0e(input: TensorLike) -> Tensor:
    """exp(-|x|) I0(x).

    >>> import ranvier as rv
    >>> i0e(rv.tensor([0.0]))
    tensor([1.])
    """
    return _i0e_op(input)


_i1e_op = Elementwise(numpy=rounded_once(_i1e), gradient=_slope_of_i1e).op("i1e")


def i1e(input: TensorLike) -> Tensor:
    """exp(-|x|) I1(x).

    >>> import ranvier as rv
    >>> i1e(rv.tensor([0.0]))
    tensor([0.])
    """
    return _i1e_op(input)


# As in PyTorch, the functions below have no gradient.


_modified_bessel_i0_op = Elementwise(numpy=rounded_once(_i0)).op("modified_bessel_i0")


def modified_bessel_i0(input: TensorLike) -> Tensor:
    """:func:`i0`, without a gradient.

    >>> import ranvier as rv
    >>> modified_bessel_i0(rv.tensor([0.0]))
    tensor([1.])
    """
    return _modified_bessel_i0_op(input)


_modified_bessel_i1_op = Elementwise(numpy=rounded_once(_i1)).op("modified_bessel_i1")


def modified_bessel_i1(input: TensorLike) -> Tensor:
    """:func:`i1`, without a gradient.

    >>> import ranvier as rv
    >>> modified_bessel_i1(rv.tensor([0.0]))
    tensor([0.])
    """
    return _modified_bessel_i1_op(input)


_modified_bessel_k0_op = Elementwise(numpy=rounded_once(partial(_k, order=0))).op("modified_bessel_k0")


def modified_bessel_k0(input: TensorLike) -> Tensor:
    """The modified Bessel function K of order 0; nan below 0.

    >>> import ranvier as rv
    >>> modified_bessel_k0(rv.tensor([1.0]))
    tensor([0.4210])
    """
    return _modified_bessel_k0_op(input)


_modified_bessel_k1_op = Elementwise(numpy=rounded_once(partial(_k, order=1))).op("modified_bessel_k1")


def modified_bessel_k1(input: TensorLike) -> Tensor:
    """The modified Bessel function K of order 1; nan below 0.

    >>> import ranvier as rv
    >>> modified_bessel_k1(rv.tensor([1.0]))
    tensor([0.6019])
    """
    return _modified_bessel_k1_op(input)


_scaled_modified_bessel_k0_op = Elementwise(numpy=rounded_once(partial(_scaled_k, order=0))).op(
    "scaled_modified_bessel_k0"
)


def scaled_modified_bessel_k0(input: TensorLike) -> Tensor:
    """exp(x) K0(x).

    >>> import ranvier as rv
    >>> scaled_modified_bessel_k0(rv.tensor([1.0]))
    tensor([1.1445])
    """
    return _scaled_modified_bessel_k0_op(input)


_scaled_modified_bessel_k1_op = Elementwise(numpy=rounded_once(partial(_scaled_k, order=1))).op(
    "scaled_modified_bessel_k1"
)


def scaled_modified_bessel_k1(input: TensorLike) -> Tensor:
    """exp(x) K1(x).

    >>> import ranvier as rv
    >>> scaled_modified_bessel_k1(rv.tensor([1.0]))
    tensor([1.6362])
    """
    return _scaled_modified_bessel_k1_op(input)


def _j0(x: Array) -> Array:
    return _oscillating(np.abs(x), 0, False)


_bessel_j0_op = Elementwise(numpy=rounded_once(_j0)).op("bessel_j0")


def bessel_j0(input: TensorLike) -> Tensor:
    """The Bessel function J of order 0.

    >>> import ranvier as rv
    >>> bessel_j0(rv.tensor([0.0]))
    tensor([1.])
    """
    return _bessel_j0_op(input)


_bessel_j1_op = Elementwise(numpy=rounded_once(_j1)).op("bessel_j1")


def bessel_j1(input: TensorLike) -> Tensor:
    """The Bessel function J of order 1.

    >>> import ranvier as rv
    >>> bessel_j1(rv.tensor([1.0]))
    tensor([0.4401])
    """
    return _bessel_j1_op(input)


_bessel_y0_op = Elementwise(numpy=rounded_once(partial(_oscillating, order=0, second=True))).op("bessel_y0")


def bessel_y0(input: TensorLike) -> Tensor:
    """The Bessel function Y of order 0; nan below 0.

    >>> import ranvier as rv
    >>> bessel_y0(rv.tensor([1.0]))
    tensor([0.0883])
    """
    return _bessel_y0_op(input)


_bessel_y1_op = Elementwise(numpy=rounded_once(partial(_oscillating, order=1, second=True))).op("bessel_y1")


def bessel_y1(input: TensorLike) -> Tensor:
    """The Bessel function Y of order 1; nan below 0.

    >>> import ranvier as rv
    >>> bessel_y1(rv.tensor([1.0]))
    tensor([-0.7812])
    """
    return _bessel_y1_op(input)


_spherical_bessel_j0_op = Elementwise(numpy=rounded_once(_spherical)).op("spherical_bessel_j0")


def spherical_bessel_j0(input: TensorLike) -> Tensor:
    """sin(x) / x, 1 at 0.

    >>> import ranvier as rv
    >>> spherical_bessel_j0(rv.tensor([1.0]))
    tensor([0.8415])
    """
    return _spherical_bessel_j0_op(input)


_airy_ai_op = Elementwise(numpy=rounded_once(_airy)).op("airy_ai")


def airy_ai(input: TensorLike) -> Tensor:
    """The Airy function Ai.

    >>> import ranvier as rv
    >>> airy_ai(rv.tensor([0.0]))
    tensor([0.3550])
    """
    return _airy_ai_op(input)
