"""Reductions, running sums, softmax, and the largest elements."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.registry import operator
from ranvier.onnx.values import FLOATS, axis_of, by_numpy, in_float, ints, is_exact, raw, shape_of, tensor_of


def _least(dtype: np.dtype[Any]) -> Any:
    """The maximum of no elements."""
    return False if dtype.kind == "b" else np.iinfo(dtype).min if is_exact(dtype) else -np.inf


def _greatest(dtype: np.dtype[Any]) -> Any:
    return True if dtype.kind == "b" else np.iinfo(dtype).max if is_exact(dtype) else np.inf


def _sum(x: Tensor, axes: Any, keep: bool) -> Tensor:
    return ops.sum(x, axes, keep)


def _l2(x: Tensor, axes: Any, keep: bool) -> Tensor:
    return ops.norm(x, 2, axes, keep)


def _product(x: Tensor, axes: Any, keep: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = ops.prod(x, axis, keep)
    return x


def _numpy_logsumexp(a: Any, axis: Any, keepdims: bool) -> Any:
    return np.log(np.sum(np.exp(a.astype(np.float64)), axis=axis, keepdims=keepdims))


_REDUCTIONS: dict[str, tuple[Any, Any]] = {
    "ReduceSum": (_sum, np.sum),
    "ReduceMean": (lambda x, axes, keep: ops.mean(x, axes, keep), np.mean),
    "ReduceProd": (_product, np.prod),
    "ReduceMax": (
        lambda x, axes, keep: ops.amax(x, axes, keep),
        lambda a, axis, keepdims: np.max(a, axis=axis, keepdims=keepdims, initial=_least(a.dtype)),
    ),
    "ReduceMin": (
        lambda x, axes, keep: ops.amin(x, axes, keep),
        lambda a, axis, keepdims: np.min(a, axis=axis, keepdims=keepdims, initial=_greatest(a.dtype)),
    ),
    "ReduceL1": (
        lambda x, axes, keep: ops.sum(ops.abs(x), axes, keep),
        lambda a, axis, keepdims: np.sum(np.abs(a), axis=axis, keepdims=keepdims),
    ),
    "ReduceL2": (
        _l2,
        lambda a, axis, keepdims: np.sqrt(np.sum(np.square(a), axis=axis, keepdims=keepdims)),
    ),
    "ReduceLogSum": (
        lambda x, axes, keep: ops.log(ops.sum(x, axes, keep)),
        lambda a, axis, keepdims: np.log(np.sum(a, axis=axis, keepdims=keepdims)),
    ),
    "ReduceLogSumExp": (lambda x, axes, keep: ops.logsumexp(x, axes, keep), _numpy_logsumexp),
    "ReduceSumSquare": (
        lambda x, axes, keep: ops.sum(ops.square(x), axes, keep),
        lambda a, axis, keepdims: np.sum(np.square(a), axis=axis, keepdims=keepdims),
    ),
}


def _reduced(name: str, x: Any, axes: tuple[int, ...] | None, keep: bool, noop: bool) -> Any:
    function, numpy_function = _REDUCTIONS[name]
    found = raw(x)
    if not axes:
        axes = () if noop else tuple(range(found.ndim))
    axes = tuple(axis_of(name, axis, found.ndim) for axis in axes)
    if not axes and not noop:  # a number
        return (
            x
            if name in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
            else by_numpy(
                lambda a: numpy_function(a.reshape(1), axis=(0,), keepdims=False).astype(a.dtype), x
            )
        )
    if isinstance(x, Tensor) and found.dtype in FLOATS and axes and all(found.shape[a] for a in axes):
        return function(x, axes, keep)
    return by_numpy(lambda a: np.asarray(numpy_function(a, axis=axes, keepdims=keep)).astype(a.dtype), x)


def _by_attribute(
    reduction: str, x: Any, /, *, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    return _reduced(reduction, x, axes, bool(keepdims), False)


def _by_input(
    reduction: str, x: Any, axes: Any = None, /, *, keepdims: int = 1, noop_with_empty_axes: int = 0
) -> Any:
    return _reduced(
        reduction, x, None if axes is None else ints(axes), bool(keepdims), bool(noop_with_empty_axes)
    )


for _name in _REDUCTIONS:
    operator(_name)(partial(_by_attribute, _name))
    operator(_name, since=13 if _name == "ReduceSum" else 18)(partial(_by_input, _name))


def _place(function: Callable[..., Any], sign: int, x: Any, /, **settings: Any) -> Any:
    axis, last = settings["axis"], settings["select_last_index"]
    keep = bool(settings["keepdims"])

    def place(a: Any) -> Any:
        found = function(np.flip(a, axis), axis=axis, keepdims=keep) if last else None
        if found is None:
            return function(a, axis=axis, keepdims=keep).astype(np.int64)
        return (a.shape[axis] - 1 - found).astype(np.int64)

    if isinstance(x, Tensor) and x.dtype in FLOATS and not last:
        return (ops.argmax if sign > 0 else ops.argmin)(x, axis, keep)
    return by_numpy(place, x)


@operator("ArgMax")
def argmax(x: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
    return _place(np.argmax, 1, x, axis=axis, keepdims=keepdims, select_last_index=select_last_index)


@operator("ArgMin")
def argmin(x: Any, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Any:
    return _place(np.argmin, -1, x, axis=axis, keepdims=keepdims, select_last_index=select_last_index)


def _running(
    function: Any, numpy_function: Any, neutral: int, x: Any, axis: Any, exclusive: int, reverse: int
) -> Any:
    (at,) = ints(axis)
    if isinstance(x, Tensor) and x.dtype in FLOATS:
        x = ops.flip(x, at) if reverse else x
        if exclusive:
            first = ops.mul(ops.narrow(x, at, 0, 1), 0.0) + float(neutral)
            x = ops.cat([first, ops.narrow(x, at, 0, x.shape[at] - 1)], at)
        y = function(x, at)
        return ops.flip(y, at) if reverse else y

    def of_array(a: Any) -> Any:
        a = np.flip(a, at) if reverse else a
        y = numpy_function(a, axis=at, dtype=a.dtype)
        if exclusive:
            y = np.roll(y, 1, at)
            np.moveaxis(y, at, 0)[:1] = neutral
        return np.flip(y, at) if reverse else y

    return by_numpy(of_array, x)


@operator("CumSum")
def cumsum(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
    return _running(ops.cumsum, np.cumsum, 0, x, axis, exclusive, reverse)


@operator("CumProd")
def cumprod(x: Any, axis: Any, *, exclusive: int = 0, reverse: int = 0) -> Any:
    return _running(ops.cumprod, np.cumprod, 1, x, axis, exclusive, reverse)


# --- softmax
def _flattened(function: Callable[..., Any], x: Any, axis: int) -> Any:
    """Up to version 12: over all axes from this one on."""
    shape = shape_of(x)
    at = axis % len(shape) if shape else 0
    rows = int(np.prod(shape[:at]))
    return in_float(lambda x: ops.reshape(function(ops.reshape(x, (rows, -1)), -1), shape), x)


@operator("Softmax")
def softmax_from(x: Any, *, axis: int = 1) -> Any:
    return _flattened(ops.softmax, x, axis)


@operator("LogSoftmax")
def log_softmax_from(x: Any, *, axis: int = 1) -> Any:
    return _flattened(ops.log_softmax, x, axis)


@operator("Softmax", since=13)
def softmax(x: Any, *, axis: int = -1) -> Any:
    return in_float(lambda x: ops.softmax(x, axis), x)


@operator("LogSoftmax", since=13)
def log_softmax(x: Any, *, axis: int = -1) -> Any:
    return in_float(lambda x: ops.log_softmax(x, axis), x)


def _hard(a: Any, axis: int) -> Any:
    y = np.zeros_like(a)
    np.put_along_axis(y, np.argmax(a, axis=axis, keepdims=True), 1, axis)
    return y


@operator("Hardmax")
def hardmax_from(x: Any, *, axis: int = 1) -> Any:
    shape = shape_of(x)
    at = axis % len(shape)
    return by_numpy(lambda a: _hard(a.reshape(int(np.prod(shape[:at])), -1), 1).reshape(shape), x)


@operator("Hardmax", since=13)
def hardmax(x: Any, *, axis: int = -1) -> Any:
    return by_numpy(lambda a: _hard(a, axis), x)


# --- the largest
@operator("TopK")
def topk_of_attribute(x: Any, *, axis: int = -1, k: int) -> Any:
    return _topk(x, k, axis, True)


@operator("TopK", since=10)
def topk(x: Any, k: Any, *, axis: int = -1, largest: int = 1, sorted: int = 1) -> Any:
    return _topk(x, ints(k)[0], axis, bool(largest))


def _topk(x: Any, k: int, axis: int, largest: bool) -> Any:
    """Equal elements in the order of their places."""
    size = shape_of(x)[axis]
    if not 0 <= k <= size:
        raise ValueError(f"[onnx TopK] got k {k} for an axis of length {size}")

    def places(a: Any) -> Any:
        moved = np.moveaxis(a, axis, -1)
        order = np.argsort(moved, axis=-1, kind="stable")
        if largest:  # equal ones in the order of their places: the last of the reversed
            back = np.argsort(moved[..., ::-1], axis=-1, kind="stable")[..., ::-1]
            order = size - 1 - back
        return np.moveaxis(order[..., :k], -1, axis).astype(np.int64)

    if isinstance(x, Tensor) and x.dtype in FLOATS:
        values, order = ops.sort(x, axis, largest, stable=True)
        kept = (slice(None),) * (axis % x.ndim) + (slice(0, k),)
        return values[kept], order[kept]
    found = by_numpy(places, x)
    return by_numpy(lambda a, i: np.take_along_axis(a, i, axis), x, found), found


@operator("LpNormalization")
def lp_normalization(x: Any, *, axis: int = -1, p: int = 2) -> Any:
    def normalized(x: Tensor) -> Any:
        size = ops.norm(x, p, axis, True)
        none = ops.eq(size, 0)
        return x / ops.where(none, tensor_of(np.ones((), x.dtype)), size)

    return in_float(normalized, x)
