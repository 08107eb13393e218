"""Factors of matrices, computed by NumPy. Only pinv and lstsq have gradients."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.matmul import matmul
from ranvier.ops.numeric.matrices import matrix


class QRResult(NamedTuple):
    Q: Tensor
    R: Tensor


class LUFactors(NamedTuple):
    LU: Tensor
    pivots: Tensor


class LUResult(NamedTuple):
    P: Tensor
    L: Tensor
    U: Tensor


class SVDResult(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


class EighResult(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class LstsqResult(NamedTuple):
    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def qr(input: Any, some: bool = True) -> QRResult:
    """Q, orthogonal columns, and R, upper triangle, with Q R = A (..., m, n); no gradient.

    some: R has min(m, n) rows, else m.

    >>> import ranvier as rv
    >>> q, r = rv.qr(rv.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> q.shape, (q @ r).round(decimals=4).tolist()
    ((2, 2), [[3.0, 1.0], [4.0, 2.0]])
    """
    Q, R = np.linalg.qr(matrix("qr", input, False, False)._array, "reduced" if some else "complete")
    return QRResult(wrap(Q), wrap(R))


def svd(A: Any, full_matrices: bool = True) -> SVDResult:
    """U, S and Vh with U diag(S) Vh = A (..., m, n), the singular values S in falling order; no gradient.

    >>> import ranvier as rv
    >>> rv.linalg.svd(rv.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    return SVDResult(*map(wrap, np.linalg.svd(matrix("svd", A, False, False)._array, full_matrices)))


def svdvals(A: Any) -> Tensor:
    """The singular values of each matrix, in falling order; no gradient.

    >>> import ranvier as rv
    >>> rv.linalg.svdvals(rv.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.])
    """
    return wrap(np.linalg.svd(matrix("svdvals", A, False, False)._array, compute_uv=False))


def eigh(A: Any, UPLO: str = "L") -> EighResult:
    """Eigenvalues, in rising order, and eigenvectors, as columns, of symmetric matrices; no gradient.

    >>> import ranvier as rv
    >>> rv.linalg.eigh(rv.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    values, vectors = np.linalg.eigh(matrix("eigh", A, True, False)._array, UPLO)  # type: ignore[call-overload]
    return EighResult(wrap(values), wrap(vectors))


def eigvalsh(A: Any, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, in rising order; no gradient.

    >>> import ranvier as rv
    >>> rv.linalg.eigvalsh(rv.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    return wrap(np.linalg.eigvalsh(matrix("eigvalsh", A, True, False)._array, UPLO))  # type: ignore[call-overload]


class Pinv(Function):
    """P = A^+ of a fixed rank; dA = -P^T G P^T + (I - A P) G^T P P^T + P^T P G^T (I - P A) for G = dP"""

    def __init__(self, least: float) -> None:
        self.least = least

    def forward(self, A: Array) -> Array:
        self.A = A
        self.P = np.linalg.pinv(A.astype(np.float64), self.least)
        return self.P.astype(A.dtype)

    def backward(self, dP: Array) -> Array:
        A, P = self.A.astype(np.float64), self.P
        turned, Pt = np.swapaxes(dP, -1, -2), np.swapaxes(self.P, -1, -2)
        outer = turned @ P @ Pt - A @ (P @ (turned @ P @ Pt))
        inner = Pt @ P @ turned
        return (outer + inner - (inner @ P) @ A - Pt @ dP @ Pt).astype(dP.dtype)


def pinv(A: Any, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose inverse (..., n, m) of A (..., m, n). Its gradient is for a fixed rank.

    rcond: singular values below rcond times the greatest count as 0.

    >>> import ranvier as rv
    >>> rv.linalg.pinv(rv.tensor([[2.0], [0.0]]))
    tensor([[0.5000, 0.0000]])
    """
    A = matrix("pinv", A, False)
    y: Tensor = Pinv(max(rcond, float(np.finfo(A.dtype).eps) * max(A.shape[-2:]))).apply(A)
    return y


def pinverse(A: Any, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose inverse: see :func:`ranvier.linalg.pinv`.

    >>> import ranvier as rv
    >>> rv.pinverse(rv.tensor([[2.0], [0.0]]))
    tensor([[0.5000, 0.0000]])
    """
    return pinv(A, rcond)


def matrix_rank(A: Any, tol: float | None = None) -> Tensor:
    """The number of singular values above tol, by default eps max(m, n) times the greatest.

    >>> import ranvier as rv
    >>> rv.linalg.matrix_rank(rv.ones(3, 3))
    tensor(1)
    """
    array = matrix("matrix_rank", A, False, False)._array
    return wrap(np.asarray(np.linalg.matrix_rank(array, tol), np.int64))


def lstsq(A: Any, B: Any, rcond: float | None = None, *, driver: str | None = None) -> LstsqResult:
    """The X with the least |A X - B|, and of these the least |X|: A (..., m, n), B (..., m, k).

    driver is accepted: the solution is always by singular values. residuals and singular_values are empty.

    >>> import ranvier as rv
    >>> rv.linalg.lstsq(rv.tensor([[1.0], [1.0]]), rv.tensor([[2.0], [4.0]])).solution
    tensor([[3.]])
    """
    A, B = matrix("lstsq", A, False), matrix("lstsq", B, False)
    if A.shape[-2] != B.shape[-2]:
        raise ValueError(f"[lstsq] got A of shape {A.shape} and B of shape {B.shape}; expected rows alike")
    least = float(np.finfo(A.dtype).eps) * max(A.shape[-2:]) if rcond is None else rcond
    solution = matmul(Pinv(least).apply(A), B)
    empty = wrap(np.zeros(0, A.dtype))
    return LstsqResult(solution, empty, matrix_rank(A.detach()), empty)


def lu(A: Any) -> LUFactors:
    """The factors of A (..., n, n) in one matrix, L below the diagonal and U above, and the rows that were
    exchanged (..., n), counted from 1; no gradient.

    >>> import ranvier as rv
    >>> rv.lu(rv.tensor([[1.0, 2.0], [2.0, 2.0]])).pivots
    tensor([2, 2], dtype=ranvier.int32)
    """
    A = matrix("lu", A, True, False)
    n = A.shape[-1]
    both = A._array.reshape(-1, n, n).copy()
    pivots = np.zeros(both.shape[:2], np.int32)
    for lu, rows in zip(both, pivots, strict=True):
        for i in range(n):
            pivot = i + int(np.argmax(np.abs(lu[i:, i])))
            rows[i] = pivot + 1
            lu[[i, pivot]] = lu[[pivot, i]]
            if lu[i, i] != 0:
                lu[i + 1 :, i] /= lu[i, i]
                lu[i + 1 :, i + 1 :] -= np.outer(lu[i + 1 :, i], lu[i, i + 1 :])
    return LUFactors(wrap(both.reshape(A.shape)), wrap(pivots.reshape(A.shape[:-1])))


def lu_unpack(LU_data: Any, LU_pivots: Any) -> LUResult:
    """P, L and U with P L U = A, from :func:`ranvier.lu`.

    >>> import ranvier as rv
    >>> p, l, u = rv.lu_unpack(*rv.lu(rv.tensor([[1.0, 2.0], [2.0, 2.0]])))
    >>> p @ l @ u
    tensor([[1., 2.],
            [2., 2.]])
    """
    both = matrix("lu_unpack", LU_data, True, False)._array
    n = both.shape[-1]
    order = np.broadcast_to(np.arange(n), both.shape[:-1]).copy()
    rows = as_tensor("lu_unpack", LU_pivots)._array
    for some, exchanged in zip(order.reshape(-1, n), rows.reshape(-1, n), strict=True):
        for i, pivot in enumerate(exchanged - 1):
            some[[i, pivot]] = some[[pivot, i]]
    P = np.swapaxes(np.eye(n, dtype=both.dtype)[order], -1, -2)
    L = np.tril(both, -1) + np.eye(n, dtype=both.dtype)
    return LUResult(wrap(np.ascontiguousarray(P)), wrap(L), wrap(np.triu(both)))
