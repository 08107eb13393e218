"""MultivariateNormal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd.random_tensors import randn
from ranvier.autograd.size import Size
from ranvier.autograd.tensor import Tensor
from ranvier.distributions.base import Distribution, require, tensors
from ranvier.distributions.constraints import Constraint
from ranvier.ops.numeric.matrices import cholesky, inverse, solve


class MultivariateNormal(Distribution):
    """Vectors (n) with the mean loc and one of: covariance_matrix, precision_matrix (its inverse) or
    scale_tril (its lower Cholesky factor), each (n, n), with batch dimensions before.

    Raises ValueError for a matrix that is not positive-definite, or other shapes.

    >>> import ranvier as rv
    >>> rv.distributions.MultivariateNormal(rv.zeros(2), rv.eye(2)).log_prob(rv.zeros(2))
    tensor(-1.8379)
    """

    has_rsample = True

    def __init__(
        self,
        loc: Any,
        covariance_matrix: Any = None,
        precision_matrix: Any = None,
        scale_tril: Any = None,
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
        self.batch_shape = Size(np.broadcast_shapes(mean.shape[:-1], matrix.shape[:-2]))
        self.event_shape = mean.shape[-1:]
        self.loc = ops.broadcast_to(mean, (*self.batch_shape, n))
        if scale_tril is not None:
            require("MultivariateNormal", "scale_tril", matrix, _LOWER, "a lower factor", validate_args)
        else:
            if validate_args is not False and not _symmetric(matrix._array):
                raise ValueError("[MultivariateNormal] got a matrix that is not symmetric; expected one")
            matrix = cholesky(matrix if precision_matrix is None else inverse(matrix))
        self.scale_tril = ops.broadcast_to(matrix, (*self.batch_shape, n, n))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = randn((*self._shape(sample_shape), 1), dtype=self.loc.dtype)
        return self.loc + ops.matmul(self.scale_tril, noise).squeeze(-1)

    def log_prob(self, value: Any) -> Tensor:
        away = (self._value(value) - self.loc).unsqueeze(-1)
        z = solve(ops.tril(self.scale_tril), away).squeeze(-1)  # no gradient above the diagonal
        constant = 0.5 * self.event_shape[0] * math.log(2 * math.pi)
        return -0.5 * ops.sum(z * z, -1) - self._half_logdet() - constant

    def entropy(self) -> Tensor:
        half: Tensor = self._half_logdet() + 0.5 * self.event_shape[0] * (1 + math.log(2 * math.pi))
        return half

    def _half_logdet(self) -> Tensor:
        return ops.sum(ops.log(ops.diagonal(self.scale_tril, 0, -2, -1)), -1)

    @property
    def covariance_matrix(self) -> Tensor:
        return ops.matmul(self.scale_tril, self.scale_tril.mT)

    @property
    def precision_matrix(self) -> Tensor:
        return inverse(self.covariance_matrix)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return ops.sum(self.scale_tril * self.scale_tril, -1)


def _is_lower(x: Any) -> Any:
    diagonal = ops.diagonal(x, 0, -2, -1)
    return ops.all(ops.eq(ops.tril(x), x), (-2, -1)) & ops.all(diagonal > 0, -1)  # type: ignore[operator]


_LOWER = Constraint("LowerCholesky()", _is_lower, 2)


def _symmetric(a: Any) -> Any:
    return np.allclose(a, np.swapaxes(a, -1, -2), atol=1e-6)
