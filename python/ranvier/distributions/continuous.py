"""Continuous distributions: normal, uniform and others, and normal vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

import ranvier.distributions.constraints as constraints
import ranvier.linalg as linalg
import ranvier.ops as ops
from ranvier import finfo, isinf, isnan, rand, randn, zeros
from ranvier.autograd import Tensor, no_grad
from ranvier.distributions.base import Distribution, ExponentialFamily, moment, tensors
from ranvier.distributions.transforms import ExpTransform, TransformedDistribution
from ranvier.distributions.utils import expanded, lazy_property
from ranvier.ops.making.uniform import uniform_of
from ranvier.tensors.types import ArrayLike

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class _LocScale(Distribution):
    """Base of the distributions of loc + scale z, where z has a fixed distribution."""

    has_rsample = True
    loc: Tensor
    scale: Tensor
    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, loc: ArrayLike, scale: ArrayLike, validate_args: bool | None = None) -> None:
        self._with(validate_args, loc=loc, scale=scale)

    @moment
    def mean(self) -> Tensor:
        return self.loc

    @moment
    def mode(self) -> Tensor:
        return self.loc


class Normal(_LocScale, ExponentialFamily):
    """Density exp(-(x - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi)).

    >>> import ranvier as rv
    >>> rv.distributions.Normal(0.0, 2.0).entropy()
    tensor(2.1121)
    """

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.loc + self.scale * randn(self._extended_shape(sample_shape), dtype=self.loc.dtype)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Samples without gradients; as in PyTorch, this does not call the ``rsample`` of a subclass."""
        with no_grad():
            return Normal.rsample(self, sample_shape)

    def log_prob(self, value: ArrayLike) -> Tensor:
        z = (self._value(value) - self.loc) / self.scale
        return -0.5 * z * z - ops.log(self.scale) - _HALF_LOG_2PI

    def entropy(self) -> Tensor:
        return ops.log(self.scale) + (0.5 + _HALF_LOG_2PI)

    def cdf(self, value: ArrayLike) -> Tensor:
        return 0.5 * (1 + ops.erf((self._value(value) - self.loc) / (self.scale * math.sqrt(2))))

    def icdf(self, value: ArrayLike) -> Tensor:
        return self.loc + self.scale * math.sqrt(2) * ops.erfinv(2 * self._tensor(value) - 1)

    @moment
    def variance(self) -> Tensor:
        return self.scale * self.scale


class LogNormal(TransformedDistribution):
    """The exponential of a normal variable.

    >>> import ranvier as rv
    >>> rv.distributions.LogNormal(0.0, 1.0).mean
    tensor(1.6487)
    """

    has_rsample = True
    arg_constraints: ClassVar[Any] = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.positive

    @moment
    def loc(self) -> Tensor:
        return self.base_dist.loc

    @moment
    def scale(self) -> Tensor:
        return self.base_dist.scale

    def __init__(self, loc: ArrayLike, scale: ArrayLike, validate_args: bool | None = None) -> None:
        super().__init__(Normal(loc, scale, validate_args), ExpTransform(), validate_args)

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        logs = ops.log(ops.where(x <= 0, 1.0, x))
        return ops.where(x <= 0, -math.inf, self.base_dist.log_prob(logs) - logs)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() + self.loc

    @moment
    def mean(self) -> Tensor:
        return ops.exp(self.loc + 0.5 * self.scale * self.scale)

    @moment
    def mode(self) -> Tensor:
        return ops.exp(self.loc - self.scale * self.scale)

    @moment
    def variance(self) -> Tensor:
        s = self.scale * self.scale
        return ops.expm1(s) * ops.exp(2 * self.loc + s)


class Laplace(_LocScale):
    """Density exp(-|x - loc| / scale) / (2 scale).

    >>> import ranvier as rv
    >>> rv.distributions.Laplace(0.0, 1.0).log_prob(rv.tensor(1.0))
    tensor(-1.6931)
    """

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        eps = finfo(self.loc.dtype).eps
        u = zeros(self._extended_shape(sample_shape), dtype=self.loc.dtype).uniform_(eps - 1, 1)
        return self.loc - self.scale * ops.sign(u) * ops.log1p(-ops.abs(u))

    def log_prob(self, value: ArrayLike) -> Tensor:
        return -ops.abs(self._value(value) - self.loc) / self.scale - ops.log(2 * self.scale)

    def entropy(self) -> Tensor:
        return 1 + ops.log(2 * self.scale)

    def cdf(self, value: ArrayLike) -> Tensor:
        z = (self._value(value) - self.loc) / self.scale
        return 0.5 - 0.5 * ops.sign(z) * ops.expm1(-ops.abs(z))

    def icdf(self, value: ArrayLike) -> Tensor:
        p = self._tensor(value) - 0.5
        return self.loc - self.scale * ops.sign(p) * ops.log1p(-2 * ops.abs(p))

    @moment
    def variance(self) -> Tensor:
        return 2 * self.scale * self.scale


class Uniform(Distribution):
    """Density 1 / (high - low) in [low, high).

    >>> import ranvier as rv
    >>> rv.distributions.Uniform(0.0, 2.0).cdf(rv.tensor([0.5, 2.0]))
    tensor([0.2500, 1.0000])
    """

    has_rsample = True
    low: Tensor
    high: Tensor

    def __init__(self, low: ArrayLike, high: ArrayLike, validate_args: bool | None = None) -> None:
        self._with(validate_args, low=low, high=high)

    @property
    def arg_constraints(self) -> Any:
        return {"low": constraints.less_than(self.high), "high": constraints.greater_than(self.low)}

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        return constraints.interval(self.low, self.high)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        u = rand(self._extended_shape(sample_shape), dtype=self.low.dtype)
        x = self.low + (self.high - self.low) * u
        return ops.where(x.detach() >= self.high, self.low, x)  # rounding may give high itself

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        inside = (x >= self.low) & (x < self.high)
        return ops.where(inside, -ops.log(self.high - self.low), -math.inf)

    def entropy(self) -> Tensor:
        return ops.log(self.high - self.low)

    def cdf(self, value: ArrayLike) -> Tensor:
        return ops.clip((self._value(value) - self.low) / (self.high - self.low), 0.0, 1.0)

    def icdf(self, value: ArrayLike) -> Tensor:
        return self.low + (self.high - self.low) * self._tensor(value)

    @moment
    def mean(self) -> Tensor:
        return (self.low + self.high) / 2

    @moment
    def mode(self) -> Tensor:
        return self.high * math.nan

    @moment
    def variance(self) -> Tensor:
        return (self.high - self.low) ** 2 / 12


class Exponential(ExponentialFamily):
    """Density rate exp(-rate x) for x >= 0.

    >>> import ranvier as rv
    >>> rv.distributions.Exponential(2.0).mean
    tensor(0.5000)
    """

    has_rsample = True
    rate: Tensor
    arg_constraints: ClassVar[Any] = {"rate": constraints.positive}
    support = constraints.nonnegative

    def __init__(self, rate: ArrayLike, validate_args: bool | None = None) -> None:
        self._with(validate_args, rate=rate)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        u = uniform_of(self._extended_shape(sample_shape), self.rate.dtype)
        return -ops.log1p(-u).to(self.rate.dtype) / self.rate

    def log_prob(self, value: ArrayLike) -> Tensor:
        x = self._value(value)
        return ops.where(x < 0, -math.inf, ops.log(self.rate) - self.rate * x)

    def entropy(self) -> Tensor:
        return 1 - ops.log(self.rate)

    def cdf(self, value: ArrayLike) -> Tensor:
        z = -self.rate * self._value(value)
        # The slope of expm1 is computed from its result, which is rounded to -1 for large -z.
        return ops.where(z < -0.5, 1 - ops.exp(z), -ops.expm1(ops.clip(z, -0.5, None)))

    def icdf(self, value: ArrayLike) -> Tensor:
        return -ops.log1p(-self._tensor(value)) / self.rate

    @moment
    def mean(self) -> Tensor:
        return 1 / self.rate

    @moment
    def mode(self) -> Tensor:
        return self.rate * 0

    @moment
    def variance(self) -> Tensor:
        return 1 / (self.rate * self.rate)


class MultivariateNormal(Distribution):
    """Vectors (n) with the mean loc and one of: covariance_matrix, precision_matrix (its inverse) or
    scale_tril (its lower Cholesky factor), each (n, n), with batch dimensions before.

    Raises ValueError for a matrix that is not positive-definite, or other shapes.

    >>> import ranvier as rv
    >>> rv.distributions.MultivariateNormal(rv.zeros(2), rv.eye(2)).log_prob(rv.zeros(2))
    tensor(-1.8379)
    """

    has_rsample = True
    arg_constraints: ClassVar[Any] = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector

    def __init__(
        self,
        loc: ArrayLike,
        covariance_matrix: ArrayLike | None = None,
        precision_matrix: ArrayLike | None = None,
        scale_tril: ArrayLike | None = None,
        validate_args: bool | None = None,
    ) -> None:
        given = [m for m in (covariance_matrix, precision_matrix, scale_tril) if m is not None]
        if len(given) != 1:
            raise ValueError(
                f"[MultivariateNormal] got {len(given)} matrices; expected one of covariance_matrix, "
                "precision_matrix and scale_tril"
            )
        mean, matrix = tensors(loc, given[0])
        n = mean.shape[-1] if mean.ndim else 0
        if not n or matrix.shape[-2:] != (n, n):
            raise ValueError(
                f"[MultivariateNormal] got loc of shape {mean.shape} and a matrix of shape {matrix.shape}; "
                "expected (..., n) and (..., n, n)"
            )
        batch = np.broadcast_shapes(mean.shape[:-1], matrix.shape[:-2])
        self.loc, whole = expanded(mean, (*batch, n)), expanded(matrix, (*batch, n, n))
        # An attribute hides the lazy property of its name, and the base class checks it. So scale_tril is set
        # before; the other matrices are checked below.
        if scale_tril is not None:
            self.scale_tril = whole
        super().__init__(batch, mean.shape[-1:], validate_args)
        if scale_tril is None:
            if self._validate_args and not constraints.symmetric.holds(matrix):
                raise ValueError("[MultivariateNormal] got a matrix that is not symmetric; expected one")
            if precision_matrix is None:
                self.covariance_matrix = whole
            else:
                self.precision_matrix = whole
                matrix = ops.inverse(matrix)
            matrix = ops.cholesky(matrix)
        # Every method reads it: a subclass may compute it otherwise. `expand` leaves its shape, by its name.
        self._unbroadcasted_scale_tril = matrix

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        noise = randn(self._extended_shape(sample_shape), dtype=self.loc.dtype).unsqueeze(-1)
        return self.loc + ops.matmul(self._unbroadcasted_scale_tril, noise).squeeze(-1)

    def log_prob(self, value: ArrayLike) -> Tensor:
        away = (self._value(value) - self.loc).unsqueeze(-1)
        far = isinf(away)  # one infinite element: -inf, where the solution would have inf - inf
        lower = self._unbroadcasted_scale_tril
        z = linalg.solve_triangular(lower, ops.where(far, 0.0, away), upper=False).squeeze(-1)
        constant = 0.5 * self._event_shape[0] * math.log(2 * math.pi)
        logs = -0.5 * ops.sum(z * z, -1) - self._half_logdet() - constant
        return ops.where(ops.any(far, (-2, -1)) & ~isnan(logs), -math.inf, logs)

    def entropy(self) -> Tensor:
        constant = 0.5 * self._event_shape[0] * (1 + math.log(2 * math.pi))
        return expanded(self._half_logdet() + constant, self._batch_shape)

    def _half_logdet(self) -> Tensor:
        return ops.sum(ops.log(ops.diagonal(self._unbroadcasted_scale_tril, 0, -2, -1)), -1)

    def _whole(self, matrix: Tensor) -> Tensor:
        return expanded(matrix, (*self._batch_shape, *self._event_shape, *self._event_shape))

    @lazy_property
    def scale_tril(self) -> Tensor:
        return self._whole(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        lower = self._unbroadcasted_scale_tril
        return self._whole(ops.matmul(lower, lower.mT))

    @lazy_property
    def precision_matrix(self) -> Tensor:
        return self._whole(ops.cholesky_inverse(self._unbroadcasted_scale_tril))

    @moment
    def mean(self) -> Tensor:
        return self.loc

    @moment
    def mode(self) -> Tensor:
        return self.loc

    @moment
    def variance(self) -> Tensor:
        lower = self._unbroadcasted_scale_tril
        return expanded(ops.sum(lower * lower, -1), (*self._batch_shape, *self._event_shape))
