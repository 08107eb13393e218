"""Sets of values, under PyTorch's names: what a transform or a distribution is defined on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ranvier.ops as ops
from ranvier.autograd.tensor import Tensor


class Constraint:
    """A set of numbers, or with ``event_dim`` > 0 of vectors; ``check(x)`` tells which values are inside.

    >>> import ranvier as rv
    >>> rv.distributions.constraints.positive.check(rv.tensor([-1.0, 1.0]))
    tensor([False,  True])
    """

    def __init__(self, name: str, inside: Callable[[Any], Any], event_dim: int = 0) -> None:
        self.name, self.check, self.event_dim = name, inside, event_dim

    def __repr__(self) -> str:
        return self.name


def interval(lower_bound: float, upper_bound: float) -> Constraint:
    """Numbers from lower_bound to upper_bound, both included."""
    return Constraint(
        f"Interval(lower_bound={lower_bound}, upper_bound={upper_bound})",
        lambda x: (x >= lower_bound) & (x <= upper_bound),
    )


def greater_than(lower_bound: float) -> Constraint:
    """Numbers above lower_bound."""
    return Constraint(f"GreaterThan(lower_bound={lower_bound})", lambda x: x > lower_bound)


def _on_simplex(x: Tensor) -> Tensor:
    return ops.all(x >= 0, -1) & (ops.abs(ops.sum(x, -1) - 1) < 1e-6)


real = Constraint("Real()", lambda x: x == x)
real_vector = Constraint("IndependentConstraint(Real(), 1)", lambda x: ops.all(x == x, -1), 1)
positive = greater_than(0.0)
nonnegative = Constraint("GreaterThanEq(lower_bound=0.0)", lambda x: x >= 0)
unit_interval = interval(0.0, 1.0)
boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1))
nonnegative_integer = Constraint("IntegerGreaterThan(lower_bound=0)", lambda x: (x % 1 == 0) & (x >= 0))
simplex = Constraint("Simplex()", _on_simplex, 1)
