"""Copies, casts and fills of arrays by the core, so that a compiled step records them.

NumPy does what the core has no kernel for: small integers, memory that overlaps.
"""

from __future__ import annotations

import copyreg
import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import current, is_recording, observers
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.recording import host, host_in_place

Array = np.ndarray[Any, Any]

F16, BF16, F32 = np.dtype(np.float16), np.dtype(_core._BFloat16), np.dtype(np.float32)
HALVES = frozenset((F16, BF16))  # floats of 16 bits: each is stored in them, and computed in float32
# NumPy would make it again by a change of the registered dtype itself: of its hash, and of its byte order
copyreg.pickle(type(BF16), lambda dtype: (_in_order, ("=" if dtype.isnative else dtype.byteorder,)))
_FLOATS = frozenset("fdeE")  # The codes of the dtypes that copies take.
_READ = frozenset("fd?bBhHiIlqeE")  # what the core casts from, by NumPy's codes
_NUMBERS = (int, float, np.integer, np.floating)
_MADE = frozenset("fd?ilqeE")  # The codes of the dtypes that the core casts to.
MOST_ELEMENTS = 2**40  # The core takes no more.


def _in_order(order: Any) -> np.dtype[Any]:
    return BF16 if order == "=" else BF16.newbyteorder(order)


def bools(raw: Array) -> Array:
    """Bytes as bools, of which True is 1: their memory itself, or a comparison where they have others."""
    return raw.view(bool) if not raw.size or raw.max() <= 1 else raw != 0


def keep(array: Any) -> Any:
    """Declares an array constant, or state that outlives the step; returns it."""
    if observers and (recording := current()) is not None:
        recording.core.keep(array)
    return array


def plain(name: str, data: Any) -> Any:
    """The data; an array in the machine's byte order, which a Tensor always has.

    Raises TypeError for an array with a mask, which would be lost, and ValueError for a view with more than
    2**40 elements.
    """
    if type(data) is np.ndarray:
        if 0 < data.size <= MOST_ELEMENTS and data.dtype.isnative and data.dtype.char not in "?E":
            return data
    elif not isinstance(data, np.ndarray):
        return data
    elif isinstance(data, np.ma.MaskedArray):
        raise TypeError(
            f"[{name}] got a masked array; expected one without a mask: use filled(value), or pass the mask "
            "as a separate array"
        )
    require_size(name, data.shape)
    return native(data)


def native_in_place(array: Array) -> Array:
    """The same for a Tensor on this memory: the bytes of bools are changed in it, if they can be."""
    changed = native(array)
    if array.dtype.char == "?" and changed is not array and array.flags.writeable:
        array[...] = changed
        return array
    return changed


def require_size(name: str, shape: Any) -> None:
    """Raises ValueError for a shape of more than 2**40 elements, zeros counted as 1."""
    if math.prod(n or 1 for n in shape) > MOST_ELEMENTS:
        raise OpError(f"[{name}] got the shape {shape}; expected dimensions with a product of at most 2**40")


def require_numbers(name: str, dtype: np.dtype[Any]) -> None:
    """Raises TypeError for a dtype that no op takes: complex numbers, dates, strings, objects."""
    if dtype.kind not in "biuf" or (dtype.isbuiltin == 2 and dtype != BF16):  # 2: of another package
        remedy = ": split complex numbers into array.real and array.imag" * (dtype.kind == "c")
        if dtype.kind in "OUS":  # a table of several dtypes, or of texts
            remedy = ": array.astype(np.float32), or its columns of numbers alone"
        raise DtypeError(f"[{name}] got dtype {dtype}; expected bools, integers or floats{remedy}")


def native(array: Array) -> Array:
    """The values in the machine's byte order and bools of bytes 0 and 1, which the core reads.

    The true pixels of an image of one bit are bytes of 255. bfloat16 of the package ml_dtypes, as JAX has it,
    is the same memory in the core's.
    """
    if array.dtype.char == "E" and array.dtype.kind == "V":
        return array.view(BF16)
    if array.dtype.char == "?" and (bits := array.view(np.uint8)).max(initial=0) > 1:
        return bits != 0
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def like(array: Array, value: Array) -> Array:
    """A copy of the value in the dtype and memory order of the array, which has the same shape."""
    if array.dtype.char not in _FLOATS or value.dtype.char not in _READ:
        return host(_like, array, value)
    if value.dtype != array.dtype:
        value = _core.cast(value, array.dtype, None)
    return _core.copy_like(value, array)


def _like(array: Array, value: Array) -> Array:
    made = np.empty_like(array)
    made[...] = value
    return made


def copied(x: Array, order: Any = "K") -> Array:
    """A copy in C order, channels-last, or in x's own order."""
    last = order == "channels_last"
    if not last and x.dtype.char in _MADE and x.flags.c_contiguous:
        return _core.cast(x, x.dtype, None)
    if x.dtype.char not in _FLOATS:
        return host(_copied, x, order)
    if last:
        return _core.copy(x, True, None)
    return _core.copy(x, False, None) if order == "C" else _core.copy_like(x, x)


def _copied(x: Array, order: str) -> Array:
    last = order == "channels_last"
    return x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2) if last else x.copy(order=order)  # type: ignore[arg-type]


def cast(x: Array, dtype: np.dtype[Any]) -> Array:
    """A copy of x in another dtype."""
    if x.dtype.char in _READ and dtype.char in _MADE:
        return _core.cast(x, dtype, None)
    return host(_cast_by_numpy, x, dtype)


def _cast_by_numpy(x: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(all="ignore"):  # NumPy warns of a value beyond the range of a half.
        return x.astype(dtype)


def in_dtype(x: Array, dtype: np.dtype[Any]) -> Array:
    """x, or a copy of it in another dtype."""
    return x if x.dtype == dtype else cast(x, dtype)


def widened(arrays: list[Array]) -> list[Array]:
    """Half floats in float32, for a kernel that changes them in place; :func:`narrow` then rounds them."""
    return [in_dtype(x, F32) if x.dtype in HALVES else x for x in arrays]


def narrow(arrays: list[Array], wide: list[Array]) -> None:
    """Writes what :func:`widened` has copied, and a kernel changed, to the arrays."""
    for array, value in zip(arrays, wide, strict=True):
        if value is not array:
            write(array, value)


def added(a: Array, b: Array, out: Array | None = None) -> Array:
    """a + b, both of one dtype of floats; ``out`` may be a itself."""
    if a.dtype.char in _FLOATS:
        return _core.add(a, b, out)
    total: Array = np.asarray(host(np.add, a, b))  # NumPy makes a number of two without dimensions
    if out is None:
        return total
    write(out, total)
    return out


def unbroadcast(dy: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of an operand that was repeated to the shape of dy: the sum over the axes of repetition.

    >>> import numpy as np
    >>> unbroadcast(np.ones((4, 3)), (3,))
    array([4., 4., 4.])
    """
    if dy.shape == shape:
        return dy
    lead = dy.ndim - len(shape)
    axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and dy.shape[lead + i] != 1))
    return _core.sum(dy, axes, True, None).reshape(shape)


def gradient_of(shape: tuple[int, ...], kernel: Callable[..., Array], *arrays: Array) -> Array:
    """The kernel's result for dy and other arrays, as the gradient of an operand of this shape: halves are
    rounded once."""
    dy = arrays[0]
    if shape == dy.shape:
        return kernel(*arrays)
    if dy.dtype in HALVES:
        arrays = tuple(in_dtype(x, F32) for x in arrays)
    return in_dtype(unbroadcast(kernel(*arrays), shape), dy.dtype)


def reshaped(x: Array, shape: Any) -> Array:
    """x in another shape: a view if possible, else a copy."""
    y = x.reshape(shape)
    if observers and not np.may_share_memory(x, y):
        return copied(x, "C").reshape(shape)
    return y


def in_float(x: Array, dtype: np.dtype[Any] | None) -> Array:
    """x in this dtype, if x has a dtype of floats."""
    return x if dtype is None or x.dtype.kind != "f" or x.dtype == dtype else cast(x, dtype)


def filled(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array of one number; None: of any numbers."""
    if dtype.char in _MADE:
        return _core.full(shape, dtype, value)
    require_numbers("tensor", dtype)
    if not value:  # the system's pages of zeros: the memory of a large array is not touched
        return host(np.zeros, shape, dtype)
    return host(np.full, shape, value, dtype)


def filled_like(value: Any, array: Array, dtype: Any = None) -> Array:
    """An array of one number in the shape and memory order of another; None: of any numbers."""
    kind = array.dtype if dtype is None else np.dtype(dtype)
    if kind.char in _MADE and array.dtype.char in _READ:
        return _core.full_like(array, kind, value)
    require_numbers("tensor", kind)
    return np.full_like(array, value or 0, kind)


def literal(array: Array) -> Array:
    """A new array of constants that the step may change: a compiled step copies it in each replay."""
    if is_recording():
        if array.dtype.char in _FLOATS:
            return _core.copy_like(keep(array), array)
        return cast(keep(array), array.dtype)
    return array


@functools.lru_cache(maxsize=1024)
def numbers(*values: float) -> Array:
    """Constants as kernels read them: float64, one array for the same values."""
    array = np.array(values, np.float64)
    array.flags.writeable = False
    return keep(array)


def write(array: Array, value: Any, name: str = "copy_") -> None:
    """array[...] = value, a number or an array that broadcasts; errors begin with the op's name."""
    dtype = array.dtype
    if not isinstance(value, np.ndarray):
        is_number = value is None or isinstance(value, _NUMBERS)  # None is refused
        value = number_in(name, value, dtype) if is_number else _array_of(name, value, dtype)
    value = plain(name, value)
    if dtype.char in _MADE:
        try:
            if isinstance(value, np.ndarray):
                _write_array(array, value)
            else:
                _core.fill(array, value)
            return
        except (TypeError, ValueError, OverflowError):
            pass  # The value does not fit, which raises below, or the arrays overlap, which NumPy can do.
    try:
        host_in_place(_assign, array, value)
    except (TypeError, ValueError, OverflowError) as error:
        require_writeable(name, array)
        raise OpError(
            f"[{name}] got a value of shape {np.shape(value)} and dtype {np.asarray(value).dtype}; expected "
            f"numbers that broadcast to {array.shape}"
        ) from error


def _array_of(name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    """The array of a sequence. NumPy reads numbers in texts, and takes any object as True or False."""
    array = np.asarray(value)
    if array.dtype.kind in "SU" or (array.dtype.kind == "O" and dtype.kind == "b"):
        raise TypeError(f"[{name}] got {value!r}; expected numbers")
    return array


def require_writeable(name: str, array: Array) -> None:
    if not array.flags.writeable:
        raise OpError(
            f"[{name}] got a tensor on read-only memory; expected one that can be changed: clone() it"
        ) from None


def _assign(array: Array, value: Any) -> None:
    if np.iscomplexobj(value):  # NumPy would drop the imaginary part
        raise TypeError
    array[...] = value


def number_in(name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """A number as an element of this dtype: towards 0 for integers; for bool, whether it is not 0."""
    if value is None or isinstance(value, (complex, np.complexfloating, str)):
        raise TypeError(f"[{name}] got {value!r}; expected a real number")
    try:
        if dtype.kind == "f":
            return float(value)
        if dtype.kind == "b":
            return bool(value)
        whole = int(value)
        if dtype.kind not in "iu" or np.iinfo(dtype).min <= whole <= np.iinfo(dtype).max:
            return whole
    except (ValueError, OverflowError):
        pass
    raise OpError(f"[{name}] got {value}; expected a number that {dtype} can hold")


def fill_number(name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """:func:`number_in` for what fills a tensor: a finite number must not become infinite, as in PyTorch."""
    number = value if type(value) is float and dtype.kind == "f" else number_in(name, value, dtype)
    if dtype.kind == "f" and 65504 < abs(number) < math.inf:  # 65504 is float16's largest
        with np.errstate(over="ignore"):
            if math.isinf(np.array(number).astype(dtype)):
                raise OpError(f"[{name}] got {value}; expected a number that {dtype} can hold")
    return number


def _write_array(array: Array, value: Array) -> None:
    dtype = array.dtype
    if value.shape != array.shape:
        value = np.broadcast_to(value, array.shape)
    if observers and np.may_share_memory(array, value):
        value = copied(value)
    if dtype.char in _FLOATS and (value.dtype is dtype or value.dtype == dtype):
        _core.copy(value, False, array)
    else:
        _core.cast(value, dtype, array)


def _sole_references() -> int:
    """getrefcount of an array that one list or slot has, and a variable; it depends on Python's version."""
    seen = []

    def probe(holder: list[Any]) -> None:
        array = holder[0]
        seen.append(sys.getrefcount(array))

    probe([np.empty(0)])
    return seen[0]


SOLE = _sole_references()
