"""Draws of Gamma, Poisson and binomial variables as PyTorch makes them, by algorithms that reject some draws.

`twister.py` uses them, where seeds give PyTorch's numbers. Each function gets two functions, which return the
next uniform number in [0, 1) and the next standard normal number, and returns one number. To give the same
numbers, it calls them in PyTorch's order; the constants are those of the articles.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ranvier.tensors.memory import Array

Stream = Callable[[], float]
_SQUEEZE = float(np.float32(0.0331))  # the article's constant for a fast test, as PyTorch stores it


def gamma_parameters(a: Array) -> list[Array]:
    """The arguments `power` and `d` of :func:`gamma`, in the dtype of the concentrations a.

    A draw for a < 1 is one for a + 1, times a uniform number to the power 1 / a. So power is 1 / a for a < 1,
    else 0, and d is a - 1 / 3, with a + 1 in place of a < 1.
    """
    one = a.dtype.type(1)
    third = a.dtype.type(np.float32(1) / np.float32(3))
    is_below_one = a < 1
    with np.errstate(divide="ignore"):
        power = np.where(is_below_one, one / a, 0)
    d = np.where(is_below_one, a + one, a) - third
    return [power, d]


def gamma(uniform: Stream, normal: Stream, power: float, d: float) -> float:
    """Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables" (2000).

    power, d: of `gamma_parameters`.
    """
    if power == math.inf:  # a is 0
        return 0.0
    scale = 1.0
    if power:
        scale = (1 - uniform()) ** power
    return scale * _gamma_from_one(uniform, normal, d)


def log_gamma(uniform: Stream, normal: Stream, power: float, d: float) -> float:
    """The logarithm of what :func:`gamma` draws, which may underflow."""
    log_scale = 0.0
    if power:
        log_scale = math.log1p(-uniform()) * power
    return log_scale + math.log(_gamma_from_one(uniform, normal, d))


def _gamma_from_one(uniform: Stream, normal: Stream, d: float) -> float:
    """A draw of Gamma(a, 1) for a >= 1; d = a - 1 / 3."""
    if not d < math.inf:  # infinite or NaN
        return d
    c = 1 / math.sqrt(9 * d)
    while True:
        x = normal()
        root = 1 + c * x
        if root <= 0:
            continue
        v = root**3
        u = 1 - uniform()
        square = x * x
        is_surely_below = u < 1 - _SQUEEZE * square * square  # a test without logarithms
        if is_surely_below or math.log(u) < 0.5 * square + d * (1 - v + math.log(v)):
            return d * v


def poisson(uniform: Stream, normal: Stream, rate: float) -> float:
    """A Poisson variable.

    From a rate of 10 on: Hörmann, "The Transformed Rejection Method for Generating Poisson Variables" (1993).
    Below 10: how many uniform numbers have a product above exp(-rate).
    """
    if rate <= 0:
        return 0
    if rate < 10:
        count = 0
        end = math.exp(-rate)
        product = uniform()
        while product > end:
            count += 1
            product *= uniform()
        return count
    b = 0.931 + 2.53 * math.sqrt(rate)
    a = -0.059 + 0.02483 * b
    least = 0.9277 - 3.6224 / (b - 2)
    factor = 1.1239 + 1.1328 / (b - 3.4)

    def is_below(v: float, edge: float, k: int) -> bool:
        if k < 0 or (edge < 0.013 and v > edge):
            return False
        log_probability = k * math.log(rate) - rate - math.lgamma(k + 1)
        return _log(v * factor / (a / edge**2 + b)) <= log_probability

    return _transformed_rejection(uniform, a, b, rate + 0.43, least, is_below)


def binomial(uniform: Stream, normal: Stream, n: float, p: float) -> float:
    """A binomial variable: how many of n trials succeed with the probability p.

    From n p = 10 on: Hörmann, "The Generation of Binomial Random Variates" (1993), algorithm BTRS. Below 10:
    how many waiting times for a success fit into n trials.
    """
    if p >= 1:
        return max(n, 0)
    if n <= 0 or p <= 0:
        return 0
    if p > 0.5:
        return n - binomial(uniform, normal, n, 1 - p)
    if n * p < 10:
        return _count_waiting_times(uniform, n, p)
    spread = math.sqrt(n * p * (1 - p))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * p
    mode = math.floor((n + 1) * p)
    alpha = (2.83 + 5.1 / b) * spread
    log_odds = math.log(p / (1 - p))
    log_ways_of_mode = math.lgamma(mode + 1) + math.lgamma(n - mode + 1)

    def is_below(v: float, edge: float, k: int) -> bool:
        if not 0 <= k <= n:
            return False
        # the logarithm of the probability of k, divided by that of the mode
        log_ways = log_ways_of_mode - math.lgamma(k + 1) - math.lgamma(n - k + 1)
        return _log(v * alpha / (a / edge**2 + b)) <= log_ways + (k - mode) * log_odds

    return _transformed_rejection(uniform, a, b, n * p + 0.5, 0.92 - 4.2 / b, is_below)


def _count_waiting_times(uniform: Stream, n: float, p: float) -> int:
    """How many successes fit into n trials; the trials up to the next success are drawn at once."""
    log_failure = math.log1p(-p)
    count = 0
    trials = math.ceil(_log(uniform()) / log_failure)
    while trials <= n:
        count += 1
        trials += math.ceil(_log(uniform()) / log_failure)
    return count


def _transformed_rejection(
    uniform: Stream,
    a: float,
    b: float,
    centre: float,
    least: float,
    is_below: Callable[[float, float, int], bool],
) -> float:
    """A whole number k by transformed rejection, as in both articles, with their constants a and b.

    k is accepted at once in a region where that is certain (v <= least), else if is_below(v, edge, k): v,
    scaled, is below the probability of k. edge: the distance of u from the ends of [-0.5, 0.5].
    """
    while True:
        u = uniform() - 0.5
        v = uniform()
        edge = max(0.5 - abs(u), 1e-100)  # above 0, by which a is divided
        k = math.floor((2 * a / edge + b) * u + centre)
        if (edge >= 0.07 and v <= least) or is_below(v, edge, k):
            return k


def _log(x: float) -> float:
    """The logarithm, minus infinity at 0."""
    if x > 0:
        return math.log(x)
    return -math.inf
