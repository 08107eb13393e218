"""What the rows of a derivative mean in forward mode: see forward.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ranvier.autograd.tensor import Tensor
from ranvier.ops import cat, stack, unbind


class Form:
    """What the rows mean. slopes: how many derivatives of a function of each element are needed."""

    slopes: int
    weights: Any = None  # of the kernel of functions of each element
    has_kernel = True

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        """y with the terms of a product that are products of rows: pair(i, j) of row i and row j."""
        raise NotImplementedError

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        """The rows of f(x), from f', f'' ... at x."""
        raise NotImplementedError


class Taylor(Form):
    """Row i is the Taylor coefficient of order i + 1, along one curve."""

    def __init__(self, order: int) -> None:
        self.slopes = order

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        rows = list(unbind(y))
        for k in range(1, len(rows)):
            for i in range(k):
                rows[k] = rows[k] + pair(i, k - 1 - i)
        return stack(rows)

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        u, order = unbind(t), len(slopes)
        y = [slopes[-1] / math.factorial(order)]  # Horner's rule for polynomials in the curve's parameter
        for m in range(order - 1, -1, -1):
            head = [slopes[m - 1] / math.factorial(m)] if m else []
            y = head + [sum_of([u[i] * y[j - i] for i in range(j + 1)]) for j in range(order - m)]
        return stack(y)


class Tangents(Form):
    """Rows of first derivatives along directions of their own, any number of them."""

    slopes, has_kernel = 1, False

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        return y

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        return slopes[0] * t


class Laplacian(Form):
    """Rows of first derivatives by each variable, and a last one: the sum of weights[i] d^2 / dx_i^2."""

    slopes = 2

    def __init__(self, weights: np.ndarray[Any, Any]) -> None:
        self.weights = weights

    def mixed(self, y: Tensor, pair: Callable[[int, int], Tensor]) -> Tensor:
        terms = [pair(i, i) * (2.0 * float(w)) for i, w in enumerate(self.weights) if w]
        return cat([y[:-1], sum_of([y[-1:], *[term.unsqueeze(0) for term in terms]])])

    def of_element(self, slopes: Sequence[Tensor], t: Tensor) -> Tensor:
        squares = [t[i] * t[i] * float(w) for i, w in enumerate(self.weights) if w]
        y = slopes[0] * t
        last = sum_of([y[-1:], *([(slopes[1] * sum_of(squares)).unsqueeze(0)] if squares else [])])
        return cat([y[:-1], last])


def sum_of(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
