"""Operands of element-wise ops: as Tensors and numbers, their common dtype, and casts to it.

The core answers most calls by the same rules; `compute.py` uses the functions here for all others. The
kernels compute float32 and float64, NumPy integers and bools. Half floats are computed in float32 and rounded
once.

The dtype of the result follows PyTorch's rules: a number takes the dtype of the tensor beside it, and a
tensor without dimensions takes that of a tensor with dimensions, unless its own kind (bool < integer < float)
is higher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeGuard

import numpy as np

import ranvier._core as _core
from ranvier.extension import provider
from ranvier.observe import is_recording
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.dtypes import default
from ranvier.tensors.failures import OpError, require_dtype
from ranvier.tensors.memory import F32 as F32, HALVES, Array as Array, in_dtype, keep, number_in, plain
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import ArrayLike, Axes, Shape, TensorLike

F64 = np.dtype(np.float64)

RealNumber: TypeAlias = int | float | np.integer[Any] | np.floating[Any] | np.bool_
_NUMBERS = (int, float, np.integer, np.floating, np.bool_)


def is_number(x: object) -> TypeGuard[RealNumber]:
    """True for a Python or NumPy number. Beside a tensor of the same kind it does not change the dtype."""
    return isinstance(x, _NUMBERS)


def as_operand(name: str, x: object) -> Any:
    """An operand as a Tensor or a Python number. Raises TypeError for other objects. name: the op's, for
    errors."""
    if isinstance(x, Tensor):
        if not hasattr(x, "_array"):
            raise TypeError(f"[{name}] got a Tensor without a call of its __init__; expected one with data")
        return x
    if isinstance(x, np.ndarray):
        require_dtype(name, "an array", x, "biuf", "numbers or bools")
        return wrap(plain(name, x))
    if isinstance(x, _NUMBERS):
        if isinstance(x, np.generic):
            return x.item()
        return x
    refuse_torch(name, "an argument", x)
    raise TypeError(f"[{name}] got {type(x).__name__}; expected a Tensor, a NumPy array or a number")


def as_tensor(name: str, x: ArrayLike) -> Tensor:
    """The operand as a Tensor; a number becomes a Tensor without dimensions."""
    if isinstance(x, Tensor):
        return x
    x = as_operand(name, x)
    if isinstance(x, Tensor):
        return x
    if not isinstance(x, (bool, float)):
        x = number_in(name, x, I64)
    return wrap(keep(np.asarray(x)))


def as_number(name: str, x: TensorLike, dtype: np.dtype[Any]) -> Any:
    """A number in a dtype, rounded towards 0 for integers; ValueError for one that the dtype cannot hold."""
    return dtype.type(number_in(name, x, dtype))


result_dtype: Any = _core._result_dtype
"""The common dtype of Tensors, numbers and dtypes, by PyTorch's rules (``bindings/tensors/promotion.h``)."""


def cast(x: TensorLike, dtype: np.dtype[Any]) -> Tensor:
    """The operand as a Tensor of this dtype, on the tape."""
    if isinstance(x, Tensor):
        return x.to(dtype)
    return wrap(keep(np.array(x, dtype)))


_REFLECTED = {
    "add": "__radd__",
    "sub": "__rsub__",
    "mul": "__rmul__",
    "div": "__rtruediv__",
    "matmul": "__rmatmul__",
}


def of_right_side(name: str, a: object, b: Any) -> Any:
    """The answer of b's reflected operator to `a op b`, if b's class is the user's; else NotImplemented.

    Python itself would not call it: Tensor's operator is the op itself, and raises TypeError for such a b.
    """
    if isinstance(a, complex) or isinstance(b, complex):
        try:
            return provider("complex numbers").of_numbers(name, a, b)
        except ModuleNotFoundError:  # The satellite with complex numbers does not exist.
            return NotImplemented
    if not isinstance(a, Tensor):
        return NotImplemented
    operand_class = type(b)
    method = getattr(operand_class, _REFLECTED.get(name, ""), None)
    package = operand_class.__module__.partition(".")[0]
    if method is not None and package not in ("builtins", "numpy"):
        return method(b, a)
    is_count = a.dtype.kind in "biu" and a._array.size == 1
    if name == "mul" and isinstance(b, Sequence) and is_count:
        return b * a
    return NotImplemented


def unlike(name: str, *operands: TensorLike) -> str:
    """The message for operands that do not broadcast."""
    shapes = " and ".join(str(tuple(np.shape(x))) for x in operands)
    return f"[{name}] got shapes {shapes}; expected shapes that broadcast"


def common_shape(name: str, *operands: TensorLike) -> Shape:
    """The shape to which the operands broadcast. Raises ValueError if they do not."""
    try:
        return np.broadcast_shapes(*map(np.shape, operands))
    except ValueError as error:
        raise OpError(unlike(name, *operands)) from error


def floating(x: TensorLike, name: str = "cast") -> Tensor:
    """x as it is if it has floats; integers and bools in the default dtype."""
    if is_floating(x):
        return x
    if type(x) is not Tensor:
        x = as_operand(name, x)
    if not isinstance(x, Tensor):
        return cast(x, default.dtype)
    if is_floating(x):
        return x
    return x.to(default.dtype)


def alike(*operands: Any) -> Any:
    """The operands; Tensors among them are cast to their common dtype."""
    tensors = [x for x in operands if isinstance(x, Tensor)]
    dtypes = [x._array.dtype for x in tensors]
    if not dtypes or all(dtype is dtypes[0] for dtype in dtypes):
        return operands
    dtype = result_dtype(*tensors)
    return tuple(with_dtype(x, dtype) for x in operands)


def with_dtype(x: Any, dtype: np.dtype[Any]) -> Any:
    """A Tensor in this dtype; other operands as they are."""
    if isinstance(x, Tensor):
        return x.to(dtype)
    return x


def singles(*tensors: Tensor) -> list[Array]:
    """The arrays of Tensors, half floats as float32. (NumPy would make float16 of float16 and bfloat16
    together.)"""
    return [_without_halves(x)._array for x in tensors]


def _without_halves(x: Tensor) -> Tensor:
    if x._array.dtype in HALVES:
        return x.float()
    return x


def is_floating(x: object) -> TypeGuard[Tensor]:
    """True for a Tensor of floats."""
    return isinstance(x, Tensor) and (x._array.dtype is F32 or x._array.dtype.kind == "f")


def is_pair(a: object, b: object) -> bool:
    """True for two Tensors that are both float32 or both float64."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        dtype = a._array.dtype
        return dtype is b._array.dtype and (dtype is F32 or dtype is F64)
    return False


# --- reductions of integers and bools by kernels for floats, which are exact; a recorded step uses these

I64 = np.dtype(np.int64)
BOOL = np.dtype(np.bool_)

_REDUCTIONS = {np.sum: _core.sum, np.all: _core.min, np.any: _core.max}


def reduction(function: Callable[..., Any], x: Array, axes: Axes, keepdims: bool) -> Array | None:
    """np.all or np.any over axes, or np.sum of bools, by kernels, while a step is recorded; else None."""
    if not is_recording() or function not in _REDUCTIONS:
        return None
    if x.size == 0 or x.ndim == 0 or x.dtype.char == "g":
        return None
    if function is np.sum and x.dtype != BOOL:
        return None
    if x.dtype != BOOL:
        x = _core.ne(in_dtype(x, F64), 0.0, None)
    y = _REDUCTIONS[function](in_dtype(x, F64), axes, keepdims, None)
    if function is np.sum:
        return in_dtype(y, I64)
    return in_dtype(y, BOOL)
