"""What a Tensor is made of: numbers, nested lists, arrays and Tensors as data; whole numbers as a shape."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Any

import numpy as np

from ranvier.autograd.memory import cast, filled, like, literal, plain, require_numbers
from ranvier.autograd.recording import recordings, refuse
from ranvier.autograd.size import Size

Array = np.ndarray[Any, Any]
F32 = np.dtype(np.float32)
RANK = {"b": 0, "u": 1, "i": 1, "f": 2}
_PYTHON: dict[Any, Any] = {float: np.float32, int: np.int64, bool: np.bool_}
_NUMBERS = (*_PYTHON, np.generic)


def array_of(name: str, data: Any, dtype: Any = None) -> Array:
    """The data as an array: numbers in PyTorch's dtypes (float32, int64, bool), arrays in their own.

    dtype: the dtype that the caller will cast to; if it is given, floats stay in float64.
    """
    if hasattr(data, "_cell"):  # a Tensor
        return data._array
    if isinstance(data, (np.ndarray, np.generic)):
        if data.dtype.kind == "c":
            require_numbers(name, data.dtype)
        return plain(name, data) if isinstance(data, np.ndarray) else np.asarray(data)
    if hasattr(data, "detach"):  # a torch tensor
        return data.detach().cpu().numpy()
    dtypes = _dtypes(data)
    if None in dtypes:
        data = _numbers(name, data)
    try:
        array = np.asarray(data)
    except ValueError as error:
        raise ValueError(f"[{name}] got lists of unequal lengths; expected a regular nested list") from error
    if array.dtype.kind in "OUSV":
        raise ValueError(
            f"[{name}] got data of dtype {array.dtype}; expected numbers in a regular nested list"
        )
    if array.dtype.kind == "c":
        require_numbers(name, array.dtype)
    if dtype is not None and array.size and np.dtype(dtype).kind in "iu":
        _require_fit(name, array, np.dtype(dtype))
    if dtype is None and (array.dtype.kind == "f" or None in dtypes):
        return array.astype(common_dtype(dtypes - {None} or {F32}), copy=False)
    return array


def _require_fit(name: str, array: Array, dtype: np.dtype[Any]) -> None:
    """Raises ValueError for numbers beyond a dtype of integers; -1 in uint8 is 255, as in PyTorch."""
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    low = -high if dtype.kind == "u" and array.dtype.kind in "iu" else low
    if not (low <= array.min() and array.max() <= high):
        wrong = array[~((low <= array) & (array <= high))].flat[0]
        raise ValueError(f"[{name}] got {wrong}; expected numbers that {dtype} can hold")


def _dtypes(data: Any) -> set[Any]:
    """The dtypes of the numbers in nested lists, Python's as PyTorch's; with None if there are Tensors."""
    if not isinstance(data, (list, tuple)):
        dtype = getattr(data, "dtype", None)
        known = isinstance(dtype, np.dtype) and dtype.kind in RANK
        return {dtype if known else F32, *([None] if hasattr(data, "_cell") else [])}
    types = set(map(type, data))
    found: set[Any] = {
        np.dtype(_PYTHON.get(t, t)) for t in types if t in _PYTHON or issubclass(t, np.generic)
    }
    if len(found) < len(types):
        for item in data:
            if not isinstance(item, _NUMBERS):
                found |= _dtypes(item)
    return found


def _numbers(name: str, data: Any) -> Any:
    """Nested lists with arrays for Tensors; one with a single element is a number there, as in PyTorch."""
    if hasattr(data, "_cell"):
        return data._array
    if not isinstance(data, (list, tuple)):
        return data
    items = [_numbers(name, item) for item in data]
    if all(getattr(item, "size", 1) == 1 for item in items):
        return [item.item() if isinstance(item, np.ndarray) else item for item in items]
    return items


def common_dtype(dtypes: Iterable[np.dtype[Any]]) -> np.dtype[Any]:
    """The common dtype of arrays of these dtypes: of the highest kind, the widest.

    >>> common_dtype([np.dtype("int64"), np.dtype("float32")])
    dtype('float32')
    """
    ranks = {dtype: RANK.get(dtype.kind, 3) for dtype in dtypes}
    highest = max(ranks.values())
    return np.result_type(*(dtype for dtype, rank in ranks.items() if rank == highest))


def shape_of(size: tuple[Any, ...], name: str = "tensor") -> tuple[int, ...]:
    """The shape from ``f(2, 3)`` or ``f((2, 3))``."""
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = tuple(size[0])
    try:
        return tuple(index(n) for n in size)
    except TypeError as error:
        raise TypeError(f"[{name}] got size {size}; expected whole numbers") from error


def sized_or_copied(name: str, given: tuple[Any, ...], dtype: Any) -> Array:
    """The array of a constructor: zeros for ``Tensor(2, 3)``, a shape; a copy for ``Tensor(data)``."""
    if len(given) == 1 and isinstance(given[0], Size):
        return filled(0, given[0], np.dtype(dtype))
    if all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in given):
        shape = shape_of(given or (0,), name)
        if min(shape) < 0:
            raise ValueError(f"[{name}] got shape {shape}; expected sizes >= 0")
        return filled(0, shape, np.dtype(dtype))
    if len(given) > 1 or isinstance(given[0], (bool, float, complex, np.generic)):
        raise TypeError(
            f"[{name}] got {given}; expected sizes, or data in one list or array: "
            "use ranvier.tensor for a number"
        )
    return new_array(name, given[0], dtype)


def new_array(name: str, data: Any, dtype: Any = None) -> Array:
    """A copy of the data as an array."""
    array = np.array(array_of(name, data, dtype), dtype)
    return _in_step(data, array) if recordings else array


def _in_step(data: Any, array: Any) -> Any:
    """The array, made by kernels, which a compiled step runs again: a copy of an array, or its numbers."""
    if hasattr(data, "_cell") or isinstance(data, np.ndarray):
        source = array_of("tensor", data)
        if array.dtype.char in "fd":
            return like(array, source)
        return cast(source, array.dtype) if array.flags.c_contiguous else array
    if is_plain(data):
        return literal(array)
    if isinstance(data, (list, tuple)) and any(hasattr(item, "_cell") for item in data):
        refuse("rv.tensor() reads the values of the Tensors in a list", "use rv.stack")
    return array


def is_plain(data: Any) -> bool:
    """Whether data is made of Python's numbers alone."""
    if isinstance(data, (list, tuple)):
        return all(map(is_plain, data))
    return type(data) in (int, float, bool) or isinstance(data, np.generic)
