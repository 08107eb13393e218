"""Operators element by element that are no row of `one_to_one`, and products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.one_to_one import FOLDED, Row, folded, mixed
from ranvier.onnx.registry import operator
from ranvier.onnx.values import FLOATS, by_numpy, cast, dtype_of, in_float, is_exact, raw, tensor_of


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


_QUOTIENT, _WHERE = Row("Mean", "", ops.div, np.divide), Row("Where", "", ops.where, np.where)


@operator("Mean")
def mean(*values: Any) -> Any:
    total = folded(FOLDED[0], *values)
    return mixed(_QUOTIENT, total, np.asarray(len(values), raw(total).dtype))


@operator("Where")
def where(condition: Any, a: Any, b: Any) -> Any:
    return mixed(_WHERE, condition, a, b)


# --- one value
@operator("Identity")
def identity(x: Any) -> Any:
    return x


@operator("IsInf")
def is_inf(x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    return by_numpy(
        lambda a: np.isinf(a) & (((a > 0) & bool(detect_positive)) | ((a < 0) & bool(detect_negative))), x
    )


@operator("Selu")
def selu(x: Any, *, alpha: float = 1.6732632423543772, gamma: float = 1.0507009873554805) -> Any:
    return in_float(lambda x: ops.elu(x, alpha) * gamma, x)


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


@operator("MatMul")
def matmul(a: Any, b: Any) -> Any:
    if is_exact(raw(a).dtype):
        return by_numpy(np.matmul, a, b)
    return in_float(ops.matmul, a, b)


@operator("Gemm")
def gemm(
    a: Any,
    b: Any,
    c: Any = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # ONNX's names
    transB: int = 0,
    broadcast: int = 0,
) -> Any:
    """alpha a b + beta c; a and b are matrices, transposed before if the settings say so."""
    if raw(a).ndim != 2 or raw(b).ndim != 2:
        raise ValueError(f"[onnx Gemm] got shapes {raw(a).shape} and {raw(b).shape}; expected two matrices")
    if is_exact(raw(a).dtype):
        return by_numpy(
            lambda a, b, *c: _of_arrays(a.T if transA else a, b.T if transB else b, c, alpha, beta),
            a,
            b,
            *(() if c is None else (c,)),
        )

    def of_tensors(a: Any, b: Any, c: Any) -> Any:
        a = a.T if transA else a
        if transB and alpha == 1 and beta == 1 and (c is None or c.shape == (b.shape[0],)):
            return ops.linear(a, b, c)
        y = ops.matmul(a, b.T if transB else b)
        y = y if alpha == 1 else y * alpha
        return y if c is None else y + (c if beta == 1 else c * beta)

    return in_float(of_tensors, a, b, c)


def _of_arrays(a: Any, b: Any, c: Any, alpha: float, beta: float) -> Any:
    y = alpha * np.matmul(a, b) + (beta * c[0] if c else 0)
    return y.astype(a.dtype)


@operator("Einsum")
def einsum(*values: Any, equation: str) -> Any:
    if any(is_exact(raw(v).dtype) for v in values):
        return by_numpy(lambda *arrays: np.einsum(equation, *arrays), *values)
    return in_float(lambda *tensors: ops.einsum(equation.replace(" ", ""), *tensors), *values)
