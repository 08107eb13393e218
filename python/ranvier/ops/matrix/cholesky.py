"""Cholesky factors and triangular systems of equations, with gradients: cholesky, cholesky_ex,
cholesky_solve, cholesky_inverse, solve_triangular and triangular_solve.

The core computes them, small matrices with kernels of their own (`small.py`). forward saves the factor or the
solution; the gradients are formulas of ops, the `@rule` after each Function.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import observers
from ranvier.ops.elementwise.arithmetic import neg
from ranvier.ops.elementwise.dtypes import Array, alike
from ranvier.ops.gradient_rules import by_rule
from ranvier.ops.matrix.inverse import matrix, singular
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.matrix.small import eliminates
from ranvier.ops.namespaces import sum_to
from ranvier.ops.shape.repeat import tril, triu
from ranvier.ops.shape.reshape import transpose
from ranvier.tape.function import Function, by_kernel
from ranvier.tape.higher_order import of_input, of_output, rule
from ranvier.tensors.failures import LinAlgError, misfit
from ranvier.tensors.memory import keep
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike

CholeskyExResult = namedtuple("CholeskyExResult", "L info")
TriangularSolveResult = namedtuple("TriangularSolveResult", "solution cloned_coefficient")
# If each right side of a batch has fewer columns, all are solved as columns of one matrix.
_FEW = 16


def _substituted(A: Array, b: Array, upper: bool, unit: bool = False) -> Array:
    """A^-1 b for a triangle A (..., n, n), b (..., n, k); the other half of A is not read.

    unit: the diagonal is not read but taken as 1. Raises ValueError for a 0 in the diagonal.
    """
    if A.ndim == 2 < b.ndim and b.shape[-1] < _FEW and b.size:  # one A for a batch of right sides
        n, columns = b.shape[-2:]
        wide = _core.solve_triangular(A, np.moveaxis(b, -2, 0).reshape(n, -1), upper, unit)
        return np.ascontiguousarray(np.moveaxis(wide.reshape(n, *b.shape[:-2], columns), 0, -2))
    return _core.solve_triangular(A, b, upper, unit)


class SolveTriangular(Function):
    """y = A^-1 b for a triangle A; db = A^-T dy, dA = -db y^T in the triangle of A, or with `whole`
    everywhere"""

    by_numpy = True  # NumPy moves right sides before and after the kernel's call (`_substituted`)
    backward = by_rule

    def __init__(self, name: str, upper: bool, unit: bool = False, whole: bool = False) -> None:
        self.op = name
        self.upper = upper
        self.unit = unit
        self.whole = whole

    def forward(self, A: Array, b: Array) -> Array:
        try:
            self.y = _substituted(A, b, self.upper, self.unit)
        except ValueError as error:
            raise singular(self.op) from error
        self.A = A
        self.shape = b.shape
        return self.y


@rule(SolveTriangular)
def _of_solve(node: SolveTriangular, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
    A = of_input(node, 0, node.A)
    transposed = SolveTriangular(node.op, not node.upper, node.unit, node.whole)
    dx = transposed.apply(transpose(A, -1, -2), dy)
    dA = None
    db = None
    if node.needs[0]:
        dA = sum_to(matmul(neg(dx), transpose(of_output(node, node.y), -1, -2)), A.shape)
        if not node.whole and node.upper:
            dA = triu(dA, int(node.unit))  # without the diagonal if it is fixed at 1
        elif not node.whole:
            dA = tril(dA, -int(node.unit))
    if node.needs[1]:
        db = sum_to(dx, node.shape)
    return dA, db


class Cholesky(Function):
    """L (..., n, n), lower, with L L^T = A; dA = L^-T half(L^T dL) L^-1, made symmetric

    info (...) is 0, or the number, from 1, of the first row of L that has NaN."""

    backward = by_rule

    def __init__(self, name: str, check: bool = True) -> None:
        self.op = name
        self.check = check

    def forward(self, A: Array) -> Array:
        if not eliminates(A):
            self.L, self.info = host(_factor_and_info, self.op, A, self.check)
            return self.L
        self.L, info, is_definite = _core.small_cholesky(A, self.check)
        if not is_definite:
            raise _not_definite(self.op)
        self.info = _core.cast(info, np.dtype(np.int32), None)
        return self.L


def _factor_and_info(name: str, A: Array, check: bool) -> tuple[Array, Array]:
    """The factors of A and info. check: raises LinAlgError for a matrix that has no factor."""
    L, info = _core._cholesky(A)
    if check and info.any():
        raise _not_definite(name)
    return L, info


def _not_definite(name: str) -> LinAlgError:
    return LinAlgError(f"[{name}] got a matrix that is not positive-definite; expected one")


@rule(Cholesky)
def _of_cholesky(node: Cholesky, dL: Tensor) -> Tensor:
    upper = transpose(of_output(node, node.L), -1, -2)
    n = upper.shape[-1]
    half = tril(matmul(upper, tril(dL))) * wrap(keep(1 - 0.5 * np.eye(n, dtype=dL.dtype)))
    left = SolveTriangular("cholesky", upper=True).apply(upper, half)  # L^-T half
    dA = SolveTriangular("cholesky", upper=True).apply(upper, transpose(left, -1, -2))
    return (dA + transpose(dA, -1, -2)) * 0.5


def cholesky(A: TensorLike, upper: bool = False) -> Tensor:
    """The lower factor L with L L^T = A, or U = L^T: A (..., n, n) symmetric, positive-definite.

    Only the lower triangle of A is read, with `upper` the upper one. Raises linalg.LinAlgError, a ValueError,
    for another matrix, and for one with NaN or inf in this triangle; inf as its last element has the factor
    inf.

    >>> import ranvier as rv
    >>> rv.linalg.cholesky(rv.tensor([[4.0, 2.0], [2.0, 2.0]]))
    tensor([[2., 0.],
            [1., 1.]])
    """
    A = matrix("cholesky", A)
    if upper:
        return transpose(Cholesky("cholesky").apply(transpose(A, -1, -2)), -1, -2)
    lower: Tensor = Cholesky("cholesky").apply(A)
    return lower


def cholesky_ex(
    A: TensorLike, *, upper: bool = False, check_errors: bool = False, out: Tensor | None = None
) -> Any:
    """As :func:`cholesky`, and info (...): 0, or the size of the first leading part that is not
    positive-definite. L has NaN from that row on. check_errors: raises linalg.LinAlgError instead.

    >>> import ranvier as rv
    >>> rv.linalg.cholesky_ex(rv.tensor([[1.0, 2.0], [2.0, 1.0]])).info.item()
    2
    """
    if out is not None:
        raise TypeError("[cholesky_ex] got out; expected None")
    A = matrix("cholesky_ex", A)
    if upper:
        A = transpose(A, -1, -2)
    node = Cholesky("cholesky_ex", bool(check_errors))
    factor: Tensor = node.apply(A)
    info = wrap(node.info)
    if upper:
        factor = transpose(factor, -1, -2)
    return CholeskyExResult(factor, info)


def cholesky_solve(input: TensorLike, input2: TensorLike, upper: bool = False) -> Tensor:
    """X with L L^T X = B, for the input B (..., n, k) and a lower factor L (..., n, n).

    upper: a factor U with U^T U X = B. Its other half is not read; its gradient is that of (L L^T)^-1 B for
    any matrix L, so that it covers both halves, as PyTorch's does. Raises linalg.LinAlgError for a singular
    factor.

    >>> import ranvier as rv
    >>> rv.cholesky_solve(rv.tensor([[4.0], [9.0]]), rv.tensor([[2.0, 0.0], [0.0, 3.0]]))
    tensor([[1.],
            [1.]])
    """
    lower = matrix("cholesky_solve", input2)
    right = matrix("cholesky_solve", input, square=False)
    if upper:
        lower = transpose(lower, -1, -2)
    # positional, since the core's op takes no names: upper, unit, name, whole
    y = _solved(lower, right, False, False, "cholesky_solve", True)
    return _solved(transpose(lower, -1, -2), y, True, False, "cholesky_solve", True)


def cholesky_inverse(input: TensorLike, upper: bool = False) -> Tensor:
    """The inverse of L L^T, for a lower factor L (..., n, n), or of U^T U.

    >>> import ranvier as rv
    >>> rv.cholesky_inverse(rv.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([[0.2500, 0.0000],
            [0.0000, 1.0000]])
    """
    L = matrix("cholesky_inverse", input)
    return cholesky_solve(wrap(keep(np.eye(L.shape[-1], dtype=L.dtype))), L, upper)


def solve_triangular(
    A: TensorLike, B: TensorLike, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B, or X A = B with left=False, for a triangle A (..., n, n): its other half is not read.

    unitriangular: the diagonal is not read but taken as 1. Raises linalg.LinAlgError for a 0 in it.

    >>> import ranvier as rv
    >>> lower = rv.tensor([[2.0, 0.0], [1.0, 1.0]])
    >>> rv.linalg.solve_triangular(lower, rv.tensor([[2.0], [3.0]]), upper=False)
    tensor([[1.],
            [2.]])
    """
    A = matrix("solve_triangular", A)
    B = matrix("solve_triangular", B, square=False)
    if left:
        return _solved(A, B, upper, unitriangular, "solve_triangular")
    # X A = B is A^T X^T = B^T
    transposed = _solved(
        transpose(A, -1, -2), transpose(B, -1, -2), not upper, unitriangular, "solve_triangular"
    )
    return transpose(transposed, -1, -2)


def triangular_solve(
    input: TensorLike, A: TensorLike, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> TriangularSolveResult:
    """The input b of A x = b in the old form of :func:`ranvier.linalg.solve_triangular`; transpose: of A^T x.
    Also a copy of A.

    >>> import ranvier as rv
    >>> rv.triangular_solve(rv.tensor([[2.0]]), rv.tensor([[4.0]])).solution
    tensor([[0.5000]])
    """
    A = matrix("triangular_solve", A)
    b = matrix("triangular_solve", input, square=False)
    triangle = A
    is_upper = upper
    if transpose:
        triangle = A.mT
        is_upper = not upper
    solution = _solved(triangle, b, is_upper, unitriangular, "triangular_solve")
    return TriangularSolveResult(solution, A.clone())


def _of_triangle(A: Array, B: Array, upper: bool, unit: bool) -> Array:
    """`_solved` by the kernel, for simple calls: not for one A beside a batch, which `_substituted` joins."""
    if observers or (A.ndim == 2 != B.ndim):
        return NotImplemented
    return _core.solve_triangular(A, B, bool(upper), bool(unit))


# takes=4: the kernel gets A, B, upper and unit; name is for errors, whole for the gradient.
@by_kernel(_of_triangle, takes=4)
def _solved(A: Tensor, B: Tensor, upper: bool, unit: bool, name: str, whole: bool = False) -> Tensor:
    """A^-1 B for a triangle A; name: the public function, for errors. The other arguments are those of
    `SolveTriangular`."""
    if B.shape[-2] != A.shape[-1]:
        raise misfit(name, {"A": A.shape, "B": B.shape}, "rows alike")
    return SolveTriangular(name, bool(upper), bool(unit), whole).apply(*alike(A, B))
