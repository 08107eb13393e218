"""Functions as formulas of other ops, for file formats that lack them as one operation (ONNX, C).

Some Functions have a method `formula` for this. The formulas of others are here, by the names of the classes.
This module is loaded only where a model is written to a file. Formulas of elements and of losses take a
namespace f (`ops/namespaces.py`), so that they can be written in C, too; all others compute with Tensors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier.ops.assignments  # noqa: F401  # fills the table, too
from ranvier.ops.elementwise.choice import where
from ranvier.ops.loss.base import reduced
from ranvier.ops.namespaces import TENSORS, Operations, Value
from ranvier.tape.calls import FORMULAS
from ranvier.tape.function import Function
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor, wrap

__all__ = ["ELEMENTS", "LOSSES"]

_DEGREE = math.pi / 180


def _is_negative(b: Value) -> Any:
    """True where b has a negative sign, also for -0.0, whose reciprocal is -inf."""
    return (b < 0.0) | ((b == 0.0) & (1.0 / b < 0.0))


def _copysign(f: Operations, a: Value, b: Value) -> Value:
    return f.where(_is_negative(b), -f.abs(a), f.abs(a))


def _atan2(f: Operations, a: Value, b: Value) -> Value:
    """atan(a / |b|), the angle from the positive half of the axis of b, mirrored where b is negative."""
    endless = (f.abs(a) == math.inf) & (f.abs(b) == math.inf)
    slope = f.where(endless, f.sign(a), a / f.abs(b))
    angle = f.where((a == 0.0) & (b == b), a, f.atan(slope))
    return f.where(_is_negative(b), f.copysign(math.pi, a) - angle, angle)


def _hypot(f: Operations, a: Value, b: Value) -> Value:
    a = f.abs(a)
    b = f.abs(b)
    most = f.where((a == math.inf) | (b == math.inf), math.inf, f.maximum(a, b))
    least = f.minimum(a, b) / f.where(most == 0.0, 1.0, most)
    return f.where(most == math.inf, most, most * f.sqrt(1.0 + least * least))


def _differ(a: Any, b: Value) -> Any:
    """True where a and b have different signs."""
    return ((a < 0.0) & (b > 0.0)) | ((a > 0.0) & (b < 0.0))


def _remainder(f: Operations, a: Value, b: Value) -> Value:
    rest = f.fmod(a, b)
    return f.where(_differ(rest, b), rest + b, rest)


def _floor_divide(f: Operations, a: Value, b: Value) -> Value:
    rest = f.fmod(a, b)
    whole = f.round((a - rest) / b) - f.where(_differ(rest, b), 1.0, 0.0)
    return f.where(b == 0.0, a / b, whole)


def _deg2rad(f: Operations, x: Value) -> Value:
    return x * _DEGREE


def _erfc(f: Operations, x: Value) -> Value:
    return 1.0 - f.erf(x)


def _expm1(f: Operations, x: Value) -> Value:
    return f.exp(x) - 1.0


def _exp2(f: Operations, x: Value) -> Value:
    return f.exp(x * math.log(2))


def _fmax(f: Operations, a: Value, b: Value) -> Value:
    return f.where(a == a, f.where(a < b, b, a), b)


def _fmin(f: Operations, a: Value, b: Value) -> Value:
    return f.where(a == a, f.where(a > b, b, a), b)


def _frac(f: Operations, x: Value) -> Value:
    return x - f.trunc(x)


def _heaviside_of_tensors(f: Operations, x: Value, b: Value) -> Value:
    return f.where(x == 0.0, b, f.where(x > 0.0, 1.0, 0.0))


def _log1p(f: Operations, x: Value) -> Value:
    return f.log(x + 1.0)


def _log10(f: Operations, x: Value) -> Value:
    return f.log(x) * (1 / math.log(10))


def _log2(f: Operations, x: Value) -> Value:
    return f.log(x) * (1 / math.log(2))


def _rad2deg(f: Operations, x: Value) -> Value:
    return x * (1 / _DEGREE)


def _sinc(f: Operations, x: Value) -> Value:
    return f.where(x == 0.0, 1.0, f.sin(x * math.pi) / (x * math.pi))


def _square(f: Operations, x: Value) -> Value:
    return x * x


def _trunc(f: Operations, x: Value) -> Value:
    return f.sign(x) * f.floor(f.abs(x))


def _xlogy(f: Operations, a: Value, b: Value) -> Value:
    return f.where((a == 0.0) & (b == b), 0.0, a * f.log(b))


ELEMENTS: dict[str, Callable[..., Any]] = {
    "Atan2": _atan2,
    "Copysign": _copysign,
    "Deg2rad": _deg2rad,
    "Erfc": _erfc,
    "Expm1": _expm1,
    "Exp2": _exp2,
    "FloorDivide": _floor_divide,
    "Fmax": _fmax,
    "Fmin": _fmin,
    "Frac": _frac,
    "HeavisideOfTensors": _heaviside_of_tensors,
    "Hypot": _hypot,
    "Log1p": _log1p,
    "Log10": _log10,
    "Log2": _log2,
    "Rad2deg": _rad2deg,
    "Remainder": _remainder,
    "Sinc": _sinc,
    "Square": _square,
    "Trunc": _trunc,
    "Xlogy": _xlogy,
}
"""Functions of elements, of f and the operands. export/elementwise.py writes them in C."""


def _smooth_l1(f: Operations, x: Value, t: Value, beta: float) -> Value:
    d = f.abs(x - t)
    return f.where(d < beta, d * d * 0.5 / beta, d - beta * 0.5)


def _huber(f: Operations, x: Value, t: Value, delta: float) -> Value:
    d = f.abs(x - t)
    return f.where(d <= delta, d * d * 0.5, (d - delta * 0.5) * delta)


def _weighted(y: Value, weight: Value | None) -> Value:
    if weight is None:
        return y
    return y * weight


def _bce_with_logits(
    f: Operations, x: Value, t: Value, weight: Value | None, positive: Value | None
) -> Value:
    """max(x, 0) - x t + log(1 + exp(-|x|)). Where t = 0, x t counts as 0, also for an infinite x."""
    rest = f.log1p(f.exp(-f.abs(x)))
    if positive is None:
        return _weighted(f.where(x > 0.0, x, 0.0) - f.where(t == 0.0, 0.0, x * t) + rest, weight)
    rest = rest - f.where(x < 0.0, x, 0.0)
    return _weighted((1.0 - t) * x + (1.0 + (positive - 1.0) * t) * rest, weight)


def _bce(f: Operations, x: Value, t: Value, weight: Value | None) -> Value:
    is_true = f.clip(f.log(x), -100.0, math.inf)
    is_false = f.clip(f.log1p(-x), -100.0, math.inf)
    return _weighted(-(t * is_true + (1.0 - t) * is_false), weight)


def _kl_div(f: Operations, x: Value, t: Value, logs: bool) -> Value:
    if logs:
        return f.where(f.exp(t) == 0.0, 0.0, f.exp(t) * (t - x))
    return f.where(t == 0.0, 0.0, t * (f.log(t) - x))


def _l1(f: Operations, x: Value, t: Value) -> Value:
    return f.abs(x - t)


def _mse(f: Operations, x: Value, t: Value) -> Value:
    return f.square(x - t)


LOSSES: dict[str, Callable[..., Any]] = {
    "Bce": _bce,
    "BceWithLogits": _bce_with_logits,
    "Huber": _huber,
    "KlDiv": _kl_div,
    "L1": _l1,
    "Mse": _mse,
    "SmoothL1": _smooth_l1,
}
"""Losses of elements, of f, x, the target and the settings."""


def _element(formula: Callable[..., Any]) -> Callable[..., Tensor]:
    """The formula of a node, on Tensors."""

    def computed(node: Function, *operands: Tensor) -> Tensor:
        return formula(TENSORS, *operands)

    return computed


def _loss(formula: Callable[..., Any]) -> Callable[..., Tensor]:
    """The formula of the node of a loss, on Tensors, with its reduction."""

    def computed(node: Any, x: Tensor, t: Tensor) -> Tensor:
        settings = [_wrapped(setting) for setting in node.settings]
        y: Tensor = formula(TENSORS, x, t, *settings)
        if node.reduction == "batchmean":
            return y.sum() / x.shape[0]
        return reduced("loss", y, node.reduction)

    return computed


def _wrapped(setting: Any) -> Any:
    """An array as a Tensor; other settings as they are."""
    if isinstance(setting, np.ndarray):
        return wrap(setting)
    return setting


def _prelu(node: Any, x: Tensor, weight: Tensor) -> Tensor:
    if weight.numel() == 1:
        slopes = weight.reshape(())
    else:
        slopes = weight.reshape((-1, *(1,) * (x.ndim - 2)))
    return where(x > 0.0, x, x.masked_fill(x > 0.0, 0.0) * slopes)


def _repeat(node: Any, x: Tensor) -> Tensor:
    return x.reshape(node.split).expand(node.wide).reshape(node.final)


def _hardshrink(node: Any, x: Tensor) -> Tensor:
    return x.masked_fill(x.abs() <= node.lambd, 0.0)


def _triangle(node: Any, x: Tensor, mask: Tensor | Array) -> Tensor:
    return x.masked_fill(_wrapped(mask), 0.0)


def _diagonal(node: Any, x: Tensor) -> Tensor:
    """The diagonals of matrices: every (columns + 1)-th element of each matrix in C order."""
    offset, first, second = node.place
    others = [d for d in range(x.ndim) if d not in (first, second)]
    rows = x.shape[first]
    columns = x.shape[second]
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    flat = x.permute((*others, first, second)).flatten(-2)
    return flat[..., max(offset, -offset * columns) :: columns + 1][..., :count]


FORMULAS |= {
    "Diagonal": _diagonal,
    "Repeat": _repeat,
    "Hardshrink": _hardshrink,
    "Prelu": _prelu,
    "Triangle": _triangle,
}
FORMULAS |= {name: _element(formula) for name, formula in ELEMENTS.items()}
FORMULAS |= {name: _loss(formula) for name, formula in LOSSES.items()}
