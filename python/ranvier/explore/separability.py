"""A proof that no straight line separates two classes, in exact arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from operator import mul
from typing import Any

import numpy as np

from ranvier.autograd.memory import Array

__all__ = ["certificate", "proves"]

Row = list[int]

MOST_FEATURES, MOST_PRODUCTS = 32, 500_000  # limits of the search: a few seconds


def certificate(x: Array, signs: Array, mistakes: Sequence[int]) -> list[int] | None:
    """Integers n_i >= 0, not all 0, with sum n_i s_i (x_i, 1) = 0; None if it finds none.

    They prove that no line separates: if w x + b had the sign s_i at every sample, the sum of
    n_i s_i (w x_i + b) would be above 0, but it is (w, b) times 0. By Gordan's theorem (1873), such numbers
    exist whenever no line separates.

    The perceptron's mistakes m_i nearly fulfil this: the sum of s_i m_i (x_i, 1) is the weight vector v,
    which is bounded however long the rule runs (Block and Levin, 1970), while the m_i grow. With A the rows
    s_i (x_i, 1) and G = A^T diag(m) A, the numbers n_i = m_i (1 - a_i u), G u = v, have the sum v - G u = 0,
    and after enough mistakes a_i u < 1. The computation is exact, because floats are fractions with a power
    of 2 as denominator.

    Args:
        x: samples (n, d).
        signs: their classes as -1 and 1, (n,).
        mistakes: of the perceptron at each sample, (n,).

    >>> import numpy as np
    >>> from ranvier.explore.separability import certificate
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> certificate(xor, np.array([-1, 1, 1, -1]), [5, 5, 4, 6])
    [1, 1, 1, 1]
    """
    used, size = [i for i, m in enumerate(mistakes) if m], x.shape[1] + 1
    if size > MOST_FEATURES + 1 or len(used) * size * size > MOST_PRODUCTS:
        return None
    rows = _whole_rows(x, signs)
    while used:
        shares = _shares([rows[i] for i in used], [mistakes[i] for i in used])
        if min(shares) >= 0:
            break
        # a sample with few early mistakes prevents a solution with the others: leave it out
        used = [i for i, share in zip(used, shares, strict=True) if share >= 0]
    else:
        return None
    found = [0] * len(mistakes)
    for i, share in zip(used, _whole(shares), strict=True):
        found[i] = share
    return found if proves(x, signs, found) else None


def _shares(rows: list[Row], mistakes: list[int]) -> list[Fraction]:
    """m_i (1 - a_i u) with G u = v: numbers near the mistakes whose sum of n_i a_i is 0."""
    weighted = list(
        zip(*([m * value for value in a] for m, a in zip(mistakes, rows, strict=True)), strict=True)
    )
    columns = list(zip(*rows, strict=True))
    gram = [[_dot(left, right) for right in columns] for left in weighted]
    u = _solve(gram, [sum(column) for column in weighted])
    return [m * (1 - _dot(a, u)) for m, a in zip(mistakes, rows, strict=True)]


def proves(x: Array, signs: Array, numbers: Sequence[int]) -> bool:
    """Whether the numbers are a certificate, checked in exact arithmetic.

    >>> import numpy as np
    >>> from ranvier.explore.separability import proves
    >>> xor = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> [proves(xor, np.array(signs), [1, 1, 1, 1]) for signs in ([-1, 1, 1, -1], [-1, -1, -1, 1])]
    [True, False]
    """
    if len(numbers) != len(x) or min(numbers) < 0 or not any(numbers):
        return False
    rows = _whole_rows(x, signs)
    return not any(_dot(numbers, column) for column in zip(*rows, strict=True))


def _dot(a: Sequence[Any], b: Sequence[Any]) -> Any:
    return sum(map(mul, a, b))


def _whole_rows(x: Array, signs: Array) -> list[Row]:
    """s_i (x_i, 1), every column multiplied by a factor that makes it integer; sums of 0 stay 0."""
    columns = [_whole([Fraction(value) for value in column]) for column in np.asarray(x, float).T.tolist()]
    columns.append([1] * len(x))
    return [
        [int(s) * value for value in row] for s, row in zip(signs, zip(*columns, strict=True), strict=True)
    ]


def _whole(values: Sequence[Fraction | int]) -> list[int]:
    """The smallest integers in the proportions of the values."""
    common = lcm(*(Fraction(value).denominator for value in values))
    whole = [int(value * common) for value in values]
    divisor = gcd(*whole) or 1
    return [value // divisor for value in whole]


def _solve(matrix: list[Row], right: Row) -> list[Fraction]:
    """A solution of the solvable system matrix u = right, by Gauss-Jordan elimination in fractions."""
    size = len(right)
    table = [[Fraction(value) for value in (*row, r)] for row, r in zip(matrix, right, strict=True)]
    pivots: list[int] = []
    for column in range(size):
        row = next((r for r in range(len(pivots), size) if table[r][column]), None)
        if row is None:
            continue  # a combination of earlier columns: its unknown stays 0
        at = len(pivots)
        table[at], table[row] = table[row], table[at]
        pivot = table[at][column]
        table[at] = [value / pivot for value in table[at]]
        for r in range(size):
            factor = table[r][column]
            if r != at and factor:
                table[r] = [value - factor * p for value, p in zip(table[r], table[at], strict=True)]
        pivots.append(column)
    u = [Fraction(0)] * size
    for at, column in enumerate(pivots):
        u[column] = table[at][size]
    return u
