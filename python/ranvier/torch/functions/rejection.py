"""Draws of Gamma, Poisson and binomial variables as PyTorch makes them, by algorithms that reject some draws.

`twister.py` uses them, where seeds give PyTorch's numbers. Each function gets two functions, which return the
next uniform number in [0, 1) and the next standard normal number, and returns one number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Stream = Callable[[], float]
_SQUEEZE = float(np.float32(0.0331))


def prepared(a: Any) -> list[Any]:
    """The arguments `power` and `d` of :func:`gamma`, in the dtype of the concentrations a.

    power is 1 / a for a < 1, else 0. d is a - 1 / 3, with a + 1 in place of a < 1.
    """
    one = a.dtype.type(1)
    third = a.dtype.type(np.float32(1) / np.float32(3))
    with np.errstate(divide="ignore"):
        return [np.where(a < 1, one / a, 0), np.where(a < 1, a + one, a) - third]


def gamma(uniform: Stream, normal: Stream, power: float, d: float) -> float:
    """Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000)."""
    if power and power < math.inf:
        scale = (1 - uniform()) ** power
    else:
        scale = 1.0
    if power == math.inf:
        return 0.0
    return scale * _from_one(uniform, normal, d)


def log_gamma(uniform: Stream, normal: Stream, power: float, d: float) -> float:
    """The logarithm of what :func:`gamma` draws, which may underflow."""
    log_scale = math.log1p(-uniform()) * power if power else 0.0
    return log_scale + math.log(_from_one(uniform, normal, d))


def _from_one(uniform: Stream, normal: Stream, d: float) -> float:
    """A draw of Gamma(a, 1) for a >= 1; d = a - 1 / 3."""
    if not d < math.inf:
        return d
    c = 1 / math.sqrt(9 * d)
    while True:
        x = normal()
        if (root := 1 + c * x) <= 0:
            continue
        v = root**3
        u = 1 - uniform()
        square = x * x
        if u < 1 - _SQUEEZE * square * square or math.log(u) < 0.5 * square + d * (1 - v + math.log(v)):
            return d * v


def poisson(uniform: Stream, normal: Stream, rate: float) -> float:
    """A Poisson variable. From a rate of 10 on: Hörmann, "The Transformed Rejection Method for Generating
    Poisson Variables" (1993). Below 10: how many uniform numbers have a product above exp(-rate)."""
    if rate < 10:
        count = 0
        product = 1.0
        end = math.exp(-rate)
        while rate > 0 and (product := product * uniform()) > end:
            count += 1
        return count
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    least = 0.9277 - 3.6224 / (b - 2)
    factor = 1.1239 + 1.1328 / (b - 3.4)

    def is_below(v: float, edge: float, k: int) -> bool:
        if k < 0 or (edge < 0.013 and v > edge):
            return False
        return _log(v * factor / (a / edge**2 + b)) <= k * math.log(rate) - rate - math.lgamma(k + 1)

    return _transformed(uniform, a, b, rate + 0.43, least, is_below)


def binomial(uniform: Stream, normal: Stream, n: float, p: float) -> float:
    """A binomial variable. From n p = 10 on: Hörmann, "The Generation of Binomial Random Variates" (1993),
    algorithm BTRS. Below 10: how many waiting times for a success fit into n trials."""
    if n <= 0 or p <= 0 or p >= 1:
        if p >= 1:
            return max(n, 0)
        return 0
    if p > 0.5:
        return n - binomial(uniform, normal, n, 1 - p)
    if n * p < 10:
        count = 0
        trials = 0.0
        miss = math.log1p(-p)
        while (trials := trials + math.ceil(_log(uniform()) / miss)) <= n:
            count += 1
        return count
    spread = math.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * spread
    a, mode = -0.0873 + 0.0248 * b + 0.01 * p, math.floor((n + 1) * p)
    alpha, odds = (2.83 + 5.1 / b) * spread, math.log(p / (1 - p))
    top = math.lgamma(mode + 1) + math.lgamma(n - mode + 1)

    def is_below(v: float, edge: float, k: int) -> bool:
        if not 0 <= k <= n:
            return False
        ways = top - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        return _log(v * alpha / (a / edge**2 + b)) <= ways + (k - mode) * odds

    return _transformed(uniform, a, b, n * p + 0.5, 0.92 - 4.2 / b, is_below)


def _transformed(
    uniform: Stream, a: float, b: float, centre: float, least: float, is_below: Callable[..., bool]
) -> float:
    """A whole number k by transformed rejection, as in both articles.

    k is accepted at once in a region where that is certain (v <= least), else if is_below(v, edge, k): v,
    scaled, is below the probability of k.
    """
    while True:
        u = uniform() - 0.5
        v = uniform()
        edge = max(0.5 - abs(u), 1e-100)
        k = math.floor((2 * a / edge + b) * u + centre)
        if (edge >= 0.07 and v <= least) or is_below(v, edge, k):
            return k


def _log(x: float) -> float:
    if x > 0:
        return math.log(x)
    return -math.inf
