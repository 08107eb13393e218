"""Functions of torch.linalg that are compositions of this library's."""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import ranvier as rv
from ranvier import Tensor

SolveEx = namedtuple("SolveEx", "result info")
LUFactorEx = namedtuple("LUFactorEx", "LU pivots info")


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> SolveEx:
    """linalg.solve, and 0, or 1 for a singular A, whose result is NaN."""
    info = rv.linalg.inv_ex(A.detach()).info
    if check_errors or not info.any():
        return SolveEx(rv.linalg.solve(A, B, left=left), info)
    bad = info.bool()[..., None, None]
    result = rv.linalg.solve(rv.where(bad, rv.eye(A.shape[-1], dtype=A.dtype), A), B, left=left)
    return SolveEx(rv.where(bad if result.ndim > 1 else bad[..., 0], math.nan, result), info)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> LUFactorEx:
    """linalg.lu_factor, and the number of the first column without a pivot, or 0.

    >>> import ranvier as rv
    >>> lu_factor_ex(rv.eye(2)).info.item(), lu_factor_ex(rv.ones(2, 2)).info.item()
    (0, 2)
    """
    LU, pivots = rv.linalg.lu_factor(A, pivot=pivot)
    zero = LU.detach().diagonal(dim1=-2, dim2=-1).eq(0)
    info = ((zero.int().argmax(-1) + 1) * zero.any(-1)).int()
    if check_errors and info.any():
        raise rv.linalg.LinAlgError("[lu_factor_ex] got a singular matrix; expected one with an inverse")
    return LUFactorEx(LU, pivots, info)


def lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """X with A X = B, or X A = B for left=False, from lu_factor's results for A, or for A^T with adjoint."""
    if not left:
        return lu_solve(LU, pivots, B.mT, adjoint=not adjoint).mT
    if not adjoint:
        return rv.lu_solve(B, LU, pivots)
    P, L, U = rv.lu_unpack(LU, pivots)
    y = rv.linalg.solve_triangular(U.mT, B, upper=False)
    return P @ rv.linalg.solve_triangular(L.mT, y, upper=True, unitriangular=True)


def matmul(input: Tensor, other: Tensor) -> Tensor:
    return rv.matmul(input, other)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    return A.diagonal(offset, dim1, dim2)


def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number: the norm of A times that of its inverse; infinite for a singular A."""
    if p in (None, 2, -2):
        s = rv.linalg.svdvals(A)
        greatest, least = s[..., 0], s[..., -1]
        return least / greatest if p == -2 else greatest / least
    inverse, info = rv.linalg.inv_ex(A)
    value = rv.linalg.matrix_norm(A, p) * rv.linalg.matrix_norm(inverse, p)
    return rv.where(info.bool(), math.inf, value)


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a matrix: its first `ind` dimensions are the rows."""
    rows = math.prod(A.shape[:ind])
    return rv.linalg.inv(A.reshape(rows, -1)).reshape(*A.shape[ind:], *A.shape[:ind])


def tensorsolve(A: Tensor, B: Tensor, dims: Any = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B."""
    for d in dims or ():
        A = A.movedim(d, -1)
    return rv.linalg.solve(A.reshape(B.numel(), -1), B.flatten()).reshape(A.shape[B.ndim :])


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0, 1 ... of each number, as columns."""
    count = x.shape[-1] if N is None else N
    return x.unsqueeze(-1) ** rv.arange(count, dtype=x.dtype)
