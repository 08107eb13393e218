"""Copies, casts, fills and writes of arrays, by kernels of the core, so that a compiled step records them.

NumPy does what the core has no kernel for (small integers, overlapping memory), by `host`
(`tensors/recording.py`), which a replay repeats, too. `plain`, `native` and the `require_...` functions check
the arrays that come from a program.
"""

from __future__ import annotations

import copyreg
import functools
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import current, is_recording, observers
from ranvier.tensors.dtypes import DtypeLike, finfo
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.recording import host, host_in_place

Array = np.ndarray[Any, Any]

F16 = np.dtype(np.float16)
BF16 = np.dtype(_core._BFloat16)
F32 = np.dtype(np.float32)
HALVES = frozenset((F16, BF16))  # half floats: floats of 16 bits, which most ops compute in float32

# NumPy's character codes of the dtypes for which the core has kernels. "E" is bfloat16.
_FLOATS = frozenset("fdeE")  # the dtypes that the core copies in any order of memory, and adds
_READ = frozenset("fd?bBhHiIlqeE")  # the dtypes that the core casts from
_NUMBERS = (int, float, np.integer, np.floating)  # what counts as a number; bool is an int
_MADE = frozenset("fd?ilqeE")  # the dtypes that the core casts to
MOST_ELEMENTS = 2**40  # The core takes no more.


def _in_order(order: Any) -> np.dtype[Any]:
    """bfloat16 in a byte order, "=", "<" or ">"; pickles refer to this function by its name."""
    if order == "=":
        return BF16
    return BF16.newbyteorder(order)


def _reduced_bfloat16(dtype: np.dtype[Any]) -> tuple[Any, tuple[str]]:
    """How bfloat16 is pickled. NumPy's own way would change the one registered dtype object when it is
    loaded."""
    if dtype.isnative:
        return _in_order, ("=",)
    return _in_order, (dtype.byteorder,)


copyreg.pickle(type(BF16), _reduced_bfloat16)


def bools(raw: Array) -> Array:
    """An array of bytes as bools, whose True is the byte 1: a view, or a new array if there are other
    bytes."""
    if not raw.size or raw.max() <= 1:
        return raw.view(bool)
    return raw != 0


def keep(array: Any) -> Any:
    """Tells a recording that an array is constant, or is state that outlives the step; returns the array."""
    recording = current() if observers else None
    if recording is not None:
        recording.core.keep(array)
    return array


def is_batched(array: Any) -> bool:
    """True if this is the array of a batched Tensor (tensors/batched.py), within a call of vmap."""
    return hasattr(array, "level")


def all_slices(array: Any) -> Any:
    """The array of all slices, for a check of all values: of an array that is not batched itself."""
    while is_batched(array):
        array = array.value._array
    return array


def of_slices(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of a function of arrays: a call with batched arrays goes to its batching rule, in
    NUMPY_RULES under the function's name."""

    @functools.wraps(function)
    def run(*operands: Any) -> Any:
        for x in operands:
            if is_batched(x):
                return x.run(run, function.__name__, operands)
        return function(*operands)

    return run


def array_from(x: Any) -> Any:
    """x as an array. Of an array of a batched Tensor, `np.asarray` would give the first slice."""
    if isinstance(x, np.ndarray):
        return x
    return np.asarray(x)


def plain(name: str, data: Any) -> Any:
    """The data as it is, if it is no array; an array in the machine's byte order, which a Tensor always has.

    Raises TypeError for an array with a mask, which would be lost, and ValueError for a view with more than
    2**40 elements.
    """
    if type(data) is np.ndarray:
        if 0 < data.size <= MOST_ELEMENTS and data.dtype.isnative and data.dtype.char not in "?E":
            return data
    elif not isinstance(data, np.ndarray) or is_batched(data):
        return data
    elif isinstance(data, np.ma.MaskedArray):
        raise TypeError(
            f"[{name}] got a masked array; expected one without a mask: use filled(value), or pass the mask "
            "as a separate array"
        )
    require_size(name, data.shape)
    return native(data)


def native_in_place(array: Array) -> Array:
    """As :func:`native`, for a Tensor on the memory of the array: bools with other bytes than 0 and 1 are
    changed in this memory, if it can be written."""
    changed = native(array)
    if array.dtype.char == "?" and changed is not array and array.flags.writeable:
        array[...] = changed
        return array
    return changed


def require_size(name: str, shape: tuple[int, ...]) -> None:
    """Raises ValueError for a shape of more than 2**40 elements, zeros counted as 1."""
    if math.prod(n or 1 for n in shape) > MOST_ELEMENTS:
        raise OpError(f"[{name}] got the shape {shape}; expected dimensions with a product of at most 2**40")


def require_numbers(name: str, dtype: np.dtype[Any]) -> None:
    """Raises TypeError for a dtype that no op takes: complex numbers, dates, strings, objects."""
    if dtype.kind not in "biuf" or (dtype.isbuiltin == 2 and dtype != BF16):  # 2: a package has registered it
        remedy = ": split complex numbers into array.real and array.imag" * (dtype.kind == "c")
        if dtype.kind in "OUS":  # a table of several dtypes, or of texts
            remedy = ": array.astype(np.float32), or its columns of numbers alone"
        raise DtypeError(f"[{name}] got dtype {dtype}; expected bools, integers or floats{remedy}")


def native(array: Array) -> Array:
    """The array as the core can read it: in the machine's byte order, bools as bytes 0 and 1, bfloat16 of the
    core's dtype.

    In an image of one bit from Pillow, True is the byte 255. The bfloat16 of the package ml_dtypes, which JAX
    uses, has the same bits as the core's, so a view is enough.
    """
    if array.dtype.char == "E" and array.dtype.kind == "V":
        return array.view(BF16)
    if array.dtype.char == "?":
        stored_bytes = array.view(np.uint8)
        if stored_bytes.max(initial=0) > 1:
            return stored_bytes != 0
    if array.dtype.isnative:
        return array
    return array.astype(array.dtype.newbyteorder("="))


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


def copied(x: Array, order: str = "K") -> Array:
    """A copy of x. order: "C", "channels_last", or "K", the order of x."""
    to_channels_last = order == "channels_last"
    if not to_channels_last and x.dtype.char in _MADE and x.flags.c_contiguous:
        return _core.cast(x, x.dtype, None)
    if x.dtype.char not in _FLOATS:
        return host(_copied, x, order)
    if to_channels_last:
        return _core.copy(x, True, None)
    if order == "C":
        return _core.copy(x, False, None)
    return _core.copy_like(x, x)


def _copied(x: Array, order: Any) -> Array:
    if order == "channels_last":
        return x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    return x.copy(order=order)


def cast(x: Array, dtype: np.dtype[Any]) -> Array:
    """A copy of x in another dtype."""
    if x.dtype.char in _READ and dtype.char in _MADE:
        return _core.cast(x, dtype, None)
    return host(_cast_by_numpy, x, dtype)


def _cast_by_numpy(x: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(all="ignore"):  # NumPy warns of values beyond the range of half floats.
        return x.astype(dtype)


def in_dtype(x: Array, dtype: np.dtype[Any]) -> Array:
    """x, or a copy of it in another dtype."""
    if x.dtype == dtype:
        return x
    return cast(x, dtype)


def widened(arrays: list[Array]) -> list[Array]:
    """Half floats in float32, for a kernel that changes them in place; :func:`narrow` then rounds them."""
    return list(map(_without_halves, arrays))


def _without_halves(x: Array) -> Array:
    return in_dtype(x, F32) if x.dtype in HALVES else x


def narrow(arrays: list[Array], wide: list[Array]) -> None:
    """Writes the float32 copies of :func:`widened`, which a kernel has changed, back to the arrays."""
    for array, value in zip(arrays, wide, strict=True):
        if value is not array:
            write(array, value)


def added(a: Array, b: Array, out: Array | None = None) -> Array:
    """a + b, both of one dtype of floats; ``out`` may be a itself."""
    if a.dtype.char in _FLOATS:
        return _core.add(a, b, out)
    # The sum of two arrays without dimensions is a NumPy scalar.
    total: Array = np.asarray(host(np.add, a, b))
    if out is None:
        return total
    write(out, total)
    return out


def unbroadcast(dy: Array, shape: tuple[int, ...]) -> Array:
    """The gradient of an operand of this shape that was broadcast to the shape of dy: dy summed over the axes
    along which the operand was repeated.

    >>> import numpy as np
    >>> unbroadcast(np.ones((4, 3)), (3,))
    array([4., 4., 4.])
    """
    if dy.shape == shape:
        return dy
    lead = dy.ndim - len(shape)  # axes that the operand does not have
    axes = list(range(lead))
    for i, n in enumerate(shape):
        if n == 1 and dy.shape[lead + i] != 1:
            axes.append(lead + i)
    return _core.sum(dy, tuple(axes), True, None).reshape(shape)


def gradient_of(shape: tuple[int, ...], kernel: Callable[..., Array], *arrays: Array) -> Array:
    """kernel(*arrays) as the gradient of an operand of this shape: summed as by :func:`unbroadcast`.

    arrays: dy first. Half floats are computed and summed in float32, and rounded once.
    """
    dy = arrays[0]
    if shape == dy.shape:
        return kernel(*arrays)
    if dy.dtype in HALVES:
        arrays = tuple(in_dtype(x, F32) for x in arrays)
    return in_dtype(unbroadcast(kernel(*arrays), shape), dy.dtype)


def reshaped(x: Array, shape: int | Sequence[int]) -> Array:
    """x in another shape: a view if possible, else a copy."""
    y = x.reshape(shape)
    if observers and not np.may_share_memory(x, y):
        return copied(x, "C").reshape(shape)
    return y


def gather(array: Array, chosen: Array) -> Array:
    """The rows of an array with these indices."""
    # take is twice as fast as indexing, but first copies an array that is not contiguous
    if array.flags.c_contiguous:
        return array.take(chosen, axis=0)
    return array[chosen]


def in_float(x: Array, dtype: np.dtype[Any] | None) -> Array:
    """x in this dtype, if x has a dtype of floats."""
    if dtype is None or x.dtype.kind != "f" or x.dtype == dtype:
        return x
    return cast(x, dtype)


def filled(value: float | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """A new array with this number in all elements; None: the elements are not set."""
    if dtype.char in _MADE:
        return _core.full(shape, dtype, value)
    require_numbers("tensor", dtype)
    if not value:  # the system's pages of zeros: the memory of a large array is not touched
        return host(np.zeros, shape, dtype)
    return host(np.full, shape, value, dtype)


def filled_like(value: float | None, array: Array, dtype: DtypeLike | None = None) -> Array:
    """As :func:`filled`, in the shape and memory order of an array, and in its dtype if none is given."""
    target = array.dtype if dtype is None else np.dtype(dtype)
    if target.char in _MADE and array.dtype.char in _READ:
        return _core.full_like(array, target, value)
    require_numbers("tensor", target)
    return np.full_like(array, value or 0, target)


def literal(array: Array) -> Array:
    """An array of constants that the step may change: while a step is recorded, a copy, which each replay
    makes anew."""
    if is_recording():
        if array.dtype.char in _FLOATS:
            return _core.copy_like(keep(array), array)
        return cast(keep(array), array.dtype)
    return array


@functools.lru_cache(maxsize=1024)
def numbers(*values: float) -> Array:
    """Constants as kernels read them: a read-only array of float64, the same array for the same values."""
    array = np.array(values, np.float64)
    array.flags.writeable = False
    return keep(array)


def write(array: Array, value: Any, name: str = "copy_") -> None:
    """array[...] = value, a number or an array that broadcasts; errors begin with the op's name."""
    dtype = array.dtype
    if not isinstance(value, np.ndarray):
        is_number = value is None or isinstance(value, _NUMBERS)  # None is refused
        if is_number:
            value = number_in(name, value, dtype)
        else:
            value = _array_of(name, value, dtype)
    value = plain(name, value)
    if dtype.char in _MADE:
        try:
            if isinstance(value, np.ndarray):
                _write_array(array, value)
            else:
                _core.fill(array, value)
            return
        except (TypeError, ValueError, OverflowError):
            pass  # NumPy copies overlapping arrays below, and raises an error if the value does not fit.
    try:
        host_in_place(_assign, array, value)
    except (TypeError, ValueError, OverflowError) as error:
        require_writeable(name, array)
        raise OpError(
            f"[{name}] got a value of shape {np.shape(value)} and dtype {np.asarray(value).dtype}; expected "
            f"numbers that broadcast to {array.shape}"
        ) from error


def _array_of(name: str, value: Any, dtype: np.dtype[Any]) -> Array:
    """The array of a sequence that is written. Raises TypeError for texts, which NumPy would read as numbers,
    and for objects that NumPy would cast to bools."""
    array = np.asarray(value)
    if array.dtype.kind in "SU" or (array.dtype.kind == "O" and dtype.kind == "b"):
        raise TypeError(f"[{name}] got {value!r}; expected numbers")
    return array


class Computed(np.ndarray[Any, Any]):
    """The read-only memory of a Tensor that is made anew when it is read, so that no change of it is seen."""


class CopyOfView(np.ndarray[Any, Any]):
    """The read-only memory of what `view` gives where no view of the tensor's memory has the shape."""


class CopyOfBytes(np.ndarray[Any, Any]):
    """The read-only memory of `view(bool)` of bytes other than 0 and 1."""


_READ_ONLY = {
    CopyOfBytes: "what view(bool) gave of bytes other than 0 and 1: a copy, so that the tensor would not "
    "change; expected to(bool) for a copy that can be changed",
    Computed: "the values of a quantized layer, made when they were read; expected a layer with other values "
    "by nn.quantized.Linear.from_weight, or a clone()",
    CopyOfView: "what view() gave of a tensor that is not contiguous: a copy, so that the tensor would not "
    "change; expected reshape() for a copy that can be changed, or contiguous() before view()",
}


def read_only(array: Array, kind: type[Array]) -> Array:
    """The array as read-only memory of a kind, which errors tell."""
    # [...] keeps the kind: NumPy sets as base of a new view the base of what is viewed, if that has the new
    # view's class, so that view(kind).view(np.ndarray) alone would refer to `array` itself.
    marked: Array = array.view(kind)[...].view(np.ndarray)
    marked.flags.writeable = False
    return marked


def require_writeable(name: str, array: Array) -> None:
    if array.flags.writeable:
        return
    what = "a tensor on read-only memory; expected one that can be changed: clone() it"
    base = array.base
    while isinstance(base, np.ndarray):
        what = _READ_ONLY.get(type(base), what)
        base = base.base
    raise OpError(f"[{name}] got {what}") from None


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
    """:func:`number_in` for what fills a tensor, or elements of it: no finite number may become infinite.
    PyTorch refuses such a number, too, but for a tensor of one element."""
    if type(value) is float and dtype.kind == "f":
        number = value
    else:
        number = number_in(name, value, dtype)
    if _is_beyond(number, dtype):
        raise OpError(
            f"[{name}] got {value}; expected a number that {dtype} can hold, or float('inf') for infinity"
        )
    return number


def _is_beyond(number: float, dtype: np.dtype[Any]) -> bool:
    """True for a finite number beyond the range of a floating dtype."""
    if dtype.kind != "f" or not 65504 < abs(number) < math.inf:  # 65504 is float16's largest
        return False
    return abs(number) > finfo(dtype).max


def _write_array(array: Array, value: Array) -> None:
    """array[...] = value by the core."""
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
    """What sys.getrefcount returns for an array to which one list (or slot) and one local variable refer. The
    number depends on Python's version."""
    seen = []

    def probe(holder: list[Any]) -> None:
        array = holder[0]
        seen.append(sys.getrefcount(array))

    probe([np.empty(0)])
    return seen[0]


SOLE = _sole_references()  # A count of at most SOLE means that nothing else refers to an array.
