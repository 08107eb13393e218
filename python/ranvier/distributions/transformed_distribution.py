"""The distributions that transforms make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ranvier.autograd import Tensor
from ranvier.distributions.base import Distribution, Independent
from ranvier.distributions.constraints import dependent_property, independent
from ranvier.distributions.transform import ComposeTransform, Transform
from ranvier.distributions.utils import _sum_rightmost


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
        self.transforms, whole, base = parts, ComposeTransform(parts), base_distribution
        inside, outside = whole.domain.event_dim, whole.codomain.event_dim
        before, n = base.batch_shape + base.event_shape, len(base.event_shape)
        if len(before) < inside:
            raise ValueError(
                f"[TransformedDistribution] got a base distribution of shape {before}; expected at least "
                f"{inside} dimensions"
            )
        shape = whole.forward_shape(before)
        wide = whole.inverse_shape(shape)
        if wide != before:
            base = base.expand(wide[: len(wide) - n])
        self.base_dist = Independent(base, inside - n) if inside > n else base
        cut = len(shape) - max(outside, n + outside - inside)
        super().__init__(shape[:cut], shape[cut:], validate_args)

    has_rsample = property(lambda d: d.base_dist.has_rsample)

    @dependent_property
    def support(self) -> Any:
        if not self.transforms:
            return self.base_dist.support
        last = self.transforms[-1].codomain
        n = len(self.event_shape) - last.event_dim
        return independent(last, n) if n > 0 else last

    def _through(self, x: Tensor) -> Tensor:
        for part in self.transforms:
            x = part(x)
        return x

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self._through(self.base_dist.rsample(sample_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._through(self.base_dist.sample(sample_shape)).detach()

    def log_prob(self, value: Any) -> Tensor:
        y, total, dims = self._value(value), 0.0, len(self.event_shape)
        for part in reversed(self.transforms):
            x, inside = part.inv(y), part.domain.event_dim
            dims += inside - part.codomain.event_dim
            total = total - _sum_rightmost(part.log_abs_det_jacobian(x, y), dims - inside)
            y = x
        return total + _sum_rightmost(self.base_dist.log_prob(y), dims - len(self.base_dist.event_shape))

    def cdf(self, value: Any) -> Tensor:
        y = self._tensor(value)  # what no transform gives is nan there
        for part in reversed(self.transforms):
            y = part.inv(y)
        return self._turned(self.base_dist.cdf(y))

    def icdf(self, value: Any) -> Tensor:
        return self._through(self.base_dist.icdf(self._turned(self._tensor(value))))

    def _turned(self, p: Tensor) -> Tensor:
        """p, and 1 - p where the transforms fall."""
        sign = math.prod(part.sign for part in self.transforms)
        return p if isinstance(sign, int) and sign == 1 else sign * (p - 0.5) + 0.5
