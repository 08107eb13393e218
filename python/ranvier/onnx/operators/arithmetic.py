"""Computes arithmetic operators: element-wise ones, products of matrices, reductions, softmax and TopK.

Operators that are one op of the library are in `one_to_one.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import ranvier as rv
import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.patching import has_size
from ranvier.onnx.registry import operator
from ranvier.onnx.values import (
    FLOATS,
    Value,
    axis_of,
    in_float,
    ints,
    is_exact,
    on_tensors,
    raw,
    shape_of,
    tensor_of,
)


@operator("Mod")
def mod(a: Value, b: Value, *, fmod: int = 0) -> Any:
    """a - b floor(a / b), with the sign of b; fmod: with the sign of a."""
    if fmod:
        return in_float(ops.fmod, a, b)
    return in_float(ops.remainder, a, b)


@operator("IsInf")
@on_tensors
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    low = -math.inf if detect_negative else math.nan
    high = math.inf if detect_positive else math.nan
    return x.eq(low) | x.eq(high)


@operator("PRelu")
def prelu_of_channels(x: Value, slope: Value) -> Any:
    """Up to version 6: one slope, or one for each channel."""
    shape: tuple[int, ...] = (1,)
    if raw(slope).size > 1:
        shape = (-1, *(1,) * (raw(x).ndim - 2))
    return prelu(x, ops.reshape(tensor_of(slope), shape))


@operator("PRelu", since=7)
@on_tensors
def prelu(x: Tensor, slope: Tensor) -> Any:
    return ops.where(x < 0, x * slope, x)


@operator("Shrink")
@on_tensors
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    y = x.to(np.float64) if is_exact(x.dtype) else x
    return ops.where(y < -lambd, y + bias, ops.where(y > lambd, y - bias, 0.0)).to(x.dtype)


def _clip(infinite: bool, x: Value, low: Value | None = None, high: Value | None = None) -> Any:
    """x limited to low .. high, which hold one number each. Where low > high, every element becomes high.

    A limit that is left out is the smallest or largest finite number, so that infinities become finite.
    infinite: the limit is infinite instead, as up to version 5 of the operator set.
    """
    dtype = raw(x).dtype
    if dtype.kind == "f":
        largest = np.finfo(dtype).max
        if infinite:
            largest = np.inf
        if low is None:
            low = np.asarray(-largest)
        if high is None:
            high = np.asarray(largest)
    if dtype in FLOATS and isinstance(low, np.ndarray) and isinstance(high, np.ndarray):
        return ops.clamp(tensor_of(x), low.item(), high.item())
    return in_float(_between, x, low, high)


def _between(x: Tensor, low: Tensor | None, high: Tensor | None) -> Tensor:
    if low is not None:
        x = ops.maximum(x, low)
    if high is not None:
        x = ops.minimum(x, high)
    return x


operator("Clip")(partial(_clip, True))
operator("Clip", since=6)(partial(_clip, False))


@operator("Gemm")
@on_tensors
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # ONNX's names
    transB: int = 0,
    broadcast: int = 0,
) -> Any:
    """alpha a b + beta c; a and b are matrices, transposed before if the settings say so."""
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError(f"[onnx Gemm] got shapes {a.shape} and {b.shape}; expected two matrices")
    dtype = a.dtype
    if transA:
        a = a.T
    is_linear = transB and alpha == 1 and beta == 1 and dtype in FLOATS
    if is_linear and (c is None or c.shape == (b.shape[0],)):
        return ops.linear(a, b, c)
    if transB:
        b = b.T
    y = _scaled(ops.matmul(a, b), alpha)
    if c is not None:
        y = y + _scaled(c, beta)
    return y.to(dtype)


def _scaled(x: Tensor, factor: float) -> Tensor:
    """x * factor; integers times a factor that is not whole are computed in float64."""
    if factor == 1:
        return x
    if not is_exact(x.dtype):
        return x * factor
    if factor == int(factor):
        return x * int(factor)
    return x.to(np.float64) * factor


@operator("Einsum")
@on_tensors
def einsum(*values: Tensor, equation: str) -> Any:
    return ops.einsum(equation.replace(" ", ""), *values)


# --- reductions
Places = tuple[int, ...]
"""The axes of a reduction."""


def _maximum(x: Tensor, axes: Places, keepdims: bool) -> Tensor:
    """The maximum over axes; of no elements the least number of the dtype."""
    if all(x.shape[axis] for axis in axes):
        return ops.amax(x, axes, keepdims)
    least: Any = -math.inf
    if x.dtype == np.bool_:
        least = False
    elif is_exact(x.dtype):
        least = np.iinfo(x.dtype).min
    return _constant(x, axes, keepdims, least)


def _minimum(x: Tensor, axes: Places, keepdims: bool) -> Tensor:
    """The minimum over axes; of no elements the largest number of the dtype."""
    if all(x.shape[axis] for axis in axes):
        return ops.amin(x, axes, keepdims)
    largest: Any = math.inf
    if x.dtype == np.bool_:
        largest = True
    elif is_exact(x.dtype):
        largest = np.iinfo(x.dtype).max
    return _constant(x, axes, keepdims, largest)


def _constant(x: Tensor, axes: Places, keepdims: bool, value: bool | int | float) -> Tensor:
    """One value everywhere, in the shape of a reduction of x."""
    shape = ops.sum(x, axes, keepdims).shape
    return tensor_of(np.full(shape, value, x.dtype))


def _product(x: Tensor, axes: Places, keepdims: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = ops.prod(x, axis, keepdims)
    return x


def _sum_of_absolutes(x: Tensor, axes: Places, keepdims: bool) -> Tensor:
    return ops.sum(ops.abs(x), axes, keepdims)


def _norm(x: Tensor, axes: Places, keepdims: bool) -> Tensor:
    return ops.norm(x, 2, axes, keepdims)


def _log_of_sum(x: Tensor, axes: Places, keepdims: bool) -> Tensor:
    return ops.log(ops.sum(x, axes, keepdims))


def _sum_of_squares(x: Tensor, axes: Places, keepdims: bool) -> Tensor:
    return ops.sum(ops.square(x), axes, keepdims)


_REDUCTIONS: dict[str, Callable[[Tensor, Places, bool], Tensor]] = {
    "ReduceSum": ops.sum,
    "ReduceMean": ops.mean,
    "ReduceProd": _product,
    "ReduceMax": _maximum,
    "ReduceMin": _minimum,
    "ReduceL1": _sum_of_absolutes,
    "ReduceL2": _norm,
    "ReduceLogSum": _log_of_sum,
    "ReduceLogSumExp": ops.logsumexp,
    "ReduceSumSquare": _sum_of_squares,
}
# Over no axes these reductions return x unchanged. Others change each element: ReduceL1 takes absolute
# values.
_IDENTITY_ON_SCALARS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
# These compute integers as integers. For the others integers become float64, and the result is cast back.
_OF_INTEGERS = ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare")


def _reduced(
    name: str, x: Value, axes: Value | None = None, /, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    """The reduction `name` over axes. Without axes it is over all, or over none with noop_with_empty_axes."""
    ndim = raw(x).ndim
    dtype = raw(x).dtype
    chosen: Places = ()
    if axes is not None:
        chosen = tuple(axis_of(name, axis, ndim) for axis in ints(axes))
    if not chosen and not noop_with_empty_axes:
        chosen = tuple(range(ndim))
    if not chosen and name in _IDENTITY_ON_SCALARS:
        return x
    as_floats = is_exact(dtype) and name not in _OF_INTEGERS

    def reduced(x: Tensor) -> Tensor:
        if as_floats:
            x = x.to(np.float64)
        if chosen:
            y = _REDUCTIONS[name](x, chosen, bool(keepdims))
        else:  # a reduction over no axes is one over a new axis of one element
            y = _REDUCTIONS[name](ops.unsqueeze(x, -1), (-1,), False)
        return y.to(dtype)

    return in_float(reduced, x)


for _name in _REDUCTIONS:
    operator(_name)(partial(_reduced, _name))


def _extremum_at(
    name: str, x: Tensor, /, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
) -> Any:
    """ArgMax and ArgMin: the index of the extremum along an axis; among equal ones the first or the last."""
    function = ops.argmax if name == "ArgMax" else ops.argmin
    if not select_last_index:
        return function(x, axis, bool(keepdims))
    return x.shape[axis] - 1 - function(ops.flip(x, axis), axis, bool(keepdims))


for _name in ("ArgMax", "ArgMin"):
    operator(_name)(on_tensors(partial(_extremum_at, _name)))


class _RunningOp(NamedTuple):
    """neutral: the sum or product of no elements."""

    neutral: int
    function: Callable[[Tensor, int], Tensor]


_RUNNING = {"CumSum": _RunningOp(0, ops.cumsum), "CumProd": _RunningOp(1, ops.cumprod)}


def _running(name: str, x: Value, axis: Value, /, *, exclusive: int = 0, reverse: int = 0) -> Any:
    """Running sums or products along an axis.

    exclusive: each element is left out of its own sum.
    reverse: from the last element to the first.
    """
    neutral, function = _RUNNING[name]
    (at,) = ints(axis)

    def accumulated(x: Tensor) -> Tensor:
        if reverse:
            x = ops.flip(x, at)
        if exclusive:
            first = tensor_of(np.full(ops.narrow(x, at, 0, 1).shape, neutral, x.dtype))
            x = ops.cat([first, ops.narrow(x, at, 0, x.shape[at] - 1)], at)
        y = function(x, at).to(x.dtype)
        if reverse:
            return ops.flip(y, at)
        return y

    return in_float(accumulated, x)


for _name in _RUNNING:
    operator(_name)(partial(_running, _name))


# --- softmax
def _flattened(function: Callable[..., Any], axis: int, x: Tensor) -> Any:
    """function(x, axis) as up to operator set 12: over all axes from this one on, joined to one."""
    at = axis_of("Softmax", axis, x.ndim)
    matrix = ops.reshape(x, (math.prod(x.shape[:at]), math.prod(x.shape[at:])))
    return function(matrix, -1).reshape(x.shape)


def _hardmax(x: Tensor, axis: int) -> Any:
    """1 at the first maximum along an axis, 0 elsewhere."""
    shape = [1] * x.ndim
    shape[axis] = -1
    steps = np.arange(x.shape[axis]).reshape(shape)
    return ops.argmax(x, axis, True).eq(tensor_of(steps)).to(x.dtype)


@operator("Softmax")
@on_tensors
def flattened_softmax(x: Tensor, *, axis: int = 1) -> Tensor:
    return _flattened(ops.softmax, axis, x)


@operator("Softmax", since=13)
@on_tensors
def softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return ops.softmax(x, axis)


@operator("LogSoftmax")
@on_tensors
def flattened_log_softmax(x: Tensor, *, axis: int = 1) -> Tensor:
    return _flattened(ops.log_softmax, axis, x)


@operator("LogSoftmax", since=13)
@on_tensors
def log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return ops.log_softmax(x, axis)


@operator("Hardmax")
@on_tensors
def flattened_hardmax(x: Tensor, *, axis: int = 1) -> Tensor:
    return _flattened(_hardmax, axis, x)


@operator("Hardmax", since=13)
@on_tensors
def hardmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return _hardmax(x, axis)


# --- the k largest or smallest
@operator("TopK")
def topk(x: Value, k: Value, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    """The k largest or smallest values along an axis, and their indices; of equal ones the first."""
    number = ints(k)[0]
    at = axis_of("TopK", axis, raw(x).ndim)
    n = shape_of(x)[at]
    if not has_size((number, n)) and not 0 <= number <= n:
        raise ValueError(f"[onnx TopK] got k {number} for an axis of length {n}")
    first = (slice(None),) * at + (slice(0, number),)

    def chosen(x: Tensor) -> tuple[Tensor, Tensor]:
        values, places = rv.sort(x, at, bool(largest), stable=True)
        return values[first], places[first]

    return in_float(chosen, x)


@operator("LpNormalization")
@on_tensors
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Any:
    size = ops.norm(x, p, axis, True)
    return x / ops.where(ops.eq(size, 0), 1.0, size)  # zeros stay
