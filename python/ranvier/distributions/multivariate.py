"""MultivariateNormal."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

import ranvier.linalg as linalg
import ranvier.ops as ops
from ranvier import randn
from ranvier.autograd import Tensor
from ranvier.distributions.base import Distribution, tensors
from ranvier.distributions.constraints import lower_cholesky, real_vector


class MultivariateNormal(Distribution):
    """Vectors (n) with the mean loc and one of: covariance_matrix, precision_matrix (its inverse) or
    scale_tril (its lower Cholesky factor), each (n, n), with batch dimensions before.

    Raises ValueError for a matrix that is not positive-definite, or other shapes.

    >>> import ranvier as rv
    >>> rv.distributions.MultivariateNormal(rv.zeros(2), rv.eye(2)).log_prob(rv.zeros(2))
    tensor(-1.8379)
    """

    has_rsample = True
    arg_constraints: ClassVar[Any] = {"loc": real_vector, "scale_tril": lower_cholesky}
    support = real_vector

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
        batch = np.broadcast_shapes(mean.shape[:-1], matrix.shape[:-2])
        self.loc = ops.broadcast_to(mean, (*batch, n))
        if scale_tril is None:
            check = self._validate_args if validate_args is None else validate_args
            if check and not _symmetric(matrix._array):
                raise ValueError("[MultivariateNormal] got a matrix that is not symmetric; expected one")
            matrix = ops.cholesky(matrix if precision_matrix is None else ops.inverse(matrix))
        self.scale_tril = ops.broadcast_to(matrix, (*batch, n, n))
        super().__init__(batch, mean.shape[-1:], validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = randn((*self._shape(sample_shape), 1), dtype=self.loc.dtype)
        return self.loc + ops.matmul(self.scale_tril, noise).squeeze(-1)

    def log_prob(self, value: Any) -> Tensor:
        away = (self._value(value) - self.loc).unsqueeze(-1)
        z = linalg.solve(ops.tril(self.scale_tril), away).squeeze(-1)  # no gradient above the diagonal
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
        return ops.inverse(self.covariance_matrix)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return ops.sum(self.scale_tril * self.scale_tril, -1)


def _symmetric(a: Any) -> Any:
    return np.allclose(a, np.swapaxes(a, -1, -2), atol=1e-6)
