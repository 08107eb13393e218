"""StudentT, Cauchy, Gumbel, HalfNormal and HalfCauchy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import ranvier.ops as ops
from ranvier import finfo, full_like, no_grad, rand, randn
from ranvier.autograd import Tensor
from ranvier.distributions.base import Distribution, moment
from ranvier.distributions.constraints import nonnegative, positive, real
from ranvier.distributions.continuous import Normal, _LocScale
from ranvier.distributions.gamma import standard_gamma
from ranvier.distributions.transforms import AbsTransform, TransformedDistribution
from ranvier.ops.making.uniform import uniform_of
from ranvier.tensors.types import ArrayLike

EULER = 0.57721566490153286


class StudentT(Distribution):
    """Student's t: loc + scale n / sqrt(chi^2 / df) of a normal n and a chi-squared variable of df degrees.

    >>> import ranvier as rv
    >>> rv.distributions.StudentT(3.0).log_prob(rv.tensor(0.0))
    tensor(-1.0009)
    """

    has_rsample = True
    df: Tensor
    loc: Tensor
    scale: Tensor
    arg_constraints: ClassVar[Any] = {"df": positive, "loc": real, "scale": positive}
    support = real

    def __init__(
        self, df: ArrayLike, loc: ArrayLike = 0.0, scale: ArrayLike = 1.0, validate_args: bool | None = None
    ) -> None:
        self._with(validate_args, df=df, loc=loc, scale=scale)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        half = 0.5 * self.df
        values = randn(shape, dtype=self.df.dtype)
        return self.loc + self.scale * (values / ops.sqrt(standard_gamma(half, shape=shape) / half))

    def log_prob(self, value: ArrayLike) -> Tensor:
        z = (self._value(value) - self.loc) / self.scale
        return -0.5 * (self.df + 1) * ops.log1p(z * z / self.df) - self._log_norm()

    def _log_norm(self) -> Tensor:
        gammas = ops.lgamma(0.5 * self.df) - ops.lgamma(0.5 * (self.df + 1))
        return ops.log(self.scale) + 0.5 * ops.log(self.df) + 0.5 * math.log(math.pi) + gammas

    def entropy(self) -> Tensor:
        above = 0.5 * (self.df + 1)
        return self._log_norm() + above * (ops.digamma(above) - ops.digamma(0.5 * self.df))

    @moment
    def mean(self) -> Tensor:
        return ops.where(self.df > 1, self.loc, math.nan)

    @moment
    def mode(self) -> Tensor:
        return self.loc

    @moment
    def variance(self) -> Tensor:
        large = ops.where(self.df > 2, self.df, 3.0)
        found = ops.where(self.df > 2, self.scale * self.scale * large / (large - 2), math.inf)
        return ops.where(self.df > 1, found, math.nan)


class Cauchy(_LocScale):
    """Density 1 / (pi scale (1 + ((x - loc) / scale)^2)).

    >>> import ranvier as rv
    >>> rv.distributions.Cauchy(0.0, 1.0).log_prob(rv.tensor(0.0))
    tensor(-1.1447)
    """

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        u = uniform_of(self._extended_shape(sample_shape), self.loc.dtype)
        return self.loc + self.scale * ops.tan(math.pi * (u - 0.5)).to(self.loc.dtype)

    def log_prob(self, value: ArrayLike) -> Tensor:
        z = (self._value(value) - self.loc) / self.scale
        return -math.log(math.pi) - ops.log(self.scale) - ops.log1p(z * z)

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + ops.log(self.scale)

    def cdf(self, value: ArrayLike) -> Tensor:
        return ops.atan((self._value(value) - self.loc) / self.scale) / math.pi + 0.5

    def icdf(self, value: ArrayLike) -> Tensor:
        return self.loc + self.scale * ops.tan(math.pi * (self._tensor(value) - 0.5))

    @moment
    def mean(self) -> Tensor:
        return full_like(self.loc, math.nan)

    @moment
    def variance(self) -> Tensor:
        return full_like(self.loc, math.inf)


class Gumbel(_LocScale):
    """Density exp(-z - exp(-z)) / scale, z = (x - loc) / scale.

    >>> import ranvier as rv
    >>> rv.distributions.Gumbel(0.0, 1.0).mean
    tensor(0.5772)
    """

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        info = finfo(self.loc.dtype)
        u = rand(self._extended_shape(sample_shape), dtype=self.loc.dtype)
        u = u * (1 - info.eps) + info.tiny  # neither 0 nor 1
        return self.loc - self.scale * ops.log(-ops.log(u))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Samples without gradients; as in PyTorch, this does not call the ``rsample`` of a subclass."""
        with no_grad():
            return Gumbel.rsample(self, sample_shape)

    def log_prob(self, value: ArrayLike) -> Tensor:
        z = (self._value(value) - self.loc) / self.scale
        return -z - ops.exp(-z) - ops.log(self.scale)

    def entropy(self) -> Tensor:
        return ops.log(self.scale) + (1 + EULER)

    def cdf(self, value: ArrayLike) -> Tensor:
        return ops.exp(-ops.exp((self.loc - self._value(value)) / self.scale))

    def icdf(self, value: ArrayLike) -> Tensor:
        return self.loc - self.scale * ops.log(-ops.log(self._tensor(value)))

    @moment
    def mean(self) -> Tensor:
        return self.loc + self.scale * EULER

    @moment
    def variance(self) -> Tensor:
        return self.scale * self.scale * (math.pi**2 / 6)


class _Half(TransformedDistribution):
    """The absolute value of a variable that is symmetric about 0."""

    has_rsample = True
    arg_constraints: ClassVar[Any] = {"scale": positive}
    support = nonnegative

    @moment
    def scale(self) -> Tensor:
        return self.base_dist.scale

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        return ops.where(x < 0, -math.inf, self.base_dist.log_prob(x) + math.log(2))

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)

    def cdf(self, value: ArrayLike) -> Tensor:
        return 2 * self.base_dist.cdf(self._value(value)) - 1

    def icdf(self, value: ArrayLike) -> Tensor:
        return self.base_dist.icdf((self._tensor(value) + 1) / 2)

    @moment
    def mode(self) -> Tensor:
        return self.scale * 0


class HalfNormal(_Half):
    """The absolute value of a normal variable with mean 0.

    >>> import ranvier as rv
    >>> rv.distributions.HalfNormal(1.0).mean
    tensor(0.7979)
    """

    def __init__(self, scale: ArrayLike, validate_args: bool | None = None) -> None:
        super().__init__(Normal(0.0, scale, False), AbsTransform(), validate_args)

    @moment
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @moment
    def variance(self) -> Tensor:
        return self.scale * self.scale * (1 - 2 / math.pi)


class HalfCauchy(_Half):
    """The absolute value of a Cauchy variable about 0.

    >>> import ranvier as rv
    >>> rv.distributions.HalfCauchy(1.0).log_prob(rv.tensor(0.0))
    tensor(-0.4516)
    """

    def __init__(self, scale: ArrayLike, validate_args: bool | None = None) -> None:
        super().__init__(Cauchy(0.0, scale, False), AbsTransform(), validate_args)

    @moment
    def mean(self) -> Tensor:
        return full_like(self.scale, math.inf)

    @moment
    def variance(self) -> Tensor:
        return self.base_dist.variance
