"""Norms, inverses, determinants, systems of equations and factors, under the names of torch.linalg.

The core computes them all, except singular values and most eigenvalues: those are NumPy's (LAPACK), which a
replay of a compiled step calls again. All functions except ``matrix_rank`` have gradients.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import ranvier.ops as ops
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.matrix.cholesky import cholesky, cholesky_ex, solve_triangular
from ranvier.ops.matrix.exponential import matrix_exp
from ranvier.ops.matrix.factorizations import (
    LUFactors,
    LUResult,
    Qr,
    QRResult,
    eigh,
    eigvalsh,
    lstsq,
    lu as _lu,
    lu_unpack,
    matrix_rank,
    pinv,
    svd,
    svdvals,
)
from ranvier.ops.matrix.inverse import (
    det,
    inverse_of,
    matrix,
    matrix_power,
    slogdet,
    solve,
    zero_pivots,
)
from ranvier.ops.matrix.singular import singular_norm
from ranvier.ops.shape.reshape import some_dim
from ranvier.tape.function import Dtypes, in_dtypes
from ranvier.tensors.errors import own_errors
from ranvier.tensors.failures import LinAlgError, OpError
from ranvier.tensors.memory import keep
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Axes, DtypeLike, TensorLike

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cross", "det", "eigh", "eigvalsh", "inv", "lstsq", "lu",
    "lu_factor", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank", "norm", "pinv", "qr", "slogdet",
    "solve", "solve_triangular", "svd", "svdvals", "vecdot", "vector_norm",
]  # fmt: skip


class InvExResult(NamedTuple):
    """The result of :func:`inv_ex`."""

    inverse: Tensor
    info: Tensor


def cross(input: TensorLike, other: TensorLike, *, dim: int = -1) -> Tensor:
    """The cross product of vectors of three elements along a dimension.

    >>> import ranvier as rv
    >>> rv.linalg.cross(rv.tensor([1.0, 0.0, 0.0]), rv.tensor([0.0, 1.0, 0.0]))
    tensor([0., 0., 1.])
    """
    return ops.cross(input, other, dim)


@in_dtypes(Dtypes(autocast="lower"))
def vecdot(x: TensorLike, y: TensorLike, *, dim: int = -1) -> Tensor:
    """The sum of products along a dimension.

    >>> import ranvier as rv
    >>> rv.linalg.vecdot(rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor(11.)
    """
    return ops.sum(ops.mul(x, y), dim)


def vector_norm(
    input: TensorLike,
    ord: float = 2,
    dim: Axes = None,
    keepdim: bool = False,
    *,
    dtype: DtypeLike | None = None,
) -> Tensor:
    """The ord-norm over the axes, or of all elements: see :func:`ranvier.norm`.

    >>> import ranvier as rv
    >>> rv.linalg.vector_norm(rv.tensor([[3.0, -4.0], [1.0, 1.0]]), 1)
    tensor(9.)
    """
    return ops.norm(input, ord, dim, keepdim, dtype=dtype)


def inv(A: TensorLike) -> Tensor:
    """The inverse of each matrix A (..., n, n), as :func:`ranvier.inverse`. Raises LinAlgError, a ValueError,
    for a singular one.

    >>> import ranvier as rv
    >>> rv.linalg.inv(rv.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return inverse_of("inv", matrix("inv", A))


def inv_ex(A: TensorLike, *, check_errors: bool = False) -> InvExResult:
    """The inverse of each matrix, and info (...): for a singular matrix, whose inverse is NaN, the place of
    the first pivot that is 0, counted from 1, else 0. check_errors: raises LinAlgError for a singular matrix.

    >>> import ranvier as rv
    >>> rv.linalg.inv_ex(rv.tensor([[1.0, 0.0], [0.0, 0.0]])).info.item()
    2
    """
    A = matrix("inv_ex", A)
    info = wrap(zero_pivots(A._array))
    if check_errors:
        return InvExResult(inverse_of("inv_ex", A), info)
    singular = ops.reshape(ops.gt(info, 0), (*info.shape, 1, 1))
    identity = wrap(keep(np.eye(A.shape[-1], dtype=A.dtype)))
    invertible = ops.where(singular, ops.broadcast_to(identity, A.shape), A)
    inverses = inverse_of("inv_ex", invertible)
    return InvExResult(ops.where(singular, math.nan, inverses), info)


def matrix_norm(
    input: TensorLike, ord: float | str = "fro", dim: tuple[int, int] = (-2, -1), keepdim: bool = False
) -> Tensor:
    """A norm of each matrix. ord: "fro"; 1 and -1, the greatest and least sum of |x| over a column; inf and
    -inf, the same over a row; 2 and -2, the greatest and least singular value; "nuc", the sum of the singular
    values.

    Raises ValueError for another ord.

    >>> import ranvier as rv
    >>> rv.linalg.matrix_norm(rv.tensor([[3.0, -4.0], [1.0, 1.0]]), float("inf"))
    tensor(7.)
    """
    A = as_tensor("matrix_norm", input)
    if not isinstance(dim, (tuple, list)) or len(dim) != 2:
        raise OpError(f"[matrix_norm] got dim {dim!r}; expected two dimensions")
    rows, columns = (some_dim("matrix_norm", A, d) for d in dim)
    if rows == columns:
        raise OpError(f"[matrix_norm] got dim {dim}; expected two dimensions")
    if ord == "fro":
        return ops.norm(A, 2, (rows, columns), keepdim)
    if ord not in (1, -1, 2, -2, math.inf, -math.inf, "nuc"):
        raise OpError(f"[matrix_norm] got ord {ord!r}; expected 'fro', 'nuc', 1, -1, 2, -2, inf or -inf")
    if isinstance(ord, str) or abs(ord) == 2:  # "nuc": "fro" was handled above
        return singular_norm(A, ord, rows, columns, keepdim)
    # 1 and -1: sums along the axis of rows, one for each column; inf and -inf: with the axes exchanged.
    summed, compared = rows, columns
    if math.isinf(ord):
        summed, compared = columns, rows
    sums = ops.norm(A, 1, summed, keepdim=True)
    if ord < 0:
        extreme = ops.amin(sums, compared, True)
    elif sums.shape[compared] == 0:  # The maximum of no elements is 0.
        extreme = ops.sum(sums, compared, True)
    else:
        extreme = ops.amax(sums, compared, True)
    if keepdim:
        return extreme
    return ops.sum(extreme, (rows, columns))  # removes the axes of length 1


def norm(
    input: TensorLike, ord: float | str | None = None, dim: Axes = None, keepdim: bool = False
) -> Tensor:
    """The 2-norm over the axes (by default all). With ord: for one axis or a vector the vector norm, for two
    axes or a matrix the matrix norm.

    >>> import ranvier as rv
    >>> rv.linalg.norm(rv.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor(5.)
    """
    A = as_tensor("norm", input)
    if ord is None:
        return ops.norm(A, 2, dim, keepdim)
    if dim is None and A.ndim == 2:
        dim = (0, 1)
    if isinstance(dim, (tuple, list)) and len(dim) == 2:
        return matrix_norm(A, ord, (dim[0], dim[1]), keepdim)
    return ops.norm(A, ord, dim, keepdim)


def qr(A: TensorLike, mode: str = "reduced") -> QRResult:
    """Q, with orthogonal columns, and R, an upper triangle, with Q R = A (..., m, n): see :func:`ranvier.qr`.

    mode: with "reduced" R has min(m, n) rows, with "complete" m rows. "r" is as "reduced", but Q is
    empty, and there are no gradients.

    >>> import ranvier as rv
    >>> q, r = rv.linalg.qr(rv.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> q.shape, (q @ r).round(decimals=4).tolist()
    ((2, 2), [[3.0, 1.0], [4.0, 2.0]])
    """
    if mode not in ("reduced", "complete", "r"):
        raise OpError(f"[qr] got mode {mode!r}; expected 'reduced', 'complete' or 'r'")
    return QRResult(*Qr(mode).apply(matrix("qr", A, False)))


def lu_factor(A: TensorLike, *, pivot: bool = True) -> LUFactors:
    """L and U in one matrix, and the exchanged rows: see :func:`ranvier.lu`.

    >>> import ranvier as rv
    >>> rv.linalg.lu_factor(rv.tensor([[1.0, 2.0], [2.0, 2.0]])).pivots
    tensor([2, 2], dtype=torch.int32)
    """
    return _lu(A, pivot)


def lu(A: TensorLike, *, pivot: bool = True) -> LUResult:
    """P, L and U with P L U = A (..., n, n), by elimination with exchanged rows. pivot=False is refused.

    >>> import ranvier as rv
    >>> rv.linalg.lu(rv.tensor([[1.0, 2.0], [2.0, 2.0]])).U
    tensor([[2., 2.],
            [0., 1.]])
    """
    return lu_unpack(*_lu(A, pivot))


own_errors(globals(), __all__)
