"""The rules of functions that NumPy computes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.autograd.graph import of_input, of_output, refuse, rule
from ranvier.autograd.memory import keep
from ranvier.autograd.mode import mode
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.arithmetic import neg
from ranvier.ops.elementwise.by_numpy import ByNumpy, NoDerivative
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.elementary import NEAR, cosh, digamma, sinc_slope_near_0, sinh
from ranvier.ops.elementwise.functions import cos, exp, log, reciprocal, sqrt
from ranvier.ops.matrix.factors import Eigh, Pinv, Qr
from ranvier.ops.matrix.inverse import Cholesky, Det, Logabsdet, Solve, det, inverse
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.matrix.singular import Svd
from ranvier.ops.rules import none, sum_to
from ranvier.ops.shape.diagonal import tril
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.reshape import transpose, unsqueeze


def _sinc(x: Tensor, y: Tensor) -> Tensor:
    near = wrap(np.asarray(np.abs(x._array) < NEAR))
    far = where(near, 1.0, x)
    return where(near, sinc_slope_near_0(x), (cos(far * math.pi) - where(near, 0.0, y)) / far)


def _angle(along: Tensor, a: Tensor, b: Tensor) -> Tensor:
    square = a * a + b * b
    zero = eq(wrap(square._array), 0.0)
    return where(zero, 0.0, along / where(zero, 1.0, square))


def _xlogy(a: Tensor, b: Tensor, y: Tensor) -> Tensor:
    zero = eq(wrap(a._array), 0.0) & (wrap(b._array) <= 0.0)
    return where(zero, 0.0, log(where(zero, 1.0, b)))


# By the names of the functions: their slopes by each input, functions of the inputs and y.
SLOPES: dict[str, tuple[Any, ...]] = {
    "Acos": (lambda x, y: neg(reciprocal(sqrt(1.0 - x * x))),),
    "Acosh": (lambda x, y: reciprocal(sqrt(x * x - 1.0)),),
    "Asin": (lambda x, y: reciprocal(sqrt(1.0 - x * x)),),
    "Asinh": (lambda x, y: reciprocal(sqrt(x * x + 1.0)),),
    "Atan": (lambda x, y: reciprocal(x * x + 1.0),),
    "Atanh": (lambda x, y: reciprocal(1.0 - x * x),),
    "Cosh": (lambda x, y: sinh(x),),
    "Erf": (lambda x, y: exp(neg(x * x)) * (2 / math.sqrt(math.pi)),),
    "Erfc": (lambda x, y: exp(neg(x * x)) * (-2 / math.sqrt(math.pi)),),
    "Erfinv": (lambda x, y: exp(y * y) * (math.sqrt(math.pi) / 2),),
    "Exp2": (lambda x, y: y * math.log(2),),
    "Lgamma": (lambda x, y: digamma(x),),
    "Log10": (lambda x, y: reciprocal(x * math.log(10)),),
    "Log2": (lambda x, y: reciprocal(x * math.log(2)),),
    "Sinc": (_sinc,),
    "Sinh": (lambda x, y: cosh(x),),
    "Atan2": (lambda a, b, y: _angle(b, a, b), lambda a, b, y: neg(_angle(a, a, b))),
    "Hypot": (lambda a, b, y: a / y, lambda a, b, y: b / y),
    "Xlogy": (_xlogy, lambda a, b, y: a / b),
}
# Those with slopes that are constant between jumps.
CONSTANT = {
    *("Ceil", "Copysign", "Deg2rad", "Floor", "Floor_divide", "Fmax", "Fmin"),
    *("Fmod", "Frac", "Nextafter", "Rad2deg", "Remainder", "Trunc"),
}


@rule(NoDerivative)
def _no_derivative(node: Any, *dys: Tensor) -> Any:
    return node.backward(*dys)  # raises


@rule(ByNumpy)
def _by_numpy(node: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    name = type(node).__name__
    if name not in CONSTANT and name not in SLOPES:
        refuse(node)
    found: list[Tensor | None] = []
    xs = [of_input(node, i, array) for i, array in enumerate(node.inputs)]
    for i, (x, needed) in enumerate(zip(xs, node.needs, strict=True)):
        if not needed:
            found.append(None)
        elif name in SLOPES:
            found.append(sum_to(dy * SLOPES[name][i](*xs, of_output(node, node.y)), x.shape))
        elif node.slopes[i] is None:
            found.append(none(x.shape, dy))
        else:
            with np.errstate(all="ignore"):
                slope = np.asarray(node.slopes[i](*node.inputs, node.y), dy.dtype)
            found.append(sum_to(dy * wrap(slope), x.shape))
    return tuple(found)


@rule(Solve)
def _solve(node: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
    A = of_input(node, 0, node.A)
    db = Solve(node.name).apply(transpose(A, -1, -2), dy)
    dA = neg(matmul(db, transpose(of_output(node, node.y), -1, -2))) if node.needs[0] else None
    return None if dA is None else sum_to(dA, A.shape), sum_to(db, node.shape) if node.needs[1] else None


@rule(Logabsdet)
def _logabsdet(node: Any, dy: Tensor) -> Tensor:
    return unsqueeze(unsqueeze(dy, -1), -1) * transpose(inverse(of_input(node, 0, node.A)), -1, -2)


@rule(Det)
def _det(node: Any, dy: Tensor) -> Tensor:
    A = of_input(node, 0, node.A)
    return unsqueeze(unsqueeze(dy * det(A), -1), -1) * transpose(inverse(A), -1, -2)


@rule(Cholesky)
def _cholesky(node: Any, dL: Tensor) -> Tensor:
    upper = transpose(of_output(node, node.L), -1, -2)
    n = upper.shape[-1]
    half = tril(matmul(upper, tril(dL))) * wrap(1 - 0.5 * np.eye(n, dtype=dL.dtype))
    left = Solve("cholesky").apply(upper, half)
    dA = Solve("cholesky").apply(upper, transpose(left, -1, -2))
    return (dA + transpose(dA, -1, -2)) * 0.5


def _turned(x: Tensor) -> Tensor:
    return transpose(x, -1, -2)


def _differences(values: Tensor) -> Tensor:
    """values[j] - values[i] in row i and column j; 1 in the diagonal."""
    return unsqueeze(values, -2) - unsqueeze(values, -1) + _ones(values)


def _ones(values: Tensor) -> Tensor:
    return wrap(keep(np.eye(values.shape[-1], dtype=values.dtype)))


@rule(Svd)
def _svd(node: Any, dU: Tensor | None, dS: Tensor | None, dVh: Tensor | None) -> Tensor:
    """Townsend (2016): U (K_U / E S + S K_V / E + diag dS) Vh with K = X - X^T for U^T dU and V^T dV, E_ij =
    S_j^2 - S_i^2, and what dU and dVh have outside of the spaces of U and Vh, over S."""
    U, S, Vh = (of_output(node, array, i) for i, array in enumerate(node.made))
    k, across, along = S.shape[-1], unsqueeze(S, -2), unsqueeze(S, -1)
    if node.full:
        U, Vh = U[..., :k], Vh[..., :k, :]
        dU, dVh = None if dU is None else dU[..., :k], None if dVh is None else dVh[..., :k, :]
    if dU is None and dVh is None:
        assert dS is not None
        return matmul(U * unsqueeze(dS, -2), Vh)
    E = _differences(S * S)
    inner = None if dS is None else unsqueeze(dS, -2) * _ones(S)
    outside = None
    if dU is not None:
        shares = matmul(_turned(U), dU)
        turned = (shares - _turned(shares)) / E * across
        inner = turned if inner is None else inner + turned
        if U.shape[-2] > k:
            outside = matmul((dU - matmul(U, shares)) / across, Vh)
    if dVh is not None:
        shares = matmul(Vh, _turned(dVh))
        turned = (shares - _turned(shares)) / E * along
        inner = turned if inner is None else inner + turned
        if Vh.shape[-1] > k:
            more = matmul(U, (dVh - matmul(_turned(shares), Vh)) / along)
            outside = more if outside is None else outside + more
    assert inner is not None
    dA = matmul(matmul(U, inner), Vh)
    return dA if outside is None else dA + outside


@rule(Eigh)
def _eigh(node: Any, dL: Tensor | None, dV: Tensor | None) -> Tensor:
    """Magnus (1985): V (V^T dV / (L_j - L_i) off the diagonal, dL in it) V^T, made symmetric."""
    L, V = (of_output(node, array, i) for i, array in enumerate(node.made))
    inner = None if dL is None else unsqueeze(dL, -2) * _ones(L)
    if dV is not None:
        off = where(eq(_ones(L), 1.0), 0.0, matmul(_turned(V), dV) / _differences(L))
        inner = off if inner is None else inner + off
    assert inner is not None
    dA = matmul(matmul(V, inner), _turned(V))
    return (dA + _turned(dA)) * 0.5


@rule(Qr)
def _qr(node: Any, dQ: Tensor | None, dR: Tensor | None) -> Tensor:
    """Walter and Lehmann (2012): (dQ + Q sym(R dR^T - dQ^T Q)) R^-T, sym(M) with the lower triangle of M in
    both halves. For A = (X, Y), R = (U, W), m < n, Roberts and Roberts (2020): that with U and dQ + Y dW^T,
    and Q dW."""
    if node.mode == "r":
        raise RuntimeError("[qr] got mode 'r', which keeps no Q; expected 'reduced', which has gradients")
    Q, R = (of_output(node, array, i) for i, array in enumerate(node.made))
    (m, k), n = Q.shape[-2:], R.shape[-1]
    if k > n:
        raise RuntimeError(
            f"[qr] got mode 'complete' and shape {(m, n)}; expected 'reduced', which has gradients"
        )
    dQ = Q * 0.0 if dQ is None else dQ
    dR = R * 0.0 if dR is None else dR
    U, W, dU, dW = R[..., :k], R[..., k:], dR[..., :k], dR[..., k:]
    if n > k:
        dQ = dQ + matmul(matmul(Q, W), _turned(dW))
    M = matmul(U, _turned(dU)) - matmul(_turned(dQ), Q)
    dX = dQ + matmul(Q, tril(M) + _turned(tril(M, -1)))
    dX = _turned(Solve("qr").apply(U, _turned(dX)))
    return dX if n == k else cat([dX, matmul(Q, dW)], -1)


@rule(Pinv)
def _pinv(node: Any, dP: Tensor) -> Tensor:
    """Golub and Pereyra (1973): -P^T G P^T + (I - A P) G^T P P^T + P^T P G^T (I - P A), G = dP."""
    kind = np.dtype(np.float64)
    A, G = of_input(node, 0, node.A).to(kind), dP.to(kind)
    P = of_output(node, node.y).to(kind) if mode.enabled else wrap(node.P)
    Pt, turned = _turned(P), _turned(G)
    outer = matmul(matmul(turned, P), Pt)
    inner = matmul(matmul(Pt, P), turned)
    dA = outer - matmul(A, matmul(P, outer)) + inner - matmul(matmul(inner, P), A) - matmul(matmul(Pt, G), Pt)
    return dA.to(dP.dtype)
