"""The distribution of a transformed random variable."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.distributions.base import Distribution
from ranvier.distributions.constraints import independent
from ranvier.distributions.transforms import Transform


class TransformedDistribution(Distribution):
    """The distribution of f_n(... f_1(x)), x of a base distribution, for transforms of each element.

    The density of y = f(x) is that of x divided by |dy/dx|. A policy that is squashed to (-1, 1):

    >>> import ranvier as rv
    >>> from ranvier.distributions import Normal, TanhTransform, TransformedDistribution
    >>> policy = TransformedDistribution(Normal(rv.zeros(2), rv.ones(2)), [TanhTransform(cache_size=1)])
    >>> action = policy.rsample()
    >>> policy.log_prob(action).shape
    (2,)
    """

    def __init__(
        self,
        base_distribution: Any,
        transforms: Transform | Sequence[Transform],
        validate_args: bool | None = None,
    ) -> None:
        parts = [transforms] if isinstance(transforms, Transform) else list(transforms)
        if not all(isinstance(part, Transform) for part in parts):
            raise ValueError(
                "[TransformedDistribution] got no Transform; expected a Transform or a list of them"
            )
        self.base_dist, self.transforms = base_distribution, parts
        self.has_rsample = base_distribution.has_rsample
        super().__init__(base_distribution.batch_shape, base_distribution.event_shape, validate_args)

    @property
    def support(self) -> Any:
        if not self.transforms:
            return self.base_dist.support
        return independent(self.transforms[-1].codomain, len(self.event_shape))

    def _through(self, x: Tensor) -> Tensor:
        for part in self.transforms:
            x = part(x)
        return x

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._through(self.base_dist.rsample(sample_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._through(self.base_dist.sample(sample_shape)).detach()

    def log_prob(self, value: Any) -> Tensor:
        y = self._value(value)
        total: Any = 0.0
        dims = tuple(range(-len(self.event_shape), 0))
        for part in reversed(self.transforms):
            x = part._inv_call(y)
            slope = part.log_abs_det_jacobian(x, y)
            total = total - (ops.sum(slope, dims) if dims else slope)
            y = x
        return total + self.base_dist.log_prob(y)

    def cdf(self, value: Any) -> Tensor:
        y = self._tensor(value)  # what no transform gives is nan there
        for part in reversed(self.transforms):
            y = part._inv_call(y)
        return self._turned(self.base_dist.cdf(y))

    def icdf(self, value: Any) -> Tensor:
        return self._through(self.base_dist.icdf(self._turned(self._tensor(value))))

    def _turned(self, p: Tensor) -> Tensor:
        """p, and 1 - p where the transforms fall."""
        sign = math.prod(part.sign for part in self.transforms)
        return p if isinstance(sign, int) and sign == 1 else sign * (p - 0.5) + 0.5
