"""Writes tensors that are made from sizes: ranges, filled ones, and sizes as numbers.

These calls are recorded by the functions of `stand_ins`. A writer gets a `site.Site` (s), adds nodes, and
returns the result's name.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.onnx.registry import writes
from ranvier.onnx.site import Site
from ranvier.onnx.sizes import Real, Size


def _dtype(s: Site) -> Any:
    return s.calls[0].outputs[0].array.dtype


def _cast(s: Site, x: str, dtype: Any) -> str:
    if dtype == _dtype(s):
        return x
    return str(s.w.cast(x, _dtype(s)))


@writes("Arange")
def arange(s: Site) -> str:
    """start + step * (0, 1 ...): onnxruntime's optimizer fails for a Range with a negative step."""
    start = s.get("start")
    step = s.get("step")
    zero, one = (s.w.constant(np.int64(n)) for n in (0, 1))
    y = s.node("Range", zero, s.scalar_size(s.result_dims()[0]), one)
    dtype: np.dtype[Any] = np.dtype(np.int64)
    if any(isinstance(n, (float, Real)) for n in (start, step)):
        dtype = np.dtype(np.float64)
        y = s.w.cast(y, dtype)
    for op, n, neutral in (("Mul", step, 1), ("Add", start, 0)):
        if isinstance(n, (Size, Real)) or n != neutral:
            y = s.node(op, y, _scalar(s, n, dtype))
    return _cast(s, y, dtype)


def _scalar(s: Site, n: Any, dtype: Any) -> str:
    """A number or a size as a scalar in a dtype."""
    if not isinstance(n, (Size, Real)):
        return s.w.constant(np.array(n, dtype))
    made = s.scalar_size(n)
    own = np.int64 if isinstance(n, Size) else np.float64
    if dtype == own:
        return made
    return s.w.cast(made, dtype)


@writes("Fill")
def fill(s: Site) -> str:
    value = s.get("value")
    shape = s.shape(s.result_dims())
    if isinstance(value, (Size, Real)):
        return s.node("Expand", _scalar(s, value, _dtype(s)), shape)
    one = s.w.onnx.numpy_helper.from_array(np.array([value], _dtype(s)))
    return s.node("ConstantOfShape", shape, value=one)


@writes("Eye")
def eye(s: Site) -> str:
    rows, columns = s.result_dims()
    zero, one = (s.w.constant(np.int64(n)) for n in (0, 1))
    down = s.node("Unsqueeze", s.node("Range", zero, s.scalar_size(rows), one), s.w.ints(1))
    across = s.node("Range", zero, s.scalar_size(columns), one)
    return str(s.w.cast(s.node("Equal", down, across), _dtype(s)))


@writes("SizeNumber")
def number(s: Site) -> str:
    return _scalar(s, s.get("value"), _dtype(s))


@writes("SizeVector")
def vector(s: Site) -> str:
    values = s.get("values")
    has_fractions = any(isinstance(n, (float, Real)) for n in values)
    y = _cast(s, s.vector(values), np.dtype(np.float64 if has_fractions else np.int64))
    shape: Any = s.result_dims()  # of nested lists: it has no dynamic size
    if len(shape) == 1:
        return y
    return str(s.w.reshape(y, *shape))
