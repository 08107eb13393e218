"""The rules of functions that NumPy computes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.autograd.graph import of_input, of_output, refuse, rule
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.diagonal import tril
from ranvier.ops.elementwise.arithmetic import neg, reciprocal
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.functions import cos, exp, log, sqrt
from ranvier.ops.elementwise.where import where
from ranvier.ops.matmul import matmul
from ranvier.ops.numeric.by_numpy import ByNumpy, NoDerivative
from ranvier.ops.numeric.elementary import cosh, digamma, sinh
from ranvier.ops.numeric.matrices import Cholesky, Det, Logabsdet, Solve, det, inverse
from ranvier.ops.second.maps import none, sum_to
from ranvier.ops.shape import transpose, unsqueeze


def _sinc(x: Tensor, y: Tensor) -> Tensor:
    zero = eq(wrap(x._array), 0.0)
    safe = where(zero, 1.0, x)
    return where(zero, x * (-(math.pi**2) / 3), (cos(safe * math.pi) - where(zero, 0.0, y)) / safe)


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
