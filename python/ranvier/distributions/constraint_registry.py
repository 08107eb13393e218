"""Transforms from unconstrained real numbers onto the set of a constraint.

`biject_to` gives a transform that is one to one; that of `transform_to` may take more numbers than it needs,
as softmax does for probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
        self._registry: dict[type, Callable[[Any], t.Transform]] = {}

    def register(
        self, constraint: constraints.Constraint | type, factory: Callable[[Any], t.Transform] | None = None
    ) -> Any:
        """Use `factory(constraint)` for this constraint or class; without factory, returns a decorator."""
        if factory is None:
            return partial(self.register, constraint)
        if isinstance(constraint, type):
            constraint_class = constraint
        else:
            constraint_class = type(constraint)
        if not issubclass(constraint_class, constraints.Constraint):
            raise TypeError(
                f"[ConstraintRegistry] got {constraint!r}; expected a Constraint or a class of them"
            )
        self._registry[constraint_class] = factory
        return factory

    def __call__(self, constraint: constraints.Constraint) -> t.Transform:
        if type(constraint) not in self._registry:
            raise NotImplementedError(f"[ConstraintRegistry] got {constraint!r}, which has no transform")
        return self._registry[type(constraint)](constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()


def _to_reals(_: constraints.Constraint) -> t.Transform:
    return t.identity_transform


def _to_interval(c: constraints._Interval) -> t.Transform:
    low = c.lower_bound
    high = c.upper_bound
    if isinstance(low, (int, float)) and (low, high) == (0, 1):
        return t.SigmoidTransform()
    return t.ComposeTransform([t.SigmoidTransform(), t.AffineTransform(low, high - low)])


def _to_positive(c: constraints._GreaterThan) -> t.Transform:
    return t.ComposeTransform([t.ExpTransform(), t.AffineTransform(c.lower_bound, 1)])


def _to_negative(c: constraints._LessThan) -> t.Transform:
    return t.ComposeTransform([t.ExpTransform(), t.AffineTransform(c.upper_bound, -1)])


def _to_probabilities(_: constraints.Constraint) -> t.Transform:
    return t.SoftmaxTransform()


def _to_probabilities_by_sticks(_: constraints.Constraint) -> t.Transform:
    return t.StickBreakingTransform()


def _to_lower_factor(_: constraints.Constraint) -> t.Transform:
    return t.LowerCholeskyTransform()


def _to_correlation_factor(_: constraints.Constraint) -> t.Transform:
    return t.CorrCholeskyTransform()


def _to_definite_matrix(_: constraints.Constraint) -> t.Transform:
    return t.PositiveDefiniteTransform()


def _register_common(registry: ConstraintRegistry) -> None:
    """Registers the transforms that both registries have."""

    def to_slices(c: constraints._Cat) -> t.Transform:
        return t.CatTransform([registry(part) for part in c.cseq], c.dim, c.lengths)

    def to_elements(c: constraints._Stack) -> t.Transform:
        return t.StackTransform([registry(part) for part in c.cseq], c.dim)

    def to_events(c: constraints._IndependentConstraint) -> t.Transform:
        return t.IndependentTransform(registry(c.base_constraint), c.reinterpreted_batch_ndims)

    registry.register(constraints._Real, _to_reals)
    registry.register(constraints._GreaterThan, _to_positive)
    registry.register(constraints._GreaterThanEq, _to_positive)
    registry.register(constraints._LessThan, _to_negative)
    registry.register(constraints._Interval, _to_interval)
    registry.register(constraints._HalfOpenInterval, _to_interval)
    registry.register(constraints._LowerCholesky, _to_lower_factor)
    registry.register(constraints._CorrCholesky, _to_correlation_factor)
    registry.register(constraints._PositiveDefinite, _to_definite_matrix)
    registry.register(constraints._PositiveSemidefinite, _to_definite_matrix)
    registry.register(constraints._Cat, to_slices)
    registry.register(constraints._Stack, to_elements)
    registry.register(constraints._IndependentConstraint, to_events)


_register_common(biject_to)
_register_common(transform_to)
biject_to.register(constraints._Simplex, _to_probabilities_by_sticks)
transform_to.register(constraints._Simplex, _to_probabilities)
