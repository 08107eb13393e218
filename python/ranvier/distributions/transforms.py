"""Transforms y = f(x) of single numbers, and TransformedDistribution: the distribution of y for a random x.

Each class gives the formula (`_call`), its inverse (`_inverse`) and log |dy/dx| (`log_abs_det_jacobian`); the
base class is in transform.py, transforms of vectors are in vector_transforms.py. `domain` and `codomain` are
the constraints of x and y, `sign` is that of dy/dx.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier.distributions.constraints as constraints
import ranvier.ops as ops
from ranvier import Size, finfo, full_like
from ranvier.autograd import Tensor
from ranvier.distributions.base import Distribution, Independent
from ranvier.distributions.constraints import dependent_property, independent
from ranvier.distributions.transform import (
    ComposeTransform,
    IndependentTransform,
    ReshapeTransform,
    Transform,
    _InverseTransform as _InverseTransform,
    identity_transform,
)
from ranvier.distributions.utils import _sum_rightmost, broadcast_all, expanded
from ranvier.distributions.vector_transforms import (
    CatTransform,
    CorrCholeskyTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    SoftmaxTransform,
    StackTransform,
    StickBreakingTransform,
)
from ranvier.tensors.types import ArrayLike, Shape, TensorLike

__all__ = [
    "AbsTransform", "AffineTransform", "CatTransform", "ComposeTransform", "CorrCholeskyTransform",
    "CumulativeDistributionTransform", "ExpTransform", "IndependentTransform", "LowerCholeskyTransform",
    "PositiveDefiniteTransform", "PowerTransform", "ReshapeTransform", "SigmoidTransform",
    "SoftmaxTransform", "SoftplusTransform", "StackTransform", "StickBreakingTransform", "TanhTransform",
    "Transform", "identity_transform",
]  # fmt: skip


class ExpTransform(Transform):
    """y = exp(x)"""

    bijective = True
    sign = 1
    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return ops.exp(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.log(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Any:
        return x


class PowerTransform(Transform):
    """y = x ** exponent, for x > 0"""

    bijective = True
    domain = constraints.positive
    codomain = constraints.positive

    def __init__(self, exponent: TensorLike, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        (self.exponent,) = broadcast_all(exponent)

    @property
    def sign(self) -> Any:
        return ops.sign(self.exponent)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return PowerTransform(self.exponent, cache_size)

    def _call(self, x: Tensor) -> Tensor:
        return x**self.exponent

    def _inverse(self, y: Tensor) -> Tensor:
        return y ** (1 / self.exponent)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return ops.log(ops.abs(self.exponent * y / x))

    def forward_shape(self, shape: Shape) -> Any:
        return Size(np.broadcast_shapes(shape, self.exponent.shape))

    inverse_shape = forward_shape


class SigmoidTransform(Transform):
    """y = 1 / (1 + exp(-x))"""

    bijective = True
    sign = 1
    codomain = constraints.unit_interval

    def _call(self, x: Tensor) -> Tensor:
        limits = finfo(x.dtype)
        return ops.clip(ops.sigmoid(x), limits.tiny, 1 - limits.eps)

    def _inverse(self, y: Tensor) -> Tensor:
        limits = finfo(y.dtype)
        y = ops.clip(y, limits.tiny, 1 - limits.eps)
        return ops.log(y) - ops.log1p(-y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -ops.softplus(-x) - ops.softplus(x)


class TanhTransform(Transform):
    """y = tanh(x)"""

    bijective = True
    sign = 1
    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Tensor) -> Tensor:
        return ops.tanh(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.atanh(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Any:
        return 2.0 * (math.log(2.0) - x - ops.softplus(-2.0 * x))


class SoftplusTransform(Transform):
    """y = log(1 + exp(x))"""

    bijective = True
    sign = 1
    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return ops.softplus(x)

    def _inverse(self, y: Tensor) -> Any:
        return ops.log(-ops.expm1(-y)) + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -ops.softplus(-x)


class AbsTransform(Transform):
    """y = |x|; its inverse is y."""

    codomain = constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return ops.abs(x)

    def _inverse(self, y: Tensor) -> Any:
        return y


class AffineTransform(Transform):
    """y = loc + scale x; the last event_dim dimensions are one event: log|dy/dx| is summed over them."""

    bijective = True

    def __init__(
        self, loc: Tensor | float, scale: Tensor | float, event_dim: int = 0, cache_size: int = 0
    ) -> None:
        super().__init__(cache_size)
        self.loc = loc
        self.scale = scale
        self.event_dim = event_dim

    @property
    def domain(self) -> Any:
        if self.event_dim:
            return independent(constraints.real, self.event_dim)
        return constraints.real

    codomain = domain

    @property
    def sign(self) -> Any:
        if isinstance(self.scale, Tensor):
            return ops.sign(self.scale)
        return (self.scale > 0) - (self.scale < 0)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return AffineTransform(self.loc, self.scale, self.event_dim, cache_size)

    def _call(self, x: Tensor) -> Any:
        return self.loc + self.scale * x

    def _inverse(self, y: Tensor) -> Any:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if isinstance(self.scale, Tensor):
            scale = self.scale
        else:
            scale = full_like(x, self.scale)
        return _sum_rightmost(expanded(ops.log(ops.abs(scale)), x.shape), self.event_dim)

    def forward_shape(self, shape: Shape) -> Any:
        shapes = (getattr(x, "shape", ()) for x in (self.loc, self.scale))
        return Size(np.broadcast_shapes(tuple(shape), *shapes))

    inverse_shape = forward_shape


class CumulativeDistributionTransform(Transform):
    """y = F(x), F the distribution function of a distribution of numbers."""

    bijective = True
    sign = 1
    codomain = constraints.unit_interval

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:
        return self.distribution.support

    def with_cache(self, cache_size: int = 1) -> Transform:
        return CumulativeDistributionTransform(self.distribution, cache_size)

    def _call(self, x: Tensor) -> Any:
        return self.distribution.cdf(x)

    def _inverse(self, y: Tensor) -> Any:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Any:
        return self.distribution.log_prob(x)


class TransformedDistribution(Distribution):
    """The distribution of f_n(... f_1(x)), x of a base distribution.

    The density of y = f(x) is that of x divided by |dy/dx|. A policy that is squashed to (-1, 1):

    >>> import ranvier as rv
    >>> from ranvier.distributions import Normal, TanhTransform, TransformedDistribution
    >>> policy = TransformedDistribution(Normal(rv.zeros(2), rv.ones(2)), [TanhTransform(cache_size=1)])
    >>> action = policy.rsample()
    >>> policy.log_prob(action).shape
    (2,)
    """

    base_dist: Any  # what is transformed: a Distribution, whose parameters subclasses read

    def __init__(
        self,
        base_distribution: Distribution,
        transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:
        if isinstance(transforms, Transform):
            parts = [transforms]
        else:
            parts = list(transforms)
        if not all(isinstance(part, Transform) for part in parts):
            raise ValueError(
                "[TransformedDistribution] got no Transform; expected a Transform or a list of them"
            )
        self.transforms = parts
        composed = ComposeTransform(parts)
        base = base_distribution
        # event dimensions of x and y, as the transforms have them, and of the base distribution
        x_dims = composed.domain.event_dim
        y_dims = composed.codomain.event_dim
        base_shape = base.batch_shape + base.event_shape
        base_dims = len(base.event_shape)
        if len(base_shape) < x_dims:
            raise ValueError(
                f"[TransformedDistribution] got a base distribution of shape {base_shape}; expected at least "
                f"{x_dims} dimensions"
            )
        y_shape = composed.forward_shape(base_shape)
        x_shape = composed.inverse_shape(y_shape)  # larger than base_shape where parameters broadcast
        if x_shape != base_shape:
            base = base.expand(x_shape[: len(x_shape) - base_dims])
        if x_dims > base_dims:
            self.base_dist = Independent(base, x_dims - base_dims)
        else:
            self.base_dist = base
        batch_dims = len(y_shape) - max(y_dims, base_dims + y_dims - x_dims)
        super().__init__(y_shape[:batch_dims], y_shape[batch_dims:], validate_args)

    @property
    def has_rsample(self) -> bool:
        return self.base_dist.has_rsample

    @dependent_property
    def support(self) -> Any:
        if not self.transforms:
            return self.base_dist.support
        last = self.transforms[-1].codomain
        more_dims = len(self.event_shape) - last.event_dim
        if more_dims > 0:
            return independent(last, more_dims)
        return last

    def _through(self, x: Tensor) -> Tensor:
        for part in self.transforms:
            x = part(x)
        return x

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._through(self.base_dist.rsample(sample_shape))

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self._through(self.base_dist.sample(sample_shape)).detach()

    def log_prob(self, value: ArrayLike) -> Tensor:
        # dims: event dimensions of the variable that `y` is, from the last transform back to the base
        y = self._value(value)
        total = 0.0
        dims = len(self.event_shape)
        for part in reversed(self.transforms):
            x = part.inv(y)
            part_dims = part.domain.event_dim
            dims += part_dims - part.codomain.event_dim
            total = total - _sum_rightmost(part.log_abs_det_jacobian(x, y), dims - part_dims)
            y = x
        return total + _sum_rightmost(self.base_dist.log_prob(y), dims - len(self.base_dist.event_shape))

    def cdf(self, value: ArrayLike) -> Tensor:
        y = self._tensor(value)  # a value outside the codomain becomes nan
        for part in reversed(self.transforms):
            y = part.inv(y)
        return self._turned(self.base_dist.cdf(y))

    def icdf(self, value: ArrayLike) -> Tensor:
        return self._through(self.base_dist.icdf(self._turned(self._tensor(value))))

    def _turned(self, p: Tensor) -> Tensor:
        """The probability p, or 1 - p where the composed transform is decreasing."""
        sign = math.prod(part.sign for part in self.transforms)
        if isinstance(sign, int) and sign == 1:
            return p
        return sign * (p - 0.5) + 0.5
