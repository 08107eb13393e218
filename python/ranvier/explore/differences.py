"""Gradients by autograd and by finite differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ranvier.autograd import value_and_grad, wrap
from ranvier.explore.path import Array
from ranvier.explore.search import Objective, evaluate, vector_of

__all__ = ["Differences", "finite_differences"]


@dataclass(frozen=True)
class Differences:
    """The result of :func:`finite_differences`; printed, it is a table.

    Attributes:
        point: x, (d,).
        value: f(x).
        index: the measured coordinates, (n,).
        autograd: the gradient at these, (n,).
        forward: (f(x + h) - f(x)) / h, (n,).
        central: (f(x + h) - f(x - h)) / 2h, (n,).
        h: the step.
        evaluations: of f for the differences; autograd needs one and a backward pass for all d coordinates.
    """

    point: Array
    value: float
    index: npt.NDArray[np.int64]
    autograd: Array
    forward: Array
    central: Array
    h: float
    evaluations: int

    @property
    def error(self) -> float:
        """The largest difference between autograd and the central differences."""
        return float(abs(self.autograd - self.central).max())

    def __str__(self) -> str:
        rows = [f"{'i':>5} {'x_i':>12} {'autograd':>14} {'central':>14} {'forward':>14} {'difference':>11}"]
        for k, i in enumerate(self.index):
            numbers = f"{self.autograd[k]:14.8g} {self.central[k]:14.8g} {self.forward[k]:14.8g}"
            gap = abs(self.autograd[k] - self.central[k])
            rows.append(f"{i:5d} {self.point[i]:12.5g} {numbers} {gap:11.1e}")
        rows.append(
            f"f = {self.value:.8g}, h = {self.h:g}, {self.evaluations} evaluations for the differences"
        )
        return "\n".join(rows)


def finite_differences(
    f: Objective, point: npt.ArrayLike, h: float = 1e-5, entries: int | None = None
) -> Differences:
    """The gradient of f by autograd, compared with finite differences.

    The error of the forward difference is about h f'' / 2, that of the central one h^2 f''' / 6; the rounding
    of f adds eps |f| / h to both, so a very small h is worse. With d parameters they need 2 d + 1 evaluations
    of f, autograd one and a backward pass.

    Args:
        f: a function of a vector (d,) made of ranvier's operations, such as a Surface or a ParameterLoss
            (preferably of a model in float64).
        point: x, (d,).
        h: the step.
        entries: measure so many coordinates, evenly spaced; None for all.

    Raises ValueError: h that is not above 0, entries below 1, or a point that is not a vector.

    >>> import ranvier as rv
    >>> found = rv.explore.finite_differences(lambda x: (x**2 + 3 * x + 2).sum(), [-1.0, 0.0, 2.0])
    >>> found.autograd.tolist(), found.error < 1e-9
    ([1.0, 3.0, 7.0], True)
    """
    x = vector_of("finite_differences", "point", point)
    if not h > 0 or (entries is not None and entries < 1):
        raise ValueError(
            f"[finite_differences] got h = {h} and entries = {entries}; expected h > 0, entries >= 1"
        )
    value, gradient = value_and_grad(f)(wrap(x.copy()))
    index = np.linspace(0, x.size - 1, x.size if entries is None else min(entries, x.size)).astype(np.int64)
    right, left = np.empty(len(index)), np.empty(len(index))
    for k, i in enumerate(index):
        for side, sign in ((right, 1), (left, -1)):
            moved = x.copy()
            moved[i] += sign * h
            side[k] = evaluate(f, moved)
    evaluate(f, x)  # a ParameterLoss writes its vector into the model: restore it
    here = value.item()
    forward, central = (right - here) / h, (right - left) / (2 * h)
    return Differences(x, here, index, gradient.numpy()[index], forward, central, h, 2 * len(index) + 1)
