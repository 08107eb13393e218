"""Element-wise operators of more than one op (the others: `one_to_one`), products of matrices, reductions."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.registry import operator, operators
from ranvier.onnx.values import (
    CORE,
    FLOATS,
    axis_of,
    by_kind,
    by_numpy,
    in_float,
    ints,
    is_exact,
    raw,
    shape_of,
    tensor_of,
)

_LARGEST = float(np.finfo(np.float32).max)


@operator("Mod")
def mod(a: Any, b: Any, *, fmod: int = 0) -> Any:
    """a - b floor(a / b), with the sign of b; fmod: with the sign of a."""
    return by_kind(*((ops.fmod, np.fmod) if fmod else (ops.remainder, np.mod)), a, b)


@operator("IsInf")
def is_inf(x: Any, *, detect_negative: int = 1, detect_positive: int = 1) -> Any:
    return by_numpy(
        lambda a: np.isinf(a) & (((a > 0) & bool(detect_positive)) | ((a < 0) & bool(detect_negative))), x
    )


@operator("PRelu")
def prelu_of_channels(x: Any, slope: Any) -> Any:
    """Up to version 6: one slope, or one for each channel."""
    shape = (-1, *(1,) * (raw(x).ndim - 2)) if raw(slope).size > 1 else (1,)
    return prelu(x, ops.reshape(slope, shape) if isinstance(slope, Tensor) else slope.reshape(shape))


@operator("PRelu", since=7)
def prelu(x: Any, slope: Any) -> Any:
    def of(f: Any) -> Any:
        return lambda x, s: f.where(x < 0, x * s, x)

    return by_kind(of(ops), of(np), x, slope)


@operator("Shrink")
def shrink(x: Any, *, bias: float = 0.0, lambd: float = 0.5) -> Any:
    def shrunk(x: Any, f: Any = ops) -> Any:
        return f.where(x < -lambd, x + bias, f.where(x > lambd, x - bias, 0.0))

    return by_kind(shrunk, lambda a: shrunk(a, np).astype(a.dtype), x)


@operator("Clip", since=11)
def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """low and high hold one number each. Where low > high, every element becomes high.

    One that is left out is the smallest or largest finite number, so that infinity becomes finite.
    """
    if raw(x).dtype.kind == "f":
        most = np.asarray(np.finfo(raw(x).dtype).max)
        low, high = -most if low is None else low, most if high is None else high
    if raw(x).dtype not in FLOATS or not isinstance(x, Tensor):
        y = x if low is None else by_numpy(np.maximum, x, low)
        return y if high is None else by_numpy(np.minimum, y, high)
    if not isinstance(low, Tensor) and not isinstance(high, Tensor):
        return ops.clamp(x, raw(low).item(), raw(high).item())
    return ops.minimum(ops.maximum(x, tensor_of(low)), tensor_of(high))


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

    def of_arrays(a: Any, b: Any, c: Any) -> Any:
        y = alpha * np.matmul(a.T if transA else a, b.T if transB else b)
        return (y if c is None else y + beta * c).astype(a.dtype)

    def of_tensors(a: Any, b: Any, c: Any) -> Any:
        a = a.T if transA else a
        if transB and alpha == 1 and beta == 1 and (c is None or c.shape == (b.shape[0],)):
            return ops.linear(a, b, c)
        y = ops.matmul(a, b.T if transB else b)
        y = y if alpha == 1 else y * alpha
        return y if c is None else y + (c if beta == 1 else c * beta)

    return by_kind(of_tensors, of_arrays, a, b, c)


@operator("Einsum")
def einsum(*values: Any, equation: str) -> Any:
    return by_kind(partial(ops.einsum, equation.replace(" ", "")), partial(np.einsum, equation), *values)


# --- reductions
def _smallest(dtype: np.dtype[Any]) -> Any:
    """The result of ReduceMax for no elements."""
    if dtype.kind == "b":
        return False
    return np.iinfo(dtype).min if is_exact(dtype) else -np.inf


def _largest(dtype: np.dtype[Any]) -> Any:
    """The result of ReduceMin for no elements."""
    if dtype.kind == "b":
        return True
    return np.iinfo(dtype).max if is_exact(dtype) else np.inf


def _product(x: Tensor, axes: Any, keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = ops.prod(x, axis, keep)
    return x


# The function of a Tensor (x, axes, keepdims), and that of an array (a, axis=, keepdims=).
_REDUCTIONS: dict[str, tuple[Any, Any]] = {
    "ReduceSum": (ops.sum, np.sum),
    "ReduceMean": (ops.mean, np.mean),
    "ReduceProd": (_product, np.prod),
    "ReduceMax": (ops.amax, lambda a, **how: np.max(a, initial=_smallest(a.dtype), **how)),
    "ReduceMin": (ops.amin, lambda a, **how: np.min(a, initial=_largest(a.dtype), **how)),
    "ReduceL1": (lambda x, *how: ops.sum(ops.abs(x), *how), lambda a, **how: np.sum(np.abs(a), **how)),
    "ReduceL2": (lambda x, *how: ops.norm(x, 2, *how), lambda a, **how: np.sqrt(np.sum(np.square(a), **how))),
    "ReduceLogSum": (lambda x, *how: ops.log(ops.sum(x, *how)), lambda a, **how: np.log(np.sum(a, **how))),
    "ReduceLogSumExp": (ops.logsumexp, lambda a, **how: np.log(np.sum(np.exp(a.astype(np.float64)), **how))),
    "ReduceSumSquare": (
        lambda x, *how: ops.sum(ops.square(x), *how),
        lambda a, **how: np.sum(np.square(a), **how),
    ),
}
# These return an array without axes as it is; the others change its one number, as ReduceL1 its sign.
_IDENTITY_ON_SCALARS = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")


_OF_INTEGERS = ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare")


def _reduced(name: str, x: Any, axes: tuple[int, ...] | None, keep: bool, noop: bool) -> Any:
    """A reduction. No axes: over none with `noop`, else over all.

    Means of integers, reductions of no elements and of other dtypes than the library's NumPy computes.
    """
    function, numpy_function = _REDUCTIONS[name]
    array = raw(x)
    if not axes:
        axes = () if noop else tuple(range(array.ndim))
    axes = tuple(axis_of(name, axis, array.ndim) for axis in axes)
    if not axes and not noop:  # x has no axes
        if name in _IDENTITY_ON_SCALARS:
            return x
        return by_numpy(lambda a: numpy_function(a.reshape(1), axis=(0,), keepdims=False).astype(a.dtype), x)
    own = FLOATS if name not in _OF_INTEGERS else CORE
    has_value = name == "ReduceMean" or all(array.shape[a] for a in axes)
    if isinstance(x, Tensor) and array.dtype in own and axes and has_value:
        return function(x, axes, keep).to(array.dtype)
    return by_numpy(lambda a: np.asarray(numpy_function(a, axis=axes, keepdims=keep)).astype(a.dtype), x)


def _by_attribute(  # versions that have the axes as an attribute
    reduction: str, x: Any, /, *, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    return _reduced(reduction, x, axes, bool(keepdims), False)


def _by_input(  # versions that have the axes as an input
    reduction: str, x: Any, axes: Any = None, /, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    return _reduced(
        reduction, x, None if axes is None else ints(axes), bool(keepdims), bool(noop_with_empty_axes)
    )


for _name in _REDUCTIONS:
    operator(_name)(partial(_by_attribute, _name))
    operator(_name, since=13 if _name == "ReduceSum" else 18)(partial(_by_input, _name))


def _extremum_at(
    name: str, x: Any, /, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0
) -> Any:
    """ArgMax and ArgMin: the index of the extremum along an axis; among equal ones the first or the last."""
    function, of_tensor = (np.argmax, ops.argmax) if name == "ArgMax" else (np.argmin, ops.argmin)
    keep = bool(keepdims)

    def of_array(a: Any) -> Any:
        if not select_last_index:
            return function(a, axis=axis, keepdims=keep).astype(np.int64)
        return (a.shape[axis] - 1 - function(np.flip(a, axis), axis=axis, keepdims=keep)).astype(np.int64)

    if isinstance(x, Tensor) and x.dtype in CORE and not select_last_index:
        return of_tensor(x, axis, keep)
    return by_numpy(of_array, x)


for _name in ("ArgMax", "ArgMin"):
    operator(_name)(partial(_extremum_at, _name))

# the value before the first element, the function of a Tensor and that of an array
_RUNNING: dict[str, tuple[int, Any, Any]] = {
    "CumSum": (0, ops.cumsum, np.cumsum),
    "CumProd": (1, ops.cumprod, np.cumprod),
}


def _running(name: str, x: Any, axis: Any, /, *, exclusive: int = 0, reverse: int = 0) -> Any:
    """Running sums or products; exclusive: of the elements before each one, without itself."""
    neutral, function, numpy_function = _RUNNING[name]
    (at,) = ints(axis)
    if isinstance(x, Tensor) and x.dtype in CORE:
        x = ops.flip(x, at) if reverse else x
        if exclusive:
            first = ops.narrow(x, at, 0, 1) * 0 + neutral
            x = ops.cat([first, ops.narrow(x, at, 0, x.shape[at] - 1)], at)
        y = function(x, at).to(x.dtype)
        return ops.flip(y, at) if reverse else y

    def of_array(a: Any) -> Any:
        a = np.flip(a, at) if reverse else a
        y = numpy_function(a, axis=at, dtype=a.dtype)
        if exclusive:
            y = np.roll(y, 1, at)
            np.moveaxis(y, at, 0)[:1] = neutral
        return np.flip(y, at) if reverse else y

    return by_numpy(of_array, x)


for _name in _RUNNING:
    operator(_name)(partial(_running, _name))


# --- softmax
def _flattened(function: Callable[..., Any], x: Any, axis: int) -> Any:
    """softmax and its like up to version 12: over all axes from this one on, taken as one."""
    shape = shape_of(x)
    at = axis_of("Softmax", axis, len(shape))
    return function(x.reshape((math.prod(shape[:at]), math.prod(shape[at:]))), -1).reshape(shape)


def _hardmax(a: Any, axis: int) -> Any:
    """1 at the first maximum along an axis, else 0."""
    y = np.zeros_like(a)
    np.put_along_axis(y, np.argmax(a, axis=axis, keepdims=True), 1, axis)
    return y


# --- the k largest or smallest
def _topk(x: Any, k: int, axis: int, largest: bool) -> Any:
    """Values and indices along an axis; equal elements in the order of their indices."""
    size = shape_of(x)[axis]
    if not 0 <= k <= size:
        raise ValueError(f"[onnx TopK] got k {k} for an axis of length {size}")

    def indices(a: Any) -> Any:
        moved = np.moveaxis(a, axis, -1)
        order = np.argsort(moved, axis=-1, kind="stable")
        if largest:  # an ascending sort of the reversed axis, read backwards, has equal elements in order
            back = np.argsort(moved[..., ::-1], axis=-1, kind="stable")[..., ::-1]
            order = size - 1 - back
        return np.moveaxis(order[..., :k], -1, axis).astype(np.int64)

    if isinstance(x, Tensor) and x.dtype in FLOATS:
        values, order = ops.sort(x, axis, largest, stable=True)
        kept = (slice(None),) * (axis % x.ndim) + (slice(0, k),)
        return values[kept], order[kept]
    order = by_numpy(indices, x)
    return by_numpy(lambda a, i: np.take_along_axis(a, i, axis), x, order), order


@operator("LpNormalization")
def lp_normalization(x: Any, *, axis: int = -1, p: int = 2) -> Any:
    def normalized(x: Tensor) -> Any:
        size = ops.norm(x, p, axis, True)
        is_zero = ops.eq(size, 0)  # these stay zeros
        return x / ops.where(is_zero, tensor_of(np.ones((), x.dtype)), size)

    return in_float(normalized, x)


operators(
    {
        ("Clip", 1): lambda x, *, min=-math.inf, max=math.inf: in_float(lambda x: ops.clamp(x, min, max), x),
        ("Clip", 6): lambda x, *, min=-_LARGEST, max=_LARGEST: in_float(lambda x: ops.clamp(x, min, max), x),
        ("Softmax", 1): lambda x, *, axis=1: in_float(partial(_flattened, ops.softmax, axis=axis), x),
        ("Softmax", 13): lambda x, *, axis=-1: in_float(lambda x: ops.softmax(x, axis), x),
        ("LogSoftmax", 1): lambda x, *, axis=1: in_float(partial(_flattened, ops.log_softmax, axis=axis), x),
        ("LogSoftmax", 13): lambda x, *, axis=-1: in_float(lambda x: ops.log_softmax(x, axis), x),
        ("Hardmax", 1): lambda x, *, axis=1: by_numpy(partial(_flattened, _hardmax, axis=axis), x),
        ("Hardmax", 13): lambda x, *, axis=-1: by_numpy(lambda a: _hardmax(a, axis), x),
        ("TopK", 1): lambda x, *, axis=-1, k: _topk(x, k, axis, True),
        ("TopK", 10): lambda x, k, *, axis=-1, largest=1, sorted=1: _topk(x, ints(k)[0], axis, bool(largest)),
    }
)
