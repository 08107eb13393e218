"""Transforms of vectors and matrices: onto probabilities and Cholesky factors, and one for each part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ranvier.distributions.constraints as constraints
import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier import Size, arange, eye, finfo
from ranvier.autograd import Tensor
from ranvier.distributions.constraints import independent
from ranvier.distributions.transform import Transform
from ranvier.distributions.utils import _sum_rightmost, tril_matrix_to_vec, vec_to_tril_matrix
from ranvier.tensors.types import Shape


class SoftmaxTransform(Transform):
    """y = softmax(x); the inverse is log(y)."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def _call(self, x: Tensor) -> Tensor:
        return ops.softmax(x, -1)

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.log(y)


class StickBreakingTransform(Transform):
    """k numbers as k + 1 probabilities: y_i is the share sigmoid(x_i - log(k - i)) of what is left."""

    bijective = True
    domain = constraints.real_vector
    codomain = constraints.simplex

    @staticmethod
    def _shifts(x: Tensor) -> Tensor:
        """log k, ..., log 1"""
        k = x.shape[-1]
        return ops.log(arange(k, 0, -1, dtype=x.dtype))

    def _call(self, x: Tensor) -> Tensor:
        share = ops.sigmoid(x - self._shifts(x))
        left = ops.cumprod(1 - share, -1)
        return F.pad(share, (0, 1), value=1) * F.pad(left, (1, 0), value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        inner = y[..., :-1]
        left = ops.clip(1 - ops.cumsum(inner, -1), finfo(y.dtype).tiny, None)
        return ops.log(inner) - ops.log(left) + self._shifts(inner)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        x = x - self._shifts(x)
        return ops.sum(-x + ops.logsigmoid(x) + ops.log(y[..., :-1]), -1)

    def forward_shape(self, shape: Shape) -> Any:
        return Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Shape) -> Any:
        return Size((*shape[:-1], shape[-1] - 1))


class LowerCholeskyTransform(Transform):
    """A matrix as a lower factor: exp of its diagonal, 0 above."""

    domain = independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def _call(self, x: Tensor) -> Tensor:
        return ops.tril(x, -1) + ops.diag_embed(ops.exp(ops.diagonal(x, 0, -2, -1)))

    def _inverse(self, y: Tensor) -> Tensor:
        return ops.tril(y, -1) + ops.diag_embed(ops.log(ops.diagonal(y, 0, -2, -1)))


class PositiveDefiniteTransform(Transform):
    """A matrix as L L^T, L its lower factor of LowerCholeskyTransform."""

    domain = independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def _call(self, x: Tensor) -> Tensor:
        lower = LowerCholeskyTransform()(x)
        return ops.matmul(lower, lower.mT)

    def _inverse(self, y: Tensor) -> Any:
        return LowerCholeskyTransform().inv(ops.cholesky(y))


class CorrCholeskyTransform(Transform):
    """n (n - 1) / 2 numbers x as the lower Cholesky factor L (n, n) of a correlation matrix.

    z = tanh(x), placed row by row below the diagonal, are partial correlations:
    L[i, j] = z[i, j] * prod over k < j of sqrt(1 - z[i, k]^2), with z[i, i] = 1. Each row has norm 1.
    """

    bijective = True
    domain = constraints.real_vector
    codomain = constraints.corr_cholesky

    def _call(self, x: Tensor) -> Tensor:
        eps = finfo(x.dtype).eps
        partial = vec_to_tril_matrix(ops.clip(ops.tanh(x), -1 + eps, 1 - eps), -1)
        left = ops.cumprod(ops.sqrt(1 - partial * partial), -1)
        partial = partial + eye(partial.shape[-1], dtype=x.dtype)
        return partial * F.pad(left[..., :-1], (1, 0), value=1)

    def _inverse(self, y: Tensor) -> Tensor:
        left = F.pad((1 - ops.cumsum(y * y, -1))[..., :-1], (1, 0), value=1)
        return ops.atanh(tril_matrix_to_vec(y, -1) / ops.sqrt(tril_matrix_to_vec(left, -1)))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        # left: what is left of the squared norm of a row, 1, behind a column; slopes: the sum of -log |dz/dx|
        left = tril_matrix_to_vec(1 - ops.cumsum(y * y, -1), -2)
        slopes = 2 * ops.sum(x + ops.softplus(-2 * x) - math.log(2), -1)
        return 0.5 * ops.sum(ops.log(left), -1) - slopes

    def forward_shape(self, shape: Shape) -> Any:
        n = round((0.25 + 2 * shape[-1]) ** 0.5 + 0.5)  # the solution of n (n - 1) / 2 = shape[-1]
        if n * (n - 1) // 2 != shape[-1]:
            raise ValueError(
                f"[CorrCholeskyTransform] got {shape[-1]} numbers; expected as many as a triangle has"
            )
        return Size((*shape[:-1], n, n))

    def inverse_shape(self, shape: Shape) -> Any:
        return Size((*shape[:-2], shape[-1] * (shape[-1] - 1) // 2))


class _Parts(Transform):
    """Transforms the parts along `dim`, each with its own of `tseq`."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.transforms = list(tseq)
        if cache_size:
            self.transforms = [t.with_cache(cache_size) for t in tseq]
        self.dim = dim

    @property
    def bijective(self) -> bool:
        return all(part.bijective for part in self.transforms)

    def _divided(self, x: Tensor) -> Any:
        return ops.unbind(x, self.dim)

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        return ops.stack(parts, self.dim)

    def _call(self, x: Tensor) -> Any:
        return self._joined([t(part) for t, part in zip(self.transforms, self._divided(x), strict=True)])

    def _inverse(self, y: Tensor) -> Any:
        return self._joined([t.inv(part) for t, part in zip(self.transforms, self._divided(y), strict=True)])

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Any:
        pairs = zip(self.transforms, self._divided(x), self._divided(y), strict=True)
        return self._joined([t.log_abs_det_jacobian(a, b) for t, a, b in pairs])


class StackTransform(_Parts):
    """The parts are the elements along `dim`, one for each index."""

    @property
    def domain(self) -> Any:
        return constraints.stack([part.domain for part in self.transforms], self.dim)

    @property
    def codomain(self) -> Any:
        return constraints.stack([part.codomain for part in self.transforms], self.dim)


class CatTransform(_Parts):
    """The parts are slices along `dim`, of these lengths."""

    def __init__(
        self,
        tseq: Sequence[Transform],
        dim: int = 0,
        lengths: Sequence[int] | None = None,
        cache_size: int = 0,
    ) -> None:
        super().__init__(tseq, dim, cache_size)
        if lengths is not None:
            self.lengths = list(lengths)
        else:
            self.lengths = [1] * len(self.transforms)

    @property
    def domain(self) -> Any:
        return constraints.cat([p.domain for p in self.transforms], self.dim, self.lengths)

    @property
    def codomain(self) -> Any:
        return constraints.cat([p.codomain for p in self.transforms], self.dim, self.lengths)

    def _divided(self, x: Tensor) -> Any:
        return ops.split(x, self.lengths, self.dim)

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        return ops.cat(parts, self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Any:
        dims = max(t.domain.event_dim for t in self.transforms)
        parts = zip(self.transforms, self._divided(x), self._divided(y), strict=True)
        slopes = []
        for transform, a, b in parts:
            slope = transform.log_abs_det_jacobian(a, b)
            slopes.append(_sum_rightmost(slope, dims - transform.domain.event_dim))
        from_end = self.dim if self.dim < 0 else self.dim - x.ndim
        dim = from_end + dims  # the slopes have no longer the last `dims` dimensions
        # `dim` within the event: one sum for all
        if dim < 0:
            return ops.cat(slopes, dim)
        return sum(slopes)
