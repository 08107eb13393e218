"""Gamma, Dirichlet and Beta."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd.random import generator
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.distributions.base import Distribution, parameters, require
from ranvier.distributions.constraints import positive


class Gamma(Distribution):
    """Density rate^a x^(a - 1) exp(-rate x) / gamma(a) for x > 0, a the concentration.

    Its samples are off the tape; rsample raises NotImplementedError.

    >>> import ranvier as rv
    >>> rv.distributions.Gamma(2.0, 3.0).log_prob(rv.tensor(1.0))
    tensor(-0.8028)
    """

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = parameters("Gamma", concentration, rate)
        require("Gamma", "concentration", self.concentration, positive, "numbers > 0", validate_args)
        require("Gamma", "rate", self.rate, positive, "numbers > 0", validate_args)
        self.batch_shape = self.rate.shape

    def sample(self, sample_shape: Any = ()) -> Tensor:
        draws = generator().standard_gamma(self.concentration._array, self._shape(sample_shape))
        return wrap(np.asarray(draws / self.rate._array).astype(self.rate.dtype))

    def log_prob(self, value: Any) -> Tensor:
        x, a = self._value(value), self.concentration
        logs = a * ops.log(self.rate) + ops.xlogy(a - 1, x) - self.rate * x - ops.lgamma(a)
        return ops.where(x < 0, -math.inf, logs)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - ops.log(self.rate) + ops.lgamma(a) + (1 - a) * ops.digamma(a)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def variance(self) -> Tensor:
        return self.concentration / (self.rate * self.rate)


class Dirichlet(Distribution):
    """Vectors of positive numbers that add up to 1: density proportional to the product of x_i^(c_i - 1).

    Its samples are off the tape; rsample raises NotImplementedError.

    >>> import ranvier as rv
    >>> rv.distributions.Dirichlet(rv.ones(3)).log_prob(rv.tensor([0.2, 0.3, 0.5]))
    tensor(0.6931)
    """

    def __init__(self, concentration: Any, validate_args: bool | None = None) -> None:
        (self.concentration,) = parameters("Dirichlet", concentration)
        if self.concentration.ndim < 1:
            raise ValueError("[Dirichlet] got concentration of shape (); expected at least one dimension")
        require("Dirichlet", "concentration", self.concentration, positive, "numbers > 0", validate_args)
        shape = self.concentration.shape
        self.batch_shape, self.event_shape = shape[:-1], shape[-1:]

    def sample(self, sample_shape: Any = ()) -> Tensor:
        draws = generator().standard_gamma(self.concentration._array, self._shape(sample_shape))
        parts = draws / np.maximum(draws.sum(-1, keepdims=True), np.finfo(np.float64).tiny)
        return wrap(np.asarray(parts).astype(self.concentration.dtype))

    def log_prob(self, value: Any) -> Tensor:
        return ops.sum(ops.xlogy(self.concentration - 1, self._value(value)), -1) - self._log_norm()

    def _log_norm(self) -> Tensor:
        c = self.concentration
        return ops.sum(ops.lgamma(c), -1) - ops.lgamma(ops.sum(c, -1))

    def entropy(self) -> Tensor:
        c = self.concentration
        total, n = ops.sum(c, -1), c.shape[-1]
        return self._log_norm() + (total - n) * ops.digamma(total) - ops.sum((c - 1) * ops.digamma(c), -1)

    @property
    def mean(self) -> Tensor:
        return self.concentration / ops.sum(self.concentration, -1, True)

    @property
    def variance(self) -> Tensor:
        total = ops.sum(self.concentration, -1, True)
        return self.mean * (1 - self.mean) / (total + 1)


class Beta(Distribution):
    """Density proportional to x^(a - 1) (1 - x)^(b - 1) in [0, 1]: the first part of a Dirichlet (a, b).

    Its samples are off the tape; rsample raises NotImplementedError.

    >>> import ranvier as rv
    >>> rv.distributions.Beta(2.0, 2.0).log_prob(rv.tensor(0.5))
    tensor(0.4055)
    """

    def __init__(self, concentration1: Any, concentration0: Any, validate_args: bool | None = None) -> None:
        self.concentration1, self.concentration0 = parameters("Beta", concentration1, concentration0)
        both = ops.stack([self.concentration1, self.concentration0], -1)
        require("Beta", "a concentration", both, positive, "numbers > 0", validate_args)
        self._parts = Dirichlet(both, False)
        self.batch_shape = self.concentration1.shape

    def sample(self, sample_shape: Any = ()) -> Tensor:
        result: Tensor = self._parts.sample(sample_shape)[..., 0]
        return result

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        outside = (x < 0) | (x > 1)
        inner = ops.where(outside, 0.5, x)
        return ops.where(outside, -math.inf, self._parts.log_prob(ops.stack([inner, 1 - inner], -1)))

    def entropy(self) -> Tensor:
        return self._parts.entropy()

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total * total * (total + 1))
