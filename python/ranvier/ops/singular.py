"""Norms of singular values: the spectral and the nuclear norm of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.dtypes import Array, is_floating
from ranvier.ops.shape import permute, reshape


class SingularNorm(Function):
    """y (...) = the greatest or least singular value of A (..., m, n), or the sum of all"""

    by_numpy = True

    def __init__(self, ord: Any) -> None:
        self.ord = ord

    def forward(self, A: Array) -> Array:
        try:
            self.u, self.s, self.vt = np.linalg.svd(A, full_matrices=False)
        except np.linalg.LinAlgError as error:
            raise ValueError("[matrix_norm] got a matrix without a result; expected finite values") from error
        if self.ord == "nuc":
            return np.asarray(self.s.sum(-1))
        if self.s.shape[-1] == 0:
            raise ValueError(f"[matrix_norm] got matrices of shape {A.shape[-2:]}; expected an element")
        return np.asarray(self.s.max(-1) if self.ord > 0 else self.s.min(-1))

    def backward(self, dy: Array) -> Array:
        share = np.ones_like(self.s)
        if self.ord != "nuc":  # values that are as large share it
            extreme = self.s.max(-1, keepdims=True) if self.ord > 0 else self.s.min(-1, keepdims=True)
            share = (self.s == extreme).astype(self.s.dtype)
            share /= share.sum(-1, keepdims=True)
        return (self.u * (share * dy[..., None])[..., None, :]) @ self.vt


def singular_norm(A: Tensor, ord: Any, rows: int, columns: int, keepdim: bool) -> Tensor:
    """The norm of the matrices in dimensions rows and columns; ord is 2, -2 or "nuc"."""
    if not is_floating(A):
        raise TypeError(f"[matrix_norm] got A of dtype {A.dtype}; expected float32 or float64")
    rest = [d for d in range(A.ndim) if d not in (rows, columns)]
    y: Tensor = SingularNorm(ord).apply(permute(A, (*rest, rows, columns)))
    if keepdim:
        y = reshape(y, tuple(1 if d in (rows, columns) else n for d, n in enumerate(A.shape)))
    return y
