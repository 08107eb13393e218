"""Factorizations of matrices (QR, eigenvalues, SVD, LU, pseudoinverse) and least squares, with gradients.

The core computes QR and LU, and factors of small matrices with kernels of their own (`small.py`), NumPy
(LAPACK) singular values and the eigenvectors of larger matrices. forward saves the factors. The gradients are
the `@rule` after each Function, formulas of ops; backward runs the same rule (`by_rule`), since it need not
be fast. Matrices are (..., m, n): leading dimensions are a batch. M^T is written M.mT.
"""

from __future__ import annotations

from collections import namedtuple
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import mode
from ranvier.observe import observers
from ranvier.ops.elementwise.arithmetic import mul, sub
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.gradient_rules import by_rule
from ranvier.ops.matrix.cholesky import SolveTriangular
from ranvier.ops.matrix.inverse import eliminated, matrix
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.matrix.singular import (
    Svd,
    decomposed,
    ones_in_diagonal,
    over_differences,
    singular_values,
    svd_of,
)
from ranvier.ops.matrix.small import eliminates, rotates
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.repeat import tril, triu
from ranvier.ops.shape.reshape import reshape, squeeze, unsqueeze
from ranvier.tape.function import Function
from ranvier.tape.higher_order import of_input, of_output, rule
from ranvier.tensors.errors import number, one_of
from ranvier.tensors.failures import DtypeError, OpError, misfit
from ranvier.tensors.memory import is_batched, keep
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, by_numpy, wrap
from ranvier.tensors.types import DtypeLike, TensorLike

QRResult = namedtuple("QRResult", "Q R")
LUFactors = namedtuple("LUFactors", "LU pivots")
LUResult = namedtuple("LUResult", "P L U")
SVDResult = namedtuple("SVDResult", "U S Vh")
EighResult = namedtuple("EighResult", "eigenvalues eigenvectors")
LstsqResult = namedtuple("LstsqResult", "solution residuals rank singular_values")


class Qr(Function):
    """Q, R with Q R = A (..., m, n)"""

    backward = by_rule

    def __init__(self, mode: str) -> None:
        self.mode = mode  # of np.linalg.qr: "reduced", "complete", or "r" for R alone

    def forward(self, A: Array) -> Any:
        if eliminates(A):
            Q, R = _core.small_qr(A, self.mode)
        elif self.mode == "r":
            Q, R = None, _core._qr_r(A)
        else:
            Q, R = _core._qr(A, self.mode == "complete")
        if Q is None:
            Q = keep(np.zeros(0, A.dtype))
        self.factors = (Q, R)
        return self.factors


@rule(Qr)
def _of_qr(node: Qr, dQ: Tensor | None, dR: Tensor | None) -> Tensor:
    """The gradient of A (m, n).

    m >= n, Walter and Lehmann (2012): dA = (dQ + Q sym(R dR^T - dQ^T Q)) R^-T, where sym(M) has the lower
    triangle of M in both halves. m < n, Roberts and Roberts (2020), with A = (X, Y) and R = (U, W), X and U
    square: dX is the formula above with U for R and dQ + Y dW^T for dQ, and dY = Q dW.
    """
    if node.mode == "r":
        raise RuntimeError("[qr] got mode 'r', which keeps no Q; expected 'reduced', which has gradients")
    Q = of_output(node, node.factors[0], 0)  # (m, k), k = min(m, n)
    R = of_output(node, node.factors[1], 1)  # (k, n)
    m, k = Q.shape[-2:]
    n = R.shape[-1]
    if k > n:
        raise RuntimeError(
            f"[qr] got mode 'complete' and shape {(m, n)}; expected 'reduced', which has gradients"
        )
    if dQ is None:
        dQ = Q * 0.0
    if dR is None:
        dR = R * 0.0
    U = R[..., :k]
    W = R[..., k:]
    dU = dR[..., :k]
    dW = dR[..., k:]
    if n > k:
        dQ = dQ + matmul(matmul(Q, W), dW.mT)
    M = matmul(U, dU.mT) - matmul(dQ.mT, Q)
    dX = dQ + matmul(Q, tril(M) + tril(M, -1).mT)
    dX = SolveTriangular("qr", upper=True).apply(U, dX.mT).mT  # dX U^-T
    if n == k:
        return dX
    return cat([dX, matmul(Q, dW)], -1)


class Eigh(Function):
    """Eigenvalues and eigenvectors V of a symmetric A: V diag(values) V^T = A (..., n, n)"""

    backward = by_rule

    def __init__(self, name: str, uplo: str) -> None:
        one_of(name, "UPLO", uplo, ("L", "U"))
        self.op = name
        self.uplo = uplo

    def forward(self, A: Array) -> Any:
        self.factors: Any
        if rotates(A):
            self.factors = _core.small_eigh(A, self.uplo == "U")
        else:
            self.factors = host(_eigh_by_lapack, self.op, A, self.uplo)
        return self.factors


def _eigh_by_lapack(name: str, A: Array, uplo: str) -> tuple[Array, ...]:
    return tuple(decomposed(name, np.linalg.eigh, A, uplo))


@rule(Eigh)
def _of_eigh(node: Eigh, dL: Tensor | None, dV: Tensor | None) -> Tensor:
    """Magnus (1985): dA = V M V^T, made symmetric, where M is V^T dV / (L_j - L_i) off the diagonal and dL on
    it."""
    L = of_output(node, node.factors[0], 0)  # the eigenvalues (n,)
    V = of_output(node, node.factors[1], 1)  # the eigenvectors, columns of (n, n)
    if dL is None:
        inner = None
    else:
        inner = dL.unsqueeze(-2) * ones_in_diagonal(L)
    if dV is not None:
        shares = matmul(V.mT, dV)
        beside_diagonal = over_differences((shares - shares.mT) * 0.5, L)
        if inner is None:
            inner = beside_diagonal
        else:
            inner = inner + beside_diagonal
    assert inner is not None
    dA = matmul(matmul(V, inner), V.mT)
    return (dA + dA.mT) * 0.5


def qr(input: TensorLike, some: bool = True) -> QRResult:
    """Q, orthogonal columns, and R, upper triangle, with Q R = A (..., m, n).

    some: R has min(m, n) rows, else m; then gradients raise RuntimeError where m > n, as Q's last columns are
    arbitrary. They raise ValueError where the first min(m, n) columns of A are not independent. Gradients by
    Walter and Lehmann (2012), "Algorithmic differentiation of linear algebra functions", and for m < n by
    Roberts and Roberts (2020), arXiv:2009.10071.

    >>> import ranvier as rv
    >>> q, r = rv.qr(rv.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> q.shape, (q @ r).round(decimals=4).tolist()
    ((2, 2), [[3.0, 1.0], [4.0, 2.0]])
    """
    A = matrix("qr", input, square=False)
    mode = "reduced" if some else "complete"
    return QRResult(*Qr(mode).apply(A))


def svd(A: TensorLike, full_matrices: bool = True, *, driver: None = None) -> SVDResult:
    """U, S and Vh with U diag(S) Vh = A (..., m, n), the singular values S in falling order.

    Gradients by Townsend (2016), "Differentiating the singular value decomposition". If two singular values
    are equal, or one is 0 and m != n, gradients through U and Vh, and second gradients through S, are inf or
    NaN. With full_matrices, gradients of the columns of U and rows of Vh after the first min(m, n) are left
    out, since these columns and rows are arbitrary.

    >>> import ranvier as rv
    >>> rv.linalg.svd(rv.tensor([[3.0, 0.0], [0.0, 4.0]])).S
    tensor([4., 3.])
    """
    A = matrix("svd", A, square=False)
    return SVDResult(*Svd("svd", bool(full_matrices)).apply(A))


def svdvals(A: TensorLike, *, driver: None = None) -> Tensor:
    """The singular values of each matrix, in falling order; NaN for a matrix with inf.

    Raises linalg.LinAlgError, a ValueError, for NaN.

    >>> import ranvier as rv
    >>> rv.linalg.svdvals(rv.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.])
    """
    A = matrix("svdvals", A, square=False)
    if A.requires_grad and mode.enabled:
        return SVDResult(*Svd("svdvals", infinite=True).apply(A)).S
    return by_numpy(singular_values, "svdvals", A._array)


def eigh(A: TensorLike, UPLO: str = "L") -> EighResult:
    """Eigenvalues, in rising order, and eigenvectors, as columns, of symmetric matrices.

    UPLO: the triangle that is read. The gradient is symmetric; by Magnus (1985), "On differentiating
    eigenvalues and eigenvectors". If two eigenvalues are equal, gradients through eigenvectors, and second
    gradients through eigenvalues, are inf or NaN.

    >>> import ranvier as rv
    >>> rv.linalg.eigh(rv.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])
    """
    return EighResult(*Eigh("eigh", UPLO).apply(matrix("eigh", A)))


def eigvalsh(A: TensorLike, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices, in rising order: see :func:`eigh`.

    >>> import ranvier as rv
    >>> rv.linalg.eigvalsh(rv.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([1., 2.])
    """
    A = matrix("eigvalsh", A)
    if A.requires_grad and mode.enabled:
        return EighResult(*Eigh("eigvalsh", UPLO).apply(A)).eigenvalues
    one_of("eigvalsh", "UPLO", UPLO, ("L", "U"))
    if rotates(A._array):
        return wrap(_core.small_eigh(A._array, UPLO == "U", False)[0])
    return by_numpy(_eigenvalues_by_lapack, "eigvalsh", A._array, UPLO)


def _eigenvalues_by_lapack(name: str, A: Array, uplo: str) -> Array:
    return decomposed(name, np.linalg.eigvalsh, A, uplo)


class Pinv(Function):
    """P = A^+ for a fixed rank; singular values up to max(atol, rtol times the greatest) count as 0"""

    by_numpy = True  # NumPy computes it, not the core
    backward = by_rule

    def __init__(self, name: str, atol: float, rtol: float) -> None:
        self.op = name
        self.limits = (atol, rtol)

    def forward(self, A: Array) -> Array:
        U, S, Vh = svd_of(self.op, A.astype(np.float64), False)
        inverse_S = np.divide(1, S, out=np.zeros_like(S), where=_counted(S, *self.limits))
        self.A = A
        self.P = np.swapaxes(U * inverse_S[..., None, :] @ Vh, -1, -2)  # V S^-1 U^T, float64
        self.y = self.P.astype(A.dtype)
        return self.y


@rule(Pinv)
def _of_pinv(node: Pinv, dP: Tensor) -> Tensor:
    """Golub and Pereyra (1973): -P^T G P^T + (I - A P) G^T P P^T + P^T P G^T (I - P A), G = dP."""
    float64 = np.dtype(np.float64)
    A = of_input(node, 0, node.A).to(float64)
    G = dP.to(float64)
    if mode.enabled:  # a second derivative: P with its history
        P = of_output(node, node.y).to(float64)
    else:
        P = wrap(node.P)
    Pt = P.mT
    Gt = G.mT
    Gt_P_Pt = matmul(matmul(Gt, P), Pt)
    Pt_P_Gt = matmul(matmul(Pt, P), Gt)
    of_rows = Gt_P_Pt - matmul(A, matmul(P, Gt_P_Pt))
    of_columns = Pt_P_Gt - matmul(matmul(Pt_P_Gt, P), A)
    of_inverse = matmul(matmul(Pt, G), Pt)
    dA = of_rows + of_columns - of_inverse
    return dA.to(dP.dtype)


class Limits(NamedTuple):
    """Singular values up to max(atol, rtol times the greatest) count as 0."""

    atol: float
    rtol: float


def _limits(
    name: str, A: Tensor, atol: TensorLike | None, rtol: TensorLike | None, hermitian: bool = False
) -> Limits:
    """The limits as numbers. Without rtol it is eps max(m, n), or 0 if atol is above 0."""
    if atol is not None:
        atol = number(name, "atol", atol)
    if rtol is not None:
        rtol = number(name, "rtol", rtol)
    if hermitian:
        raise OpError(f"[{name}] got hermitian=True; expected False, which is right for all matrices")
    if rtol is None:
        if atol:
            rtol = 0.0
        else:
            rtol = float(np.finfo(A.dtype).eps) * max(A.shape[-2:])
    return Limits(atol or 0.0, rtol)


def _counted(values: Array, atol: float, rtol: float) -> Array:
    """True for the singular values that do not count as 0."""
    return values > np.maximum(rtol * values.max(-1, initial=0.0, keepdims=True), atol)


def pinv(
    A: TensorLike,
    rcond: TensorLike | None = None,
    *,
    atol: TensorLike | None = None,
    rtol: TensorLike | None = None,
    hermitian: bool = False,
) -> Tensor:
    """The Moore-Penrose inverse (..., n, m) of A (..., m, n). Its gradient is for a fixed rank.

    Singular values up to max(atol, rtol times the greatest) count as 0; rcond is another name of rtol. rtol
    is eps max(m, n) by default, and 0 beside an atol above 0. hermitian=True is refused.

    >>> import ranvier as rv
    >>> rv.linalg.pinv(rv.tensor([[2.0], [0.0]]))
    tensor([[0.5000, 0.0000]])
    """
    if rtol is None:
        rtol = rcond
    y = _pinv(matrix("pinv", A, square=False), rtol, atol, hermitian)
    return _core._autocast_cast("lower", y)


def _pinv(
    A: Tensor, rtol: TensorLike | None, atol: TensorLike | None = None, hermitian: bool = False
) -> Tensor:
    return Pinv("pinv", *_limits("pinv", A, atol, rtol, hermitian)).apply(A)


def pinverse(A: TensorLike, rcond: float = 1e-15) -> Tensor:
    """The Moore-Penrose inverse: see :func:`ranvier.linalg.pinv`.

    >>> import ranvier as rv
    >>> rv.pinverse(rv.tensor([[2.0], [0.0]]))
    tensor([[0.5000, 0.0000]])
    """
    return _pinv(matrix("pinverse", A, square=False), rcond)


def matrix_rank(
    A: TensorLike,
    tol: TensorLike | None = None,
    *,
    atol: TensorLike | None = None,
    rtol: TensorLike | None = None,
    hermitian: bool = False,
) -> Tensor:
    """The number of singular values above max(atol, rtol times the greatest); tol is another name of atol.

    rtol is eps max(m, n) by default, and 0 beside an atol above 0. hermitian=True is refused.

    >>> import ranvier as rv
    >>> rv.linalg.matrix_rank(rv.ones(3, 3))
    tensor(1)
    """
    A = matrix("matrix_rank", A, square=False)
    if atol is None:
        atol = tol
    limits = _limits("matrix_rank", A, atol, rtol, hermitian)
    return by_numpy(_rank, "matrix_rank", A._array, *limits)


def _rank(name: str, A: Array, atol: float, rtol: float) -> Array:
    """The ranks (...) of matrices: 0, as in PyTorch, for one with inf, whose singular values are NaN."""
    return np.asarray(_counted(singular_values(name, A), atol, rtol).sum(-1), np.int64)


def lstsq(
    A: TensorLike, B: TensorLike, rcond: float | None = None, *, driver: str | None = None
) -> LstsqResult:
    """The X with the least |A X - B|, and among these the least |X|: A (..., m, n), B (..., m, k), X (..., n,
    k); or B (..., m) and X (..., n).

    The solution is computed from Q and R if A has full rank and m >= n, else from singular values. driver
    decides only, as in PyTorch, which of the other results are empty: rank for "gels"; singular_values unless
    driver is "gelsd" or "gelss"; residuals (..., k), the sums of squares of B - A X, for None and "gelsy",
    and if m <= n or a rank is below n.

    >>> import ranvier as rv
    >>> rv.linalg.lstsq(rv.tensor([[1.0], [1.0]]), rv.tensor([[2.0], [4.0]])).solution.round(decimals=4)
    tensor([[3.]])
    """
    A = matrix("lstsq", A, square=False)
    B = as_tensor("lstsq", B)
    if B.shape == A.shape[:-1]:
        columns = lstsq(A, unsqueeze(B, -1), rcond, driver=driver)
        return columns._replace(solution=squeeze(columns.solution, -1))
    B = matrix("lstsq", B, square=False)
    if A.shape[-2] != B.shape[-2]:
        raise misfit("lstsq", {"A": A.shape, "B": B.shape}, "rows alike")
    if rcond is None:
        least = float(np.finfo(A.dtype).eps) * max(A.shape[-2:])
    else:
        least = number("lstsq", "rcond", rcond)
    one_of("lstsq", "driver", driver, (None, "gels", "gelsy", "gelsd", "gelss"))
    return _core._without_autocast(_least_squares, A, B, least, driver)


def _are_full(rank: Tensor, n: int) -> bool:
    """True if all ranks are n. Within vmap it must be so for all slices, or for none."""
    ranks = rank._array if is_batched(rank._array) else rank._read("lstsq")
    return bool((ranks == n).all())


def _least_squares(A: Tensor, B: Tensor, least: float, driver: str | None) -> LstsqResult:
    """The results of `lstsq`. least: singular values up to this times the greatest count as 0."""
    m, n = A.shape[-2:]
    solution = None
    if driver not in ("gelsd", "gelss") and m >= n > 0 and not observers and A.dtype == B.dtype:
        solution = _by_reflections(A, B, least)
        rank = wrap(np.full(A.shape[:-2], n, np.int64))
    if solution is None:
        solution = matmul(Pinv("lstsq", 0.0, least).apply(A), B)
        rank = by_numpy(_rank, "lstsq", A._array, 0.0, least)
    with_residuals = driver in ("gels", "gelsd", "gelss") and m > n
    if with_residuals and _are_full(rank, n):
        error = sub(matmul(A, solution), B)
        residuals = total(mul(error, error), -2)
    else:
        residuals = reshape(solution, (-1,))[:0].clone()
    if driver in ("gelsd", "gelss"):
        values = svdvals(A.detach())
    else:
        values = wrap(np.zeros(0, A.dtype))
    if driver == "gels":
        rank = wrap(np.zeros(0, np.int64))
    return LstsqResult(solution, residuals, rank, values)


class LeastSquares(Function):
    """x with the least |A x - b| for A = Q R (..., m, n) of full rank, m >= n, and b (..., m, k).

    With w = R^-T dx, db = Q w and dA = (R^-1 (w (b - A x)^T))^T - db x^T; in this order the numbers stay in
    the range of the dtype where R is very small or large.
    """

    backward = by_rule

    def __init__(self, R: Array, right: Array) -> None:
        self.R = R  # of A = Q R
        self.right = right  # the first n rows of Q^T b

    def forward(self, A: Array, b: Array) -> Array:
        self.A = A
        self.b = b
        self.y = _core.solve_triangular(self.R, self.right, upper=True)
        return self.y


@rule(LeastSquares)
def _of_least_squares(node: LeastSquares, dx: Tensor) -> tuple[Tensor, Tensor]:
    A = of_input(node, 0, node.A)
    b = of_input(node, 1, node.b)
    x = of_output(node, node.y)
    if mode.enabled:  # a second derivative: R with its history
        _, R = Qr("reduced").apply(A)
    else:
        R = wrap(node.R)
    w = SolveTriangular("lstsq", upper=False).apply(R.mT, dx)
    Qt = SolveTriangular("lstsq", upper=False).apply(R.mT, A.mT)
    db = matmul(Qt.mT, w)
    rest = b - matmul(A, x)
    of_rest = SolveTriangular("lstsq", upper=True).apply(R, matmul(w, rest.mT)).mT
    return of_rest - matmul(db, x.mT), db


def _by_reflections(A: Tensor, B: Tensor, least: float) -> Tensor | None:
    """The solutions from Q and R, or None if a matrix A (..., m, n), m >= n, has not full rank."""
    n = A.shape[-1]
    if A.shape[:-2] != B.shape[:-2]:
        Q, R = Qr("reduced").apply(A)
        if not _has_full_rank(R._array, least):
            return None
        return SolveTriangular("lstsq", upper=True).apply(R, matmul(Q.mT, B))
    both = _core._qr_r(np.concatenate([A._array, B._array], -1), n)  # R and Q^T B
    R = np.ascontiguousarray(both[..., :n, :n])
    if not _has_full_rank(R, least):
        return None
    return LeastSquares(R, both[..., :n, n:]).apply(A, B)


def _has_full_rank(R: Array, least: float) -> bool:
    """True if each triangle R (..., n, n) is finite, and its singular values are above `least` times the
    greatest."""
    if not np.isfinite(R).all():
        return False
    n = R.shape[-1]
    # The greatest singular value is at most |R|, the least at least 1 / |R^-1|, in Frobenius norms. The
    # factor 2 is more than these values can be off.
    if np.diagonal(R, axis1=-2, axis2=-1).all():
        inverse = _core.solve_triangular(R, np.eye(n, dtype=R.dtype), upper=True)
        with np.errstate(all="ignore"):  # NaN is not below 1
            condition = _frobenius(R) * _frobenius(inverse)
        if (2 * condition * least < 1).all():
            return True
    values = np.linalg.svd(R, compute_uv=False)
    return bool(_counted(values, 0.0, least).all())


def _frobenius(A: Array) -> Array:
    """The norms (...) of matrices, in float64."""
    return np.sqrt(np.einsum("...ij,...ij->...", A, A, dtype=np.float64))


class Lu(Function):
    """(L and U in one matrix, pivots) with P L U = A (..., m, n); pivots[i], from 1, is the row that was
    exchanged with row i"""

    backward = by_rule

    def forward(self, A: Array) -> Any:
        self.factors = eliminated(A)
        return self.factors


@rule(Lu)
def _of_lu(node: Lu, dLU: Tensor, _: Tensor | None = None) -> Tensor:
    """The gradient of A (m, n). For m = n: dA = P L^-T M U^-T, where M has the lower triangle of L^T dL,
    without its diagonal, and the upper triangle of dU U^T. Further rows A2 of A give the rows A2 U^-1 of L,
    further columns A2 give the columns L^-1 A2 of U: these add to dA2, and to dU or dL."""
    both = of_output(node, node.factors[0], 0)  # L below the diagonal, U on it and above
    rows, columns = dLU.shape[-2:]
    size = min(rows, columns)
    square = both[..., :size, :size]
    dsquare = dLU[..., :size, :size]
    L, U = _unpacked(square)
    if rows > columns:  # further rows: dA2 = dL2 U^-T
        more = both[..., size:, :]
        dmore = SolveTriangular("lu", upper=True).apply(square, dLU[..., size:, :].mT).mT
        dsquare = dsquare - triu(matmul(more.mT, dmore))
    elif columns > rows:  # further columns: dA2 = L^-T dU2
        more = both[..., size:]
        dmore = SolveTriangular("lu", upper=True, unit=True).apply(square.mT, dLU[..., size:])
        dsquare = dsquare - tril(matmul(dmore, more.mT), -1)
    M = tril(matmul(L.mT, tril(dsquare, -1)), -1) + triu(matmul(triu(dsquare), U.mT))
    L_M = SolveTriangular("lu", upper=True, unit=True).apply(square.mT, M)  # L^-T M
    dA = SolveTriangular("lu", upper=True).apply(square, L_M.mT).mT  # L^-T M U^-T
    if rows > columns:
        dA = cat((dA, dmore), -2)
    elif columns > rows:
        dA = cat((dA, dmore), -1)
    P = by_numpy(_exchanges, node.factors[1], rows, dA.dtype)
    return matmul(P, dA)


def _unpacked(both: Tensor) -> tuple[Tensor, Tensor]:
    """L, with ones in its diagonal, and U from the matrix that has both."""
    size = min(both.shape[-2:])
    ones = wrap(keep(np.eye(both.shape[-2], size, dtype=both.dtype)))
    return tril(both[..., :size], -1) + ones, triu(both[..., :size, :])


def _exchanges(pivots: Array, n: int, dtype: DtypeLike) -> Array:
    """The matrix P (..., n, n) of the row exchanges."""
    identity = np.broadcast_to(np.eye(n, dtype=dtype), (*pivots.shape[:-1], n, n))
    exchanged = _core._exchange_rows(pivots.astype(np.int32), identity)
    return np.ascontiguousarray(np.swapaxes(exchanged, -1, -2))


def _checked_exchanges(name: str, size: int, pivots: Array, n: int, dtype: DtypeLike) -> Array:
    """The matrix of :func:`_exchanges`. size: how many pivots each matrix has."""
    if pivots.dtype.kind not in "iu":
        raise DtypeError(f"[{name}] got LU_pivots of dtype {pivots.dtype.name}; expected integers")
    if pivots.shape[-1:] != (size,):
        raise misfit(name, {"LU_pivots": pivots.shape}, f"(..., {size}), as `lu` and `lu_factor` give them")
    if pivots.size and not (pivots.min() >= 1 and pivots.max() <= n):
        raise OpError(
            f"[{name}] got LU_pivots from {pivots.min()} to {pivots.max()}; expected 1 to {n}, the rows, as "
            "`lu` and `lu_factor` give them"
        )
    return _exchanges(pivots, n, dtype)


def lu(A: TensorLike, pivot: bool = True, get_infos: bool = False) -> Any:
    """The factors of A (..., m, n) in one matrix, L below the diagonal and U above, and the rows that were
    exchanged (..., min(m, n)), counted from 1. With get_infos also zeros (...). pivot=False is refused.

    >>> import ranvier as rv
    >>> rv.lu(rv.tensor([[1.0, 2.0], [2.0, 2.0]])).pivots
    tensor([2, 2], dtype=torch.int32)
    """
    A = matrix("lu", A, square=False)
    if not pivot:
        raise OpError("[lu] got pivot=False; expected True")
    factors = LUFactors(*Lu().apply(A))
    if get_infos:
        return (*factors, wrap(np.zeros(A.shape[:-2], np.int32)))
    return factors


def lu_unpack(
    LU_data: TensorLike, LU_pivots: TensorLike, unpack_data: bool = True, unpack_pivots: bool = True
) -> LUResult:
    """P, L and U with P L U = A, from :func:`ranvier.lu`; empty tensors for those that are not asked for.

    Raises ValueError for pivots that are no rows of A, counted from 1, or another number of them.

    >>> import ranvier as rv
    >>> p, l, u = rv.lu_unpack(*rv.lu(rv.tensor([[1.0, 2.0], [2.0, 2.0]])))
    >>> p @ l @ u
    tensor([[1., 2.],
            [2., 2.]])
    """
    both = matrix("lu_unpack", LU_data, square=False)
    pivots = as_tensor("lu_unpack", LU_pivots)
    empty = wrap(np.empty(0, both.dtype))
    P = L = U = empty
    if unpack_pivots:
        exchanges = partial(_checked_exchanges, "lu_unpack", min(both.shape[-2:]))
        P = by_numpy(exchanges, pivots._array, both.shape[-2], both.dtype)
    if unpack_data:
        L, U = _unpacked(both)
    return LUResult(P, L, U)


def lu_solve(input: TensorLike, LU_data: TensorLike, LU_pivots: TensorLike) -> Tensor:
    """A^-1 b of the input b (..., n, k), from the factors of :func:`ranvier.lu`.

    >>> import ranvier as rv
    >>> rv.lu_solve(rv.tensor([[3.0], [4.0]]), *rv.lu(rv.tensor([[1.0, 2.0], [2.0, 2.0]])))
    tensor([[1.],
            [1.]])
    """
    both = matrix("lu_solve", LU_data)
    pivots = as_tensor("lu_solve", LU_pivots)
    exchanges = partial(_checked_exchanges, "lu_solve", both.shape[-1])
    P = by_numpy(exchanges, pivots._array, both.shape[-1], both.dtype)
    right = _core._without_autocast(matmul, P.mT, matrix("lu_solve", input, square=False))
    inner = SolveTriangular("lu_solve", upper=False, unit=True).apply(both, right)
    return SolveTriangular("lu_solve", upper=True).apply(both, inner)
