"""Transforms of random variables: of single numbers here, of vectors and of others beside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier.distributions.constraints as constraints
import ranvier.ops as ops
from ranvier import Size, full_like
from ranvier.autograd import Tensor
from ranvier.distributions.constraints import independent
from ranvier.distributions.transform import (
    ComposeTransform,
    IndependentTransform,
    ReshapeTransform,
    Transform,
    identity_transform,
)
from ranvier.distributions.transform import _InverseTransform as _InverseTransform
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

__all__ = [
    "AbsTransform", "AffineTransform", "CatTransform", "ComposeTransform", "CorrCholeskyTransform",
    "CumulativeDistributionTransform", "ExpTransform", "IndependentTransform", "LowerCholeskyTransform",
    "PositiveDefiniteTransform", "PowerTransform", "ReshapeTransform", "SigmoidTransform", "SoftmaxTransform",
    "SoftplusTransform", "StackTransform", "StickBreakingTransform", "TanhTransform", "Transform",
    "identity_transform",
]  # fmt: skip


class ExpTransform(Transform):
    """y = exp(x)"""

    bijective, sign, codomain = True, 1, constraints.positive

    def _call(self, x: Any) -> Tensor:
        return ops.exp(x)

    def _inverse(self, y: Any) -> Tensor:
        return ops.log(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return x


class PowerTransform(Transform):
    """y = x ** exponent, for x > 0"""

    bijective, domain, codomain = True, constraints.positive, constraints.positive

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        (self.exponent,) = broadcast_all(exponent)

    sign = property(lambda t: ops.sign(t.exponent))

    def with_cache(self, cache_size: int = 1) -> Transform:
        return self if self._cache_size == cache_size else PowerTransform(self.exponent, cache_size)

    def _call(self, x: Any) -> Tensor:
        return x**self.exponent

    def _inverse(self, y: Any) -> Tensor:
        return y ** (1 / self.exponent)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Tensor:
        return ops.log(ops.abs(self.exponent * y / x))

    def forward_shape(self, shape: Any) -> Any:
        return Size(np.broadcast_shapes(shape, self.exponent.shape))

    inverse_shape = forward_shape


class SigmoidTransform(Transform):
    """y = 1 / (1 + exp(-x))"""

    bijective, sign, codomain = True, 1, constraints.unit_interval

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

    bijective, sign, codomain = True, 1, constraints.interval(-1.0, 1.0)

    def _call(self, x: Any) -> Tensor:
        return ops.tanh(x)

    def _inverse(self, y: Any) -> Tensor:
        return ops.atanh(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return 2.0 * (math.log(2.0) - x - ops.softplus(-2.0 * x))


class SoftplusTransform(Transform):
    """y = log(1 + exp(x))"""

    bijective, sign, codomain = True, 1, constraints.positive

    def _call(self, x: Any) -> Tensor:
        return ops.softplus(x)

    def _inverse(self, y: Any) -> Any:
        return ops.log(-ops.expm1(-y)) + y

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Tensor:
        return -ops.softplus(-x)


class AbsTransform(Transform):
    """y = |x|; its inverse is y."""

    codomain = constraints.positive

    def _call(self, x: Any) -> Tensor:
        return ops.abs(x)

    def _inverse(self, y: Any) -> Any:
        return y


class AffineTransform(Transform):
    """y = loc + scale x; event_dim: how many of the last dimensions are one event."""

    bijective = True

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.loc, self.scale, self.event_dim = loc, scale, event_dim

    @property
    def domain(self) -> Any:
        return independent(constraints.real, self.event_dim) if self.event_dim else constraints.real

    codomain = domain

    @property
    def sign(self) -> Any:
        return ops.sign(self.scale) if isinstance(self.scale, Tensor) else (self.scale > 0) - (self.scale < 0)

    def with_cache(self, cache_size: int = 1) -> Transform:
        if self._cache_size == cache_size:
            return self
        return AffineTransform(self.loc, self.scale, self.event_dim, cache_size)

    def _call(self, x: Any) -> Any:
        return self.loc + self.scale * x

    def _inverse(self, y: Any) -> Any:
        return (y - self.loc) / self.scale

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Tensor:
        scale = self.scale if isinstance(self.scale, Tensor) else full_like(x, self.scale)
        return _sum_rightmost(expanded(ops.log(ops.abs(scale)), x.shape), self.event_dim)

    def forward_shape(self, shape: Any) -> Any:
        shapes = (getattr(x, "shape", ()) for x in (self.loc, self.scale))
        return Size(np.broadcast_shapes(tuple(shape), *shapes))

    inverse_shape = forward_shape


class CumulativeDistributionTransform(Transform):
    """y = F(x), F the distribution function of a distribution of numbers."""

    bijective, sign, codomain = True, 1, constraints.unit_interval

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.distribution = distribution

    domain = property(lambda t: t.distribution.support)

    def with_cache(self, cache_size: int = 1) -> Transform:
        return CumulativeDistributionTransform(self.distribution, cache_size)

    def _call(self, x: Any) -> Any:
        return self.distribution.cdf(x)

    def _inverse(self, y: Any) -> Any:
        return self.distribution.icdf(y)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return self.distribution.log_prob(x)
