"""Transforms from unconstrained real numbers onto the set of a constraint.

`biject_to` gives a transform that is one to one; that of `transform_to` may take more numbers than it needs,
as softmax does for probabilities.
"""

from __future__ import annotations

from typing import Any

import ranvier.distributions.constraints as constraints
import ranvier.distributions.transforms as t

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """A table from the class of a constraint to a function that makes a transform onto its set.

    >>> from ranvier.distributions import biject_to, constraints
    >>> biject_to(constraints.unit_interval)
    SigmoidTransform()
    """

    def __init__(self) -> None:
        self._registry: dict[type, Any] = {}

    def register(self, constraint: Any, factory: Any = None) -> Any:
        """Use `factory(constraint)` for this constraint or class; without factory, returns a decorator."""
        if factory is None:
            return lambda function: self.register(constraint, function)
        if isinstance(constraint, type):
            kind = constraint
        else:
            kind = type(constraint)
        if not issubclass(kind, constraints.Constraint):
            raise TypeError(
                f"[ConstraintRegistry] got {constraint!r}; expected a Constraint or a class of them"
            )
        self._registry[kind] = factory
        return factory

    def __call__(self, constraint: Any) -> Any:
        if type(constraint) not in self._registry:
            raise NotImplementedError(f"[ConstraintRegistry] got {constraint!r}, which has no transform")
        return self._registry[type(constraint)](constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()


def _to_interval(c: Any) -> Any:
    low = c.lower_bound
    high = c.upper_bound
    if isinstance(low, (int, float)) and (low, high) == (0, 1):
        return t.SigmoidTransform()
    return t.ComposeTransform([t.SigmoidTransform(), t.AffineTransform(low, high - low)])


def _to_positive(c: Any) -> Any:
    return t.ComposeTransform([t.ExpTransform(), t.AffineTransform(c.lower_bound, 1)])


def _to_negative(c: Any) -> Any:
    return t.ComposeTransform([t.ExpTransform(), t.AffineTransform(c.upper_bound, -1)])


def _fill(to: ConstraintRegistry, onto_simplex: type) -> None:
    """Register the transforms that both registries have."""
    rows: dict[Any, Any] = {
        constraints._Real: lambda c: t.identity_transform,
        constraints._GreaterThan: _to_positive,
        constraints._GreaterThanEq: _to_positive,
        constraints._LessThan: _to_negative,
        constraints._Interval: _to_interval,
        constraints._HalfOpenInterval: _to_interval,
        constraints._Simplex: lambda c: onto_simplex(),
        constraints._LowerCholesky: lambda c: t.LowerCholeskyTransform(),
        constraints._CorrCholesky: lambda c: t.CorrCholeskyTransform(),
        constraints._PositiveDefinite: lambda c: t.PositiveDefiniteTransform(),
        constraints._PositiveSemidefinite: lambda c: t.PositiveDefiniteTransform(),
        constraints._Cat: lambda c: t.CatTransform([to(part) for part in c.cseq], c.dim, c.lengths),
        constraints._Stack: lambda c: t.StackTransform([to(part) for part in c.cseq], c.dim),
        constraints._IndependentConstraint: lambda c: t.IndependentTransform(
            to(c.base_constraint), c.reinterpreted_batch_ndims
        ),
    }
    for kind, factory in rows.items():
        to.register(kind, factory)


_fill(biject_to, t.StickBreakingTransform)
_fill(transform_to, t.SoftmaxTransform)
