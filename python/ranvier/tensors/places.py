"""Reads and writes elements of an array by keys, for indexing of Tensors.

keys: the sequence of keys from `numbers_first` (`tensors/keys.py`): all except the last give a view, the last
may have index arrays. `_core._places(array, key)` is the view that a key without arrays gives, or None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import observers, value_read
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import _FLOATS, _NUMBERS, Array, number_in, plain, require_writeable, write
from ranvier.tensors.recording import host, host_in_place

if TYPE_CHECKING:
    from ranvier.tensors.types import Index, Key, TensorLike


def picked(array: Array, keys: tuple[Any, ...]) -> Array:
    """The elements at the keys of ``numbers_first``: a view if the last key has no arrays."""
    for key in keys[:-1]:
        array = array[key]
    view = _core._places(array, keys[-1])
    if view is None:
        return host(_picked, array, *_parts(keys[-1]))
    return view


def _tuple(key: Key) -> tuple[Any, ...]:
    if type(key) is tuple:
        return key
    return (key,)


def _parts(key: Key) -> tuple[Any, ...]:
    """The parts of a key, as operands of `host`. A mask counts as a read of values, which makes a recorded
    step eager, because the shape of the result depends on it."""
    parts = _tuple(key)
    if observers:
        for part in parts:
            if not isinstance(part, slice) and np.asarray(part).dtype.kind == "b":
                value_read("an index by a mask", part)
    return parts


def _picked(array: Array, *key: Index) -> Array:
    return np.asarray(array[key])


def picked_last(array: Array, keys: tuple[Any, ...]) -> Array:
    """As :func:`picked`, with 0 for each element whose place occurs again later in the key: of several values
    that ``put`` writes to one place only the last stays, so only the last one has a gradient."""
    for key in keys[:-1]:
        array = array[key]
    key = _tuple(keys[-1])
    is_mask = len(key) == 1 and getattr(key[0], "dtype", None) == np.bool_
    if is_mask or _core._places(array, keys[-1]) is not None:
        return picked(array, keys[-1:])  # Each place occurs once.
    return host(_picked_last, array, *_parts(key))


def _picked_last(array: Array, *key: Index) -> Array:
    y = np.asarray(array[key])
    order = np.arange(y.size).reshape(y.shape)
    last = np.zeros(array.shape, np.int64)  # at each place the number of the last picked element there
    put_in_order(last, key, order)
    return np.where(last[key] == order, y, y.dtype.type(0))


def put_in_order(array: Array, key: Key, values: Array) -> None:
    """array[key] = values; of several values for one place the last one in C order stays. The operands are
    made contiguous, because NumPy's order of writing depends on their strides."""
    array[tuple(map(_contiguous, _tuple(key)))] = _contiguous(values)


def _contiguous(part: Any) -> Any:
    """An array in C order; all else, and an array of one number without dimensions, as it is."""
    if isinstance(part, np.ndarray) and part.ndim:
        return np.ascontiguousarray(part)
    return part


def put(array: Array, keys: tuple[Any, ...], value: TensorLike) -> None:
    """array[key] = value for the keys of ``numbers_first``."""
    for key in keys[:-1]:
        array = array[key]
    key = keys[-1]
    view = _core._places(array, key)
    if view is not None:
        write(view, value, "setitem")
    elif _is_mask_of(key, array) and isinstance(value, _NUMBERS):
        _core.where(key, float(value), array, array)
    elif not _put_slices(array, key, value):
        host_in_place(_put, array, value, *_tuple(key))


def _put_slices(array: Array, key: Key, value: TensorLike) -> bool:
    """array[..., rows] = value by the core. Returns False, and writes nothing, unless the key is full slices
    and one array of row numbers, and the value has the shape and dtype of the picked part."""
    parts = _tuple(key)
    axis = len(parts) - 1
    rows = parts[-1]
    if not (isinstance(rows, np.ndarray) and rows.ndim == 1 and rows.dtype.kind == "i"):
        return False
    if not all(type(part) is slice and part == slice(None) for part in parts[:-1]):
        return False
    if type(value) is not np.ndarray or value.dtype != array.dtype or array.dtype.char not in _FLOATS:
        return False
    shape = (*array.shape[:axis], len(rows), *array.shape[axis + 1 :])
    # With a stride of 0 several elements are at one place: `put_in_order` keeps the last value there.
    if value.shape != shape or 0 in array.strides or np.may_share_memory(array, value):
        return False
    require_writeable("setitem", array)
    _core.scatter(array, rows, value, axis, False, array)  # False: values are written, not added
    return True


def _put(array: Array, value: TensorLike, *key: Index) -> None:
    """array[key] = value for a key with arrays. A number is cast to any dtype; an array is not cast to a
    dtype of a lower kind (bool, integers, floats)."""
    value = np.asarray(plain("setitem", value))
    if value.ndim == 0 and value.dtype.kind in "biuf":
        value = np.asarray(number_in("setitem", value.item(), array.dtype), array.dtype)
    if not np.can_cast(value.dtype, array.dtype, "same_kind"):
        raise DtypeError(
            f"[setitem] got a value of dtype {value.dtype} for a tensor of {array.dtype} and a key with "
            "arrays; expected a dtype that it can hold: use value.to(x.dtype)"
        )
    try:
        put_in_order(array, key, value)
    except (ValueError, TypeError) as error:
        require_writeable("setitem", array)
        shape = array[key].shape
        extra = value.ndim - len(shape)  # dimensions that the value has and the elements do not
        if extra > 0 and value.shape[:extra] == (1,) * extra:  # PyTorch drops leading dimensions of size 1
            return _put(array, value.reshape(value.shape[extra:]), *key)
        raise OpError(
            f"[setitem] got a value of shape {value.shape} for {shape} elements; expected a shape "
            "that broadcasts"
        ) from error


def _is_mask_of(key: Key, array: Array) -> bool:
    """True if the key is a mask of all elements of a floating array that the core can write to."""
    return (
        isinstance(key, np.ndarray)
        and key.dtype.kind == "b"
        and key.shape == array.shape
        and array.dtype.char in _FLOATS
        and array.flags.behaved
        and 0 not in array.strides
    )
