"""A line search for the strong Wolfe conditions, used by LBFGS."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Point:
    """A step length t, the loss f there, its gradient g and its slope along the direction, g . d."""

    t: float
    f: float
    g: Any
    slope: float


def strong_wolfe(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    size: float,
    tolerance_change: float,
    max_evaluations: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[Point, int]:
    """A point with f <= f(0) + c1 t slope(0) and |slope| <= c2 |slope(0)|, or the best one found.

    Args:
        evaluate: the Point at a step length.
        start: the Point at 0; its slope is negative.
        t: the first step length to try.
        size: the largest magnitude in the direction; the search ends if its interval times size is below
            tolerance_change.

    Returns: The point, and the number of evaluations.

    Source: Nocedal and Wright, "Numerical Optimization" (2006), algorithms 3.5 and 3.6, with the safeguards
    of minFunc (Schmidt), as in PyTorch.
    """
    bracket, count, done = _bracket(evaluate, start, t, max_evaluations, c1, c2)
    low, high = _ordered(bracket)
    stuck = False  # whether the last interpolation was close to an end of the interval
    while not done and count <= max_evaluations:
        if abs(high.t - low.t) * size < tolerance_change:
            break
        t, stuck = _inside(cubic_minimum(bracket[0], bracket[1]), bracket, stuck)
        new = evaluate(t)
        count += 1
        if new.f > start.f + c1 * t * start.slope or new.f >= low.f:
            bracket[bracket.index(high)] = new
            low, high = _ordered(bracket)
            continue
        done = abs(new.slope) <= -c2 * start.slope
        keep = high if done or new.slope * (high.t - low.t) < 0 else low
        first = bracket[0] is low
        bracket = [new, keep] if first else [keep, new]
        low, high = new, keep
    return low, count


def _bracket(
    evaluate: Callable[[float], Point], start: Point, t: float, limit: int, c1: float, c2: float
) -> tuple[list[Point], int, bool]:
    """An interval that contains a good point; or the good point itself twice, and True."""
    before, new, count = start, evaluate(t), 1
    for tries in range(limit):
        if new.f > start.f + c1 * new.t * start.slope or (tries > 1 and new.f >= before.f):
            return [before, new], count, False
        if abs(new.slope) <= -c2 * start.slope:
            return [new, new], count, True
        if new.slope >= 0:
            return [before, new], count, False
        bounds = new.t + 0.01 * (new.t - before.t), 10 * new.t
        before, new = new, evaluate(cubic_minimum(before, new, bounds))
        count += 1
    return [start, new], count, False


def _ordered(bracket: list[Point]) -> tuple[Point, Point]:
    first, second = bracket
    return (first, second) if first.f <= second.f else (second, first)


def _inside(t: float, bracket: list[Point], stuck: bool) -> tuple[float, bool]:
    """t, moved a tenth of the interval away from its end if it is close to one for the second time."""
    left, right = sorted(point.t for point in bracket)
    margin = 0.1 * (right - left)
    if min(right - t, t - left) >= margin:
        return t, False
    if not (stuck or t >= right or t <= left):
        return t, True
    return (right - margin if abs(t - right) < abs(t - left) else left + margin), False


def cubic_minimum(a: Point, b: Point, bounds: tuple[float, float] | None = None) -> float:
    """The minimum of the cubic through both points with both slopes, clipped to the bounds.

    Source: Nocedal and Wright (2006), equation 3.59.
    """
    low, high = bounds or (min(a.t, b.t), max(a.t, b.t))
    if a.t == b.t:
        return low
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2
    if a.t > b.t:
        a, b = b, a
    d2 = math.sqrt(square)
    divisor = b.slope - a.slope + 2 * d2
    if divisor == 0:
        return (low + high) / 2
    return min(max(b.t - (b.t - a.t) * ((b.slope + d2 - d1) / divisor), low), high)
