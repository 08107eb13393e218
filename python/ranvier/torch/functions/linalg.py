"""Functions of torch.linalg that are made of this library's functions, and products of groups of rows."""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import TypeAlias

import ranvier as rv
from ranvier import Tensor
from ranvier.tensors.types import DtypeLike

NormOrder: TypeAlias = float | str | None
"""Which norm of a matrix: a number, "fro" or "nuc"; None: the usual one."""

SolveEx = namedtuple("SolveEx", "result info")
LUFactorEx = namedtuple("LUFactorEx", "LU pivots info")


def solve_ex(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> SolveEx:
    """linalg.solve as `result`, which is NaN for a singular A.

    `info` is the place of the first pivot that is 0, counted from 1, or 0 for a matrix with an inverse.
    """
    info = rv.linalg.inv_ex(A.detach()).info
    if not info.any():
        return SolveEx(rv.linalg.solve(A, B, left=left), info)
    if check_errors:
        raise rv.linalg.LinAlgError("[solve_ex] got a singular matrix; expected one with an inverse")
    is_singular = info.bool()[..., None, None]
    identity = rv.eye(A.shape[-1], dtype=A.dtype)  # in place of singular matrices, for which solve raises
    result = rv.linalg.solve(rv.where(is_singular, identity, A), B, left=left)
    if result.ndim == 1:
        is_singular = is_singular[..., 0]
    return SolveEx(rv.where(is_singular, math.nan, result), info)


def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False) -> LUFactorEx:
    """linalg.lu_factor, and the number of the first column without a pivot, or 0.

    >>> import ranvier as rv
    >>> lu_factor_ex(rv.eye(2)).info.item(), lu_factor_ex(rv.ones(2, 2)).info.item()
    (0, 2)
    """
    LU, pivots = rv.linalg.lu_factor(A, pivot=pivot)
    is_zero = LU.detach().diagonal(dim1=-2, dim2=-1).eq(0)  # which columns have no pivot
    if is_zero.shape[-1] == 0:
        return LUFactorEx(LU, pivots, rv.zeros(is_zero.shape[:-1], dtype=rv.int32))
    first = is_zero.int().argmax(-1) + 1
    info = (first * is_zero.any(-1)).int()
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


def cond(A: Tensor, p: NormOrder = None) -> Tensor:
    """The condition number: the norm of A times that of its inverse.

    It is infinite for a singular A, and 0 for matrices without elements. p: the norm; None, 2, -2 and "nuc"
    are those of singular values, which raise LinAlgError for NaN. With others it is infinite for an A with
    NaN.
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
    inverse = rv.linalg.inv(A.reshape(rows, -1))
    return inverse.reshape(*A.shape[ind:], *A.shape[:ind])


def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B. dims: the dimensions of A that are moved to its end before."""
    last = [d % A.ndim for d in dims or ()]
    first = [d for d in range(A.ndim) if d not in last]
    A = A.permute(first + last)
    matrix = A.reshape(B.numel(), -1)
    return rv.linalg.solve(matrix, B.flatten()).reshape(A.shape[B.ndim :])


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
    """The first n columns of the product of H_i = I - tau_i v_i v_i^T, as `geqrf` gives them.

    A: (..., m, n).
    tau: (..., k), k <= n <= m.

    v_i (m,) has 0 above its element i, 1 there, and below it column i of A.

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
    tracker: Callable[..., None] | None = None,
    ortho_iparams: dict[str, int] | None = None,
    ortho_fparams: dict[str, float] | None = None,
    ortho_bparams: dict[str, bool] | None = None,
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
        # With B = L L^T, the eigenvalues are those of L^-1 A L^-T, which has the vectors L^T x.
        lower = rv.linalg.cholesky(B)
        half = rv.linalg.solve_triangular(lower, A, upper=False)
        inner = rv.linalg.solve_triangular(lower, half.mT, upper=False)
        values, vectors = rv.linalg.eigh((inner + inner.mT) / 2)  # symmetric but for rounding
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

    The shapes of mat_a and mat_b, a and b below, say what is divided into g groups:
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
    if b.ndim == a.ndim:  # the axis k is divided
        length = a.shape[-1]
        groups = len(ends)
    elif a.ndim == 2:  # the rows of a
        length = a.shape[0]
        groups = b.shape[0]
    else:  # the columns of b
        length = b.shape[1]
        groups = a.shape[0]
    rises = [0, *ends, length] == sorted([0, *ends, length])
    if offs.dtype != rv.int32 or not rises or len(ends) != groups:
        text = f"got offs {ends} of {offs.dtype} for {groups} groups of {length}"
        raise RuntimeError(f"[grouped_mm] {text}; expected int32, an end for each, which rises")
    begins = [0, *ends[:-1]]
    slices = [slice(begin, end) for begin, end in zip(begins, ends, strict=True)]
    if a.ndim == b.ndim:
        return rv.stack([a[:, group] @ b[group] for group in slices])
    if a.ndim == 2:
        rows = rv.cat([a[group] @ b[i] for i, group in enumerate(slices)])
        return rv.nn.functional.pad(rows, (0, 0, 0, length - len(rows)))
    columns = rv.cat([a[i] @ b[:, group] for i, group in enumerate(slices)], 1)
    return rv.nn.functional.pad(columns, (0, length - columns.shape[1]))
