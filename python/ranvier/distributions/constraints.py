"""Sets of values, under PyTorch's names: what a transform or a distribution is defined on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.ops as ops
from ranvier.autograd.memory import cast
from ranvier.autograd.tensor import Tensor, wrap

_FLOAT = np.dtype(np.float32)


class Constraint:
    """A set of numbers, or with ``event_dim`` > 0 of vectors; ``check(x)`` tells which values are inside.

    >>> import ranvier as rv
    >>> rv.distributions.constraints.positive.check(rv.tensor([-1.0, 1.0]))
    tensor([False,  True])
    """

    def __init__(
        self, name: str, inside: Callable[[Any], Any], event_dim: int = 0, limits: tuple[Any, ...] = ()
    ) -> None:
        """limits: (least, most, whether the least is outside) of a set that is all numbers between them."""
        self.name, self.check, self.event_dim, self._limits = name, inside, event_dim, limits

    def holds(self, x: Tensor) -> bool:
        """Whether all values are inside. Each replay of a compiled step asks that, too."""
        x = wrap(x._array) if x.dtype.char != "e" else x.detach().float()
        if self._limits and x.dtype.kind == "f":
            return bool(_core.inside(x._array, *self._limits))
        return bool(_core.inside(cast(self.check(x)._array, _FLOAT), 1, 1))

    def __repr__(self) -> str:
        return self.name


def interval(lower_bound: float, upper_bound: float) -> Constraint:
    """Numbers from lower_bound to upper_bound, both included."""
    return Constraint(
        f"Interval(lower_bound={lower_bound}, upper_bound={upper_bound})",
        lambda x: (x >= lower_bound) & (x <= upper_bound),
        limits=(lower_bound, upper_bound),
    )


def greater_than(lower_bound: float) -> Constraint:
    """Numbers above lower_bound."""
    return Constraint(
        f"GreaterThan(lower_bound={lower_bound})",
        lambda x: x > lower_bound,
        limits=(lower_bound, math.inf, True),
    )


def _whole(x: Tensor) -> Any:
    if x.dtype.kind != "f":
        return x >= 0
    near = ops.clip(x, 0.0, 2.0**53)  # larger numbers are whole
    return (x >= 0) & (x < math.inf) & (near == near.long().to(x.dtype))


def _on_simplex(x: Tensor) -> Tensor:
    return ops.all(x >= 0, -1) & (ops.abs(ops.sum(x, -1) - 1) < 1e-6)


real = Constraint("Real()", lambda x: x == x, limits=(-math.inf, math.inf))
real_vector = Constraint("IndependentConstraint(Real(), 1)", lambda x: ops.all(x == x, -1), 1)
positive = greater_than(0.0)
nonnegative = Constraint("GreaterThanEq(lower_bound=0.0)", lambda x: x >= 0, limits=(0.0, math.inf))
unit_interval = interval(0.0, 1.0)
boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1))
nonnegative_integer = Constraint("IntegerGreaterThan(lower_bound=0)", _whole)
simplex = Constraint("Simplex()", _on_simplex, 1)
