"""The values of a loaded ONNX graph while it runs, conversions between dtypes, and the import of the package
onnx.

A value that depends on constants and shapes only is a NumPy array; all other values are Tensors. Arrays are
computed outside the recording of a captured step (`execution._results`), so that they can be shapes there.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from functools import cache, partial, wraps
from typing import Any

import numpy as np

import ranvier as rv
from ranvier.autograd import Tensor, wrap
from ranvier.extension import optional
from ranvier.onnx.patching import active
from ranvier.tensors.memory import Array as Array, keep
from ranvier.tensors.reading import shortened
from ranvier.tensors.sanitize import printable
from ranvier.tensors.types import ArrayLike

OPSETS = range(1, 28)
"""The versions of the operator set that are read."""


def package(name: str) -> Any:
    """The module onnx, for a function of this name.

    Raises ImportError: it is not installed (`pip install 'ranvier[onnx]'`).
    """
    text = f"[{name}] ONNX files need onnx: pip install 'ranvier[onnx]'"
    for part in ("checker", "defs", "inliner", "numpy_helper", "shape_inference"):
        optional(f"onnx.{part}", text)
    return optional("onnx", text)


Value = Tensor | Array

FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
"""The dtypes that the core computes in, with gradients."""


class Reader:
    """Who reads numbers, for the errors of recorded runs: the node that is computed. `execution.run`
    sets it while there are observers."""

    name = "an ONNX operator"


def array_of(value: ArrayLike) -> Array:
    """The numbers of a value. Reading those of a Tensor is refused in a captured step."""
    if isinstance(value, Tensor):
        return value._read(f"{Reader.name}, which needs numbers,")
    return np.asarray(value)


def raw(value: ArrayLike) -> Array:
    """The array of a value, without telling a captured step: for shapes and dtypes, and for the kernels."""
    if isinstance(value, Tensor):
        return value._array
    return np.asarray(value)


def tensor_of(value: ArrayLike) -> Tensor:
    """A Tensor of the value; a NumPy array is constant in a captured step."""
    if isinstance(value, Tensor):
        return value
    array = np.asarray(value)
    if array.dtype == object:  # sizes of dynamic axes, while the model is exported again
        has_fractions = any(isinstance(n, float) for n in array.reshape(-1))
        return rv.tensor(array.tolist(), dtype=np.float64 if has_fractions else np.int64)
    is_usable = array.flags.writeable and array.dtype.isnative
    if not is_usable:
        array = array.copy()
    return wrap(keep(array))


def ints(value: ArrayLike) -> tuple[int, ...]:
    """The whole numbers of a shape, of axes and the like."""
    array = array_of(value)
    if array.dtype == object:  # sizes of dynamic axes, while the model is exported again
        return tuple(array.reshape(-1).tolist())
    if array.dtype.kind not in "iu":
        raise TypeError(f"[onnx] got {array.dtype} where the operator expects integers")
    return tuple(array.reshape(-1).tolist())


def shape_of(value: ArrayLike) -> tuple[Any, ...]:
    """The shape; while the model is exported again, sizes of dynamic axes are symbols (`sizes.py`)."""
    trace = active()
    if trace is None or not isinstance(value, Tensor):
        return tuple(raw(value).shape)
    return tuple(trace.dims(value))


def shown(text: str) -> str:
    """A text that a file may have written: without control codes, and not longer than a page."""
    return shortened(printable(str(text)))


def axis_of(op: str, axis: int, ndim: int) -> int:
    """The axis counted from the front."""
    if not -ndim <= axis < ndim:
        raise ValueError(f"[onnx {op}] got axis {axis} for {ndim} dimensions")
    return axis % ndim


def by_numpy(function: Callable[..., Any], *values: Value | None) -> Any:
    """function(arrays of the values), as Tensors without a gradient."""
    arrays = [None if v is None else raw(v) for v in values]
    with np.errstate(all="ignore"):
        return on_each(function(*arrays), tensor_of)


def in_float(function: Callable[..., Any], *values: Value | None) -> Any:
    """function(values as Tensors).

    Other floats than float32 and float64 are computed in float32, then cast back.
    """
    dtype = _first_float_dtype(values)
    if dtype is None or dtype in FLOATS:
        return function(*[None if v is None else tensor_of(v) for v in values])
    operands = [None if v is None else tensor_of(widened(v)) for v in values]
    return on_each(function(*operands), partial(back, dtype=dtype))


def _first_float_dtype(values: Iterable[Value | None]) -> np.dtype[Any] | None:
    """The dtype of the first value that has floats; None where none has."""
    for value in values:
        if value is not None and not is_exact(raw(value).dtype):
            return raw(value).dtype
    return None


def on_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function of Tensors and attributes an implementation of an operator, by `in_float`."""

    @wraps(function)
    def computed(*values: Value | None, **attributes: Any) -> Any:
        return in_float(partial(function, **attributes), *values)

    return computed


def is_exact(dtype: np.dtype[Any]) -> bool:
    """bool or an integer."""
    return dtype.kind in "biu"


def widened(value: Value) -> Value:
    """The value in float32 if it has floats of another width than the core's, else as it is."""
    array = raw(value)
    if is_exact(array.dtype) or array.dtype in FLOATS:
        return value
    return cast(value, np.dtype(np.float32))


def back(y: Value, dtype: np.dtype[Any]) -> Value:
    """A result in a dtype if it has floats, else as it is."""
    if raw(y).dtype in FLOATS:
        return cast(y, dtype)
    return y


def on_each(result: Any, function: Callable[[Any], Any]) -> Any:
    """function of one result, or of each of a tuple of results."""
    if isinstance(result, tuple):
        return tuple(map(function, result))
    return function(result)


_CORE = ("float32", "float64", "float16", "bool", "uint8", "int8", "int16", "int32", "int64")
_PACKED = ("int2", "uint2", "int4", "uint4")
_WRITTEN = (*_CORE, "uint16", "uint32", "uint64")


@cache
def dtype_of(number: int | str) -> np.dtype[Any]:
    """The NumPy dtype of a number of TensorProto.DataType (in the first version: a name)."""
    onnx = package("onnx")
    if isinstance(number, str):
        number = onnx.TensorProto.DataType.Value(number)
    if number not in onnx.helper.get_all_tensor_dtypes() or number == onnx.TensorProto.STRING:
        raise ValueError(f"[onnx] got the element type {number}; expected a type of numbers")
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))


def number_of(dtype: np.dtype[Any]) -> int:
    """The number of TensorProto.DataType of a NumPy dtype."""
    if dtype.name not in _WRITTEN:
        raise TypeError(f"[onnx] got dtype {dtype}; expected one of {', '.join(_WRITTEN)}")
    return int(package("onnx").helper.np_dtype_to_tensor_dtype(dtype))


def cast(
    x: Value, dtype: np.dtype[Any], saturate: bool = True, old: bool = False, rounded: str = "up"
) -> Tensor:
    """x in another dtype, with a gradient from float to float. Floats are rounded towards 0 for integers.

    saturate: numbers too large for a float8 become its largest number, and so does infinity.
    old: up to version 23 of the operator set, infinity becomes NaN in the float8 types without a negative
        zero ("uz").
    rounded: how numbers become powers of two, for float8_e8m0fnu.
    """
    if isinstance(x, Tensor) and raw(x).dtype.name in _CORE and dtype.name in _CORE:
        return x.to(dtype)
    converted = partial(_converted, dtype=dtype, saturate=saturate, old=old, rounded=rounded)
    result: Tensor = by_numpy(converted, x)
    return result


def _converted(array: Array, dtype: np.dtype[Any], saturate: bool, old: bool, rounded: str) -> Array:
    """`cast` of an array."""
    if array.dtype.kind in "OSU":  # texts
        return array.astype(np.str_).astype(dtype)
    if dtype.name == "float8_e8m0fnu":
        return package("onnx").numpy_helper.to_float8e8m0(array, saturate, rounded).astype(dtype)
    if saturate and dtype.name.startswith("float8"):
        largest = float(importlib.import_module("ml_dtypes").finfo(dtype).max)
        stays = np.isnan(array)
        if old and dtype.name.endswith("uz"):
            stays = ~np.isfinite(array)
        array = np.where(stays, array, np.clip(array, -largest, largest))
    if dtype.name in _PACKED:
        # A number outside the range keeps its lowest bits; ml_dtypes from 0.7 on makes a float outside it 0.
        array = array.astype(np.int64)
    return array.astype(dtype)
