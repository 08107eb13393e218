"""Bernoulli, Categorical and OneHotCategorical: by probabilities or by logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

import ranvier.distributions.constraints as constraints
import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier import arange, bernoulli, eye, full, multinomial
from ranvier.autograd import Tensor, no_grad
from ranvier.distributions.base import Distribution, ExponentialFamily, moment, parameters
from ranvier.distributions.utils import expanded, lazy_property, logits_to_probs, probs_to_logits
from ranvier.tensors.types import ArrayLike, Shape


class _Weights(constraints.Constraint):
    """Rows that can be divided by their sum: the probs as a program gives them."""

    event_dim = 1

    def check(self, value: Tensor) -> Any:
        total = ops.sum(value, -1)
        return ops.all(value >= 0, -1) & (total > 0) & (total < math.inf)


_weights = _Weights()


def _one_of(name: str, probs: ArrayLike | None, logits: ArrayLike | None) -> ArrayLike:
    """The argument that is not None. Raises ValueError if both are, or neither is. name: the distribution."""
    if logits is None and probs is not None:
        return probs
    if probs is None and logits is not None:
        return logits
    got = "neither" if probs is None else "both"
    raise ValueError(f"[{name}] got {got}; expected probs or logits")


class _OfTrials(Distribution):
    """Base of distributions about trials that succeed with probability probs = sigmoid(logits)."""

    arg_constraints: ClassVar[Any] = {"probs": constraints.unit_interval, "logits": constraints.real}

    def _set(
        self,
        probs: ArrayLike | None,
        logits: ArrayLike | None,
        validate_args: bool | None,
        **counts: ArrayLike,
    ) -> None:
        """Sets probs or logits, whichever is given; the other is computed at its first use."""
        values = _one_of(type(self).__name__, probs, logits)
        self._by_logits = logits is not None
        if self._by_logits:
            self._with(validate_args, **counts, logits=values)
        else:
            self._with(validate_args, **counts, probs=values)

    @property
    def _param(self) -> Tensor:
        """The parameter that was given."""
        if self._by_logits:
            return self.logits
        return self.probs

    @property
    def param_shape(self) -> Shape:
        return self._param.shape

    @lazy_property
    def probs(self) -> Tensor:
        return logits_to_probs(self.logits, True)

    @lazy_property
    def logits(self) -> Tensor:
        return probs_to_logits(self.probs, True)


class Bernoulli(_OfTrials, ExponentialFamily):
    """1 with probability probs = sigmoid(logits), else 0.

    >>> import ranvier as rv
    >>> rv.distributions.Bernoulli(0.25).log_prob(rv.tensor(1.0))
    tensor(-1.3863)
    """

    has_enumerate_support = True
    support = constraints.boolean

    def __init__(
        self,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._set(probs, logits, validate_args)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            return bernoulli(expanded(self.probs, self._extended_shape(sample_shape)))

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        logits = self.logits
        if x.dtype.kind != "f":
            x = x.to(logits.dtype)
        if x.shape != logits.shape:
            x, logits = ops.broadcast_tensors(x, logits)
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none")

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(arange(2, dtype=self.probs.dtype), expand)

    @moment
    def mean(self) -> Tensor:
        return self.probs

    @moment
    def mode(self) -> Tensor:
        sure = (self.probs >= 0.5).to(self.probs.dtype)
        return ops.where(ops.eq(self.probs, 0.5), math.nan, sure)

    @moment
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)


class _OfClasses(Distribution):
    """Base of the distributions over classes, which in PyTorch are not derived from one another."""

    _one_hot = False  # whether a value is a vector

    has_enumerate_support = True
    arg_constraints: ClassVar[Any] = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(
        self,
        probs: ArrayLike | None = None,
        logits: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name = type(self).__name__
        values = _one_of(name, probs, logits)
        if validate_args is None:
            check = self._validate_args
        else:
            check = validate_args
        (given,) = parameters(name, values)
        if given.ndim < 1:
            raise ValueError(f"[{name}] got parameters of shape (); expected at least one dimension")
        if logits is None:
            if check and not _weights.holds(given):
                raise ValueError(
                    f"[{name}] got probs outside its range; expected numbers >= 0 of a finite sum, not all 0"
                )
            self.probs = given / ops.sum(given, -1, True)
        else:
            self.logits = ops.log_softmax(given, -1)
            if check and not constraints.real.holds(self.logits):
                raise ValueError(
                    f"[{name}] got logits outside its range; expected numbers below inf, not nan, "
                    "not all -inf"
                )
        self._by_logits = logits is not None
        self._num_events = given.shape[-1]
        event_shape = given.shape[-1:] if self._one_hot else ()
        Distribution.__init__(self, given.shape[:-1], event_shape, False)  # The checks are above.
        self._validate_args = check

    @property
    def _param(self) -> Tensor:
        """The parameter that was given."""
        if self._by_logits:
            return self.logits
        return self.probs

    @property
    def param_shape(self) -> Shape:
        return self._param.shape

    @lazy_property
    def probs(self) -> Tensor:
        return logits_to_probs(self.logits)

    @lazy_property
    def logits(self) -> Tensor:
        return probs_to_logits(self.probs)

    def _draw(self, sample_shape: Sequence[int]) -> Tensor:
        """Indices of classes, sample_shape + batch_shape."""
        shape = tuple(int(n) for n in sample_shape)
        count = math.prod(shape)
        rows = math.prod(self._batch_shape)
        whole = (*shape, *self._batch_shape)
        if count * rows == 0:
            return full(whole, 0, dtype=np.int64)
        with no_grad():
            weights = ops.reshape(self.probs, (rows, self._num_events))
            return ops.reshape(multinomial(weights, count, True).T, whole)

    def _log_prob_of(self, index: Tensor) -> Tensor:
        shape: Any = index.shape
        if shape != self._batch_shape:
            shape = np.broadcast_shapes(shape, self._batch_shape)
        logits = expanded(self.logits, (*shape, self._num_events))
        return ops.squeeze(ops.gather(logits, -1, ops.unsqueeze(expanded(index, shape), -1)), -1)

    def entropy(self) -> Tensor:
        # Clipped, so that 0 log 0 is 0: -inf would give NaN. -1e38 is a number of float32.
        return -ops.sum(self.probs * ops.clip(self.logits, -1e38, None), -1)


class Categorical(_OfClasses):
    """The index i with a probability proportional to probs[..., i], or softmax(logits)[..., i].

    >>> import ranvier as rv
    >>> rv.distributions.Categorical(rv.tensor([1.0, 3.0])).log_prob(rv.tensor(1))
    tensor(-0.2877)
    """

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._draw(sample_shape)

    def log_prob(self, value: ArrayLike) -> Tensor:
        return self._log_prob_of(self._value(value).long())

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(arange(self._num_events), expand)

    @moment
    def mean(self) -> Tensor:
        return full(self._batch_shape, math.nan, dtype=self._param.dtype)

    @moment
    def mode(self) -> Tensor:
        return ops.argmax(self.probs, -1)

    @moment
    def variance(self) -> Tensor:
        return full(self._batch_shape, math.nan, dtype=self._param.dtype)


class OneHotCategorical(_OfClasses):
    """As :class:`Categorical`, with vectors of 0 and one 1 as values.

    >>> import ranvier as rv
    >>> rv.distributions.OneHotCategorical(rv.tensor([0.0, 1.0])).sample()
    tensor([0., 1.])
    """

    support = constraints.one_hot
    _one_hot = True

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return F.one_hot(self._draw(sample_shape), self._num_events).to(self._param.dtype)

    def log_prob(self, value: ArrayLike) -> Tensor:
        return self._log_prob_of(ops.argmax(self._value(value), -1))

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(eye(self._num_events, dtype=self._param.dtype), expand)

    @moment
    def mean(self) -> Tensor:
        return self.probs

    @moment
    def mode(self) -> Tensor:
        return F.one_hot(ops.argmax(self.probs, -1), self.event_shape[0]).to(self.probs.dtype)

    @moment
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)


class MixtureSameFamily(Distribution):
    """A mixture of k distributions of one class: p(x) = sum over i of p_i p(x | component i).

    mixture_distribution is a Categorical over k; the last dimension of component_distribution's batch_shape
    is k, and the dimensions before are those of the mixture.

    Raises ValueError for another mixture or number of components.

    >>> import ranvier as rv
    >>> from ranvier.distributions import Categorical, MixtureSameFamily, Normal
    >>> mixture = MixtureSameFamily(Categorical(rv.ones(2)), Normal(rv.tensor([-1.0, 1.0]), rv.ones(2)))
    >>> mixture.log_prob(rv.tensor(0.0)), mixture.mean, mixture.variance
    (tensor(-1.4189), tensor(0.), tensor(2.))
    """

    def __init__(
        self, mixture_distribution: Any, component_distribution: Any, validate_args: bool | None = None
    ) -> None:
        shape = component_distribution.batch_shape
        mixture = mixture_distribution
        fits = isinstance(mixture, Categorical) and shape[-1:] == mixture.probs.shape[-1:]
        if not fits or len(mixture.batch_shape) >= len(shape):
            raise ValueError(
                f"[MixtureSameFamily] got {mixture} and components of batch_shape {shape}; expected a "
                "Categorical over the last dimension of the batch_shape"
            )
        super().__init__(shape[:-1], component_distribution.event_shape, validate_args)
        self.mixture_distribution = mixture
        self.component_distribution = component_distribution
        self._axis = -1 - len(self.event_shape)  # the axis of the components, in values

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self.component_distribution.support)

    def cdf(self, value: ArrayLike) -> Tensor:
        below = self.component_distribution.cdf(ops.unsqueeze(self._value(value), self._axis))
        return ops.sum(below * self.mixture_distribution.probs, -1)

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = ops.unsqueeze(self._value(value), self._axis)
        return ops.logsumexp(self.component_distribution.log_prob(x) + self.mixture_distribution.logits, -1)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with no_grad():
            probs = self.mixture_distribution.probs
            probs = expanded(probs, (*self.batch_shape, probs.shape[-1]))
            chosen = Categorical(probs).sample(sample_shape)
            values = self.component_distribution.sample(sample_shape)
            index = ops.reshape(chosen, (*chosen.shape, 1, *(1 for _ in self.event_shape)))
            index = expanded(index, (*chosen.shape, 1, *self.event_shape))
            return ops.squeeze(ops.gather(values, self._axis, index), self._axis)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"

    def _mean(self, values: Tensor) -> Tensor:
        """The mean over the components, weighted by their probabilities, of one value for each."""
        probs = self.mixture_distribution.probs
        return ops.sum(ops.reshape(probs, probs.shape + (1,) * len(self.event_shape)) * values, self._axis)

    @moment
    def mean(self) -> Tensor:
        return self._mean(self.component_distribution.mean)

    @moment
    def variance(self) -> Tensor:
        away = self.component_distribution.mean - ops.unsqueeze(self.mean, self._axis)
        return self._mean(self.component_distribution.variance + away * away)
