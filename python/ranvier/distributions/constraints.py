"""Sets of values, under PyTorch's names: what a transform or a distribution is defined on."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier._core import inside
from ranvier.autograd import Tensor, wrap
from ranvier.autograd.memory import cast

_FLOAT = np.dtype(np.float32)


class Constraint:
    """A set of numbers, or with ``event_dim`` > 0 of vectors; ``check(x)`` tells which values are inside.

    A subclass defines ``check``, and ``event_dim`` and ``is_discrete`` if they are not 0 and False.

    >>> import ranvier as rv
    >>> rv.distributions.constraints.positive.check(rv.tensor([-1.0, 1.0]))
    tensor([False,  True])
    """

    check: Callable[[Any], Any]
    event_dim, is_discrete = 0, False
    _limits: tuple[Any, ...] = ()
    _text = _name = ""
    _bounds: tuple[Any, ...] = ()

    def __init__(
        self,
        name: str = "",
        inside: Callable[[Any], Any] | None = None,
        event_dim: int = 0,
        limits: tuple[Any, ...] = (),
        text: str = "",
        bounds: tuple[Any, ...] = (),
        is_discrete: bool = False,
    ) -> None:
        """limits: (least, most, whether the least is outside) of a set that is all numbers between them.
        text: what errors call the set. bounds: what is written into name and text; Tensors only when asked.
        """
        if inside is None:
            return
        self._name, self.check, self.event_dim, self._limits = name, inside, event_dim, limits
        self._text, self._bounds, self.is_discrete = text or name, bounds, is_discrete

    @property
    def text(self) -> str:
        return self._text.format(*self._bounds) or repr(self)

    def holds(self, x: Tensor) -> bool:
        """Whether all values are inside. Each replay of a compiled step asks that, too."""
        x = wrap(x._array) if x.dtype.char != "e" else x.detach().float()
        if self._limits and x.dtype.kind == "f":
            return bool(inside(x._array, *self._limits))
        return bool(inside(cast(self.check(x)._array, _FLOAT), 1, 1))

    def __repr__(self) -> str:
        return self._name.format(*self._bounds) or f"{type(self).__name__}()"


def interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Numbers from lower_bound to upper_bound, both included; the bounds may be Tensors."""
    bounds = lower_bound, upper_bound
    return Constraint(
        "Interval(lower_bound={}, upper_bound={})",
        lambda x: (x >= lower_bound) & (x <= upper_bound),
        limits=() if any(isinstance(b, Tensor) for b in bounds) else bounds,
        text="numbers from {} to {}",
        bounds=bounds,
    )


def integer_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    """Whole numbers from lower_bound to upper_bound, both included; the bounds may be Tensors."""
    return Constraint(
        "IntegerInterval(lower_bound={}, upper_bound={})",
        lambda x: _whole(x - lower_bound) & (x <= upper_bound),
        text="whole numbers from {} to {}",
        bounds=(lower_bound, upper_bound),
        is_discrete=True,
    )


def greater_than(lower_bound: float) -> Constraint:
    """Numbers above lower_bound."""
    return Constraint(
        f"GreaterThan(lower_bound={lower_bound})",
        lambda x: x > lower_bound,
        limits=(lower_bound, math.inf, True),
        text=f"numbers > {lower_bound:g}",
    )


def greater_than_eq(lower_bound: float) -> Constraint:
    """Numbers of at least lower_bound."""
    return Constraint(
        f"GreaterThanEq(lower_bound={lower_bound})",
        lambda x: x >= lower_bound,
        limits=(lower_bound, math.inf),
        text=f"numbers >= {lower_bound:g}",
    )


def independent(base_constraint: Constraint, reinterpreted_batch_ndims: int) -> Constraint:
    """The last dimensions as one event, all of whose numbers are inside."""
    n = reinterpreted_batch_ndims
    if n == 0:
        return base_constraint
    return Constraint(
        f"IndependentConstraint({base_constraint._name}, {n})",
        lambda x: ops.all(base_constraint.check(x), tuple(range(-n, 0))),
        base_constraint.event_dim + n,
        base_constraint._limits,
        base_constraint._text,
        base_constraint._bounds,
        base_constraint.is_discrete,
    )


def multinomial(upper_bound: int) -> Constraint:
    """Vectors of whole numbers >= 0 that add up to at most upper_bound."""
    return Constraint(
        f"Multinomial(upper_bound={upper_bound})",
        lambda x: ops.all(_whole(x), -1) & (ops.sum(x, -1) <= upper_bound),
        1,
        text=f"counts >= 0 that add up to at most {upper_bound}",
        is_discrete=True,
    )


def _whole(x: Tensor) -> Any:
    if x.dtype.kind != "f":
        return x >= 0
    near = ops.clip(x, 0.0, 2.0**53)  # larger numbers are whole
    return (x >= 0) & (x < math.inf) & (near == near.long().to(x.dtype))


def _is_lower(x: Any) -> Any:
    diagonal = ops.diagonal(x, 0, -2, -1)
    return ops.all(ops.eq(ops.tril(x), x), (-2, -1)) & ops.all(diagonal > 0, -1)  # type: ignore[operator]


real = Constraint("Real()", lambda x: x == x, limits=(-math.inf, math.inf), text="numbers, not nan")
real_vector = independent(real, 1)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
boolean = Constraint("Boolean()", lambda x: (x == 0) | (x == 1), text="0 or 1", is_discrete=True)
nonnegative_integer = Constraint(
    "IntegerGreaterThan(lower_bound=0)", _whole, text="whole numbers >= 0", is_discrete=True
)
simplex = Constraint(
    "Simplex()",
    lambda x: ops.all(x >= 0, -1) & (ops.abs(ops.sum(x, -1) - 1) < 1e-6),
    1,
    text="numbers >= 0 that add up to 1",
)
one_hot = Constraint(
    "OneHot()",
    lambda x: ops.all((x == 0) | (x == 1), -1) & ops.eq(ops.sum(x, -1), 1),  # type: ignore[operator]
    1,
    text="one 1 and else 0 in each row",
    is_discrete=True,
)
lower_cholesky = Constraint(
    "LowerCholesky()", _is_lower, 2, text="a lower factor, with numbers > 0 in its diagonal"
)
symmetric = Constraint(
    "Symmetric()",
    lambda x: ops.all(ops.abs(x - x.mT) <= 1e-6 + 1e-5 * ops.abs(x), (-2, -1)),
    2,
    text="a symmetric matrix",
)
