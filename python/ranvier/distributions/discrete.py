"""Bernoulli, Categorical and OneHotCategorical: by probabilities or by logits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier.autograd.mode import no_grad
from ranvier.autograd.tensor import Tensor
from ranvier.distributions.base import Distribution, parameters, require
from ranvier.distributions.constraints import Constraint, boolean, nonnegative_integer, real, unit_interval

_WEIGHTS = Constraint("Weights()", lambda x: (x >= 0) & (x < math.inf) & (ops.sum(x, -1, True) > 0), 1)
_ONE_HOT = Constraint("OneHot()", lambda x: boolean.check(x) & ops.eq(ops.sum(x, -1, True), 1), 1)


def _inside(probs: Tensor) -> Tensor:
    """Probabilities at least the dtype's eps away from 0 and 1, for their logits."""
    eps = float(np.finfo(probs.dtype).eps)
    return ops.clip(probs, eps, 1 - eps)


def _one_of(name: str, probs: Any, logits: Any) -> None:
    if (probs is None) == (logits is None):
        raise ValueError(f"[{name}] got {'neither' if probs is None else 'both'}; expected probs or logits")


class Bernoulli(Distribution):
    """1 with probability probs = sigmoid(logits), else 0.

    >>> import ranvier as rv
    >>> rv.distributions.Bernoulli(0.25).log_prob(rv.tensor(1.0))
    tensor(-1.3863)
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        _one_of("Bernoulli", probs, logits)
        self._validate, self._by_logits = validate_args, logits is not None
        if logits is None:
            (self.probs,) = parameters("Bernoulli", probs)
            require("Bernoulli", "probs", self.probs, unit_interval, "0 <= p <= 1", validate_args)
            p = _inside(self.probs)
            self.logits = ops.log(p) - ops.log1p(-p)
        else:
            (self.logits,) = parameters("Bernoulli", logits)
            self.probs = ops.sigmoid(self.logits)
        self.batch_shape = self.logits.shape

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            return ops.bernoulli(ops.broadcast_to(self.probs, self._shape(sample_shape)))

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        require("Bernoulli", "a value", x, boolean, "0 or 1", self._validate)
        x = x if x.dtype == self.logits.dtype else x.to(self.logits.dtype)
        x, logits = ops.broadcast_tensors(x, self.logits)
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none")

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)


class Categorical(Distribution):
    """The number i with a probability in proportion to probs[..., i], or softmax(logits)[..., i].

    >>> import ranvier as rv
    >>> rv.distributions.Categorical(rv.tensor([1.0, 3.0])).log_prob(rv.tensor(1))
    tensor(-0.2877)
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        name = type(self).__name__
        _one_of(name, probs, logits)
        self._validate, self._by_logits = validate_args, logits is not None
        (given,) = parameters(name, probs if logits is None else logits)
        if given.ndim < 1:
            raise ValueError(f"[{name}] got parameters of shape (); expected at least one dimension")
        if logits is None:
            require(
                name,
                "probs",
                given,
                _WEIGHTS,
                "finite numbers >= 0, not all 0",
                validate_args,
            )
            self.probs = given / ops.sum(given, -1, True)
            self.logits = ops.log(_inside(self.probs))
        else:
            require(name, "logits", given, real, "numbers", validate_args)
            self.logits = ops.log_softmax(given, -1)
            self.probs = ops.softmax(given, -1)
        self.batch_shape = given.shape[:-1]

    def _draw(self, sample_shape: Any) -> Tensor:
        shape = (*(int(n) for n in sample_shape), *self.batch_shape)
        n = self.probs.shape[-1]
        with no_grad():
            rows = ops.reshape(ops.broadcast_to(self.probs, (*shape, n)), (-1, n))
            return ops.reshape(ops.multinomial(rows, 1, True), shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._draw(sample_shape)

    def log_prob(self, value: Any) -> Tensor:
        x, n = self._value(value), self.probs.shape[-1]
        require(
            "Categorical",
            "a value",
            x,
            Constraint("", lambda a: nonnegative_integer.check(a) & (a < n)),
            f"a whole number, 0 ... {n - 1}",
            self._validate,
        )
        index = x.long()
        shape = np.broadcast_shapes(index.shape, self.batch_shape)
        logits = ops.broadcast_to(self.logits, (*shape, n))
        return ops.squeeze(ops.gather(logits, -1, ops.unsqueeze(ops.broadcast_to(index, shape), -1)), -1)

    def entropy(self) -> Tensor:
        return -ops.sum(self.probs * ops.clip(self.logits, -1e38, None), -1)


class OneHotCategorical(Categorical):
    """As :class:`Categorical`, with vectors of 0 and one 1 as values.

    >>> import ranvier as rv
    >>> rv.distributions.OneHotCategorical(rv.tensor([0.0, 1.0])).sample()
    tensor([0., 1.])
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        super().__init__(probs, logits, validate_args)
        self.event_shape = self.probs.shape[-1:]

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return F.one_hot(self._draw(sample_shape), self.event_shape[0]).to(self.probs.dtype)

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        require(
            "OneHotCategorical",
            "a value",
            x,
            _ONE_HOT,
            "one 1 and else 0 in each row",
            self._validate,
        )
        return super().log_prob(ops.argmax(x, -1))

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)


class MixtureSameFamily(Distribution):
    """A draw of one of k components of a kind: p(x) = sum over i of p_i p(x | component i).

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
        shape, mixture = component_distribution.batch_shape, mixture_distribution
        fits = isinstance(mixture, Categorical) and shape[-1:] == mixture.probs.shape[-1:]
        if not fits or len(mixture.batch_shape) >= len(shape):
            raise ValueError(
                f"[MixtureSameFamily] got {mixture} and components of batch_shape {shape}; expected a "
                "Categorical over the last dimension of the batch_shape"
            )
        super().__init__(shape[:-1], component_distribution.event_shape)
        self.mixture_distribution, self.component_distribution = mixture, component_distribution
        self._axis = -1 - len(self.event_shape)  # of the components, in values

    def log_prob(self, value: Any) -> Tensor:
        x = ops.unsqueeze(self._value(value), self._axis)
        return ops.logsumexp(self.component_distribution.log_prob(x) + self.mixture_distribution.logits, -1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            probs = self.mixture_distribution.probs
            probs = ops.broadcast_to(probs, (*self.batch_shape, probs.shape[-1]))
            chosen = Categorical(probs).sample(sample_shape)
            values = self.component_distribution.sample(sample_shape)
            index = ops.reshape(chosen, (*chosen.shape, 1, *(1 for _ in self.event_shape)))
            index = ops.broadcast_to(index, (*chosen.shape, 1, *self.event_shape))
            return ops.squeeze(ops.gather(values, self._axis, index), self._axis)

    def _mean(self, values: Tensor) -> Tensor:
        """Of one value for each component."""
        probs = self.mixture_distribution.probs
        return ops.sum(ops.reshape(probs, probs.shape + (1,) * len(self.event_shape)) * values, self._axis)

    @property
    def mean(self) -> Tensor:
        return self._mean(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        away = self.component_distribution.mean - ops.unsqueeze(self.mean, self._axis)
        return self._mean(self.component_distribution.variance + away * away)
