"""Computes an element-wise op in Python, for the calls that the core leaves to Python.

The core answers most calls by itself (`bindings/tape/untaped.cpp`): float32 and float64 by the kernel of the
op's declaration (`op.py`), other dtypes by the inner loop of a ufunc of NumPy, and calls with a
gradient by the node. `compute` answers all others: other objects, operands of several dtypes, half floats,
calls that a recording has to note, and calls that raise an error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ranvier.observe import computed, is_recording, observers
from ranvier.ops.elementwise.declaration import Declaration
from ranvier.ops.elementwise.dtypes import (
    F32,
    F64,
    Array,
    as_operand,
    as_tensor,
    cast,
    of_right_side,
    result_dtype,
    unlike,
)
from ranvier.tape.function import rounded
from ranvier.tensors.dtypes import default
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import HALVES, array_from, in_dtype
from ranvier.tensors.tensor import Tensor, by_numpy, wrap
from ranvier.tensors.types import Number

FAILS_AT_ZERO = ("floor_divide", "remainder", "fmod")  # ops that raise an error for integers divided by 0


def compute(declaration: Declaration, *arguments: Any) -> Tensor:
    """The op of a declaration. arguments: its operands, then its settings."""
    if declaration.settings:
        return _result(declaration, arguments[:1], arguments[1:])
    y = _result(declaration, arguments)
    if not observers:
        return y
    name = declaration.name
    if name == "clamp":  # recorded as maximum or minimum
        name = declaration.numpy.__name__
    return computed(name, arguments, y)


def _result(declaration: Declaration, arguments: Sequence[Any], settings: Sequence[Any] = ()) -> Tensor:
    """The result for operands that are Tensors, arrays or numbers, by PyTorch's promotion of dtypes."""
    try:
        operands = [as_operand(declaration.name, x) for x in arguments]
    except TypeError:
        if len(arguments) == 2:
            answer = of_right_side(declaration.name, *arguments)
            if answer is not NotImplemented:
                return answer
        raise
    dtype = result_dtype(*operands)
    if declaration.dtypes.integers == "floats" and dtype.kind in "biu":
        dtype = default.dtype
    elif declaration.of_integers is not None and dtype.kind in "iu":
        return declaration.of_integers(as_tensor(declaration.name, operands[0]), *settings)
    # Nodes of one operand take half floats themselves (`_dtypes_of_node` in node.py); those of two do not.
    if dtype.kind == "f" and declaration.node is not None and len(operands) == 1:
        return declaration.node(*settings).apply(cast(operands[0], dtype))
    if dtype in HALVES and declaration.dtypes.halves != "own":
        return rounded(_result(declaration, _in_float32(operands, dtype)), dtype)
    if dtype.kind == "f" and declaration.node is not None:
        return declaration.node().apply(*[cast(x, dtype) for x in operands])
    if dtype in (F32, F64) and declaration.kernel is not None and _has_tensor(operands):
        return wrap(declaration.kernel(*[_raw(declaration, x, dtype) for x in operands], None))
    if declaration.dtypes.integers == "refused":
        raise DtypeError(f"[{declaration.name}] got x of dtype {dtype}; expected float32 or float64")
    if declaration.check_dtype is not None:
        declaration.check_dtype(declaration.name, dtype, *operands)
    raw = [_raw(declaration, x, dtype) for x in operands]
    if declaration.instead is not None and is_recording():
        by_kernels = declaration.instead(*raw)
        if by_kernels is not None:
            return wrap(by_kernels)
    return by_numpy(_of_integers, declaration.name, declaration.numpy, dtype, *raw)


def _has_tensor(operands: Sequence[Tensor | Number]) -> bool:
    return any(isinstance(x, Tensor) for x in operands)


def _in_float32(operands: Sequence[Tensor | Number], dtype: np.dtype[Any]) -> list[Tensor | Number]:
    """Operands whose result has a dtype of half floats, as they are computed: Tensors in float32.

    Numbers are left as they are, since they may be beyond the range of half floats.
    """
    wide: list[Tensor | Number] = []
    for x in operands:
        if isinstance(x, Tensor):
            if x.ndim:  # rounded to the half float first, as in PyTorch; one without dimensions is a number
                x = x.to(dtype)
            x = cast(x, F32)
        wide.append(x)
    if not _has_tensor(wide):  # numbers alone, while the default dtype is a half float
        wide[0] = cast(wide[0], F32)
    return wide


def _raw(declaration: Declaration, x: Tensor | Number, dtype: np.dtype[Any]) -> Any:
    """An operand as a kernel or NumPy's function gets it: an array of this dtype, or a number."""
    if isinstance(x, Tensor):
        return in_dtype(x._array, dtype)
    return declaration.number(declaration.name, x, dtype)


def _of_integers(name: str, function: Callable[..., Any], dtype: np.dtype[Any], *raw: Any) -> Array:
    """The result by NumPy's function. Raises ValueError for integers divided by 0."""
    if name in FAILS_AT_ZERO and dtype.kind in "iu" and not np.all(raw[1]):
        raise OpError(f"[{name}] got integers divided by 0; expected other divisors")
    return values(name, function, *raw)


def values(name: str, function: Callable[..., Any], *operands: Array | Number) -> Array:
    """Calls a NumPy function on operands that broadcast, and returns the result as an array."""
    try:
        with np.errstate(all="ignore"):
            return array_from(function(*operands))
    except ValueError as error:
        raise OpError(unlike(name, *operands)) from error


def floats(name: str, function: Callable[..., Any], *operands: Array) -> Array:
    """As `values`, in the common dtype of the operands."""
    return values(name, function, *operands).astype(np.result_type(*operands), copy=False)
