"""Lower factors of correlation matrices."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

import ranvier.ops as ops
from ranvier import arange, randn
from ranvier.autograd import Tensor, wrap
from ranvier.distributions.base import Distribution, tensors
from ranvier.distributions.constraints import corr_cholesky, positive
from ranvier.distributions.gamma import Beta


class LKJCholesky(Distribution):
    """Lower factors L (dim, dim) of correlation matrices, with density proportional to
    det(L L^T)^(concentration - 1) in the correlations.

    Sampled by the onion method of Lewandowski, Kurowicka and Joe (2009): each row is a direction times the
    root of a Beta variable. Raises ValueError for dim < 2.

    >>> import ranvier as rv
    >>> rv.distributions.LKJCholesky(2, 1.0).log_prob(rv.eye(2))
    tensor(-0.6931)
    """

    arg_constraints: ClassVar[Any] = {"concentration": positive}
    support = corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if not isinstance(dim, (int, np.integer)) or dim < 2:
            raise ValueError(f"[LKJCholesky] got dim {dim!r}; expected a whole number of at least 2")
        self.dim = int(dim)
        (self.concentration,) = tensors(concentration)
        super().__init__(self.concentration.shape, (self.dim, self.dim), validate_args)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape, dtype = self._extended_shape(sample_shape), self.concentration.dtype
        rows = np.maximum(np.arange(self.dim), 1)
        other = self.concentration.detach()[..., None] + wrap((self.dim - 1 - rows) / 2).to(dtype)
        shares = Beta(wrap(rows / 2).to(dtype), other).sample(sample_shape)._array.astype(np.float64)
        shares[..., 0] = 0
        lower = np.tril(randn(shape, dtype=dtype)._array.astype(np.float64), -1)
        lower /= np.maximum(np.linalg.norm(lower, axis=-1, keepdims=True), np.finfo(np.float64).tiny)
        lower *= np.sqrt(shares)[..., None]
        least = np.finfo(dtype).tiny
        lower += np.sqrt(np.maximum(1 - shares, least))[..., None] * np.eye(self.dim)
        return wrap(lower.astype(dtype))

    def log_prob(self, value: Any) -> Tensor:
        x, a, n = self._value(value), self.concentration, self.dim
        order = arange(2, n + 1, dtype=a.dtype)
        powers = 2 * ops.unsqueeze(a - 1, -1) + n - order
        logs = ops.sum(powers * ops.log(ops.diagonal(x, 0, -2, -1)[..., 1:]), -1)
        alpha = a + 0.5 * (n - 1)
        gammas = ops.mvlgamma(alpha - 0.5, n - 1) - ops.lgamma(alpha) * (n - 1)
        return logs - (0.5 * (n - 1) * float(np.log(np.pi)) + gammas)
