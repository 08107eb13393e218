"""Handlers of the functions that make new tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier.autograd import Tensor
from ranvier.onnx.dims import Dim, Dims, is_fixed
from ranvier.onnx.patching import INTERNAL_HANDLERS, Original, handles, has_size
from ranvier.onnx.sizes import Real, Size, SymbolicNumber, greatest
from ranvier.onnx.symbolic_functions.common import SizesLike, as_number, is_dynamic, listed, recorded
from ranvier.ops.neural.attention import seen_by

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace


# --- ranges
@handles("arange")
def _arange(
    trace: Trace,
    call: Original,
    start: SymbolicNumber = 0,
    end: SymbolicNumber | None = None,
    step: SymbolicNumber = 1,
    **how: Any,
) -> Any:
    if not has_size((start, end, step)):
        return NotImplemented
    y = call(start, end, step, **how)
    if end is None:
        end = start
        start = 0
    return recorded(trace, y, "Arange", (_range_length(start, end, step),), start=start, step=step)


def _range_length(start: SymbolicNumber, end: SymbolicNumber, step: SymbolicNumber) -> Any:
    """The number of elements from start to end."""
    if isinstance(step, (int, Size)):
        length = -((start - end) // step)
        if not isinstance(length, Real):
            return length
    return math.ceil((end - start) / step)


@handles("linspace")
def _linspace(
    trace: Trace, call: Original, start: SymbolicNumber, end: SymbolicNumber, steps: Dim, **how: Any
) -> Any:
    """start + i (end - start) / (steps - 1) in float64; the last number is `end` itself."""
    if not has_size((start, end, steps)):
        return NotImplemented
    y = call(start, end, steps, **how)
    if y._array.dtype.kind != "f":
        return trace.refuse_call("got integers and the size of a dynamic axis; expected a dtype of floats")
    last = greatest(steps - 1, 1)
    at = rv.arange(steps)
    numbers = at.double() * ((end - start) / last) + start
    end_itself = as_number(trace, end, np.dtype(np.float64))
    return rv.where(at == last, end_itself, numbers).to(y.dtype)


# --- constants
@handles("zeros", "ones", "empty")
def _sized(trace: Trace, call: Original, *size: SizesLike, **how: Any) -> Any:
    dims = listed(size, how.get("size"))
    if not has_size(dims):
        return NotImplemented
    value = 1 if call.name == "ones" else 0
    return _filled(trace, call(*size, **how), value, dims)


@handles("new_zeros", "new_ones", "new_empty")
def _new_sized(trace: Trace, call: Original, x: Tensor, *size: SizesLike, **how: Any) -> Any:
    dims = listed(size, how.get("size"))
    if not has_size(dims):
        return NotImplemented
    value = 1 if call.name == "new_ones" else 0
    return _filled(trace, call(x, *size, **how), value, dims)


@handles("full")
def _full(trace: Trace, call: Original, size: SizesLike, fill_value: SymbolicNumber, **how: Any) -> Any:
    if not has_size((size, fill_value)):
        return NotImplemented
    return _filled(trace, call(size, fill_value, **how), fill_value, listed((size,)))


@handles("new_full")
def _new_full(
    trace: Trace, call: Original, x: Tensor, size: SizesLike, fill_value: SymbolicNumber, **how: Any
) -> Any:
    if not has_size((size, fill_value)):
        return NotImplemented
    return _filled(trace, call(x, size, fill_value, **how), fill_value, listed((size,)))


@handles("zeros_like", "ones_like", "empty_like")
def _like(trace: Trace, call: Original, x: Tensor, **how: Any) -> Any:
    if not is_dynamic(trace, x):
        return NotImplemented
    value = 1 if call.name == "ones_like" else 0
    return _filled(trace, call(x, **how), value, trace.dims(x))


@handles("full_like")
def _full_like(trace: Trace, call: Original, x: Tensor, fill_value: SymbolicNumber, **how: Any) -> Any:
    if not is_dynamic(trace, x) and not has_size(fill_value):
        return NotImplemented
    return _filled(trace, call(x, fill_value, **how), fill_value, trace.dims(x))


def _filled(trace: Trace, y: Tensor, value: SymbolicNumber | Tensor, dims: Dims) -> Any:
    if isinstance(value, Tensor):
        return NotImplemented
    if type(value) is int and value == 0:  # the values of `empty` may be any: those of the file are zeros
        y._array[...] = 0
    return recorded(trace, y, "Fill", dims, value=value)


@handles("eye")
def _eye(trace: Trace, call: Original, n: Dim, m: Dim | None = None, **how: Any) -> Any:
    if not has_size((n, m)):
        return NotImplemented
    columns = n if m is None else m
    return recorded(trace, call(n, m, **how), "Eye", (n, columns))


@handles("one_hot")
def _one_hot(trace: Trace, call: Original, x: Tensor, num_classes: Dim = -1) -> Any:
    if not has_size(num_classes):
        return NotImplemented
    dims = (*trace.dims(x), num_classes)
    return recorded(trace, call(x, num_classes), "one_hot", dims, (x,), classes=num_classes)


def _seen_by(trace: Trace, call: Original, scores: Tensor) -> Any:
    """The mask of causal attention."""
    rows, columns = trace.dims(scores)[-2:]
    if is_fixed((rows, columns)):
        return NotImplemented
    return rv.tril(rv.ones((rows, columns), dtype=np.bool_))


INTERNAL_HANDLERS.append((seen_by, _seen_by))


# --- sizes as tensors
@handles("tensor", "as_tensor", "asarray")
def _tensor(trace: Trace, call: Original, data: Any, *args: Any, **how: Any) -> Any:
    if isinstance(data, np.ndarray) and data.dtype == object:
        data = data.tolist()
    if isinstance(data, (Size, Real)):
        return recorded(trace, call(data, *args, **how), "SizeNumber", (), value=data)
    if not isinstance(data, (tuple, list)) or not has_size(data):
        return NotImplemented
    values = _nested_numbers(data)
    if not all(isinstance(n, (int, float, Size, Real)) for n in values):
        return NotImplemented
    y = call(data, *args, **how)
    return recorded(trace, y, "SizeVector", y._array.shape, values=values)


def _nested_numbers(data: SymbolicNumber | Sequence[Any]) -> tuple[Any, ...]:
    """The numbers in nested lists, in order."""
    if not isinstance(data, (tuple, list)):
        return (data,)
    return tuple(chain.from_iterable(map(_nested_numbers, data)))
