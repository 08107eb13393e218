"""Constraints: sets of allowed values, of parameters, samples and transforms, under PyTorch's names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier.linalg as linalg
import ranvier.ops as ops
from ranvier import finfo, full
from ranvier._core import inside
from ranvier.autograd import Tensor, wrap
from ranvier.tensors.memory import cast

__all__ = [
    "Constraint", "MixtureSameFamilyConstraint", "boolean", "cat", "corr_cholesky", "dependent",
    "dependent_property", "greater_than", "greater_than_eq", "half_open_interval", "independent",
    "integer_interval", "interval", "is_dependent", "less_than", "lower_cholesky", "lower_triangular",
    "multinomial", "nonnegative", "nonnegative_integer", "one_hot", "positive", "positive_definite",
    "positive_integer", "positive_semidefinite", "real", "real_vector", "simplex", "square", "stack",
    "symmetric", "unit_interval",
]  # fmt: skip

_FLOAT = np.dtype(np.float32)


class Constraint:
    """A set of numbers, or with ``event_dim`` > 0 of vectors; ``check(x)`` tells which values are inside.

    A subclass defines ``check``, and ``event_dim`` and ``is_discrete`` if they are not 0 and False.

    >>> import ranvier as rv
    >>> rv.distributions.constraints.positive.check(rv.tensor([-1.0, 1.0]))
    tensor([False,  True])
    """

    event_dim: Any = 0
    is_discrete: Any = False
    # (least, most) of a set that is all numbers between them, for one fast check; True as a third element if
    # the least itself is not in the set. () for other sets
    _limits: Any = ()
    _kind: Any = "f"  # `_limits` decide for dtypes of this kind alone
    _text = ""  # what errors call the set; may name attributes in braces

    def check(self, value: Tensor) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] check is not defined")

    @property
    def text(self) -> str:
        shown = dict(vars(self))
        for name, value in shown.items():
            if isinstance(value, float):
                shown[name] = f"{value:g}"
        return self._text.format_map(shown) or repr(self)

    def holds(self, x: Tensor) -> bool:
        """True if all values satisfy the constraint. A compiled step checks that at each replay, too."""
        x = wrap(x._array)
        if x._array.dtype.kind == self._kind:
            limits = self._bounds()
            if limits:
                if x.itemsize <= 2:  # The core's `inside` takes no half floats.
                    x = x.float()
                return bool(inside(x._array, *limits))
        # All of the check's bools are True: as floats, from 1 to 1. A replay repeats `inside`.
        return bool(inside(cast(self.check(x)._array, _FLOAT), 1, 1))

    def _bounds(self) -> Any:
        # A program's subclass inherits `_limits`, but may define another check: only that one decides.
        if type(self).__module__ == __name__:
            return self._limits
        return ()

    def __repr__(self) -> str:
        bounds = ", ".join(f"{k}={v}" for k, v in vars(self).items() if k.endswith("_bound"))
        return f"{type(self).__name__.lstrip('_')}({bounds})"


class _Dependent(Constraint):
    """A set that depends on a distribution's other parameters, so that only an instance knows it.

    is_discrete and event_dim are given if they are the same for all instances.
    """

    def __init__(self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented) -> None:
        self._is_discrete = is_discrete
        self._event_dim = event_dim

    @property
    def is_discrete(self) -> Any:
        return self._of_class("is_discrete", self._is_discrete)

    @property
    def event_dim(self) -> Any:
        return self._of_class("event_dim", self._event_dim)

    @staticmethod
    def _of_class(name: str, value: Any) -> Any:
        if value is NotImplemented:
            raise NotImplementedError(f"[constraints.dependent] {name} is not the same for all instances")
        return value

    def __call__(self, **settings: Any) -> Any:
        """The constraint with other settings."""
        return _Dependent(**{"is_discrete": self._is_discrete, "event_dim": self._event_dim, **settings})

    def check(self, value: Tensor) -> Any:
        raise ValueError("[constraints.dependent] got a class; expected an instance, which has the bounds")


class dependent_property(property, _Dependent):
    """A property whose value is a Constraint; read from the class, it tells is_discrete and event_dim.

    >>> from ranvier.distributions import constraints
    >>> class Below:
    ...     @constraints.dependent_property(is_discrete=False, event_dim=0)
    ...     def support(self):
    ...         return constraints.less_than(self.most)
    >>> Below.support.event_dim, constraints.is_dependent(Below.support)
    (0, True)
    """

    def __init__(
        self,
        fn: Callable[[Any], Any] | None = None,
        *,
        is_discrete: Any = NotImplemented,
        event_dim: Any = NotImplemented,
    ) -> None:
        property.__init__(self, fn)
        _Dependent.__init__(self, is_discrete=is_discrete, event_dim=event_dim)

    def __call__(self, fn: Callable[[Any], Any]) -> Any:  # type: ignore[override]
        return type(self)(fn, is_discrete=self._is_discrete, event_dim=self._event_dim)


def is_dependent(constraint: Constraint) -> bool:
    """True if the constraint depends on the parameters of a distribution."""
    return isinstance(constraint, _Dependent)


def _fixed(*limits: Any) -> tuple[Any, ...]:
    """The limits as `_limits`; () if one is a Tensor, whose elements may differ: then `check` decides."""
    if any(isinstance(x, Tensor) for x in limits):
        return ()
    return limits


class _Real(Constraint):
    _limits = (-math.inf, math.inf)
    _text = "numbers, not nan"

    def check(self, value: Tensor) -> Any:
        return value == value


class _GreaterThan(Constraint):
    _text = "numbers > {lower_bound}"

    @property
    def _limits(self) -> Any:
        return _fixed(self.lower_bound, math.inf, True)

    def __init__(self, lower_bound: Tensor | float) -> None:
        self.lower_bound = lower_bound

    def check(self, value: Tensor) -> Any:
        return value > self.lower_bound


class _GreaterThanEq(_GreaterThan):
    _text = "numbers >= {lower_bound}"

    @property
    def _limits(self) -> Any:
        return _fixed(self.lower_bound, math.inf)

    def check(self, value: Tensor) -> Any:
        return value >= self.lower_bound


class _LessThan(Constraint):
    _text = "numbers < {upper_bound}"

    def __init__(self, upper_bound: Tensor | float) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Any:
        return value < self.upper_bound


class _Interval(Constraint):
    _text = "numbers from {lower_bound} to {upper_bound}"

    @property
    def _limits(self) -> Any:
        return _fixed(self.lower_bound, self.upper_bound)

    def __init__(self, lower_bound: Tensor | float, upper_bound: Tensor | float) -> None:
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Any:
        return (value >= self.lower_bound) & (value <= self.upper_bound)


class _HalfOpenInterval(_Interval):
    _text = "numbers from {lower_bound} to below {upper_bound}"
    _limits = ()

    def check(self, value: Tensor) -> Any:
        return (value >= self.lower_bound) & (value < self.upper_bound)


class _Boolean(Constraint):
    is_discrete = True
    _text = "0 or 1"
    _limits = (0, 1)
    _kind = "i"

    def check(self, value: Tensor) -> Any:
        return (value == 0) | (value == 1)


class _IntegerInterval(_Interval):
    is_discrete = True
    _kind = "i"
    _text = "whole numbers from {lower_bound} to {upper_bound}"

    def check(self, value: Tensor) -> Any:
        return _whole(value - self.lower_bound) & (value <= self.upper_bound)

    @property
    def _limits(self) -> Any:
        limits = self.lower_bound, self.upper_bound
        if all(type(n) is int and abs(n) < 2**53 for n in limits):  # The core takes them as float64.
            return limits
        return ()


class _IntegerGreaterThan(_GreaterThan):
    is_discrete = True
    _limits = ()
    _text = "whole numbers >= {lower_bound}"

    def check(self, value: Tensor) -> Any:
        return _whole(value - self.lower_bound)


class _OneHot(Constraint):
    is_discrete = True
    event_dim = 1
    _text = "one 1 and else 0 in each row"

    def check(self, value: Tensor) -> Any:
        return ops.logical_and(ops.all((value == 0) | (value == 1), -1), ops.eq(ops.sum(value, -1), 1))


class _Simplex(Constraint):
    event_dim = 1
    _text = "numbers >= 0 that add up to 1"

    def check(self, value: Tensor) -> Any:
        return ops.all(value >= 0, -1) & (ops.abs(ops.sum(value, -1) - 1) < 1e-6)


class _Multinomial(Constraint):
    is_discrete = True
    event_dim = 1
    _text = "counts >= 0 that add up to at most {upper_bound}"

    def __init__(self, upper_bound: Tensor | float) -> None:
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Any:
        return ops.all(_whole(value), -1) & (ops.sum(value, -1) <= self.upper_bound)


class _LowerTriangular(Constraint):
    event_dim = 2
    _text = "a lower triangle"

    def check(self, value: Tensor) -> Any:
        return ops.all(ops.eq(ops.tril(value), value), (-2, -1))


class _LowerCholesky(_LowerTriangular):
    _text = "a lower factor, with numbers > 0 in its diagonal"

    def check(self, value: Tensor) -> Any:
        return super().check(value) & ops.all(ops.diagonal(value, 0, -2, -1) > 0, -1)


class _CorrCholesky(_LowerCholesky):
    _text = "a lower factor of a correlation matrix: rows of norm 1"

    def check(self, value: Tensor) -> Any:
        near = 10 * value.shape[-1] * finfo(value.dtype).eps
        return super().check(value) & ops.all(ops.abs(ops.norm(value, 2, -1) - 1) < near, -1)


class _Square(Constraint):
    event_dim = 2
    _text = "a square matrix"

    def check(self, value: Tensor) -> Any:
        return full(value.shape[:-2], value.shape[-2] == value.shape[-1], dtype=np.bool_)


class _Symmetric(_Square):
    _text = "a symmetric matrix"

    def check(self, value: Tensor) -> Any:
        square = super().check(value)
        if value.shape[-2] != value.shape[-1]:
            return square
        return ops.all(ops.abs(value - value.mT) <= 1e-6 + 1e-5 * ops.abs(value.mT), (-2, -1))


class _PositiveSemidefinite(_Symmetric):
    _text = "a positive-semidefinite matrix"

    def check(self, value: Tensor) -> Any:
        symmetric = super().check(value)
        if bool(ops.all(symmetric)):
            return symmetric & self._definite(value)
        return symmetric

    def _definite(self, value: Tensor) -> Any:
        return ops.all(linalg.eigvalsh(value) >= 0, -1)


class _PositiveDefinite(_PositiveSemidefinite):
    _text = "a positive-definite matrix"

    def _definite(self, value: Tensor) -> Any:
        return ops.eq(linalg.cholesky_ex(value).info, 0)


class _IndependentConstraint(Constraint):
    """The last `reinterpreted_batch_ndims` dimensions are one event; all its numbers must be in the set."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims

    @property
    def event_dim(self) -> int:
        return self.base_constraint.event_dim + self.reinterpreted_batch_ndims

    @property
    def is_discrete(self) -> bool:
        return self.base_constraint.is_discrete

    @property
    def text(self) -> str:
        return self.base_constraint.text

    @property
    def _limits(self) -> Any:
        return self.base_constraint._bounds()

    @property
    def _kind(self) -> str:
        return self.base_constraint._kind

    def check(self, value: Tensor) -> Any:
        n = self.reinterpreted_batch_ndims
        inner = self.base_constraint.check(value)
        if inner.ndim < n:
            raise ValueError(
                f"[constraints.independent] got a value of shape {value.shape}; expected at least "
                f"{self.event_dim} dimensions"
            )
        if n:
            return ops.all(inner, tuple(range(-n, 0)))
        return inner

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class _Parts(Constraint):
    """Values whose parts along `dim` each have a constraint of their own, `cseq`."""

    @property
    def is_discrete(self) -> bool:
        return any(part.is_discrete for part in self.cseq)

    def _check(self, parts: Sequence[Tensor]) -> list[Any]:
        return [c.check(x) for c, x in zip(self.cseq, parts, strict=True)]

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0) -> None:
        self.cseq = list(cseq)
        self.dim = dim


class _Cat(_Parts):
    """The parts are slices along `dim`, of these lengths."""

    @property
    def event_dim(self) -> int:
        return max(part.event_dim for part in self.cseq)

    def __init__(
        self, cseq: Sequence[Constraint], dim: int = 0, lengths: Sequence[int] | None = None
    ) -> None:
        super().__init__(cseq, dim)
        if lengths is not None:
            self.lengths = list(lengths)
        else:
            self.lengths = [1] * len(self.cseq)

    def check(self, value: Tensor) -> Any:
        return ops.cat(self._check(ops.split(value, self.lengths, self.dim)), self.dim)


class _Stack(_Parts):
    """The parts are the elements along `dim`, one for each index."""

    @property
    def event_dim(self) -> Any:
        most = max(part.event_dim for part in self.cseq)
        return most + (self.dim + most < 0)

    def check(self, value: Tensor) -> Any:
        return ops.stack(self._check(ops.unbind(value, self.dim)), self.dim)


class MixtureSameFamilyConstraint(Constraint):
    """The set of values that all components of a mixture allow; their limits may differ."""

    def __init__(self, base_constraint: Constraint) -> None:
        self.base_constraint = base_constraint
        self.event_dim = base_constraint.event_dim
        self.is_discrete = base_constraint.is_discrete

    @property
    def text(self) -> str:
        return self.base_constraint.text

    def check(self, value: Tensor) -> Any:
        if value.ndim < self.event_dim:
            raise ValueError(
                f"[MixtureSameFamilyConstraint] got a value of shape {value.shape}; expected at least "
                f"{self.event_dim} dimensions"
            )
        kept = self.base_constraint.check(ops.unsqueeze(value, -1 - self.event_dim))
        return ops.all(ops.reshape(kept, (*kept.shape[: value.ndim - self.event_dim], -1)), -1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_constraint!r})"


def _whole(x: Tensor) -> Any:
    """A mask of the elements that are whole numbers >= 0."""
    if x.dtype.kind != "f":
        return x >= 0
    near = ops.clip(x, 0.0, 2.0**53)  # larger numbers are whole
    return (x >= 0) & (x < math.inf) & (near == near.long().to(x.dtype))


dependent = _Dependent()
independent = _IndependentConstraint
greater_than = _GreaterThan
greater_than_eq = _GreaterThanEq
less_than = _LessThan
interval = _Interval
half_open_interval = _HalfOpenInterval
integer_interval = _IntegerInterval
multinomial = _Multinomial
cat = _Cat
stack = _Stack
real = _Real()
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
real_vector = independent(real, 1)
unit_interval = interval(0.0, 1.0)
boolean = _Boolean()
one_hot = _OneHot()
simplex = _Simplex()
nonnegative_integer = _IntegerGreaterThan(0)
positive_integer = _IntegerGreaterThan(1)
lower_triangular = _LowerTriangular()
lower_cholesky = _LowerCholesky()
corr_cholesky = _CorrCholesky()
square = _Square()
symmetric = _Symmetric()
positive_semidefinite = _PositiveSemidefinite()
positive_definite = _PositiveDefinite()
