"""Poisson, Geometric, Binomial and Multinomial."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier.autograd.mode import no_grad
from ranvier.autograd.random import generator
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.distributions.base import Distribution, parameters, require, tensors
from ranvier.distributions.constraints import Constraint, nonnegative, positive
from ranvier.distributions.constraints import nonnegative_integer as whole
from ranvier.distributions.discrete import Bernoulli, Categorical


class _Count(Distribution):
    _validate: bool | None

    def _counted(self, value: Any) -> Tensor:
        x = self._value(value)
        require(type(self).__name__, "a value", x, whole, "whole numbers >= 0", self._validate)
        return x

    def _drawn(self, values: Any, dtype: Any) -> Tensor:
        return wrap(np.asarray(values).astype(dtype))


class Poisson(_Count):
    """k with probability rate^k exp(-rate) / k!

    >>> import ranvier as rv
    >>> rv.distributions.Poisson(4.0).log_prob(rv.tensor(2.0))
    tensor(-1.9206)
    """

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = parameters("Poisson", rate)
        require("Poisson", "rate", self.rate, nonnegative, "numbers >= 0", validate_args)
        self._validate, self.batch_shape = validate_args, self.rate.shape

    def sample(self, sample_shape: Any = ()) -> Tensor:
        draws = generator().poisson(self.rate._array, self._shape(sample_shape))
        return self._drawn(draws, self.rate.dtype)

    def log_prob(self, value: Any) -> Tensor:
        x = self._counted(value)
        return ops.xlogy(x, self.rate) - self.rate - ops.lgamma(x + 1)

    @property
    def mean(self) -> Tensor:
        return self.rate

    @property
    def variance(self) -> Tensor:
        return self.rate


class _OfTrials(_Count):
    """Distributions of trials that succeed with probability probs = sigmoid(logits)."""

    def _set(self, probs: Any, logits: Any, validate_args: bool | None) -> None:
        trial = Bernoulli(probs, logits, validate_args)
        self.probs, self.logits = trial.probs, trial.logits
        self._validate, self.batch_shape = validate_args, trial.batch_shape
        self._by_logits = trial._by_logits


class Geometric(_OfTrials):
    """The failures before the first success: k with probability (1 - p)^k p.

    >>> import ranvier as rv
    >>> rv.distributions.Geometric(0.25).mean
    tensor(3.)
    """

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._set(probs, logits, validate_args)
        require("Geometric", "probs", self.probs, positive, "0 < p <= 1", validate_args)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        draws = generator().geometric(self.probs._array, self._shape(sample_shape)) - 1
        return self._drawn(draws, self.probs.dtype)

    def log_prob(self, value: Any) -> Tensor:
        x = self._counted(value)
        if self._by_logits:
            return -x * ops.softplus(self.logits) - ops.softplus(-self.logits)
        sure = ops.logical_and(ops.eq(self.probs, 1), ops.eq(x, 0))  # 0 log 0 is 0
        return x * ops.log1p(-ops.where(sure, 0.0, self.probs)) + ops.log(self.probs)

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs

    @property
    def mean(self) -> Tensor:
        return 1 / self.probs - 1

    @property
    def variance(self) -> Tensor:
        return (1 / self.probs - 1) / self.probs


class Binomial(_OfTrials):
    """The successes of total_count trials.

    >>> import ranvier as rv
    >>> rv.distributions.Binomial(4, 0.5).log_prob(rv.tensor(2.0))
    tensor(-0.9808)
    """

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        probs, logits = (x if x is None else tensors(total_count, x)[1] for x in (probs, logits))
        self._set(probs, logits, validate_args)
        self.total_count, self.probs, self.logits = parameters(
            "Binomial", total_count, self.probs, self.logits
        )
        require(
            "Binomial",
            "total_count",
            self.total_count,
            whole,
            "whole numbers >= 0",
            validate_args,
        )
        self.batch_shape = self.probs.shape

    def sample(self, sample_shape: Any = ()) -> Tensor:
        counts = self.total_count._array.astype(np.int64)
        draws = generator().binomial(counts, self.probs._array, self._shape(sample_shape))
        return self._drawn(draws, self.probs.dtype)

    def log_prob(self, value: Any) -> Tensor:
        x, n = self._counted(value), self.total_count
        require("Binomial", "a value", n - x, nonnegative, "at most total_count", self._validate)
        ways = ops.lgamma(n + 1) - ops.lgamma(x + 1) - ops.lgamma(n - x + 1)
        return ways + x * self.logits - n * ops.softplus(self.logits)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)


class Multinomial(_Count):
    """How often each class is drawn in total_count draws of a Categorical.

    >>> import ranvier as rv
    >>> d = rv.distributions.Multinomial(2, rv.tensor([0.5, 0.5]))
    >>> d.log_prob(rv.tensor([1.0, 1.0]))
    tensor(-0.6931)
    """

    def __init__(
        self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if not isinstance(total_count, (int, np.integer)) or total_count < 0:
            raise ValueError(f"[Multinomial] got total_count {total_count!r}; expected a whole number >= 0")
        self.total_count, self._validate = int(total_count), validate_args
        self._draws = Categorical(probs, logits, validate_args)
        self._by_logits = self._draws._by_logits
        self.probs, self.logits = self._draws.probs, self._draws.logits
        self.batch_shape, self.event_shape = self._draws.batch_shape, self.probs.shape[-1:]

    def sample(self, sample_shape: Any = ()) -> Tensor:
        self._shape(sample_shape)
        with no_grad():
            classes = self._draws.sample((self.total_count, *sample_shape))
            return ops.sum(F.one_hot(classes, self.event_shape[0]), 0).to(self.probs.dtype)

    def log_prob(self, value: Any) -> Tensor:
        x = self._counted(value)
        require(
            "Multinomial",
            "a value",
            ops.sum(x, -1),
            Constraint("", lambda a: ops.eq(a, self.total_count)),
            f"counts that add up to {self.total_count}",
            self._validate,
        )
        never = ops.logical_and(ops.eq(x, 0), ops.eq(self.probs, 0))
        logs = ops.where(never, 0.0, x * self.logits)
        ways = ops.lgamma(ops.sum(x, -1) + 1) - ops.sum(ops.lgamma(x + 1), -1)
        return ways + ops.sum(logs, -1)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)
