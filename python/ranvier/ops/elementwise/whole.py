"""Integers and bools while a step is captured: the core computes them in float64, so that a replay can, too.

In eager code NumPy computes them; the results are equal below 2^53.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.memory import cast
from ranvier.autograd.recording import keep
from ranvier.autograd.tensor import Tensor

Array = np.ndarray[Any, Any]
F64, I64, BOOL = np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_)


def exact(x: Any, dtype: np.dtype[Any] = F64) -> Any:
    """An operand for a kernel: an array in this floating dtype, or a number."""
    if not isinstance(x, (Tensor, np.ndarray)):
        return float(x)
    array = x._array if isinstance(x, Tensor) else x
    return array if array.dtype == dtype else cast(array, dtype)


def pair(a: Any, b: Any, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Two operands, at least one an array, in a floating dtype that holds the values of `dtype`."""
    kind = dtype if dtype.kind == "f" else F64
    first, second = exact(a, kind), exact(b, kind)
    if isinstance(first, float) and isinstance(second, float):
        second = keep(np.array(second, kind))
    return first, second


def back(x: Array, dtype: np.dtype[Any]) -> Array:
    """A result in its dtype."""
    return x if x.dtype == dtype else cast(x, dtype)


_ARITHMETIC = {np.add: _core.add, np.subtract: _core.sub, np.multiply: _core.mul}
_ARITHMETIC |= {np.maximum: _core.maximum, np.minimum: _core.minimum}


def arithmetic(function: Any, a: Any, b: Any, dtype: np.dtype[Any]) -> Array | None:
    """function(a, b) in int64; None where the core does not have it."""
    if dtype != I64 or function not in _ARITHMETIC:
        return None
    return cast(_ARITHMETIC[function](*pair(a, b, dtype), None), I64)


_LOGIC = {np.bitwise_and: _core.mul, np.bitwise_or: _core.maximum, np.bitwise_xor: _core.ne}


def logic(function: Any, *operands: Any) -> Array | None:
    """``& | ^ ~`` of bools; None for other operands."""
    if not all(getattr(x, "dtype", None) == BOOL for x in operands):
        return None
    a, *rest = [exact(x, np.dtype(np.float32)) for x in operands]
    if function is np.invert:
        return _core.eq(a, 0.0, None)
    return back(_LOGIC[function](a, rest[0], None), BOOL)


_REDUCTIONS = {np.sum: (_core.sum, I64), np.all: (_core.min, BOOL), np.any: (_core.max, BOOL)}


def reduction(function: Any, x: Tensor, axes: Any, keepdims: bool) -> Array | None:
    """sum, all or any over axes; None where the core does not have it."""
    if function not in _REDUCTIONS or x._array.size == 0 or x.ndim == 0:
        return None
    if x._array.dtype.char == "e" or (function is np.sum and x._array.dtype.kind == "f"):
        return None  # float16, which only NumPy computes in
    reduce, dtype = _REDUCTIONS[function]
    truth = dtype == BOOL and x._array.dtype != BOOL
    array = exact(x)
    if truth:
        array = exact(_core.ne(array, 0.0, None))
    return cast(reduce(array, axes, keepdims, None), dtype)
