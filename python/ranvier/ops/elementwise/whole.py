"""Results of integers and bools that kernels for floats find without rounding: a compiled step uses these.

Eager code calls NumPy for them, so each function gives None while no step is recorded. For all else of
integers, a compiled step calls NumPy, too (`host`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.memory import in_dtype
from ranvier.autograd.recording import is_recording

Array = np.ndarray[Any, Any]
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
I64, BOOL = np.dtype(np.int64), np.dtype(np.bool_)

_LOGIC: dict[Any, Any] = {
    np.bitwise_and: _core.mul,
    np.bitwise_or: _core.maximum,
    np.bitwise_xor: _core.ne,
    np.invert: None,
}


def logic(function: Any, *operands: Any) -> Array | None:
    """``& | ^ ~`` of arrays of bools; None for other operands."""
    if not is_recording() or function not in _LOGIC:
        return None
    if not all(isinstance(x, np.ndarray) and x.dtype == BOOL for x in operands):
        return None
    a, *rest = [in_dtype(x, F32) for x in operands]
    if function is np.invert:
        return _core.eq(a, 0.0, None)
    return in_dtype(_LOGIC[function](a, rest[0], None), BOOL)


def compared(core: Any, a: Any, b: Any) -> Array | None:
    """An array of integers or bools beside a Python int that float64 holds; None for other operands."""
    if not is_recording() or type(b) is not int or abs(b) >= 2**53 or not isinstance(a, np.ndarray):
        return None
    return core(in_dtype(a, F64), float(b), None)


_REDUCTIONS = {np.sum: (_core.sum, I64), np.all: (_core.min, BOOL), np.any: (_core.max, BOOL)}


def reduction(function: Any, x: Array, axes: Any, keepdims: bool) -> Array | None:
    """all or any over axes, or the sum of bools; None for the rest, and for float16."""
    if not is_recording() or function not in _REDUCTIONS or 0 in (x.size, x.ndim) or x.dtype.char in "eg":
        return None
    reduce, dtype = _REDUCTIONS[function]
    if x.dtype != BOOL:
        if function is np.sum:
            return None
        x = _core.ne(in_dtype(x, F64), 0.0, None)
    return in_dtype(reduce(in_dtype(x, F64), axes, keepdims, None), dtype)
