"""The operators of ONNX that correspond to one operation of the library, for reading and for writing.

The tables are entered into those of `registry.py` at the end of the file. A function in them takes Tensors
when it reads an operator, and a `site.Site`, which is one call of a Function, when it writes one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import Any, NamedTuple

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.registry import WRITERS, Implementation, Write, operator as reads, operators, writes
from ranvier.onnx.values import by_numpy, cast, dtype_of, in_float, is_exact, on_tensors, raw, tensor_of

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


class Row(NamedTuple):
    """An operator of ONNX that is one op of the library.

    name: its name. writes: the class names of the Functions that are written as it. reads: computes it.
    """

    name: str
    writes: str
    reads: Callable[..., Any]


def _divide(a: Tensor, b: Tensor) -> Any:
    """a / b; of integers towards 0."""
    return ops.div(a, b, rounding_mode="trunc" if is_exact(a.dtype) else None)


def _power(a: Tensor, b: Tensor) -> Any:
    """a ** b; the result has the dtype of a."""
    if is_exact(a.dtype) and not is_exact(b.dtype):
        return ops.pow(a.to(np.float64), b.to(np.float64)).to(a.dtype)
    return ops.pow(a, b.to(a.dtype))


SAME_NAME = (  # the op of the library (in lower case) and its Function have the operator's name
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor"),
    *("Log", "Mish", "Neg", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softsign"),
    *("Sqrt", "Tanh"),
)
BINARY = (
    Row("Add", "Add", ops.add),
    Row("Sub", "Sub", ops.sub),
    Row("Mul", "Mul", ops.mul),
    Row("Div", "Div", _divide),
    Row("Pow", "Pow", _power),
    Row("Equal", "", ops.eq),
    Row("Less", "", ops.lt),
    Row("LessOrEqual", "", ops.le),
    Row("Greater", "", ops.gt),
    Row("GreaterOrEqual", "", ops.ge),
    *(Row(name, "", operator.and_) for name in ("And", "BitwiseAnd")),
    *(Row(name, "", operator.or_) for name in ("Or", "BitwiseOr")),
    *(Row(name, "", operator.xor) for name in ("Xor", "BitwiseXor")),
)
FOLDED = (  # any number of operands, two at a time
    Row("Sum", "", ops.add),
    Row("Max", "Maximum AtLeast", ops.maximum),
    Row("Min", "Minimum AtMost", ops.minimum),
)
UNARY = (
    *(Row(name, name, getattr(ops, name.lower())) for name in SAME_NAME),
    *(Row(name, "", operator.invert) for name in ("Not", "BitwiseNot")),
    Row("IsNaN", "", lambda x: ops.ne(x, x)),
    Row("Tan", "", ops.tan),
    Row("Softplus", "", lambda x: ops.softplus(x, threshold=1e9)),
    Row("HardSwish", "Hardswish", ops.hardswish),
)

READ_ONLY: dict[str, Implementation] = {  # operators that are read; FORMULAS and others write some of them
    "BitShift": lambda a, b, *, direction="LEFT": (
        ops.bitwise_left_shift(a, b) if direction == "LEFT" else ops.bitwise_right_shift(a, b)
    ),
    "Mean": lambda *values: _folded(ops.add, *values) / len(values),
    "Where": lambda condition, a, b: ops.where(condition, a, b),
    "Selu": lambda x, *, alpha=_SELU_ALPHA, gamma=_SELU_SCALE: ops.elu(x, alpha) * gamma,
    "ThresholdedRelu": lambda x, *, alpha=1.0: ops.where(x > alpha, x, 0.0),
    "HardSigmoid": lambda x, *, alpha=0.2, beta=0.5: ops.clamp(x * alpha + beta, 0.0, 1.0),
    "Gelu": lambda x, *, approximate="none": ops.gelu(x, approximate),
    "Swish": lambda x, *, alpha=1.0: x * ops.sigmoid(x * alpha),
    "MatMul": lambda a, b: ops.matmul(a, b),
    "Elu": lambda x, *, alpha=1.0: ops.elu(x, alpha),
    "Celu": lambda x, *, alpha=1.0: ops.celu(x, alpha),
    "LeakyRelu": lambda x, *, alpha=0.01: ops.leaky_relu(x, alpha),
}
# operator -> its Function; the functions that read these operators are elsewhere
WRITTEN_ONLY = {"Identity": "Clone", "MatMul": "Matmul", "Selu": "Selu", "Where": "Where"}
OF_NUMBERS = ("AddNumber", "MulNumber", "DivNumber", "PowNumber", "NumberSub", "NumberDiv", "NumberPow")
"""Functions of one tensor and one number. In those that begin with Number the number is the first operand."""
FORMULAS: dict[str, Write] = {  # Function -> what writes it; s is a Site, s.w its Writer
    "MaskedFill": lambda s: s.node("Where", s.input(1), s.scalar(s.get("number")), s.input(0)),
    "Cast": lambda s: s.w.cast(s.input(0), s.get("dtype")),
    "Clamp": lambda s: _clip(s, s.get("low"), s.get("high")),
    "Hardtanh": lambda s: _clip(s, s.get("min_val"), s.get("max_val")),
    "Gelu": lambda s: s.node("Gelu", s.input(0)),
    "GeluTanh": lambda s: s.node("Gelu", s.input(0), approximate="tanh"),
    **dict.fromkeys(("Elu", "Celu"), lambda s: s.node(s.kind, s.input(0), alpha=float(s.get("alpha")))),
    "LeakyRelu": lambda s: s.node("LeakyRelu", s.input(0), alpha=float(s.get("negative_slope"))),
    "Hardsigmoid": lambda s: s.node("HardSigmoid", s.input(0), alpha=1 / 6, beta=0.5),
    "Fmod": lambda s: s.node("Mod", *s.inputs(), fmod=1),
    "DropoutLayer": lambda s: s.node("Dropout", s.input(0), s.w.constant(np.float32(s.get("p")))),
    "Cumsum": lambda s: s.node("CumSum", s.input(0), s.w.constant(np.int64(s.get("axis")))),
    "Cumprod": lambda s: s.node("CumProd", s.input(0), s.w.constant(np.int64(s.get("axis")))),
    **dict.fromkeys(("Embedding", "TakeRows"), lambda s: s.node("Gather", s.input(0), s.index(1), axis=0)),
}


def _clip(s: Any, low: float, high: float) -> str:
    """The node Clip without infinite bounds."""
    bounds = [s.scalar(b) if math.isfinite(b) else "" for b in (low, high)]
    if any(bounds):
        return s.node("Clip", s.input(0), *bounds)
    return s.input(0)


def aligned(function: Any, a: Any, b: Any, /, *, broadcast: int = 0, axis: int | None = None) -> Any:
    """function(a, b) as binary operators broadcast up to version 6 of the operator set.

    With an axis, the first dimension of b belongs to this axis of a, and the others to the axes after it.
    """
    if broadcast and axis is not None:
        after = raw(a).ndim - axis % raw(a).ndim - raw(b).ndim
        b = ops.reshape(tensor_of(b), (*raw(b).shape, *(1,) * after))
    return in_float(function, a, b)


def _cast(
    old: bool, x: Any, target: Any = None, /, *, to: Any = 0, saturate: int = 1, round_mode: str = "up"
) -> Any:
    """x in the dtype `to`, or in the dtype of `target` (CastLike).

    The other arguments are those of `values.cast`.
    """
    dtype = dtype_of(to) if target is None else raw(target).dtype
    return cast(x, dtype, bool(saturate), old, round_mode)


def _folded(function: Any, *values: Any) -> Any:
    """A function of two operands applied to any number of operands, from the first on."""
    return reduce(function, values)


def _write(name: str, s: Any) -> str:
    return s.node(name, *s.inputs())


def _write_with_number(s: Any) -> str:
    """An operation with a number; in float32 where halves do not hold the number."""
    x = s.input(0)
    number = s.get("number")
    own = s.dtype()
    with np.errstate(over="ignore"):
        is_exact = own != np.float16 or float(np.float16(number)) == number or number != number
    dtype = own if is_exact else np.dtype(np.float32)
    operands = [x if is_exact else s.w.cast(x, dtype), s.w.constant(np.array(number, dtype))]
    in_order = operands[::-1] if s.kind.startswith("Number") else operands
    y = s.node(s.kind.replace("Number", ""), *in_order)
    if is_exact:
        return y
    return s.w.cast(y, own)


def _register() -> None:
    for row in BINARY:
        reads(row.name)(partial(aligned, row.reads))
        reads(row.name, since=7)(partial(in_float, row.reads))
    for row in FOLDED:
        reads(row.name)(partial(in_float, partial(_folded, row.reads)))
    for row in UNARY:
        reads(row.name)(partial(in_float, row.reads))
    operators({(name, 1): on_tensors(function) for name, function in READ_ONLY.items()})
    reads("Identity")(lambda x: x)
    reads("BitCast")(lambda x, *, to: by_numpy(lambda a: a.view(dtype_of(to)), x))
    for name in ("Cast", "CastLike"):
        reads(name)(partial(_cast, True))
        reads(name, since=24)(partial(_cast, False))
    written = {row.name: row.writes for row in (*BINARY, *FOLDED, *UNARY)} | WRITTEN_ONLY
    for name, kinds in written.items():
        writes(*kinds.split())(partial(_write, name))
    writes(*OF_NUMBERS)(_write_with_number)
    WRITERS.update(FORMULAS)


_register()
