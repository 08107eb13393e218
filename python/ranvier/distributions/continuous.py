"""Normal, LogNormal, Laplace, Uniform and Exponential."""

from __future__ import annotations

import math
from typing import Any

import ranvier.ops as ops
from ranvier.autograd.random_tensors import rand, randn
from ranvier.autograd.tensor import Tensor
from ranvier.distributions.base import Distribution, parameters, require
from ranvier.distributions.constraints import positive, real

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class _LocScale(Distribution):
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        name = type(self).__name__
        self.loc, self.scale = parameters(name, loc, scale)
        require(name, "loc", self.loc, real, "numbers, not nan", validate_args)
        require(name, "scale", self.scale, positive, "numbers > 0", validate_args)
        self.batch_shape = self.loc.shape

    @property
    def mean(self) -> Tensor:
        return self.loc


class Normal(_LocScale):
    """Density exp(-(x - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi)).

    >>> import ranvier as rv
    >>> rv.distributions.Normal(0.0, 2.0).entropy()
    tensor(2.1121)
    """

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.scale * randn(self._shape(sample_shape), dtype=self.loc.dtype)

    def log_prob(self, value: Any) -> Tensor:
        z = (self._value(value) - self.loc) / self.scale
        return -0.5 * z * z - ops.log(self.scale) - _HALF_LOG_2PI

    def entropy(self) -> Tensor:
        return ops.log(self.scale) + (0.5 + _HALF_LOG_2PI)

    def cdf(self, value: Any) -> Tensor:
        """The probability of values below."""
        z = (self._value(value) - self.loc) / (self.scale * math.sqrt(2))
        return 0.5 * (1 + ops.erf(z))

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale


class LogNormal(Normal):
    """The exponential of a normal variable.

    >>> import ranvier as rv
    >>> rv.distributions.LogNormal(0.0, 1.0).mean
    tensor(1.6487)
    """

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return ops.exp(super().rsample(sample_shape))

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        logs = ops.log(ops.where(x <= 0, 1.0, x))
        return ops.where(x <= 0, -math.inf, super().log_prob(logs) - logs)

    def entropy(self) -> Tensor:
        return super().entropy() + self.loc

    def cdf(self, value: Any) -> Tensor:
        return super().cdf(ops.log(self._value(value)))

    @property
    def mean(self) -> Tensor:
        return ops.exp(self.loc + 0.5 * self.scale * self.scale)

    @property
    def variance(self) -> Tensor:
        s = self.scale * self.scale
        return ops.expm1(s) * ops.exp(2 * self.loc + s)


class Laplace(_LocScale):
    """Density exp(-|x - loc| / scale) / (2 scale).

    >>> import ranvier as rv
    >>> rv.distributions.Laplace(0.0, 1.0).log_prob(rv.tensor(1.0))
    tensor(-1.6931)
    """

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        u = rand(self._shape(sample_shape), dtype=self.loc.dtype) - 0.5  # in [-1/2, 1/2)
        return self.loc - self.scale * ops.sign(u) * ops.log1p(-2 * ops.clip(ops.abs(u), 0.0, 0.4999999))

    def log_prob(self, value: Any) -> Tensor:
        return -ops.abs(self._value(value) - self.loc) / self.scale - ops.log(2 * self.scale)

    def entropy(self) -> Tensor:
        return 1 + ops.log(2 * self.scale)

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale * self.scale


class Uniform(Distribution):
    """Density 1 / (high - low) in [low, high).

    >>> import ranvier as rv
    >>> rv.distributions.Uniform(0.0, 2.0).log_prob(rv.tensor([1.0, 3.0]))
    tensor([-0.6931,    -inf])
    """

    has_rsample = True

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = parameters("Uniform", low, high)
        require("Uniform", "high - low", self.high - self.low, positive, "low < high", validate_args)
        self.batch_shape = self.low.shape

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.low + (self.high - self.low) * rand(self._shape(sample_shape), dtype=self.low.dtype)

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        inside = (x >= self.low) & (x < self.high)
        return ops.where(inside, -ops.log(self.high - self.low), -math.inf)

    def entropy(self) -> Tensor:
        return ops.log(self.high - self.low)

    @property
    def mean(self) -> Tensor:
        return (self.low + self.high) / 2

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low) ** 2 / 12


class Exponential(Distribution):
    """Density rate exp(-rate x) for x >= 0.

    >>> import ranvier as rv
    >>> rv.distributions.Exponential(2.0).mean
    tensor(0.5000)
    """

    has_rsample = True

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = parameters("Exponential", rate)
        require("Exponential", "rate", self.rate, positive, "numbers > 0", validate_args)
        self.batch_shape = self.rate.shape

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return -ops.log1p(-rand(self._shape(sample_shape), dtype=self.rate.dtype)) / self.rate

    def log_prob(self, value: Any) -> Tensor:
        x = self._value(value)
        return ops.where(x < 0, -math.inf, ops.log(self.rate) - self.rate * x)

    def entropy(self) -> Tensor:
        return 1 - ops.log(self.rate)

    @property
    def mean(self) -> Tensor:
        return 1 / self.rate

    @property
    def variance(self) -> Tensor:
        return 1 / (self.rate * self.rate)
