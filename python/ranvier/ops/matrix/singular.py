"""The singular value decomposition with its gradient, and the spectral and the nuclear norm of matrices.

NumPy (LAPACK) computes the factors; `Svd` saves U, S and Vh for its backward, which is a formula of ops.
`rv.linalg.svd`, `svdvals`, `pinv`, `norm` and others in `factorizations.py` and `reduction/norms.py`
use this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.dtypes import F32, F64, Array
from ranvier.ops.gradient_rules import by_rule
from ranvier.ops.reduction.reduce import amax, amin, sum as total
from ranvier.ops.shape.reshape import permute, reshape
from ranvier.tape.function import Function
from ranvier.tape.higher_order import of_output, rule
from ranvier.tensors.failures import DtypeError, LinAlgError, misfit
from ranvier.tensors.memory import keep
from ranvier.tensors.tensor import Tensor, wrap


def without_result(name: str) -> LinAlgError:
    """The error for a matrix that has no such factors or values. name: the op's."""
    return LinAlgError(f"[{name}] got a matrix without a result; expected finite values")


def decomposed(name: str, function: Callable[..., Any], A: Array, *settings: Any) -> Any:
    """function(A, *settings) of NumPy. Raises LinAlgError, a ValueError, if it finds no result. name: the
    op's."""
    try:
        return function(A, *settings)
    except np.linalg.LinAlgError as error:
        raise without_result(name) from error


def svd_of(name: str, A: Array, full: bool) -> tuple[Array, ...]:
    """U, S, Vh; ValueError for a matrix that is not finite, for which NumPy's function may never return."""
    if not np.isfinite(A).all():
        raise without_result(name)
    return tuple(decomposed(name, np.linalg.svd, A, full))


def _infinite(name: str, A: Array) -> Array:
    """True (..., 1, 1) for the matrices with inf. Raises LinAlgError for NaN."""
    if np.isnan(A).any():
        raise without_result(name)
    return np.asarray(np.isinf(A).any((-2, -1), keepdims=True))


def singular_values(name: str, A: Array) -> Array:
    """The singular values of each matrix; NaN for one with inf. Raises LinAlgError, a ValueError, for NaN."""
    if np.isfinite(A).all():
        return np.asarray(decomposed(name, np.linalg.svd, A, False, False))
    infinite = _infinite(name, A)
    values = decomposed(name, np.linalg.svd, np.where(infinite, 0, A), False, False)
    return np.where(infinite[..., 0], A.dtype.type(np.nan), values)


class Svd(Function):
    """U, S, Vh with U diag(S) Vh = A (..., m, n). infinite: of a matrix with inf all three are NaN; without
    it such a matrix is refused."""

    by_numpy = True  # NumPy computes it, not the core
    backward = by_rule

    def __init__(self, name: str, full: bool = False, infinite: bool = False) -> None:
        self.op = name
        self.full = full
        self.infinite = infinite

    def forward(self, A: Array) -> tuple[Array, ...]:
        if not self.infinite or np.isfinite(A).all():
            self.factors = svd_of(self.op, A, self.full)
            return self.factors
        infinite = _infinite(self.op, A)
        U, S, Vh = svd_of(self.op, np.where(infinite, 0, A), self.full)
        nan = A.dtype.type(np.nan)
        U = np.where(infinite, nan, U)
        S = np.where(infinite[..., 0], nan, S)
        Vh = np.where(infinite, nan, Vh)
        self.factors = (U, S, Vh)
        return self.factors


def over_differences(turned: Tensor, values: Tensor) -> Tensor:
    """turned / (values[j] - values[i]) in row i and column j; the diagonal of turned must be 0.

    values: eigenvalues or singular values. If two differ by no more than rounding errors, the result is NaN,
    unless turned is 0. That does not hold for values next to 0: the many such values of a matrix of low rank
    have vectors that usually do not count in a gradient.
    """
    gaps = values.unsqueeze(-2) - values.unsqueeze(-1)
    rounding = total(values.abs(), -1, True).unsqueeze(-1) * (4 * np.finfo(values.dtype).eps)
    unknown = (gaps.abs() <= rounding) & turned.ne(0.0) & (values.abs().unsqueeze(-1) > rounding)
    return turned / where(unknown, np.nan, gaps + ones_in_diagonal(values))


def ones_in_diagonal(values: Tensor) -> Tensor:
    """The identity matrix (n, n) for values (..., n)."""
    return wrap(keep(np.eye(values.shape[-1], dtype=values.dtype)))


@rule(Svd)
def _svd(node: Svd, dU: Tensor | None, dS: Tensor | None, dVh: Tensor | None) -> Tensor:
    """The gradient of A, by Townsend (2016): U (K_U / E S + S K_V / E + diag(dS)) Vh, plus the parts of dU
    and dVh outside of the spaces of U and Vh, divided by S.

    K_U = X - X^T for X = U^T dU, K_V likewise for V^T dV, and E_ij = S_j^2 - S_i^2. The first two terms are
    computed in the form (K_U + K_V) / 2 / (S_j - S_i) + (K_U - K_V) / 2 / (S_i + S_j). For the nuclear norm
    K_U + K_V is 0, so that equal singular values do no harm.
    """
    U, S, Vh = (of_output(node, array, i) for i, array in enumerate(node.factors))
    k = S.shape[-1]
    across = S.unsqueeze(-2)
    along = S.unsqueeze(-1)
    if node.full:
        U = U[..., :k]
        Vh = Vh[..., :k, :]
        if dU is not None:
            dU = dU[..., :k]
        if dVh is not None:
            dVh = dVh[..., :k, :]
    if dU is None and dVh is None:
        assert dS is not None
        return (U * dS.unsqueeze(-2)) @ Vh
    both: Any = 0.0  # (K_U + K_V) / 2
    apart: Any = 0.0  # (K_U - K_V) / 2
    outside: Any = 0.0  # from the parts of dU and dVh outside of the spaces
    if dU is not None:
        shares = U.mT @ dU
        both = (shares - shares.mT) * 0.5
        apart = both
        if U.shape[-2] > k:
            outside = ((dU - U @ shares) / across) @ Vh
    if dVh is not None:
        shares = Vh @ dVh.mT
        turned = (shares - shares.mT) * 0.5
        both = both + turned
        apart = apart - turned
        if Vh.shape[-1] > k:
            outside = outside + U @ ((dVh - shares.mT @ Vh) / along)
    inner = over_differences(both, S) + apart / (along + across + ones_in_diagonal(S))
    if dS is not None:
        inner = inner + dS.unsqueeze(-2) * ones_in_diagonal(S)
    dA = U @ inner @ Vh
    return dA + outside


def singular_norm(A: Tensor, ord: float | str, rows: int, columns: int, keepdim: bool) -> Tensor:
    """The norm of the matrices in dimensions rows and columns; ord is 2, -2 or "nuc"."""
    if A._array.dtype not in (F32, F64):
        raise DtypeError(
            f"[matrix_norm] got A of dtype {A._array.dtype}; expected float32 or float64: A.float()"
        )
    empty = 0 in (A.shape[rows], A.shape[columns])
    if ord == -2 and empty:
        raise misfit("matrix_norm", {"matrices": (A.shape[rows], A.shape[columns])}, "an element")
    rest = [d for d in range(A.ndim) if d not in (rows, columns)]
    _, values, _ = Svd("matrix_norm").apply(permute(A, (*rest, rows, columns)))
    y: Tensor
    if ord == "nuc" or empty:
        y = total(values, -1)
    elif ord == 2:
        y = amax(values, -1)
    else:
        y = amin(values, -1)
    if keepdim:
        shape = list(A.shape)
        shape[rows] = 1
        shape[columns] = 1
        y = reshape(y, shape)
    return y
