"""Functions of torch.linalg that are made of this library's functions, and products of groups of rows."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import ranvier as rv
from ranvier import Tensor
from ranvier.tensors.types import DtypeLike

SolveEx = namedtuple("SolveEx", "result info")
LUFactorEx = namedtuple("LUFactorEx", "LU pivots info")


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> SolveEx:
    """linalg.solve as `result`, which is NaN for a singular A; `info` is the place of the first pivot that is
    0, counted from 1, or 0."""
    info = rv.linalg.inv_ex(A.detach()).info
    if not info.any():
        return SolveEx(rv.linalg.solve(A, B, left=left), info)
    if check_errors:
        raise rv.linalg.LinAlgError("[solve_ex] got a singular matrix; expected one with an inverse")
    bad = info.bool()[..., None, None]
    result = rv.linalg.solve(rv.where(bad, rv.eye(A.shape[-1], dtype=A.dtype), A), B, left=left)
    if result.ndim == 1:
        bad = bad[..., 0]
    return SolveEx(rv.where(bad, math.nan, result), info)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> LUFactorEx:
    """linalg.lu_factor, and the number of the first column without a pivot, or 0.

    >>> import ranvier as rv
    >>> lu_factor_ex(rv.eye(2)).info.item(), lu_factor_ex(rv.ones(2, 2)).info.item()
    (0, 2)
    """
    LU, pivots = rv.linalg.lu_factor(A, pivot=pivot)
    zero = LU.detach().diagonal(dim1=-2, dim2=-1).eq(0)
    if zero.shape[-1] == 0:
        return LUFactorEx(LU, pivots, rv.zeros(zero.shape[:-1], dtype=rv.int32))
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
    """The condition number: the norm of A times that of its inverse; infinite for a singular A, and, but for
    the norms of singular values, for one with NaN. It is 0 for matrices without elements.

    Raises ValueError for NaN if p is None, 2, -2 or "nuc".
    """
    if 0 in A.shape[-2:]:
        return A.sum((-2, -1))
    if p in (None, 2, -2, "nuc"):
        try:
            s = rv.linalg.svdvals(A)
        except rv.linalg.LinAlgError as error:
            text = "[cond] got a matrix without a result; expected finite values"
            raise rv.linalg.LinAlgError(text) from error
        if p == "nuc":
            return s.sum(-1) * s.reciprocal().sum(-1)
        greatest = s[..., 0]
        least = s[..., -1]
        if p == -2:
            return least / greatest
        return greatest / least
    inverse, info = rv.linalg.inv_ex(A)
    value = rv.linalg.matrix_norm(A, p) * rv.linalg.matrix_norm(inverse, p)
    return rv.where(info.bool() | value.isnan(), math.inf, value)


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a matrix: its first `ind` dimensions are the rows."""
    rows = math.prod(A.shape[:ind])
    return rv.linalg.inv(A.reshape(rows, -1)).reshape(*A.shape[ind:], *A.shape[:ind])


def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B."""
    last = [d % A.ndim for d in dims or ()]
    first = [d for d in range(A.ndim) if d not in last]
    A = A.permute(first + last)
    return rv.linalg.solve(A.reshape(B.numel(), -1), B.flatten()).reshape(A.shape[B.ndim :])


def falling_vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """torch.vander: the powers of each number as columns, the highest first unless `increasing`.

    >>> import ranvier as rv
    >>> falling_vander(rv.tensor([1, 2, 3]), 2)
    tensor([[1, 1],
            [2, 1],
            [3, 1]])
    """
    powers = vander(x, N=N)
    if increasing:
        return powers
    return powers.flip(-1)


def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    """The first n columns of the product of H_i = I - tau_i v_i v_i^T, as `geqrf` gives them: v_i (m) has 0
    above its diagonal element, 1 there, and column i of A (..., m, n) below; tau (..., k), k <= n <= m.

    >>> import ranvier as rv
    >>> householder_product(rv.tensor([[5.0], [1.0]]), rv.tensor([1.0]))
    tensor([[ 0.],
            [-1.]])
    """
    rows, columns = A.shape[-2:]
    count = tau.shape[-1]
    if not count <= columns <= rows or tau.shape[:-1] != A.shape[:-2]:
        raise RuntimeError(
            f"[householder_product] got A of shape {tuple(A.shape)} and tau of shape {tuple(tau.shape)}; "
            "expected (..., m, n) and (..., k) with k <= n <= m"
        )
    zeros = A.tril(-1).triu()  # not rv.zeros: the result requires gradients without a reflector, too
    product = zeros + rv.eye(rows, columns, dtype=A.dtype)
    reflectors = A.tril(-1) + rv.eye(rows, columns, dtype=A.dtype)
    for i in reversed(range(count)):
        v = reflectors[..., i : i + 1]
        scaled = tau[..., i, None, None] * v
        product = product - scaled @ (v.mT @ product)
    return product


def lobpcg(
    A: Tensor,
    k: int | None = None,
    B: Tensor | None = None,
    X: Tensor | None = None,
    n: int | None = None,
    iK: Tensor | None = None,
    niter: int | None = None,
    tol: float | None = None,
    largest: bool | None = None,
    method: str | None = None,
    tracker: Any = None,
    ortho_iparams: Any = None,
    ortho_fparams: Any = None,
    ortho_bparams: Any = None,
) -> tuple[Tensor, Tensor]:
    """The k largest eigenvalues (or smallest) of a symmetric A with A x = e B x, and their vectors.

    A is dense here, so that `linalg.eigh` computes them exactly: X, iK, niter, tol, method and what follows
    change nothing. k: 1, or the number of columns of X. Raises ValueError for fewer than 3 k rows.

    >>> import ranvier as rv
    >>> values, vectors = lobpcg(rv.diag(rv.tensor([1.0, 5.0, 2.0])))
    >>> values, vectors.abs().ravel()
    (tensor([5.]), tensor([0., 1., 0.]))
    """
    rows = A.shape[-1]
    if k is not None:
        count = k
    elif X is not None:
        count = X.shape[-1]
    else:
        count = 1
    if rows < 3 * count:
        raise ValueError(f"[lobpcg] got {rows} rows for {count} eigenpairs; expected at least 3 for each")
    if B is None:
        values, vectors = rv.linalg.eigh(A)
    else:
        lower = rv.linalg.cholesky(B)
        half = rv.linalg.solve_triangular(lower, A, upper=False)
        inner = rv.linalg.solve_triangular(lower, half.mT, upper=False)
        values, vectors = rv.linalg.eigh((inner + inner.mT) / 2)
        vectors = rv.linalg.solve_triangular(lower.mT, vectors, upper=True)
    if largest is None or largest:
        values = values.flip(-1)
        vectors = vectors.flip(-1)
    return values[..., :count], vectors[..., :count]


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """The powers 0, 1 ... of each number, as columns."""
    if not x.ndim:
        x = x.reshape(1)
    count = x.shape[-1] if N is None else N
    return x.unsqueeze(-1) ** rv.arange(count, dtype=x.dtype)


def grouped_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: DtypeLike | None = None,
) -> Tensor:
    """Products of matrices for groups, such as the tokens of each expert. offs (int32) has the end of each
    group.

    The shapes of a and b say what is divided into g groups:
    (m, k) and (g, k, n): the rows of a; each group is multiplied by its matrix of b. The result is (m, n).
    (g, m, k) and (k, n): the columns of b. The result is (m, n).
    (m, k) and (k, n): the axis k; each group gives a result. The result is (g, m, n).
    (g, m, k) and (g, k, n): batches, without offs. The result is (g, m, n).
    Rows and columns after the last group are 0.

    Raises RuntimeError for a bias, another out_dtype, other sizes, and offsets that fall or are too large.

    >>> import ranvier as rv
    >>> experts = rv.tensor([[[1.0]], [[2.0]]])
    >>> grouped_mm(rv.ones(3, 1), experts, offs=rv.tensor([1, 3], dtype=rv.int32)).tolist()
    [[1.0], [2.0], [2.0]]
    """
    a = mat_a
    b = mat_b
    if bias is not None or out_dtype not in (None, a.dtype):
        raise RuntimeError("[grouped_mm] got a bias or another out_dtype; expected neither, as PyTorch does")
    if a.ndim not in (2, 3) or b.ndim not in (2, 3) or (offs is None) != (a.ndim == b.ndim == 3):
        text = f"got a of shape {a.shape}, b of {b.shape}, offs {offs}"
        raise RuntimeError(f"[grouped_mm] {text}; expected offs where a matrix has two dimensions")
    if offs is None:
        return rv.bmm(a, b)
    ends = offs.tolist()
    if b.ndim == a.ndim:
        whole = a.shape[-1]
    elif a.ndim == 2:
        whole = a.shape[0]
    else:
        whole = b.shape[1]
    if b.ndim == 3:
        groups = b.shape[0]
    elif a.ndim == 3:
        groups = a.shape[0]
    else:
        groups = len(ends)
    if offs.dtype != rv.int32 or [0, *ends, whole] != sorted([0, *ends, whole]) or len(ends) != groups:
        text = f"got offs {ends} of {offs.dtype} for {groups} groups of {whole}"
        raise RuntimeError(f"[grouped_mm] {text}; expected int32, an end for each, which rises")
    parts = [slice(begin, end) for begin, end in zip([0, *ends], ends)]  # noqa: B905
    if a.ndim == b.ndim:
        return rv.stack([a[:, part] @ b[part] for part in parts])
    if b.ndim == 3:
        y = rv.cat([a[part] @ b[i] for i, part in enumerate(parts)])
        return rv.nn.functional.pad(y, (0, 0, 0, whole - len(y)))
    y = rv.cat([a[i] @ b[:, part] for i, part in enumerate(parts)], 1)
    return rv.nn.functional.pad(y, (0, whole - y.shape[1]))
