"""The operators of ONNX that correspond to one operation of the library, for reading and for writing.

The tables are entered into those of `registry.py` at the end of the file. A function in them takes Tensors
when it reads an operator, and one call of a Function (`traced_call.TracedCall`) when it writes one.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial, reduce
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.registry import operator as reads, writes
from ranvier.onnx.values import (
    Value,
    by_numpy,
    cast,
    dtype_of,
    in_float,
    is_exact,
    on_tensors,
    raw,
    tensor_of,
)

if TYPE_CHECKING:
    from ranvier.onnx.traced_call import TracedCall

_SELU_ALPHA = 1.6732632423543772
_SELU_SCALE = 1.0507009873554805


class Row(NamedTuple):
    """An operator of ONNX that is one op of the library.

    name: its name.
    writes: the class names of the Functions that are written as it.
    reads: computes it.
    """

    name: str
    writes: str
    reads: Callable[..., Any]


def _divide(a: Tensor, b: Tensor) -> Any:
    """a / b; of integers towards 0."""
    if is_exact(a.dtype):
        return ops.div(a, b, rounding_mode="trunc")
    return ops.div(a, b)


def _power(a: Tensor, b: Tensor) -> Any:
    """a ** b; the result has the dtype of a."""
    if is_exact(a.dtype) and not is_exact(b.dtype):
        return ops.pow(a.to(np.float64), b.to(np.float64)).to(a.dtype)
    return ops.pow(a, b.to(a.dtype))


def _is_nan(x: Tensor) -> Tensor:
    return ops.ne(x, x)


def _softplus(x: Tensor) -> Tensor:
    return ops.softplus(x, threshold=1e9)  # ONNX has no threshold


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
    Row("IsNaN", "", _is_nan),
    Row("Tan", "", ops.tan),
    Row("Softplus", "", _softplus),
    Row("HardSwish", "Hardswish", ops.hardswish),
)


# --- operators that are read; some are written below, others elsewhere
@reads("BitShift")
@on_tensors
def bit_shift(a: Tensor, b: Tensor, *, direction: str = "LEFT") -> Tensor:
    if direction == "LEFT":
        return ops.bitwise_left_shift(a, b)
    return ops.bitwise_right_shift(a, b)


@reads("Mean")
@on_tensors
def mean(*values: Tensor) -> Tensor:
    return reduce(ops.add, values) / len(values)


@reads("Where")
@on_tensors
def where(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return ops.where(condition, a, b)


@reads("MatMul")
@on_tensors
def matmul(a: Tensor, b: Tensor) -> Tensor:
    return ops.matmul(a, b)


@reads("Selu")
@on_tensors
def selu(x: Tensor, *, alpha: float = _SELU_ALPHA, gamma: float = _SELU_SCALE) -> Tensor:
    return ops.elu(x, alpha) * gamma


@reads("ThresholdedRelu")
@on_tensors
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return ops.where(x > alpha, x, 0.0)


@reads("HardSigmoid")
@on_tensors
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return ops.clamp(x * alpha + beta, 0.0, 1.0)


@reads("Gelu")
@on_tensors
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return ops.gelu(x, approximate)


@reads("Swish")
@on_tensors
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return x * ops.sigmoid(x * alpha)


@reads("Elu")
@on_tensors
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return ops.elu(x, alpha)


@reads("Celu")
@on_tensors
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return ops.celu(x, alpha)


@reads("LeakyRelu")
@on_tensors
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return ops.leaky_relu(x, alpha)


@reads("Identity")
def identity(x: Value) -> Value:
    return x


@reads("BitCast")
def bit_cast(x: Value, *, to: int) -> Any:
    dtype = dtype_of(to)
    return by_numpy(lambda array: array.view(dtype), x)


def aligned(
    function: Callable[..., Any], a: Value, b: Value, /, *, broadcast: int = 0, axis: int | None = None
) -> Any:
    """function(a, b) as binary operators broadcast up to version 6 of the operator set.

    With an axis, the first dimension of b belongs to this axis of a, and the others to the axes after it.
    """
    if broadcast and axis is not None:
        after = raw(a).ndim - axis % raw(a).ndim - raw(b).ndim
        b = ops.reshape(tensor_of(b), (*raw(b).shape, *(1,) * after))
    return in_float(function, a, b)


def _cast(
    old: bool,
    x: Value,
    target: Value | None = None,
    /,
    *,
    to: int = 0,
    saturate: int = 1,
    round_mode: str = "up",
) -> Any:
    """x in the dtype `to`, or in the dtype of `target` (CastLike).

    The other arguments are those of `values.cast`.
    """
    dtype = dtype_of(to) if target is None else raw(target).dtype
    return cast(x, dtype, bool(saturate), old, round_mode)


def _folded(function: Callable[[Tensor, Tensor], Tensor], *values: Tensor) -> Any:
    """A function of two operands applied to any number of operands, from the first on."""
    return reduce(function, values)


# --- Functions that are written (`traced_call.py`)
# operator -> its Function; the functions that read these operators are elsewhere
WRITTEN_ONLY = {"Identity": "Clone", "MatMul": "Matmul", "Selu": "Selu", "Where": "Where"}


def _write(name: str, call: TracedCall) -> str:
    return call.node(name, *call.inputs())


@writes("MaskedFill")
def write_masked_fill(call: TracedCall) -> str:
    mask = call.input(1)
    number = call.scalar(call.get("number"))
    return call.node("Where", mask, number, call.input(0))


@writes("Cast")
def write_cast(call: TracedCall) -> str:
    return call.graph.cast(call.input(0), call.get("dtype"))


@writes("Clamp")
def write_clamp(call: TracedCall) -> str:
    return _clip(call, call.get("low"), call.get("high"))


@writes("Hardtanh")
def write_hardtanh(call: TracedCall) -> str:
    return _clip(call, call.get("min_val"), call.get("max_val"))


def _clip(call: TracedCall, low: float, high: float) -> str:
    """The node Clip without infinite bounds."""
    least = call.scalar(low) if math.isfinite(low) else ""
    greatest = call.scalar(high) if math.isfinite(high) else ""
    if least or greatest:
        return call.node("Clip", call.input(0), least, greatest)
    return call.input(0)


@writes("Gelu")
def write_gelu(call: TracedCall) -> str:
    return call.node("Gelu", call.input(0))


@writes("GeluTanh")
def write_gelu_tanh(call: TracedCall) -> str:
    return call.node("Gelu", call.input(0), approximate="tanh")


@writes("Elu", "Celu")
def write_elu(call: TracedCall) -> str:
    return call.node(call.kind, call.input(0), alpha=float(call.get("alpha")))


@writes("LeakyRelu")
def write_leaky_relu(call: TracedCall) -> str:
    return call.node("LeakyRelu", call.input(0), alpha=float(call.get("negative_slope")))


@writes("Hardsigmoid")
def write_hardsigmoid(call: TracedCall) -> str:
    return call.node("HardSigmoid", call.input(0), alpha=1 / 6, beta=0.5)


@writes("Fmod")
def write_fmod(call: TracedCall) -> str:
    return call.node("Mod", *call.inputs(), fmod=1)


@writes("DropoutLayer")
def write_dropout(call: TracedCall) -> str:
    x = call.input(0)
    return call.node("Dropout", x, call.graph.constant(np.float32(call.get("p"))))


@writes("Cumsum")
def write_cumsum(call: TracedCall) -> str:
    x = call.input(0)
    return call.node("CumSum", x, call.graph.constant(np.int64(call.get("axis"))))


@writes("Cumprod")
def write_cumprod(call: TracedCall) -> str:
    x = call.input(0)
    return call.node("CumProd", x, call.graph.constant(np.int64(call.get("axis"))))


@writes("Embedding", "TakeRows")
def write_rows(call: TracedCall) -> str:
    x = call.input(0)
    return call.node("Gather", x, call.index(1), axis=0)


@writes("AddNumber", "MulNumber", "DivNumber", "PowNumber", "NumberSub", "NumberDiv", "NumberPow")
def write_with_number(call: TracedCall) -> str:
    """An operation of a tensor and a number, in float32 where halves do not hold the number.

    In those that begin with Number the number is the first operand.
    """
    x = call.input(0)
    number = call.get("number")
    dtype = call.dtype()
    is_exact_number = dtype != np.float16 or _is_half(number)
    if not is_exact_number:
        x = call.graph.cast(x, np.float32)
        constant = call.graph.constant(np.array(number, np.float32))
    else:
        constant = call.graph.constant(np.array(number, dtype))
    op = call.kind.replace("Number", "")
    if call.kind.startswith("Number"):
        y = call.node(op, constant, x)
    else:
        y = call.node(op, x, constant)
    if is_exact_number:
        return y
    return call.graph.cast(y, dtype)


def _is_half(number: float) -> bool:
    """True for a number that float16 holds exactly, and for NaN."""
    with np.errstate(over="ignore"):
        return number != number or float(np.float16(number)) == number


def _register() -> None:
    for row in BINARY:
        reads(row.name)(partial(aligned, row.reads))
        reads(row.name, since=7)(partial(in_float, row.reads))
    for row in FOLDED:
        reads(row.name)(partial(in_float, partial(_folded, row.reads)))
    for row in UNARY:
        reads(row.name)(partial(in_float, row.reads))
    for name in ("Cast", "CastLike"):
        reads(name)(partial(_cast, True))
        reads(name, since=24)(partial(_cast, False))
    written = {row.name: row.writes for row in (*BINARY, *FOLDED, *UNARY)} | WRITTEN_ONLY
    for name, kinds in written.items():
        writes(*kinds.split())(partial(_write, name))


_register()
