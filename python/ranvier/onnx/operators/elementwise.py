"""Arithmetic, comparisons, functions and activations, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.dtypes import cast, dtype_of
from ranvier.onnx.registry import operator
from ranvier.onnx.values import FLOATS, by_numpy, in_float, is_exact, raw, tensor_of

_CORE = FLOATS | {np.dtype(np.int64), np.dtype(np.bool_)}


def _mixed(function: Callable[..., Any], numpy_function: Callable[..., Any], *values: Any) -> Any:
    """function where a Tensor has a dtype of the core, else numpy_function."""
    if any(isinstance(v, Tensor) for v in values) and all(raw(v).dtype in _CORE for v in values):
        return function(*map(tensor_of, values))
    return by_numpy(numpy_function, *values)


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
    if is_exact(a.dtype):
        return by_numpy(_power, a, b)
    return ops.pow(a, b.to(a.dtype))


def _aligned(functions: Any, a: Any, b: Any, /, *, broadcast: int = 0, axis: int | None = None) -> Any:
    """Up to version 6: with an axis, the dimensions of b belong to a's from this one on."""
    if broadcast and axis is not None:
        after = raw(a).ndim - axis % raw(a).ndim - raw(b).ndim
        shape = (*raw(b).shape, *(1,) * after)
        b = ops.reshape(b, shape) if isinstance(b, Tensor) else b.reshape(shape)
    return _mixed(*functions, a, b)


_BINARY: dict[str, tuple[Any, Any]] = {
    "Add": (ops.add, np.add),
    "Sub": (ops.sub, np.subtract),
    "Mul": (ops.mul, np.multiply),
    "Div": (_divide, _divided),
    "Pow": (_power_of, _power),
    "Equal": (ops.eq, np.equal),
    "Less": (ops.lt, np.less),
    "LessOrEqual": (ops.le, np.less_equal),
    "Greater": (ops.gt, np.greater),
    "GreaterOrEqual": (ops.ge, np.greater_equal),
    "And": (lambda a, b: a & b, np.logical_and),
    "Or": (lambda a, b: a | b, np.logical_or),
    "Xor": (lambda a, b: a ^ b, np.logical_xor),
    "BitwiseAnd": (lambda a, b: a & b, np.bitwise_and),
    "BitwiseOr": (lambda a, b: a | b, np.bitwise_or),
    "BitwiseXor": (lambda a, b: a ^ b, np.bitwise_xor),
}
for _name, _functions in _BINARY.items():
    operator(_name)(partial(_aligned, _functions))
    operator(_name, since=7)(partial(lambda pair, a, b, /: _mixed(*pair, a, b), _functions))


@operator("BitShift")
def bit_shift(a: Any, b: Any, *, direction: str = "LEFT") -> Any:
    return by_numpy(np.left_shift if direction == "LEFT" else np.right_shift, a, b)


@operator("BitwiseNot")
def bitwise_not(x: Any) -> Any:
    return by_numpy(np.invert, x)


@operator("Mod")
def mod(a: Any, b: Any, *, fmod: int = 0) -> Any:
    """a - b floor(a / b), with the sign of b; fmod: with the sign of a."""

    def of_tensors(a: Tensor, b: Tensor) -> Any:
        return a - b * ops.div(a, b, rounding_mode="trunc" if fmod else "floor")

    if is_exact(raw(a).dtype) or raw(a).dtype not in FLOATS or not isinstance(a, Tensor):
        return by_numpy(np.fmod if fmod else np.mod, a, b)
    return of_tensors(a, tensor_of(b))


def _folded(function: Any, numpy_function: Any, *values: Any) -> Any:
    return reduce(lambda a, b: _mixed(function, numpy_function, a, b), values)


for _name, _functions in {
    "Sum": (ops.add, np.add),
    "Max": (ops.maximum, np.maximum),
    "Min": (ops.minimum, np.minimum),
}.items():
    operator(_name)(partial(_folded, *_functions))


@operator("Mean")
def mean(*values: Any) -> Any:
    total = _folded(ops.add, np.add, *values)
    return _mixed(ops.div, np.divide, total, np.asarray(len(values), raw(total).dtype))


@operator("Where")
def where(condition: Any, a: Any, b: Any) -> Any:
    return _mixed(ops.where, np.where, condition, a, b)


# --- one value
def _ceil(x: Tensor) -> Any:
    return -ops.div(-x, 1.0, rounding_mode="floor")


_UNARY: dict[str, tuple[Any, Any]] = {  # with integers and NumPy's own function
    "Abs": (ops.abs, np.abs),
    "Neg": (ops.neg, np.negative),
    "Sign": (ops.sign, np.sign),
    "Floor": (lambda x: ops.div(x, 1.0, rounding_mode="floor"), np.floor),
    "Ceil": (_ceil, np.ceil),
    "Round": (ops.round, np.round),
    "Sqrt": (ops.sqrt, np.sqrt),
    "Exp": (ops.exp, np.exp),
    "Log": (ops.log, np.log),
    "Not": (lambda x: ~x, np.logical_not),
    "IsNaN": (lambda x: ops.ne(x, x), np.isnan),
}
for _name, _functions in _UNARY.items():
    operator(_name)(partial(lambda pair, x, /: _mixed(*pair, x), _functions))


@operator("Identity")
def identity(x: Any) -> Any:
    return x


@operator("IsInf")
def is_inf(x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    return by_numpy(
        lambda a: np.isinf(a) & (((a > 0) & bool(detect_positive)) | ((a < 0) & bool(detect_negative))), x
    )


def _sinh(x: Tensor) -> Any:
    e = ops.expm1(ops.abs(x))
    return ops.sign(x) * (e + e / (e + 1)) * 0.5


def _cosh(x: Tensor) -> Any:
    return (ops.exp(x) + ops.exp(-x)) * 0.5


def _erf(x: Tensor) -> Any:
    """From gelu(x) = x (1 + erf(x / sqrt 2)) / 2; near 0 by the first terms of the series."""
    small = ops.abs(x) < 1e-2
    y = ops.where(small, tensor_of(np.ones((), x.dtype)), x) * math.sqrt(2)
    square = x * x
    series = x * (2 / math.sqrt(math.pi)) * (1 - square * (1 / 3) + square * square * 0.1)
    return ops.where(small, series, ops.gelu(y) / y * 2 - 1)


_FUNCTIONS: dict[str, Any] = {  # of floats
    "Reciprocal": ops.reciprocal,
    "Sin": ops.sin,
    "Cos": ops.cos,
    "Tan": lambda x: ops.sin(x) / ops.cos(x),
    "Acos": ops.acos,
    "Asin": ops.asin,
    "Atan": ops.atan,
    "Sinh": _sinh,
    "Cosh": _cosh,
    "Tanh": ops.tanh,
    "Asinh": lambda x: ops.sign(x) * ops.log1p(ops.abs(x) + x * x / (1 + ops.sqrt(x * x + 1))),
    "Acosh": lambda x: ops.log(x + ops.sqrt(x * x - 1)),
    "Atanh": lambda x: (ops.log1p(x) - ops.log1p(-x)) * 0.5,
    "Erf": _erf,
    "Relu": ops.relu,
    "Sigmoid": ops.sigmoid,
    "Softplus": lambda x: ops.softplus(x, threshold=1e9),
    "Softsign": ops.softsign,
    "HardSwish": ops.hardswish,
    "Mish": ops.mish,
}
for _name, _function in _FUNCTIONS.items():
    operator(_name)(partial(lambda f, x, /: in_float(f, x), _function))


@operator("Relu")
def relu(x: Any) -> Any:
    return by_numpy(lambda a: np.maximum(a, 0), x) if is_exact(raw(x).dtype) else in_float(ops.relu, x)


@operator("Elu")
def elu(x: Any, *, alpha: float = 1.0) -> Any:
    return in_float(lambda x: ops.elu(x, alpha), x)


@operator("Celu")
def celu(x: Any, *, alpha: float = 1.0) -> Any:
    return in_float(lambda x: ops.celu(x, alpha), x)


@operator("Selu")
def selu(x: Any, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Any:
    return in_float(lambda x: ops.elu(x, alpha) * gamma, x)


@operator("LeakyRelu")
def leaky_relu(x: Any, *, alpha: float = 0.01) -> Any:
    return in_float(lambda x: ops.leaky_relu(x, alpha), x)


@operator("PRelu")
def prelu_of_channels(x: Any, slope: Any) -> Any:
    """Up to version 6: one slope, or one for each channel."""
    shape = (-1, *(1,) * (raw(x).ndim - 2)) if raw(slope).size > 1 else (1,)
    return prelu(x, ops.reshape(slope, shape) if isinstance(slope, Tensor) else slope.reshape(shape))


@operator("PRelu", since=7)
def prelu(x: Any, slope: Any) -> Any:
    if is_exact(raw(x).dtype):
        return by_numpy(lambda a, s: np.where(a < 0, a * s, a), x, slope)
    return in_float(lambda x, s: ops.where(x < 0, x * s, x), x, slope)


@operator("ThresholdedRelu")
def thresholded_relu(x: Any, *, alpha: float = 1.0) -> Any:
    return in_float(lambda x: ops.where(x > alpha, x, ops.mul(x, 0.0)), x)


@operator("HardSigmoid")
def hard_sigmoid(x: Any, *, alpha: float = 0.2, beta: float = 0.5) -> Any:
    return in_float(lambda x: ops.clamp(x * alpha + beta, 0.0, 1.0), x)


@operator("Shrink")
def shrink(x: Any, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    if is_exact(raw(x).dtype):
        return by_numpy(
            lambda a: np.where(a < -lambd, a + bias, np.where(a > lambd, a - bias, 0)).astype(a.dtype), x
        )
    return in_float(
        lambda x: ops.where(x < -lambd, x + bias, ops.where(x > lambd, x - bias, ops.mul(x, 0.0))), x
    )


@operator("Gelu")
def gelu(x: Any, *, approximate: str = "none") -> Any:
    return in_float(lambda x: ops.gelu(x, approximate), x)


@operator("Swish")
def swish(x: Any, *, alpha: float = 1.0) -> Any:
    return in_float(lambda x: x * ops.sigmoid(x * alpha), x)


@operator("Clip")
def clip_by_attributes(x: Any, *, min: float | None = None, max: float | None = None) -> Any:
    return in_float(lambda x: ops.clamp(x, min, max), x)


@operator("Clip", since=11)
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """Bounds are numbers; where low is above high, all are high."""
    if raw(x).dtype not in FLOATS or not isinstance(x, Tensor):
        y = x if low is None else by_numpy(np.maximum, x, low)
        return y if high is None else by_numpy(np.minimum, y, high)
    if all(bound is None or not isinstance(bound, Tensor) for bound in (low, high)):
        bounds = [None if bound is None else raw(bound).item() for bound in (low, high)]
        return x if bounds == [None, None] else ops.clamp(x, *bounds)
    y = x if low is None else ops.maximum(x, tensor_of(low))
    return y if high is None else ops.minimum(y, tensor_of(high))


@operator("Cast")
def cast_to(x: Any, *, to: int | str, saturate: int = 1, round_mode: str = "up") -> Any:
    return cast(x, dtype_of(to), bool(saturate))


@operator("CastLike")
def cast_like(x: Any, target: Any, *, saturate: int = 1, round_mode: str = "up") -> Any:
    return cast(x, raw(target).dtype, bool(saturate))
