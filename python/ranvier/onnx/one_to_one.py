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
from ranvier.onnx.registry import WRITERS, Implementation, Write, operator, writes
from ranvier.onnx.values import CORE, by_kind, by_numpy, cast, dtype_of, in_float, is_exact, raw, tensor_of

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


class Row(NamedTuple):
    name: str
    writes: str
    reads: Callable[..., Any]
    arrays: Callable[..., Any] | None = None


def mixed(row: Row, *values: Any) -> Any:
    """`reads` where a Tensor has a dtype of the core, else `arrays`."""
    if any(isinstance(v, Tensor) for v in values) and all(raw(v).dtype in CORE for v in values):
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
    return ops.div(a, b, rounding_mode="trunc" if is_exact(a.dtype) else None)


def _power(a: Any, b: Any) -> Any:
    return np.power(a, b).astype(a.dtype)


def _power_of(a: Tensor, b: Tensor) -> Any:
    """The dtype is that of the base."""
    if is_exact(a.dtype) and not is_exact(b.dtype):
        return by_numpy(_power, a, b)
    return ops.pow(a, b.to(a.dtype))


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
    Row("Floor", "Floor", ops.floor, np.floor),
    Row("Ceil", "Ceil", ops.ceil, np.ceil),
    Row("Round", "Round", ops.round, np.round),
    Row("Sqrt", "Sqrt", ops.sqrt, np.sqrt),
    Row("Exp", "Exp", ops.exp, np.exp),
    Row("Log", "Log", ops.log, np.log),
    Row("Not", "", lambda x: ~x, np.logical_not),
    Row("IsNaN", "", lambda x: ops.ne(x, x), np.isnan),
    Row("Reciprocal", "Reciprocal", ops.reciprocal),
    Row("Sin", "Sin", ops.sin),
    Row("Cos", "Cos", ops.cos),
    Row("Tan", "", ops.tan),
    Row("Acos", "Acos", ops.acos),
    Row("Asin", "Asin", ops.asin),
    Row("Atan", "Atan", ops.atan),
    Row("Sinh", "Sinh", ops.sinh),
    Row("Cosh", "Cosh", ops.cosh),
    Row("Tanh", "Tanh", ops.tanh),
    Row("Asinh", "Asinh", ops.asinh),
    Row("Acosh", "Acosh", ops.acosh),
    Row("Atanh", "Atanh", ops.atanh),
    Row("Erf", "Erf", ops.erf),
    Row("Relu", "Relu", ops.relu),
    Row("Sigmoid", "Sigmoid", ops.sigmoid),
    Row("Softplus", "", lambda x: ops.softplus(x, threshold=1e9)),
    Row("Softsign", "Softsign", ops.softsign),
    Row("HardSwish", "Hardswish", ops.hardswish),
    Row("Mish", "Mish", ops.mish),
)
WITH_ALPHA = (("Elu", 1.0, ops.elu), ("Celu", 1.0, ops.celu), ("LeakyRelu", 0.01, ops.leaky_relu))

_QUOTIENT, _WHERE = Row("Mean", "", ops.div, np.divide), Row("Where", "", ops.where, np.where)
READ_ONLY: dict[str, Implementation] = {
    "BitShift": lambda a, b, *, direction="LEFT": _shifted(a, b, direction),
    "BitwiseNot": lambda x: by_numpy(np.invert, x),
    "Mean": lambda *values: _mean(folded(FOLDED[0], *values), len(values)),
    "Where": lambda condition, a, b: mixed(_WHERE, condition, a, b),
    "Identity": lambda x: x,
    "Selu": lambda x, *, alpha=_SELU_ALPHA, gamma=_SELU_SCALE: in_float(
        lambda x: ops.elu(x, alpha) * gamma, x
    ),
    "ThresholdedRelu": lambda x, *, alpha=1.0: in_float(lambda x: ops.where(x > alpha, x, 0.0), x),
    "HardSigmoid": lambda x, *, alpha=0.2, beta=0.5: in_float(
        lambda x: ops.clamp(x * alpha + beta, 0.0, 1.0), x
    ),
    "Gelu": lambda x, *, approximate="none": in_float(lambda x: ops.gelu(x, approximate), x),
    "Swish": lambda x, *, alpha=1.0: in_float(lambda x: x * ops.sigmoid(x * alpha), x),
    "Cast": lambda x, *, to, saturate=1: cast(x, dtype_of(to), bool(saturate), True),
    "CastLike": lambda x, target, *, saturate=1: cast(x, raw(target).dtype, bool(saturate), True),
    "MatMul": lambda a, b: by_kind(ops.matmul, np.matmul, a, b),
}
SINCE_24: dict[str, Implementation] = {  # infinity saturates in every float8
    "Cast": lambda x, *, to, saturate=1, round_mode="up": cast(x, dtype_of(to), bool(saturate)),
    "CastLike": lambda x, target, *, saturate=1, round_mode="up": cast(x, raw(target).dtype, bool(saturate)),
}
# read by functions of their own
WRITTEN_ONLY = {"Identity": "Clone", "MatMul": "Matmul", "Selu": "Selu", "Where": "Where"}
WITH_NUMBER = {"AddNumber": "Add", "MulNumber": "Mul", "DivNumber": "Div", "PowNumber": "Pow"}
NUMBER_FIRST = {"NumberSub": "Sub", "NumberDiv": "Div", "NumberPow": "Pow"}
FORMULAS: dict[str, Write] = {  # Functions that few operators write; s is a Site
    "MaskedFill": lambda s: s.node("Where", s.input(1), s.scalar(s.get("number")), s.input(0)),
    "Cast": lambda s: s.w.cast(s.input(0), s.get("dtype")),
    "Clip": lambda s: _clip(s, s.get("low"), s.get("high")),
    "Hardtanh": lambda s: _clip(s, s.get("min_val"), s.get("max_val")),
    "Gelu": lambda s: s.node("Gelu", s.input(0)),
    "GeluTanh": lambda s: s.node("Gelu", s.input(0), approximate="tanh"),
    "LeakyRelu": lambda s: s.node("LeakyRelu", s.input(0), alpha=float(s.get("negative_slope"))),
    "Hardsigmoid": lambda s: s.node("HardSigmoid", s.input(0), alpha=1 / 6, beta=0.5),
    "Fmod": lambda s: s.node("Mod", *s.inputs(), fmod=1),
    "DropoutLayer": lambda s: s.node("Dropout", s.input(0), s.w.constant(np.float32(s.get("p")))),
    "Cumsum": lambda s: s.node("CumSum", s.input(0), s.w.constant(np.int64(s.get("axis")))),
    "Cumprod": lambda s: s.node("CumProd", s.input(0), s.w.constant(np.int64(s.get("axis")))),
    **dict.fromkeys(("Embedding", "TakeRows"), lambda s: s.node("Gather", s.input(0), s.index(1), axis=0)),
}


def _shifted(a: Any, b: Any, direction: str) -> Any:
    return by_numpy(np.left_shift if direction == "LEFT" else np.right_shift, a, b)


def _mean(total: Any, count: int) -> Any:
    return mixed(_QUOTIENT, total, np.asarray(count, raw(total).dtype))


def _clip(s: Any, low: float, high: float) -> str:
    bounds = [s.scalar(b) if math.isfinite(b) else "" for b in (low, high)]
    return s.node("Clip", s.input(0), *bounds) if any(bounds) else s.input(0)


def aligned(row: Row, a: Any, b: Any, /, *, broadcast: int = 0, axis: int | None = None) -> Any:
    """Up to version 6: with an axis, the dimensions of b belong to a's from this one on."""
    if broadcast and axis is not None:
        after = raw(a).ndim - axis % raw(a).ndim - raw(b).ndim
        shape = (*raw(b).shape, *(1,) * after)
        b = ops.reshape(b, shape) if isinstance(b, Tensor) else b.reshape(shape)
    return mixed(row, a, b)


def folded(row: Row, *values: Any) -> Any:
    return reduce(partial(mixed, row), values)


def _read_one(row: Row, x: Any, /) -> Any:
    return in_float(row.reads, x) if row.arrays is None else mixed(row, x)


def _with_alpha(usual: float, function: Any) -> Callable[..., Any]:
    def read(x: Any, *, alpha: float = usual) -> Any:
        return in_float(lambda x: function(x, alpha), x)

    return read


def _write(name: str, s: Any) -> str:
    return s.node(name, *s.inputs())


def _write_with_number(name: str, first: bool, s: Any) -> str:
    x, number = s.input(0), s.scalar(s.get("number"))
    return s.node(name, number, x) if first else s.node(name, x, number)


def _register() -> None:
    for row in BINARY:
        operator(row.name)(partial(aligned, row))
        operator(row.name, since=7)(partial(mixed, row))
    for row in FOLDED:
        operator(row.name)(partial(folded, row))
    for row in UNARY:
        operator(row.name)(partial(_read_one, row))
    for name, usual, function in WITH_ALPHA:
        operator(name)(_with_alpha(usual, function))
        WRITERS[name] = lambda s: s.node(s.kind, s.input(0), alpha=float(s.get("alpha")))
    for name, function in READ_ONLY.items():
        operator(name)(function)
    for name, function in SINCE_24.items():
        operator(name, since=24)(function)
    written = {row.name: row.writes for row in (*BINARY, *FOLDED, *UNARY)} | WRITTEN_ONLY
    for name, kinds in written.items():
        writes(*kinds.split())(partial(_write, name))
    for kind, name in WITH_NUMBER.items():
        writes(kind)(partial(_write_with_number, name, False))
    for kind, name in NUMBER_FIRST.items():
        writes(kind)(partial(_write_with_number, name, True))
    WRITERS.update(FORMULAS)


_register()
