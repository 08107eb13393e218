"""Gamma."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd.random import generator
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.distributions.base import Distribution, parameters, require


class Gamma(Distribution):
    """Density rate^a x^(a - 1) exp(-rate x) / gamma(a) for x > 0, a the concentration.

    Its samples are off the tape; rsample raises NotImplementedError.

    >>> import ranvier as rv
    >>> rv.distributions.Gamma(2.0, 3.0).log_prob(rv.tensor(1.0))
    tensor(-0.8028)
    """

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = parameters("Gamma", concentration, rate)
        require("Gamma", "concentration", self.concentration, lambda a: a > 0, "numbers > 0", validate_args)
        require("Gamma", "rate", self.rate, lambda a: a > 0, "numbers > 0", validate_args)
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
