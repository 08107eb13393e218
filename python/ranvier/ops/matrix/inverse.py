"""Inverses, determinants and systems of equations, with gradients, by factors L and U; small matrices have
kernels of their own (`small.py`)."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.gradients import gradients
from ranvier.grad_mode import enable_grad, mode
from ranvier.ops.elementwise.arithmetic import neg
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.dtypes import F32, F64, Array, alike, as_tensor
from ranvier.ops.elementwise.functions import log
from ranvier.ops.gradient_rules import by_rule
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.matrix.small import eliminates, solves
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    TENSORS,
    Operations,
    Value,
    differentiable_backward,
    sum_to,
)
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.shape.reshape import transpose, unsqueeze
from ranvier.tape.function import Function, in_dtypes
from ranvier.tape.higher_order import cut, of_input, of_output, rule
from ranvier.tensors.failures import DtypeError, LinAlgError, misfit
from ranvier.tensors.memory import HALVES, keep
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike

# Ops that refuse half floats even in a block of autocast, which casts the operands of the others to float32.
_NOT_IN_FLOAT32 = frozenset({"det", "logdet", "lu_factor", "matrix_exp", "matrix_power", "slogdet"})
SlogdetResult = namedtuple("SlogdetResult", "sign logabsdet")


def matrix(name: str, A: TensorLike, square: bool = True, gradient: bool = True) -> Tensor:
    """A as a Tensor (..., m, n) of float32 or float64, checked. name: the op's, for errors.

    square: whether m must equal n. gradient: False: raises RuntimeError if A requires a gradient.
    """
    x: Tensor = as_tensor(name, A)
    if x._array.dtype in HALVES and name not in _NOT_IN_FLOAT32:
        x = _core._autocast_cast("float32", x)
    if x._array.dtype not in (F32, F64):
        raise DtypeError(f"[{name}] got A of dtype {x._array.dtype}; expected float32 or float64: A.float()")
    if x.ndim < 2:
        fits = False
    else:
        fits = not square or x.shape[-1] == x.shape[-2]
    if not fits:
        if square:
            raise misfit(name, {"A": x.shape}, "(..., n, n)")
        raise misfit(name, {"A": x.shape}, "(..., m, n)")
    if not gradient and x.requires_grad and mode.enabled:
        raise RuntimeError(
            f"[{name}] got a matrix that requires gradients; expected A.detach(), or a call under no_grad(): "
            f"{name} has no gradient here"
        )
    return x


def _constant(value: Tensor, like: Tensor) -> Tensor:
    """The value, recorded as a function of `like`, a Tensor of the same shape, with the gradient 0."""
    return where(wrap(keep(np.zeros(value.shape, bool))), like, value)


def singular(name: str) -> LinAlgError:
    """The error for a matrix without an inverse."""
    return LinAlgError(f"[{name}] got a singular matrix; expected one with an inverse")


def eliminated(A: Array) -> tuple[Array, Array]:
    """L and U of P L U = A (..., m, n) in one array, and the rows that were exchanged, from 1 (..., min(m,
    n)). A column whose pivot is 0 is left as it is. NaN is a pivot only where it is the first candidate."""
    if eliminates(A):
        both, pivots = _core.small_lu(A)
        return both, _core.cast(pivots, np.dtype(np.int32), None)
    both, pivots, _ = _core._lu(A)
    return both, pivots


def zero_pivots(A: Array) -> Array:
    """For each matrix A (..., n, n) the place, from 1, of the first pivot that is 0; 0 if there is none."""
    if eliminates(A):
        _, _, places = _core.small_slogdet(A)
        return _core.cast(places, np.dtype(np.int32), None)
    _, _, places = _core._lu(A)
    return places


def _solved(name: str, A: Array, b: Array) -> Array:
    """A^-1 b. Raises LinAlgError for a singular matrix."""
    y, places = _core._solve(A, b)
    if places.any():
        raise singular(name)
    return y


class Solve(Function):
    """y = A^-1 b for A (..., n, n), b (..., n, k); db = A^-T dy, dA = -db y^T"""

    derived = True  # backward reads arrays that forward has computed
    backward = by_rule

    def __init__(self, name: str) -> None:
        self.op = name

    def forward(self, A: Array, b: Array) -> Array:
        if solves(A, b):
            self.y, is_regular = _core.small_solve(A, b)
            if not is_regular:
                raise singular(self.op)
        else:
            self.y = host(_solved, self.op, A, b)
        self.A = A
        self.shape = b.shape
        return self.y


@rule(Solve)
def _of_solve(node: Solve, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
    A = of_input(node, 0, node.A)
    dx = Solve(node.op).apply(transpose(A, -1, -2), dy)
    dA = None
    db = None
    if node.needs[0]:
        dA = sum_to(neg(matmul(dx, transpose(of_output(node, node.y), -1, -2))), A.shape)
    if node.needs[1]:
        db = sum_to(dx, node.shape)
    return dA, db


class Logabsdet(Function):
    """y (...) = log |det A|; its gradient is A^-T"""

    backward = by_rule

    def __init__(self, name: str) -> None:
        self.op = name

    def forward(self, A: Array) -> Array:
        self.A = A
        return _sign_and_log(A)[1]


@rule(Logabsdet)
def _of_logabsdet(node: Logabsdet, dy: Tensor) -> Tensor:
    return _of_matrices(dy) * transpose(inverse_of(node.op, of_input(node, 0, node.A)), -1, -2)


def _of_matrices(values: Tensor) -> Tensor:
    """One number for each matrix, (...), as a factor (..., 1, 1)."""
    return unsqueeze(unsqueeze(values, -1), -1)


@differentiable_backward(A=FIRST_INPUT)
class Det(Function):
    """y (...) = det A; its gradient is the matrix of cofactors, also where A has no inverse"""

    # Here backward reads A alone; PyTorch's reads y, too, so that after `A.data = ...` the two would differ.
    derived = True

    def forward(self, A: Array) -> Array:
        self.A = A
        if eliminates(A):
            return _core.small_det(A)
        return _core._det(A)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        return f.mul(dy[..., None, None], f.cofactors(self.A))


def _cofactors(A: Array) -> Array:
    return np.asarray(host(_cofactors_by_numpy, A))


def _cofactors_by_numpy(A: Array) -> Array:
    """The cofactors of A: from the inverse if it is accurate, else from singular values."""
    cofactors = _by_inverse(A)
    if cofactors is None:
        cofactors = _in_singular_basis(A, _by_singular_values)
    return cofactors


def _by_singular_values(u: Array, s: Array, vt: Array) -> Array:
    return (u * _others(s)[..., None, :]) @ vt


class Cofactors(Function):
    """The cofactors C (..., n, n) of A = U diag(s) V^T: C = U diag(p) V^T det(UV), where p_i is the product
    of all s except s_i"""

    by_numpy = True  # NumPy computes it, not the core
    backward = by_rule

    def forward(self, A: Array) -> Array:
        self.A = A
        return _cofactors(A)


def _cofactors_of_tensor(A: Tensor) -> Tensor:
    return Cofactors().apply(A)


KERNELS.cofactors = _cofactors
TENSORS.cofactors = _cofactors_of_tensor


@rule(Cofactors)
def _of_cofactors(node: Cofactors, dC: Tensor) -> Tensor:
    return Minors().apply(of_input(node, 0, node.A), dC)


class Minors(Function):
    """The derivative of the cofactors of A along G. It is also the gradient of sum(C G), since the second
    derivatives of det are symmetric.

    With A = U diag(s) V^T, H = U^T G V, and p_ij the product of all s except s_i and s_j, it is U X V^T
    det(UV), where X_ij = -p_ij H_ji for i != j, and X_ii is the sum of p_ij H_jj over j != i.
    """

    by_numpy = True  # NumPy computes it, not the core
    backward = by_rule

    def forward(self, A: Array, G: Array) -> Array:
        self.A = A
        self.G = G

        def along(u: Array, s: Array, vt: Array) -> Array:
            one = np.eye(s.shape[-1], dtype=bool)
            p = np.where(one, 0, _others(np.where(one, 1, s[..., None, :])))
            H = np.swapaxes(u, -1, -2) @ G @ np.swapaxes(vt, -1, -2)
            own = (p * np.diagonal(H, axis1=-2, axis2=-1)[..., None, :]).sum(-1, keepdims=True)
            return u @ (np.where(one, own, 0) - p * np.swapaxes(H, -1, -2)) @ vt

        return _in_singular_basis(A, along)


@rule(Minors)
def _of_minors(node: Minors, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
    A = of_input(node, 0, node.A)
    G = of_input(node, 1, node.G)
    dA = None
    # A third derivative of det. It is computed from the inverse, so A must not be singular.
    if node.needs[0]:

        def formula(A: Tensor) -> Tensor:
            C = transpose(inverse_of("det", A), -1, -2)
            shares = matmul(matmul(C, transpose(G, -1, -2)), C)
            return _of_matrices(det(A)) * (C * _of_matrices(total(G * C, (-2, -1))) - shares)

        with enable_grad():
            if A.requires_grad:
                x = cut(A)
            else:
                x = A.detach().requires_grad_()
            (dA,) = gradients([formula(x)], [x], [dy], create_graph=True)
    dG = None
    if node.needs[1]:
        dG = Minors().apply(A, dy)
    return dA, dG


def _by_inverse(A: Array) -> Array | None:
    """The cofactors as det(A) A^-T; None if the inverse of a matrix has few right digits."""
    inverse, places = _core._solve(A, np.eye(A.shape[-1], dtype=A.dtype))
    if places.any():
        return None
    det = _core._det(A)[..., None, None]
    with np.errstate(all="ignore"):
        lost = (np.linalg.norm(A, axis=(-2, -1)) * np.linalg.norm(inverse, axis=(-2, -1))).max(initial=0)
    # the relative error of the inverse, some |A| |A^-1| eps
    right = lost * np.finfo(A.dtype).eps < 1e-4 and np.isfinite(det).all() and det.all()
    if right:
        return np.asarray(det * np.swapaxes(inverse, -1, -2))
    return None


def _in_singular_basis(A: Array, function: Callable[[Array, Array, Array], Array]) -> Array:
    """function(U, s, V^T) det(UV), with A = U diag(s) V^T; NaN for matrices that are not finite."""
    if A.shape[-1] == 0:
        return np.zeros_like(A)
    finite = np.isfinite(A).all((-2, -1), keepdims=True)
    u, s, vt = np.linalg.svd(np.where(finite, A, 0))  # 0, since svd may never return for infinite elements
    y = function(u, s, vt) * (np.linalg.det(u) * np.linalg.det(vt))[..., None, None]
    return np.ascontiguousarray(np.where(finite, y, np.nan), dtype=A.dtype)


def _others(s: Array) -> Array:
    """For each element the product of all other elements of the last dimension, without a division."""
    one = np.ones_like(s[..., :1])
    before = np.cumprod(np.concatenate([one, s[..., :-1]], -1), -1)
    after = np.cumprod(np.concatenate([one, s[..., :0:-1]], -1), -1)[..., ::-1]
    return np.asarray(before * after)


def solve(A: TensorLike, B: TensorLike, *, left: bool = True) -> Tensor:
    """X with A X = B, or X A = B with left=False: A (..., n, n), B (..., n, k) or a vector (n).

    Raises ValueError for a singular A.

    >>> import ranvier as rv
    >>> rv.linalg.solve(rv.tensor([[2.0, 0.0], [0.0, 4.0]]), rv.tensor([2.0, 2.0]))
    tensor([1.0000, 0.5000])
    """
    a: Tensor
    b: Tensor
    a, b = alike(matrix("solve", A), as_tensor("solve", B))
    is_vector = b.ndim == 1 or (a.ndim > 2 and b.shape == a.shape[:-1])
    if not left:
        a = transpose(a, -1, -2)
        if is_vector:
            return solve(a, b)
        return transpose(solve(a, transpose(b, -1, -2)), -1, -2)
    if is_vector:
        rows = b.shape[-1]
    elif b.ndim > 1:
        rows = b.shape[-2]
    else:
        rows = 0
    if rows != a.shape[-1]:
        raise misfit("solve", {"A": a.shape, "B": b.shape}, "rows alike")
    if is_vector:
        return Solve("solve").apply(a, unsqueeze(b, -1)).squeeze(-1)
    return Solve("solve").apply(a, b)


def inverse(A: TensorLike) -> Tensor:
    """The inverse of each matrix A (..., n, n). Raises ValueError for a singular one.

    >>> import ranvier as rv
    >>> rv.inverse(rv.tensor([[2.0, 0.0], [0.0, 4.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.2500]])
    """
    return inverse_of("inverse", matrix("inverse", A))


def inverse_of(name: str, A: Tensor) -> Tensor:
    """The inverse of each matrix of A, which :func:`matrix` has checked. name: the op's, for errors."""
    return Solve(name).apply(A, wrap(keep(np.eye(A.shape[-1], dtype=A.dtype))))


def det(A: TensorLike) -> Tensor:
    """The determinant (...) of each matrix A (..., n, n).

    >>> import ranvier as rv
    >>> rv.det(rv.tensor([[2.0, 1.0], [1.0, 4.0]]))
    tensor(7.)
    """
    return Det().apply(matrix("det", A))


def slogdet(A: TensorLike) -> SlogdetResult:
    """The sign and log |det A| (...) of each matrix A (..., n, n); the gradient of the sign is 0.

    >>> import ranvier as rv
    >>> rv.slogdet(rv.tensor([[1.0, 0.0], [0.0, -1.0]])).sign
    tensor(-1.)
    """
    return _slogdet("slogdet", A)


def _slogdet(name: str, A: TensorLike) -> SlogdetResult:
    A = matrix(name, A)
    sign = wrap(_sign_and_log(A._array)[0])
    return SlogdetResult(_constant(sign, total(A, (-2, -1))), Logabsdet(name).apply(A))


def _sign_and_log(A: Array) -> tuple[Array, Array]:
    """The sign and log |det| of each matrix."""
    if eliminates(A):
        sign, logs, _ = _core.small_slogdet(A)
        return sign, logs
    sign, logs = _core._slogdet(A)
    return sign, logs


def logdet(A: TensorLike) -> Tensor:
    """log det A (...), NaN where the determinant is negative.

    >>> import ranvier as rv
    >>> rv.logdet(rv.eye(2))
    tensor(0.)
    """
    sign, logs = _slogdet("logdet", A)
    return log(sign) + logs


@in_dtypes()
def matrix_power(A: TensorLike, n: int) -> Tensor:
    """The product of n matrices A (..., k, k); of n inverses for n < 0.

    >>> import ranvier as rv
    >>> rv.linalg.matrix_power(rv.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
    tensor([[1., 3.],
            [0., 1.]])
    """
    A = matrix("matrix_power", A)
    if n == 1:
        return A.clone()  # so that the result is not the argument itself
    if n < 0:
        A = inverse_of("matrix_power", A)
        n = -n
    result = None
    while n:
        if n & 1:
            if result is None:
                result = A
            else:
                result = matmul(result, A)
        if n > 1:
            A = matmul(A, A)
        n = n >> 1
    if result is None:
        ones = wrap(keep(np.broadcast_to(np.eye(A.shape[-1], dtype=A.dtype), A.shape).copy()))
        result = _constant(ones, A)
    return result
