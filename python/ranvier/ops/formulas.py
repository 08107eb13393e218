"""Functions as formulas of other ops, for file formats that lack them as one operation (ONNX, C).

Some Functions have a method `formula` for this. The formulas of others are here, by the names of the classes.
This module is loaded only where a model is written to a file. Formulas of elements and of losses take a
namespace f (`ops/namespaces.py`), so that they can be written in C, too; all others compute with Tensors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier.ops.assignments  # noqa: F401  # fills the table, too
from ranvier.ops.elementwise.choice import where
from ranvier.ops.loss.base import reduced
from ranvier.ops.namespaces import TENSORS, Operations, Value
from ranvier.tape.calls import FORMULAS
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


ELEMENTS: dict[str, Any] = {
    "Atan2": _atan2,
    "Copysign": _copysign,
    "Deg2rad": lambda f, x: x * _DEGREE,
    "Erfc": lambda f, x: 1.0 - f.erf(x),
    "Expm1": lambda f, x: f.exp(x) - 1.0,
    "Exp2": lambda f, x: f.exp(x * math.log(2)),
    "FloorDivide": _floor_divide,
    "Fmax": lambda f, a, b: f.where(a == a, f.where(a < b, b, a), b),
    "Fmin": lambda f, a, b: f.where(a == a, f.where(a > b, b, a), b),
    "Frac": lambda f, x: x - f.trunc(x),
    "HeavisideOfTensors": lambda f, x, b: f.where(x == 0.0, b, f.where(x > 0.0, 1.0, 0.0)),
    "Hypot": _hypot,
    "Log1p": lambda f, x: f.log(x + 1.0),
    "Log10": lambda f, x: f.log(x) * (1 / math.log(10)),
    "Log2": lambda f, x: f.log(x) * (1 / math.log(2)),
    "Rad2deg": lambda f, x: x * (1 / _DEGREE),
    "Remainder": _remainder,
    "Sinc": lambda f, x: f.where(x == 0.0, 1.0, f.sin(x * math.pi) / (x * math.pi)),
    "Square": lambda f, x: x * x,
    "Trunc": lambda f, x: f.sign(x) * f.floor(f.abs(x)),
    "Xlogy": lambda f, a, b: f.where((a == 0.0) & (b == b), 0.0, a * f.log(b)),
}
"""Functions of elements, of f and the operands."""


def _smooth_l1(f: Operations, x: Value, t: Value, beta: Any) -> Value:
    d = f.abs(x - t)
    return f.where(d < beta, d * d * 0.5 / beta, d - beta * 0.5)


def _huber(f: Operations, x: Value, t: Value, delta: Any) -> Value:
    d = f.abs(x - t)
    return f.where(d <= delta, d * d * 0.5, (d - delta * 0.5) * delta)


def _weighted(y: Any, weight: Any) -> Any:
    if weight is None:
        return y
    return y * weight


def _bce_with_logits(f: Operations, x: Value, t: Value, weight: Any, positive: Value) -> Value:
    """max(x, 0) - x t + log(1 + exp(-|x|)). Where t = 0, x t counts as 0, also for an infinite x."""
    rest = f.log1p(f.exp(-f.abs(x)))
    if positive is None:
        return _weighted(f.where(x > 0.0, x, 0.0) - f.where(t == 0.0, 0.0, x * t) + rest, weight)
    rest = rest - f.where(x < 0.0, x, 0.0)
    return _weighted((1.0 - t) * x + (1.0 + (positive - 1.0) * t) * rest, weight)


def _bce(f: Operations, x: Value, t: Value, weight: Any) -> Value:
    is_true = f.clip(f.log(x), -100.0, math.inf)
    is_false = f.clip(f.log1p(-x), -100.0, math.inf)
    return _weighted(-(t * is_true + (1.0 - t) * is_false), weight)


def _kl_div(f: Operations, x: Value, t: Value, logs: bool) -> Value:
    if logs:
        return f.where(f.exp(t) == 0.0, 0.0, f.exp(t) * (t - x))
    return f.where(t == 0.0, 0.0, t * (f.log(t) - x))


LOSSES: dict[str, Any] = {
    "Bce": _bce,
    "BceWithLogits": _bce_with_logits,
    "Huber": _huber,
    "KlDiv": _kl_div,
    "L1": lambda f, x, t: f.abs(x - t),
    "Mse": lambda f, x, t: f.square(x - t),
    "SmoothL1": _smooth_l1,
}
"""Losses of elements, of f, x, the target and the settings."""


def _element(formula: Any) -> Any:
    """The formula of a node, on Tensors."""
    return lambda node, *xs: formula(TENSORS, *xs)


def _loss(formula: Any) -> Any:
    """The formula of the node of a loss, on Tensors, with its reduction."""

    def computed(node: Any, x: Tensor, t: Tensor) -> Tensor:
        settings = [wrap(s) if isinstance(s, np.ndarray) else s for s in node.settings]
        y: Tensor = formula(TENSORS, x, t, *settings)
        if node.reduction == "batchmean":
            return y.sum() / x.shape[0]
        return reduced("loss", y, node.reduction)

    return computed


def _prelu(node: Any, x: Tensor, weight: Tensor) -> Tensor:
    slopes = weight.reshape(() if weight.numel() == 1 else (-1, *(1,) * (x.ndim - 2)))
    return where(x > 0.0, x, x.masked_fill(x > 0.0, 0.0) * slopes)


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
    "Repeat": lambda node, x: x.reshape(node.split).expand(node.wide).reshape(node.final),
    "Hardshrink": lambda node, x: x.masked_fill(x.abs() <= node.lambd, 0.0),
    "Prelu": _prelu,
    "Triangle": lambda node, x, mask: x.masked_fill(mask if isinstance(mask, Tensor) else wrap(mask), 0.0),
}
FORMULAS |= {kind: _element(formula) for kind, formula in ELEMENTS.items()}
FORMULAS |= {kind: _loss(formula) for kind, formula in LOSSES.items()}
