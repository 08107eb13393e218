"""erf, its inverse, the logarithm of gamma and its derivatives, for NumPy arrays, computed in float64.

Sources: Abramowitz and Stegun, Handbook of Mathematical Functions, 6.3 and 6.4 (digamma, trigamma); the
starting value of erfinv is Winitzki's (2008), followed by three steps of Halley's method on erf.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _each(function: Any) -> Any:
    """The function of Python's math module, for each element of an array."""
    return partial(_of_each, function)


def _of_each(function: Any, x: Array) -> Array:
    every = np.frompyfunc(function, 1, 1)
    return np.asarray(every(x.astype(np.float64)), dtype=np.float64).astype(x.dtype)


def _lgamma(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):  # a pole
        return math.inf
    try:
        return math.lgamma(x)
    except OverflowError:  # beyond about 2.5e305
        return math.inf


erf_of = _each(math.erf)
erfc_of = _each(math.erfc)
lgamma_of = _each(_lgamma)


def erfinv_of(y: Array) -> Array:
    """x with erf(x) = y."""
    v = y.astype(np.float64)
    inside = np.where(np.abs(v) < 1, v, 0.0)
    w = np.log1p(-inside * inside)
    t = 2 / (math.pi * 0.147) + w / 2
    x = np.copysign(np.sqrt(np.sqrt(t * t - w / 0.147) - t), inside)
    for _ in range(3):
        small = np.abs(inside) < 0.5  # beyond, erfc keeps the digits that 1 - erf would lose
        error = np.where(
            small, erf_of(x) - inside, np.sign(inside) * (1 - np.abs(inside) - erfc_of(np.abs(x)))
        )
        step = error / (2 / math.sqrt(math.pi) * np.exp(-x * x))
        x = x - step / (1 + x * step)
    x = np.where(np.abs(v) == 1, np.copysign(np.inf, v), x)
    return np.where(np.abs(v) <= 1, x, np.nan).astype(y.dtype)


def _asymptotic(x: Array, poles: float, reflected: Any, step: Any, series: Any) -> Array:
    """A function by reflection to x >= 1/2, recurrence up to x >= 8, and its asymptotic series there."""
    v = np.atleast_1d(x.astype(np.float64))
    low = v < 0.5
    z, total = np.where(low, 1 - v, v), np.zeros_like(v)
    for _ in range(8):
        small = z < 8
        total = total + np.where(small, step(z), 0.0)
        z = np.where(small, z + 1, z)
    y = total + series(z)
    y = np.where(low, reflected(v, y), y)
    y = np.where((v <= 0) & (v == np.floor(v)), poles, y)
    return y.reshape(x.shape)


def digamma_of(x: Array) -> Array:
    """The derivative of the logarithm of gamma."""

    def series(z: Array) -> Array:
        s = 1 / (z * z)
        tail = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s * (1 / 132 - s * 691 / 32760)))))
        return np.log(z) - 0.5 / z - tail

    # the tangent of a multiple of pi is taken of the distance to the nearest integer, which is exact
    y = _asymptotic(
        x, np.nan, lambda v, z: z - math.pi / np.tan(math.pi * (v - np.round(v))), lambda z: -1 / z, series
    )
    y = np.where(x == 0, np.copysign(np.inf, -x), y)
    return np.where(x == -np.inf, np.nan, y).astype(x.dtype)


def trigamma_of(x: Array) -> Array:
    """The second derivative of the logarithm of gamma."""

    def series(z: Array) -> Array:
        s = 1 / (z * z)
        tail = s / z * (1 / 6 - s * (1 / 30 - s * (1 / 42 - s * (1 / 30 - s * (5 / 66 - s * 691 / 2730)))))
        return 1 / z + 0.5 * s + tail

    return _asymptotic(
        x,
        np.inf,
        lambda v, z: (math.pi / np.sin(math.pi * (v - np.round(v)))) ** 2 - z,
        lambda z: 1 / (z * z),
        series,
    ).astype(x.dtype)
