"""Operators of ONNX that are one operation of the library: a row for each, for reading and writing.

`reads` is the operation of Tensors, `arrays` NumPy's for integers and values that are no Tensors; without it
the operands are computed as floats. `writes` names the Functions that become this operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.registry import WRITERS, operator
from ranvier.onnx.values import FLOATS, by_numpy, in_float, is_exact, raw, tensor_of

_CORE = FLOATS | {np.dtype(np.int64), np.dtype(np.bool_)}


class Row(NamedTuple):
    name: str
    writes: str
    reads: Callable[..., Any]
    arrays: Callable[..., Any] | None = None


def mixed(row: Row, *values: Any) -> Any:
    """`reads` where a Tensor has a dtype of the core, else `arrays`."""
    if any(isinstance(v, Tensor) for v in values) and all(raw(v).dtype in _CORE for v in values):
        return row.reads(*map(tensor_of, values))
    assert row.arrays is not None
    return by_numpy(row.arrays, *values)


def _divided(a: Any, b: Any) -> Any:
    """a / b; of integers towards 0."""
    if not is_exact(a.dtype):
        return a / b
    whole = a // b
    return (whole + ((whole < 0) & (whole * b != a))).astype(a.dtype)


def _divide(a: Tensor, b: Tensor) -> Any:
    return ops.div(a, b, rounding_mode="trunc") if is_exact(a.dtype) else ops.div(a, b)


def _power(a: Any, b: Any) -> Any:
    return np.power(a, b).astype(a.dtype)


def _power_of(a: Tensor, b: Tensor) -> Any:
    """The dtype is that of the base."""
    return by_numpy(_power, a, b) if is_exact(a.dtype) else ops.pow(a, b.to(a.dtype))


def _sinh(x: Tensor) -> Any:
    e = ops.expm1(ops.abs(x))
    return ops.sign(x) * (e + e / (e + 1)) * 0.5


def _erf(x: Tensor) -> Any:
    """From gelu(x) = x (1 + erf(x / sqrt 2)) / 2; near 0 by the first terms of the series."""
    small = ops.abs(x) < 1e-2
    y = ops.where(small, tensor_of(np.ones((), x.dtype)), x) * math.sqrt(2)
    square = x * x
    series = x * (2 / math.sqrt(math.pi)) * (1 - square * (1 / 3) + square * square * 0.1)
    return ops.where(small, series, ops.gelu(y) / y * 2 - 1)


BINARY = (
    Row("Add", "Add", ops.add, np.add),
    Row("Sub", "Sub", ops.sub, np.subtract),
    Row("Mul", "Mul", ops.mul, np.multiply),
    Row("Div", "Div", _divide, _divided),
    Row("Pow", "Pow", _power_of, _power),
    Row("Equal", "", ops.eq, np.equal),
    Row("Less", "", ops.lt, np.less),
    Row("LessOrEqual", "", ops.le, np.less_equal),
    Row("Greater", "", ops.gt, np.greater),
    Row("GreaterOrEqual", "", ops.ge, np.greater_equal),
    Row("And", "", lambda a, b: a & b, np.logical_and),
    Row("Or", "", lambda a, b: a | b, np.logical_or),
    Row("Xor", "", lambda a, b: a ^ b, np.logical_xor),
    Row("BitwiseAnd", "", lambda a, b: a & b, np.bitwise_and),
    Row("BitwiseOr", "", lambda a, b: a | b, np.bitwise_or),
    Row("BitwiseXor", "", lambda a, b: a ^ b, np.bitwise_xor),
)
FOLDED = (  # any number of operands, two at a time
    Row("Sum", "", ops.add, np.add),
    Row("Max", "Maximum AtLeast", ops.maximum, np.maximum),
    Row("Min", "Minimum AtMost", ops.minimum, np.minimum),
)
UNARY = (
    Row("Abs", "Abs", ops.abs, np.abs),
    Row("Neg", "Neg", ops.neg, np.negative),
    Row("Sign", "Sign", ops.sign, np.sign),
    Row("Floor", "Floor", lambda x: ops.div(x, 1.0, rounding_mode="floor"), np.floor),
    Row("Ceil", "Ceil", lambda x: -ops.div(-x, 1.0, rounding_mode="floor"), np.ceil),
    Row("Round", "Round", ops.round, np.round),
    Row("Sqrt", "Sqrt", ops.sqrt, np.sqrt),
    Row("Exp", "Exp", ops.exp, np.exp),
    Row("Log", "Log", ops.log, np.log),
    Row("Not", "", lambda x: ~x, np.logical_not),
    Row("IsNaN", "", lambda x: ops.ne(x, x), np.isnan),
    Row("Reciprocal", "Reciprocal", ops.reciprocal),
    Row("Sin", "Sin", ops.sin),
    Row("Cos", "Cos", ops.cos),
    Row("Tan", "", lambda x: ops.sin(x) / ops.cos(x)),
    Row("Acos", "Acos", ops.acos),
    Row("Asin", "Asin", ops.asin),
    Row("Atan", "Atan", ops.atan),
    Row("Sinh", "Sinh", _sinh),
    Row("Cosh", "Cosh", lambda x: (ops.exp(x) + ops.exp(-x)) * 0.5),
    Row("Tanh", "Tanh", ops.tanh),
    Row("Asinh", "Asinh", lambda x: ops.sign(x) * ops.log1p(ops.abs(x) + x * x / (1 + ops.sqrt(x * x + 1)))),
    Row("Acosh", "Acosh", lambda x: ops.log(x + ops.sqrt(x * x - 1))),
    Row("Atanh", "Atanh", lambda x: (ops.log1p(x) - ops.log1p(-x)) * 0.5),
    Row("Erf", "Erf", _erf),
    Row("Relu", "Relu", ops.relu),
    Row("Sigmoid", "Sigmoid", ops.sigmoid),
    Row("Softplus", "", lambda x: ops.softplus(x, threshold=1e9)),
    Row("Softsign", "Softsign", ops.softsign),
    Row("HardSwish", "", ops.hardswish),
    Row("Mish", "", ops.mish),
)
# read by functions of their own
WRITTEN_ONLY = {"Identity": "Clone", "MatMul": "Matmul", "Selu": "Selu", "Where": "Where"}
WITH_ALPHA = (("Elu", 1.0, ops.elu), ("Celu", 1.0, ops.celu), ("LeakyRelu", 0.01, ops.leaky_relu))


def aligned(row: Row, a: Any, b: Any, /, *, broadcast: int = 0, axis: int | None = None) -> Any:
    """Up to version 6: with an axis, the dimensions of b belong to a's from this one on."""
    if broadcast and axis is not None:
        after = raw(a).ndim - axis % raw(a).ndim - raw(b).ndim
        shape = (*raw(b).shape, *(1,) * after)
        b = ops.reshape(b, shape) if isinstance(b, Tensor) else b.reshape(shape)
    return mixed(row, a, b)


def _read_two(row: Row, a: Any, b: Any, /) -> Any:
    return mixed(row, a, b)


def folded(row: Row, *values: Any) -> Any:
    return reduce(partial(mixed, row), values)


def _read_one(row: Row, x: Any, /) -> Any:
    return in_float(row.reads, x) if row.arrays is None else mixed(row, x)


def _with_alpha(usual: float, function: Any) -> Callable[..., Any]:
    def read(x: Any, *, alpha: float = usual) -> Any:
        return in_float(lambda x: function(x, alpha), x)

    return read


def write_as(name: str) -> Callable[[Any], Any]:
    return lambda site: site.w.node(name, *site.inputs())


def _register() -> None:
    for row in BINARY:
        operator(row.name)(partial(aligned, row))
        operator(row.name, since=7)(partial(_read_two, row))
    for row in FOLDED:
        operator(row.name)(partial(folded, row))
    for row in UNARY:
        operator(row.name)(partial(_read_one, row))
    for row in (*BINARY, *FOLDED, *UNARY):
        WRITERS.update(dict.fromkeys(row.writes.split(), write_as(row.name)))
    for name, usual, function in WITH_ALPHA:
        operator(name)(_with_alpha(usual, function))
        WRITERS[name] = lambda s: s.w.node(s.kind, s.input(0), alpha=float(s.get("setting")))
    for name, kind in WRITTEN_ONLY.items():
        WRITERS[kind] = write_as(name)


_register()
