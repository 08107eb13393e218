"""Transforms of random variables, and the distributions that they make."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier.distributions.constraints as constraints
import ranvier.ops as ops
from ranvier import full_like
from ranvier.autograd import Tensor
from ranvier.autograd.errors import own_methods
from ranvier.distributions.base import Distribution
from ranvier.distributions.constraints import Constraint, independent


class Transform:
    """y = f(x), invertible. A subclass defines ``_call(x)``, ``_inverse(y)`` and
    ``log_abs_det_jacobian(x, y)``, the logarithm of |dy/dx|.

    cache_size: 1 keeps the last pair, so that the inverse of a result is exactly its argument.

    >>> import ranvier as rv
    >>> tanh = rv.distributions.TanhTransform()
    >>> tanh.inv(tanh(rv.tensor(0.5)))
    tensor(0.5000)
    """

    bijective = True
    sign: Any = 1
    domain: Constraint = constraints.real
    codomain: Constraint = constraints.real

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        own_methods(cls, "__init__")

    def __init__(self, cache_size: int = 0) -> None:
        if cache_size not in (0, 1):
            raise ValueError(f"[{type(self).__name__}] got cache_size {cache_size}; expected 0 or 1")
        self._cache_size = cache_size
        self._cached_x_y: tuple[Any, Any] = (None, None)

    def _call(self, x: Any) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] _call is not defined")

    def _inverse(self, y: Any) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] _inverse is not defined")

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        raise NotImplementedError(f"[{type(self).__name__}] log_abs_det_jacobian is not defined")

    def __call__(self, x: Any) -> Any:
        if self._cache_size and x is self._cached_x_y[0]:
            return self._cached_x_y[1]
        y = self._call(x)
        if self._cache_size:
            self._cached_x_y = x, y
        return y

    def _inv_call(self, y: Any) -> Any:
        if self._cache_size and y is self._cached_x_y[1]:
            return self._cached_x_y[0]
        x = self._inverse(y)
        if self._cache_size:
            self._cached_x_y = x, y
        return x

    @property
    def inv(self) -> Transform:
        """The inverse transform."""
        return _Inverse(self)

    def __eq__(self, other: Any) -> bool:
        """Whether it is the same function: of one class, with equal settings."""
        if type(self) is not type(other):
            return False
        names = set(vars(self)) - {"_cache_size", "_cached_x_y"}
        return all(_equal(getattr(self, name), getattr(other, name, None)) for name in names)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _equal(a: Any, b: Any) -> bool:
    same = a == b
    return bool(same.all()) if isinstance(same, Tensor) else bool(same)


class _Inverse(Transform):
    def __init__(self, of: Transform) -> None:
        super().__init__()
        self._of, self.domain, self.codomain, self.sign = of, of.codomain, of.domain, of.sign

    def __call__(self, x: Any) -> Any:
        return self._of._inv_call(x)

    def _inv_call(self, y: Any) -> Any:
        return self._of(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return -self._of.log_abs_det_jacobian(y, x)

    @property
    def inv(self) -> Transform:
        return self._of


class ExpTransform(Transform):
    """y = exp(x)"""

    codomain = constraints.positive

    def _call(self, x: Any) -> Tensor:
        return ops.exp(x)

    def _inverse(self, y: Any) -> Tensor:
        return ops.log(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return x


class SigmoidTransform(Transform):
    """y = 1 / (1 + exp(-x))"""

    codomain = constraints.unit_interval

    def _call(self, x: Any) -> Tensor:
        tiny = np.finfo(x.dtype)
        return ops.clip(ops.sigmoid(x), float(tiny.tiny), 1 - float(tiny.eps))

    def _inverse(self, y: Any) -> Tensor:
        tiny = np.finfo(y.dtype)
        y = ops.clip(y, float(tiny.tiny), 1 - float(tiny.eps))
        return ops.log(y) - ops.log1p(-y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Tensor:
        return -ops.softplus(-x) - ops.softplus(x)


class TanhTransform(Transform):
    """y = tanh(x)"""

    codomain = constraints.interval(-1.0, 1.0)

    def _call(self, x: Any) -> Tensor:
        return ops.tanh(x)

    def _inverse(self, y: Any) -> Tensor:
        return ops.atanh(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return 2.0 * (math.log(2.0) - x - ops.softplus(-2.0 * x))


class SoftplusTransform(Transform):
    """y = log(1 + exp(x))"""

    codomain = constraints.positive

    def _call(self, x: Any) -> Tensor:
        return ops.softplus(x)

    def _inverse(self, y: Any) -> Any:
        return ops.log(-ops.expm1(-y)) + y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Tensor:
        return -ops.softplus(-x)


class AffineTransform(Transform):
    """y = loc + scale x"""

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        if event_dim:
            raise ValueError(f"[AffineTransform] got event_dim {event_dim}; expected 0: use Independent")
        self.loc, self.scale = loc, scale
        self.sign = 1 if isinstance(scale, (int, float)) and scale > 0 else ops.sign(scale)

    def _call(self, x: Any) -> Any:
        return self.loc + self.scale * x

    def _inverse(self, y: Any) -> Any:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Tensor:
        scale = self.scale if isinstance(self.scale, Tensor) else full_like(x, self.scale)
        return ops.broadcast_to(ops.log(ops.abs(scale)), x.shape)


class ComposeTransform(Transform):
    """y = f_n(... f_1(x))"""

    def __init__(self, parts: Sequence[Transform], cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.parts = list(parts)
        if self.parts:
            self.domain, self.codomain = self.parts[0].domain, self.parts[-1].codomain
        self.sign = math.prod(part.sign for part in self.parts)

    def _call(self, x: Any) -> Any:
        for part in self.parts:
            x = part(x)
        return x

    def _inverse(self, y: Any) -> Any:
        for part in reversed(self.parts):
            y = part._inv_call(y)
        return y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        total: Any = 0.0 if self.parts else full_like(x, 0.0)
        for part in self.parts:
            result = part(x)
            total = part.log_abs_det_jacobian(x, result) + total
            x = result
        return total


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
