"""eq, ne, lt, le, gt, ge: comparisons, which give bool tensors and carry no gradient.

A comparison with NaN is false (ne: true). NumPy compares integers and bools.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.memory import in_dtype
from ranvier.autograd.tensor import Tensor, by_numpy, wrap
from ranvier.ops.elementwise.dtypes import (
    F32,
    F64,
    as_operand,
    compared,
    is_floating,
    is_number,
    is_pair,
    result_dtype,
)
from ranvier.ops.rows import examples

__all__ = ["eq", "ge", "gt", "le", "lt", "ne"]
METHODS = __all__


def _compare(
    name: str, core: Callable[..., Any], numpy_function: Callable[..., Any], a: Any, b: Any
) -> Tensor:
    if is_pair(a, b):
        return wrap(core(a._array, b._array, None))
    if is_number(b) and is_floating(a):
        return wrap(core(a._array, float(b), None))
    a, b = as_operand(name, a), as_operand(name, b)
    dtype = result_dtype(a, b)  # without it NumPy would compare float32 with int64 in float64
    raw = [in_dtype(x._array, dtype) if isinstance(x, Tensor) else x for x in (a, b)]
    if dtype in (F32, F64) and any(isinstance(x, np.ndarray) for x in raw):
        return wrap(core(*raw, None))
    if (y := compared(core, *raw)) is not None:
        return wrap(y)
    try:
        return by_numpy(numpy_function, *raw)
    except ValueError as error:
        shapes = f"{np.shape(raw[0])} and {np.shape(raw[1])}"
        raise ValueError(f"[{name}] got shapes {shapes}; expected shapes that broadcast") from error


def eq(input: Any, other: Any) -> Tensor:
    """a == b | rv.tensor([1.0, 2.0]) == rv.tensor([1.0, 3.0]) -> tensor([ True, False])"""
    return _compare("eq", _core.eq, np.equal, input, other)


def ne(input: Any, other: Any) -> Tensor:
    """a != b"""
    return _compare("ne", _core.ne, np.not_equal, input, other)


def lt(input: Any, other: Any) -> Tensor:
    """a < b"""
    return _compare("lt", _core.lt, np.less, input, other)


def le(input: Any, other: Any) -> Tensor:
    """a <= b"""
    return _compare("le", _core.le, np.less_equal, input, other)


def gt(input: Any, other: Any) -> Tensor:
    """a > b

    >>> import ranvier as rv
    >>> (rv.tensor([0.2, 0.7]) > 0.5).float()
    tensor([0., 1.])
    """
    return _compare("gt", _core.gt, np.greater, input, other)


def ge(input: Any, other: Any) -> Tensor:
    """a >= b"""
    return _compare("ge", _core.ge, np.greater_equal, input, other)


examples(globals())
