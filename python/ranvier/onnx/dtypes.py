"""dtypes of ONNX and NumPy."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from ranvier.autograd import Tensor
from ranvier.onnx.package import package
from ranvier.onnx.values import FLOATS, by_numpy, raw

_NAMES = {  # numbers of TensorProto.DataType
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
}
NUMBERS = {name: number for number, name in _NAMES.items()}
_CAST = FLOATS | {np.dtype(np.int64), np.dtype(np.int32), np.dtype(np.bool_)}


def dtype_of(number: int | str) -> np.dtype[Any]:
    """The NumPy dtype of a number of TensorProto.DataType (in the first version: a name)."""
    if isinstance(number, str):
        number = package("onnx").TensorProto.DataType.Value(number)
    if number not in _NAMES:
        onnx = package("onnx")
        if number not in onnx.helper.get_all_tensor_dtypes() or number == onnx.TensorProto.STRING:
            raise ValueError(f"[onnx] got the element type {number}; expected a type of numbers")
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number))
    return np.dtype(_NAMES[number])


def number_of(dtype: np.dtype[Any]) -> int:
    """The number of TensorProto.DataType of a NumPy dtype."""
    if dtype.name not in NUMBERS:
        raise TypeError(f"[onnx] got dtype {dtype}; expected one of {', '.join(NUMBERS)}")
    return NUMBERS[dtype.name]


def cast(x: Any, dtype: np.dtype[Any], saturate: bool = True) -> Any:
    """x in another dtype; on the tape from float to float. Floats are rounded towards 0 for integers."""
    if isinstance(x, Tensor) and x.dtype in _CAST and dtype in _CAST:
        return x.to(dtype)
    return by_numpy(lambda a: _converted(a, dtype, saturate), x)


def _converted(a: Any, dtype: np.dtype[Any], saturate: bool) -> Any:
    if raw(a).dtype.kind in "OSU":
        return np.asarray(a).astype(np.str_).astype(dtype)
    if saturate and dtype.name.startswith("float8"):
        most = float(importlib.import_module("ml_dtypes").finfo(dtype).max)
        a = np.where(np.isnan(a), a, np.clip(a, -most, most))
    return a.astype(dtype)
