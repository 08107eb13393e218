"""Computes operators on quantized numbers: integers or float8 x that stand for the floats (x - zero) scale.

Products of quantized numbers are computed in float64, where sums of products of 8-bit integers are exact.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.operators.windows import WINDOW, conv
from ranvier.onnx.registry import operator
from ranvier.onnx.values import (
    Array,
    Value,
    array_of,
    axis_of,
    by_numpy,
    cast,
    dtype_of,
    raw,
    shape_of,
    tensor_of,
)


def _spread(value: Value | None, shape: tuple[int, ...], axis: int, block: int) -> Any:
    """A scale or zero point as an array that broadcasts to `shape`; 0 for None.

    value holds one number, or one for each index of the axis, or with `block` one for each so many indices.
    """
    if value is None:
        return 0
    array = array_of(value)
    if array.size == 1:
        return array.reshape(())
    at = axis_of("QuantizeLinear", axis, len(shape))
    if block:
        return np.take(np.repeat(array, block, at), range(shape[at]), at)
    if array.ndim > 1:
        return array
    aligned = [1] * len(shape)
    aligned[at] = -1
    return array.reshape(aligned)


@operator("QuantizeLinear", since=10)
def quantize(
    x: Value,
    scale: Value,
    zero: Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Any:
    dtype = np.dtype(np.uint8)
    if zero is not None:
        dtype = raw(zero).dtype
    elif output_dtype:
        dtype = dtype_of(output_dtype)
    is_integer = dtype.name.startswith(("int", "uint"))
    shifts = _spread(zero, shape_of(x), axis, block_size)
    scales = _spread(scale, shape_of(x), axis, block_size)

    def quantized(a: Array) -> Any:
        computed = dtype_of(precision) if precision else a.dtype
        y = a.astype(computed) / scales.astype(computed)
        if not is_integer:
            return cast(y, dtype, bool(saturate), True)
        limits = importlib.import_module("ml_dtypes").iinfo(dtype)
        moved = np.rint(y).astype(np.float64) + np.asarray(shifts).astype(np.float64)
        return np.clip(moved, float(limits.min), float(limits.max)).astype(dtype)

    return by_numpy(quantized, x)


@operator("DequantizeLinear", since=10)
def dequantize(
    x: Value,
    scale: Value,
    zero: Value | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Any:
    shifts = np.asarray(_spread(zero, shape_of(x), axis, block_size)).astype(np.float32)
    scales = _spread(scale, shape_of(x), axis, block_size)
    dtype = raw(scale).dtype
    if output_dtype:
        dtype = dtype_of(output_dtype)

    def dequantized(a: Array) -> Array:
        return ((a.astype(np.float32) - shifts) * scales).astype(dtype)

    return by_numpy(dequantized, x)


def _exact(x: Value, zero: Value | None, axis: int, scale: Value | None = None) -> Tensor:
    """(x - zero) scale in float64; axis: along which zero and scale have a number for each index."""
    shifts = np.asarray(_spread(zero, shape_of(x), axis, 0), np.float64)
    moved = raw(x).astype(np.float64) - shifts
    if scale is None:
        return tensor_of(moved)
    scales = np.asarray(_spread(scale, shape_of(x), axis, 0), np.float64)
    return tensor_of(moved * scales)


@operator("MatMulInteger", since=10)
def matmul_integer(a: Value, b: Value, a_zero: Value | None = None, b_zero: Value | None = None) -> Any:
    return cast(ops.matmul(_exact(a, a_zero, -2), _exact(b, b_zero, -1)), np.dtype(np.int32))


@operator("ConvInteger", since=10, more=(*WINDOW, "group", "kernel_shape"))
def conv_integer(
    x: Value, w: Value, x_zero: Value | None = None, w_zero: Value | None = None, **settings: Any
) -> Any:
    return cast(conv(_exact(x, x_zero, 1), _exact(w, w_zero, 0), **settings), np.dtype(np.int32))


def _unpacked(packed: Array, bits: int, count: int) -> Array:
    """The first `count` numbers of the last axis, which has several in a byte, the lowest bits first."""
    numbers = packed[..., None] >> np.arange(0, 8, bits, dtype=np.uint8) & np.uint8(2**bits - 1)
    return numbers.reshape(*packed.shape[:-1], -1)[..., :count]


@operator("MatMulNBits", more=("K", "N", "bits", "block_size", "accuracy_level"))
def matmul_of_bits(
    a: Value,
    b: Value,
    scales: Value,
    zero: Value | None = None,
    order: Value | None = None,
    bias: Value | None = None,
    **settings: int,
) -> Any:
    """An operator of onnxruntime: a product with a matrix (N, K) of blocks along K, with a scale and a zero
    point each. accuracy_level, the precision in which onnxruntime computes it, is not followed."""
    n, k, block_size = (settings.get(name, 0) for name in ("N", "K", "block_size"))
    bits = settings.get("bits", 4)
    if bits not in (2, 4, 8) or order is not None:
        got = f"{bits} bits" if order is None else "g_idx"
        raise ValueError(f"[onnx MatMulNBits] got {got}; expected 2, 4 or 8 bits without g_idx")
    blocks = -(-k // max(block_size, 1))
    if n * blocks * block_size * bits != 8 * raw(b).size or n * blocks != raw(scales).size:
        raise ValueError(
            f"[onnx MatMulNBits] got {raw(b).size} bytes and {raw(scales).size} scales for a matrix "
            f"({n}, {k}) in blocks of {block_size}; expected as many as the blocks have"
        )

    def values(b: Array, scales: Array, zero: Array | None) -> Array:
        shifts: Any = np.float32(2 ** (bits - 1))
        if zero is not None:
            rows = zero.reshape(n, -1)
            if zero.dtype == np.uint8:
                shifts = _unpacked(rows, bits, blocks)
            else:
                shifts = rows
            shifts = shifts.astype(np.float32)[..., None]
        whole = _unpacked(b.reshape(n, blocks, -1), bits, block_size).astype(np.float32) - shifts
        numbers = whole * scales.reshape(n, blocks, 1).astype(np.float32)
        return numbers.reshape(n, -1)[:, :k].astype(raw(a).dtype)

    weight = by_numpy(values, b, scales, zero)
    return ops.linear(tensor_of(a), weight, None if bias is None else tensor_of(bias))


@operator("QLinearMatMul", since=10)
def quantized_matmul(
    a: Value,
    a_scale: Value,
    a_zero: Value,
    b: Value,
    b_scale: Value,
    b_zero: Value,
    y_scale: Value,
    y_zero: Value,
) -> Any:
    y = ops.matmul(_exact(a, a_zero, -2, a_scale), _exact(b, b_zero, -1, b_scale))
    return quantize(y, y_scale, y_zero, axis=-2)


@operator("QLinearConv", since=10, more=(*WINDOW, "group", "kernel_shape"))
def quantized_conv(
    x: Value,
    x_scale: Value,
    x_zero: Value,
    w: Value,
    w_scale: Value,
    w_zero: Value,
    y_scale: Value,
    y_zero: Value,
    b: Value | None = None,
    **settings: Any,
) -> Any:
    if b is None:
        bias = None
    else:
        bias = _exact(b, None, 0, raw(x_scale) * raw(w_scale))
    y = conv(_exact(x, x_zero, 1, x_scale), _exact(w, w_zero, 0, w_scale), bias, **settings)
    return quantize(y, y_scale, y_zero)
