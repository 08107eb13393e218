"""Writes tensors that are made from sizes: ranges, filled ones, and sizes as numbers.

The handlers of the package `symbolic_functions` record these calls. A writer gets one of them in all traced
runs of the model (`TracedCall`), adds nodes, and returns the name of the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.onnx.registry import writes
from ranvier.onnx.sizes import Real, Size
from ranvier.onnx.traced_call import TracedCall


def _dtype(call: TracedCall) -> Any:
    return call.calls[0].outputs[0].array.dtype


def _cast(call: TracedCall, x: str, dtype: Any) -> str:
    if dtype == _dtype(call):
        return x
    return str(call.graph.cast(x, _dtype(call)))


@writes("Arange")
def arange(call: TracedCall) -> str:
    """start + step * (0, 1 ...): onnxruntime's optimizer fails for a Range with a negative step."""
    start = call.get("start")
    step = call.get("step")
    zero, one = (call.graph.constant(np.int64(n)) for n in (0, 1))
    y = call.node("Range", zero, call.scalar_size(call.result_dims()[0]), one)
    dtype: np.dtype[Any] = np.dtype(np.int64)
    if any(isinstance(n, (float, Real)) for n in (start, step)):
        dtype = np.dtype(np.float64)
        y = call.graph.cast(y, dtype)
    for op, n, neutral in (("Mul", step, 1), ("Add", start, 0)):
        if isinstance(n, (Size, Real)) or n != neutral:
            y = call.node(op, y, _scalar(call, n, dtype))
    return _cast(call, y, dtype)


def _scalar(call: TracedCall, n: Any, dtype: Any) -> str:
    """A number or a size as a scalar in a dtype."""
    if not isinstance(n, (Size, Real)):
        return call.graph.constant(np.array(n, dtype))
    made = call.scalar_size(n)
    own = np.int64 if isinstance(n, Size) else np.float64
    if dtype == own:
        return made
    return call.graph.cast(made, dtype)


@writes("Fill")
def fill(call: TracedCall) -> str:
    value = call.get("value")
    shape = call.shape(call.result_dims())
    if isinstance(value, (Size, Real)):
        return call.node("Expand", _scalar(call, value, _dtype(call)), shape)
    one = call.graph.onnx.numpy_helper.from_array(np.array([value], _dtype(call)))
    return call.node("ConstantOfShape", shape, value=one)


@writes("Eye")
def eye(call: TracedCall) -> str:
    rows, columns = call.result_dims()
    zero, one = (call.graph.constant(np.int64(n)) for n in (0, 1))
    down = call.node("Unsqueeze", call.node("Range", zero, call.scalar_size(rows), one), call.graph.ints(1))
    across = call.node("Range", zero, call.scalar_size(columns), one)
    return str(call.graph.cast(call.node("Equal", down, across), _dtype(call)))


@writes("SizeNumber")
def number(call: TracedCall) -> str:
    return _scalar(call, call.get("value"), _dtype(call))


@writes("SizeVector")
def vector(call: TracedCall) -> str:
    values = call.get("values")
    has_fractions = any(isinstance(n, (float, Real)) for n in values)
    dtype: type = np.float64 if has_fractions else np.int64
    y = _cast(call, call.vector(values), np.dtype(dtype))
    shape: Any = call.result_dims()  # of nested lists: it has no dynamic size
    if len(shape) == 1:
        return y
    return str(call.graph.reshape(y, *shape))
