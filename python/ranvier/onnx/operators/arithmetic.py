"""Computes arithmetic operators: element-wise ones, products of matrices, reductions, softmax and TopK.

Operators that are one op of the library are in `one_to_one.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import ranvier as rv
import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.registry import operator, operators
from ranvier.onnx.symbols import has_size
from ranvier.onnx.values import (
    FLOATS,
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
def mod(a: Any, b: Any, *, fmod: int = 0) -> Any:
    """a - b floor(a / b), with the sign of b; fmod: with the sign of a."""
    return in_float(ops.fmod if fmod else ops.remainder, a, b)


@operator("IsInf")
@on_tensors
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    low = -math.inf if detect_negative else math.nan
    high = math.inf if detect_positive else math.nan
    return x.eq(low) | x.eq(high)


@operator("PRelu")
def prelu_of_channels(x: Any, slope: Any) -> Any:
    """Up to version 6: one slope, or one for each channel."""
    if raw(slope).size > 1:
        shape = (-1, *(1,) * (raw(x).ndim - 2))
    else:
        shape = (1,)
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


def _clip(infinite: bool, x: Any, low: Any = None, high: Any = None) -> Any:
    """x limited to low .. high, which hold one number each. Where low > high, every element becomes high.

    A limit that is left out is the smallest or largest finite number, so that infinities become finite.
    infinite: the limit is infinite instead, as up to version 5 of the operator set.
    """
    dtype = raw(x).dtype
    if dtype.kind == "f":
        most = np.asarray(math.inf if infinite else np.finfo(dtype).max)
        if low is None:
            low = -most
        if high is None:
            high = most
    if dtype in FLOATS and not isinstance(low, Tensor) and not isinstance(high, Tensor):
        return ops.clamp(tensor_of(x), raw(low).item(), raw(high).item())

    def of_tensors(x: Tensor, low: Any, high: Any) -> Any:
        y = x if low is None else ops.maximum(x, low)
        if high is None:
            return y
        return ops.minimum(y, high)

    return in_float(of_tensors, x, low, high)


operator("Clip")(partial(_clip, True))
operator("Clip", since=6)(partial(_clip, False))


@operator("Gemm")
@on_tensors
def gemm(
    a: Tensor,
    b: Tensor,
    c: Any = None,
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
    if transB and alpha == 1 and beta == 1 and dtype in FLOATS and (c is None or c.shape == (b.shape[0],)):
        return ops.linear(a, b, c)
    y = _scaled(ops.matmul(a, b.T if transB else b), alpha)
    return (y if c is None else y + _scaled(c, beta)).to(dtype)


def _scaled(x: Tensor, factor: float) -> Tensor:
    """x * factor; integers times a factor that is not whole are computed in float64."""
    if factor == 1 or not is_exact(x.dtype):
        if factor == 1:
            return x
        return x * factor
    if factor == int(factor):
        return x * int(factor)
    return x.to(np.float64) * factor


@operator("Einsum")
@on_tensors
def einsum(*values: Tensor, equation: str) -> Any:
    return ops.einsum(equation.replace(" ", ""), *values)


# --- reductions
def _extreme(function: Any, sign: int, x: Tensor, axes: Any, keep: bool) -> Tensor:
    """The maximum (sign -1) or minimum (sign 1) over axes.

    The maximum of no elements is the least number of the dtype, the minimum of none is the largest.
    """
    if all(x.shape[a] for a in axes):
        return function(x, axes, keep)
    edge: Any = sign * math.inf
    if x.dtype == np.bool_:
        edge = sign > 0
    elif is_exact(x.dtype):
        edge = np.iinfo(x.dtype).min if sign < 0 else np.iinfo(x.dtype).max
    shape = ops.sum(x, axes, keep).shape
    return tensor_of(np.full(shape, edge, x.dtype))


def _product(x: Tensor, axes: Any, keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = ops.prod(x, axis, keep)
    return x


_REDUCTIONS: dict[str, Any] = {  # functions of (Tensor, axes, keepdims)
    "ReduceSum": ops.sum,
    "ReduceMean": ops.mean,
    "ReduceProd": _product,
    "ReduceMax": partial(_extreme, ops.amax, -1),
    "ReduceMin": partial(_extreme, ops.amin, 1),
    "ReduceL1": lambda x, *how: ops.sum(ops.abs(x), *how),
    "ReduceL2": lambda x, *how: ops.norm(x, 2, *how),
    "ReduceLogSum": lambda x, *how: ops.log(ops.sum(x, *how)),
    "ReduceLogSumExp": ops.logsumexp,
    "ReduceSumSquare": lambda x, *how: ops.sum(ops.square(x), *how),
}
# Over no axes these reductions return x unchanged. Others change each element: ReduceL1 takes absolute
# values.
_IDENTITY_ON_SCALARS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
# These compute integers as integers. For the others integers become float64, and the result is cast back.
_OF_INTEGERS = ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare")


def _reduced(
    name: str, x: Any, axes: Any = None, /, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    """The reduction `name` over axes. Without axes it is over all, or over none with noop_with_empty_axes."""
    ndim, dtype = raw(x).ndim, raw(x).dtype
    chosen = () if axes is None else tuple(axis_of(name, axis, ndim) for axis in ints(axes))
    if not chosen and not noop_with_empty_axes:
        chosen = tuple(range(ndim))
    if not chosen and name in _IDENTITY_ON_SCALARS:
        return x
    as_floats = is_exact(dtype) and name not in _OF_INTEGERS

    def of_tensors(x: Tensor) -> Any:
        if as_floats:
            x = x.to(np.float64)
        # a reduction over no axes is one over a new axis of one element
        x, over = (x, chosen) if chosen else (ops.unsqueeze(x, -1), (-1,))
        return _REDUCTIONS[name](x, over, bool(chosen and keepdims)).to(dtype)

    return in_float(of_tensors, x)


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

_RUNNING: dict[str, tuple[int, Any]] = {"CumSum": (0, ops.cumsum), "CumProd": (1, ops.cumprod)}
"""Operator -> the sum or product of no elements, and the op."""


def _running(name: str, x: Any, axis: Any, /, *, exclusive: int = 0, reverse: int = 0) -> Any:
    """Running sums or products along an axis.

    exclusive: each element is left out of its own sum. reverse: from the last element to the first.
    """
    neutral, function = _RUNNING[name]
    (at,) = ints(axis)

    def of_tensors(x: Tensor) -> Any:
        if reverse:
            x = ops.flip(x, at)
        if exclusive:
            first = tensor_of(np.full(ops.narrow(x, at, 0, 1).shape, neutral, x.dtype))
            x = ops.cat([first, ops.narrow(x, at, 0, x.shape[at] - 1)], at)
        y = function(x, at).to(x.dtype)
        if reverse:
            return ops.flip(y, at)
        return y

    return in_float(of_tensors, x)


for _name in _RUNNING:
    operator(_name)(partial(_running, _name))


# --- softmax
def _flattened(function: Callable[..., Any], axis: int, x: Tensor) -> Any:
    """function(x, axis) as up to operator set 12: over all axes from this one on, joined to one."""
    at = axis_of("Softmax", axis, x.ndim)
    return function(ops.reshape(x, (math.prod(x.shape[:at]), math.prod(x.shape[at:]))), -1).reshape(x.shape)


def _hardmax(x: Tensor, axis: int) -> Any:
    """1 at the first maximum along an axis, 0 elsewhere."""
    steps = np.arange(x.shape[axis]).reshape([-1 if d == axis % x.ndim else 1 for d in range(x.ndim)])
    return ops.argmax(x, axis, True).eq(tensor_of(steps)).to(x.dtype)


# --- the k largest or smallest
def _topk(x: Any, k: int, axis: int, largest: bool) -> Any:
    """The k largest or smallest values along an axis, and their indices; of equal ones the first."""
    at = axis_of("TopK", axis, raw(x).ndim)
    n = shape_of(x)[at]
    if not has_size((k, n)) and not 0 <= k <= n:
        raise ValueError(f"[onnx TopK] got k {k} for an axis of length {n}")
    kept = (slice(None),) * at + (slice(0, k),)
    return in_float(lambda x: tuple(y[kept] for y in rv.sort(x, at, largest, stable=True)), x)


@operator("LpNormalization")
@on_tensors
def lp_normalization(x: Tensor, *, axis: int = -1, p: int = 2) -> Any:
    size = ops.norm(x, p, axis, True)
    return x / ops.where(ops.eq(size, 0), 1.0, size)  # zeros stay


operators(
    {
        ("Softmax", 1): on_tensors(lambda x, *, axis=1: _flattened(ops.softmax, axis, x)),
        ("Softmax", 13): on_tensors(lambda x, *, axis=-1: ops.softmax(x, axis)),
        ("LogSoftmax", 1): on_tensors(lambda x, *, axis=1: _flattened(ops.log_softmax, axis, x)),
        ("LogSoftmax", 13): on_tensors(lambda x, *, axis=-1: ops.log_softmax(x, axis)),
        ("Hardmax", 1): on_tensors(lambda x, *, axis=1: _flattened(_hardmax, axis, x)),
        ("Hardmax", 13): on_tensors(lambda x, *, axis=-1: _hardmax(x, axis)),
        ("TopK", 1): lambda x, k, *, axis=-1, largest=1, sorted=1: _topk(x, ints(k)[0], axis, bool(largest)),
    }
)
