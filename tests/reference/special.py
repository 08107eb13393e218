"""erfc, lgamma, digamma and trigamma by series of long doubles, which have the digits beyond float64 that the
tests need. Sources: Abramowitz and Stegun, 6.1.33, 6.1.41, 6.3.18, 6.4.12, 7.1.6, 7.1.14.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
ONE = np.longdouble(1)
PI = 4 * np.arctan(ONE)
SHIFTS = 20  # from there on the asymptotic series below are at most 1e-19 off
EULER = np.longdouble("0.577215664901532860606512")


def erf_series(x: Array) -> Array:
    """2 / sqrt(pi) e^(-x^2) sum of 2^k x^(2k+1) / (2k+1)!!, for |x| <= 2."""
    term, total = x, x
    for k in range(1, 80):
        term = term * 2 * x * x / (2 * k + 1)
        total = total + term
    return 2 / np.sqrt(PI) * np.exp(-x * x) * total


def erfc(x: Array) -> Array:
    """From 2 on e^(-x^2) / sqrt(pi) / (x + 1/2 / (x + 1 / (x + 3/2 / ...)))."""
    size = np.maximum(np.abs(x), 2)
    fraction = size
    for k in range(400, 0, -1):
        fraction = size + k * ONE / 2 / fraction
    large = np.exp(-size * size) / np.sqrt(PI) / fraction
    large = np.where(x < 0, 2 - large, large)
    return np.where(np.abs(x) < 2, 1 - erf_series(np.clip(x, -2, 2)), large)


def sine_of_pi(x: Array) -> Array:
    return np.sin(PI * (x - np.round(x)))


def zeta(k: int) -> Any:
    """Euler and Maclaurin's formula from 200 on."""
    n = 200 * ONE
    rest = n ** (1 - k) / (k - 1) + n**-k / 2 + k * n ** (-k - 1) / 12
    rest -= k * (k + 1) * (k + 2) * n ** (-k - 3) / 720
    rest += k * (k + 1) * (k + 2) * (k + 3) * (k + 4) * n ** (-k - 5) / 30240
    return sum((m * ONE) ** -k for m in range(199, 0, -1)) + rest


def lgamma_beside_1(e: Array) -> Array:
    """log gamma(1 + e) by its Taylor series, for |e| <= 1/4."""
    return -EULER * e + sum(zeta(k) / k * (-e) ** k for k in range(30, 1, -1))


def lgamma(x: Array) -> Array:
    """For x > 0 Stirling's series at x + SHIFTS; below, gamma(x) gamma(1 - x) = pi / sin(pi x)."""
    a = np.where(x > 0, x, 1 - x)
    z = a + SHIFTS
    terms = ((1, 12, 1), (-1, 360, 3), (1, 1260, 5), (-1, 1680, 7), (1, 1188, 9), (-691, 360360, 11))
    y = (z - 0.5) * np.log(z) - z + np.log(2 * PI) / 2 + sum(c * ONE / d / z**k for c, d, k in terms)
    y = y - sum(np.log(a + k) for k in range(SHIFTS))
    for at in (1, 2):  # zeros
        e = np.clip(a - at, -0.25, 0.25)
        beside = lgamma_beside_1(e) + (np.log1p(e) if at == 2 else 0)
        y = np.where(np.abs(a - at) <= 0.25, beside, y)
    return np.where(x > 0, y, np.log(PI / np.abs(np.where(x > 0, 1, sine_of_pi(x)))) - y)


def digamma(x: Array) -> Array:
    low = x < 0.5
    a = np.where(low, 1 - x, x)
    z = a + SHIFTS
    y = (
        np.log(z)
        - 1 / (2 * z)
        - sum(
            c * ONE / d / z**k
            for c, d, k in (
                (1, 12, 2),
                (-1, 120, 4),
                (1, 252, 6),
                (-1, 240, 8),
                (1, 132, 10),
                (-691, 32760, 12),
            )
        )
    )
    y = y - sum(1 / (a + k) for k in range(SHIFTS))
    return np.where(low, y - PI * np.cos(PI * (x - np.round(x))) / sine_of_pi(np.where(low, x, 0.5)), y)


def trigamma(x: Array) -> Array:
    low = x < 0.5
    a = np.where(low, 1 - x, x)
    z = a + SHIFTS
    y = 1 / z + 1 / (2 * z * z)
    y = y + sum(
        c * ONE / d / z**k
        for c, d, k in ((1, 6, 3), (-1, 30, 5), (1, 42, 7), (-1, 30, 9), (5, 66, 11), (-691, 2730, 13))
    )
    y = y + sum(1 / (a + k) ** 2 for k in range(SHIFTS))
    return np.where(low, (PI / sine_of_pi(np.where(low, x, 0.5))) ** 2 - y, y)
