"""Reads the data from which a Tensor is made (numbers, nested lists, arrays, Tensors), shapes and dtypes."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.extension import home_of
from ranvier.observe import current, is_written, observers, refuse
from ranvier.tensors.dtypes import DtypeLike, default, dtype as DType
from ranvier.tensors.failures import OpError, failure, op_of
from ranvier.tensors.memory import (
    BF16,
    F16,
    Array,
    cast,
    filled,
    like,
    literal,
    native_in_place,
    plain,
    require_numbers,
)

# In this file, `data` is what a program makes a Tensor of: any object. `_cell` tells Tensors, which are
# defined above this module, from other objects.

RANK = {"b": 0, "u": 1, "i": 1, "f": 2}  # NumPy's kind of a dtype -> its rank: bools, integers, floats
_PYTHON: dict[Any, Any] = {float: float, int: np.int64, bool: np.bool_}  # Python's class -> its dtype
_NUMBERS = (*_PYTHON, np.generic)
_WHOLE = {np.dtype(np.bool_), np.dtype(np.int64)}  # the dtypes of Python's bools and integers
_LISTS = frozenset({list, tuple, *_PYTHON})  # the classes of data for which `new_array` asks the core first


def array_of(name: str, data: Any, dtype: DtypeLike | None = None) -> Array:
    """The data as an array: Python's numbers in PyTorch's dtypes (float32, int64, bool), arrays in their own.

    dtype: the dtype that the caller will cast to; if it is given, floats stay in float64.
    """
    if hasattr(data, "_cell"):  # a Tensor
        return data._array
    if isinstance(data, (np.ndarray, np.generic)):
        if data.dtype.kind == "c":
            require_numbers(name, data.dtype)
        if isinstance(data, np.ndarray):
            return plain(name, data)
        return np.asarray(data)
    if hasattr(data, "detach"):  # a torch tensor
        return as_array(data)
    dtypes: set[Any] = set()  # of the numbers in nested lists; with None if there are Tensors among them
    is_array_like = hasattr(data, "__array__")  # a data frame, a column, an array of another library
    if is_array_like:
        array = _array_like(name, data)
    else:
        dtypes = _dtypes(data)
        try:
            numbers = _numbers(name, data) if None in dtypes else data
            array = np.asarray(numbers)
        except ValueError as error:
            raise OpError(f"[{name}] got lists of unequal lengths; expected a regular nested list") from error
    has_integers_alone = isinstance(data, int) or (dtypes and dtypes <= _WHOLE)
    # NumPy makes uint64, floats or objects of whole numbers that int64 cannot hold.
    if dtype is None and has_integers_alone and array.dtype.kind in "Ouf" and array.size:
        raise OpError(f"[{name}] got whole numbers that int64 cannot hold; expected smaller ones, or floats")
    if array.dtype.kind in "OUSV":
        raise OpError(f"[{name}] got data of dtype {array.dtype}; expected numbers in a regular nested list")
    if array.dtype.kind == "c":
        require_numbers(name, array.dtype)
    if dtype is not None:
        if array.size and array.dtype != dtype and np.dtype(dtype).kind in "iu":
            _require_fit(name, array, np.dtype(dtype))
        return array
    if not is_array_like and (array.dtype.kind == "f" or None in dtypes):
        known = dtypes - {None} or {default.dtype}  # no numbers at all: the default, as for []
        return array.astype(_core._result_dtype(*known), copy=False)
    return array


def as_array(value: Any) -> Array:
    """The array of a Tensor, a torch tensor, or anything that NumPy takes."""
    if hasattr(value, "_array"):
        return value._array
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # which NumPy lacks
            return value.view(sys.modules["torch"].int16).numpy().view(BF16)
    return np.asarray(value)


def _array_like(name: str, data: Any) -> Array:
    """The array of a data frame, of a column of one, or of another object that NumPy takes."""
    array = np.asarray(data)
    # a data frame with columns of several dtypes
    if array.dtype.kind == "O" and array.ndim == 2 and hasattr(data, "items"):
        return np.stack([_array_like(name, column) for _, column in data.items()], 1)
    if array.dtype.kind == "O":  # The elements may be numbers of Python, of which NumPy then finds the dtype.
        array = np.asarray(array.tolist())
    # A data frame has a list of dtypes, a column of pandas a single one.
    dtypes = getattr(data, "dtypes", None)
    if np.iterable(dtypes):
        dtypes = list(dtypes)
    else:
        dtypes = [getattr(data, "dtype", array.dtype)]
    if array.dtype.kind in "OUSVMm":
        kinds = ", ".join(sorted(set(map(str, dtypes))))
        raise OpError(
            f"[{name}] got data of dtype {kinds}; expected numbers: encode texts, dates and categories "
            "(pandas.get_dummies), fill missing values (fillna)"
        )
    nullable = any(getattr(t, "kind", "") in ("i", "u") and not isinstance(t, np.dtype) for t in dtypes)
    if nullable and array.dtype.kind == "f" and (np.abs(array) > 2**53).any():
        raise OpError(
            f"[{name}] got integers above 2**53 beside missing values or floats, which are none in "
            f"{array.dtype}; expected integers alone: fill missing values (fillna)"
        )
    return array


def refuse_torch(name: str, what: str, thing: object) -> None:
    """Raises TypeError for a class, an object, a function or a Tensor of PyTorch, with the remedy."""
    if not _is_of_torch(thing):
        return
    shown = thing if hasattr(thing, "__name__") else type(thing)
    remedy = "ranvier's: the same program with `import ranvier as torch`"
    if hasattr(thing, "detach") and not isinstance(thing, type):
        remedy += ", or ranvier.tensor(x)"
    raise TypeError(f"[{name}] got {what} of PyTorch ({shown.__name__}); expected {remedy}")


def _is_of_torch(thing: object) -> bool:
    """True for a class, an object or a function of PyTorch, also of a class that derives from PyTorch's.

    The library's own functions and classes may have PyTorch's names: `home_of` knows where a class is
    defined.
    """
    if hasattr(thing, "_cell") or type(thing) is _core.PublicFunction:
        return False
    kinds = list(type(thing).__mro__)
    if isinstance(thing, type):
        kinds += thing.__mro__
    homes = [home_of(kind) for kind in kinds]
    if hasattr(thing, "__name__") and not isinstance(thing, type):  # a function
        homes.append(str(getattr(thing, "__module__", "")))
    return any(home == "torch" or str(home).startswith("torch.") for home in homes)


def _require_fit(name: str, array: Array, dtype: np.dtype[Any]) -> None:
    """Raises ValueError for numbers that a dtype of integers cannot hold. Negative integers wrap around in
    unsigned dtypes, as in PyTorch: -1 in uint8 is 255."""
    low = np.iinfo(dtype).min
    high = np.iinfo(dtype).max
    if dtype.kind == "u" and array.dtype.kind in "iu":
        low = -high
    if not (low <= array.min() and array.max() <= high):
        wrong = array[~((low <= array) & (array <= high))].flat[0]
        raise OpError(f"[{name}] got {wrong}; expected numbers that {dtype} can hold")


def _dtypes(data: Any) -> set[Any]:
    """The dtypes of the numbers in nested lists. Python's numbers have PyTorch's dtypes; None stands for
    Tensors beside their dtypes."""
    dtypes: set[Any] = set()
    if not isinstance(data, (list, tuple)):
        dtype = getattr(data, "dtype", None)
        if isinstance(dtype, (np.dtype, DType)) and dtype.kind in RANK:
            dtypes.add(np.dtype(dtype))
        else:
            dtypes.add(default.dtype)
        if hasattr(data, "_cell"):
            dtypes.add(None)
        return dtypes
    types = set(map(type, data))
    for number_type in types:
        if number_type is float:
            dtypes.add(default.dtype)
        elif number_type in _PYTHON or issubclass(number_type, np.generic):
            dtypes.add(np.dtype(_PYTHON.get(number_type, number_type)))
    if len(dtypes) < len(types):
        for item in data:
            if not isinstance(item, _NUMBERS):
                dtypes |= _dtypes(item)
    return dtypes


def _numbers(name: str, data: Any) -> Any:
    """Nested lists with arrays in place of Tensors. In a list whose items all have one element, a Tensor
    becomes a number, as in PyTorch."""
    if hasattr(data, "_cell"):
        return data._array
    if not isinstance(data, (list, tuple)):
        return data
    items = [_numbers(name, item) for item in data]
    if all(getattr(item, "size", 1) == 1 for item in items):
        return list(map(_number, items))
    return items


def _number(item: Any) -> Any:
    """The number in an array of one element; anything else as it is."""
    return item.item() if isinstance(item, np.ndarray) else item


# (size, name): the shape from ``f(2, 3)`` or ``f((2, 3))``, of the op's arguments
shape_of: Any = _core._shape


def sized_or_copied(name: str, arguments: tuple[Any, ...], dtype: DtypeLike, shared: bool = False) -> Array:
    """The array of a constructor: zeros for ``Tensor(2, 3)``, a shape; a copy for ``Tensor(data)``.

    shared: an array of the dtype itself, as PyTorch's constructors have it.
    """
    if len(arguments) == 1 and isinstance(arguments[0], Size):
        return filled(0, arguments[0], np.dtype(dtype))
    if all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in arguments):
        shape = shape_of(arguments or (0,), name)
        if min(shape) < 0:
            raise OpError(f"[{name}] got shape {shape}; expected sizes >= 0")
        return filled(0, shape, np.dtype(dtype))
    if len(arguments) > 1 or isinstance(arguments[0], (bool, float, complex, np.generic)):
        raise TypeError(
            f"[{name}] got {arguments}; expected sizes, or data in one list or array: "
            "use ranvier.tensor for a number"
        )
    data = arguments[0]
    if shared and type(data) is np.ndarray and data.dtype == dtype and data.flags.writeable and not observers:
        return native_in_place(data)
    try:
        return new_array(name, data, dtype)
    except ValueError as error:
        if op_of(error):
            raise
        raise failure(OpError, name, f"data of dtype {data.dtype}", f"numbers ({error})") from None


def new_array(name: str, data: Any, dtype: DtypeLike | None = None, copied: bool = True) -> Array:
    """The data as an array in this dtype; a copy, unless the data is an array and `copied` is false."""
    if not observers and type(data) in _LISTS:
        target = default.dtype if dtype is None else np.dtype(dtype)
        if target.char in "fdl":  # float32, float64, int64: those that `_literal` makes
            made = _core._literal(data, target, dtype is not None)  # None: nested lists that it cannot read
            if made is not None:
                return made
    array = array_of(name, data, dtype)
    if not copied:
        array = np.asarray(array, dtype)
        if observers and is_plain(data):
            return literal(array)
        return array
    array = np.array(array, dtype)
    if observers:
        return _in_step(data, array)
    return array


def _in_step(data: Any, array: Array) -> Array:
    """The array made from the data, but by kernels, so that a replay of a recorded step makes it again. If
    the data is an array or a Tensor, the replay reads its values; Python's numbers are constants of the
    step."""
    if hasattr(data, "_cell") or isinstance(data, np.ndarray):
        source = array_of("tensor", given(data))
        if array.dtype.char in "fd":
            return like(array, source)
        if array.flags.c_contiguous:
            return cast(source, array.dtype)
        return array  # cast() would lose its order; a recording refuses an array that NumPy has made
    if is_plain(data):
        return literal(array)
    if isinstance(data, (list, tuple)) and any(hasattr(item, "_cell") for item in data):
        refuse("rv.tensor() reads the values of the Tensors in a list", "use rv.stack")
    return array


def given(array: object) -> Any:
    """The array from which a Tensor is made. While a model is written to a file, it becomes a constant."""
    if is_written() and type(array) is np.ndarray:
        current().core.keep(array)
    return array


def is_plain(data: Any) -> bool:
    """True if data is made of Python's numbers alone."""
    if isinstance(data, (list, tuple)):
        return all(map(is_plain, data))
    return type(data) in (int, float, bool) or isinstance(data, np.generic)


if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import SupportsIndex

    _SizeBase = tuple[int, ...]
else:
    _SizeBase = _core._SizeBase  # a tuple whose slices are Sizes


class Size(_SizeBase):
    """A tuple of lengths that also counts elements, as ``torch.Size``; its text is that of a tuple.

    >>> import ranvier as rv
    >>> (rv.zeros(2, 3, 4).shape, rv.zeros(2, 3, 4).shape[1:].numel())
    ((2, 3, 4), 12)
    """

    __slots__ = ()

    def numel(self) -> int:
        """The product of the lengths."""
        return math.prod(self)

    def __add__(self, other: Iterable[Any]) -> Any:
        return Size(super().__add__(tuple(other)))

    def __radd__(self, other: Any) -> Any:
        if isinstance(other, tuple):
            return Size(other + tuple(self))
        return NotImplemented

    def __mul__(self, times: SupportsIndex) -> Any:
        return Size(super().__mul__(times))

    __rmul__ = __mul__


class layout(str):
    """The layout of a tensor in memory: ``rv.strided``, the only one, a str with PyTorch's text.

    >>> import ranvier as rv
    >>> rv.zeros(2).layout
    torch.strided
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "torch." + super().__str__()

    __str__ = __repr__


class memory_format(layout):
    """An order of dimensions in memory: ``rv.contiguous_format``, ``rv.channels_last``.

    >>> import ranvier as rv
    >>> rv.channels_last
    torch.channels_last
    """

    __slots__ = ()


TENSOR_TYPES: dict[str, Any] = {  # by PyTorch's names
    "Float": np.float32,
    "Double": np.float64,
    "Half": F16,
    "BFloat16": BF16,
    "Byte": np.uint8,
    "Char": np.int8,
    "Short": np.int16,
    "Int": np.int32,
    "Long": np.int64,
    "Bool": np.bool_,
}


def as_dtype(name: str, dtype: DtypeLike | None) -> np.dtype[Any]:
    """The dtype of a dtype, a tensor type or its name; ValueError for those of other devices."""
    if isinstance(dtype, str):
        path, _, last = dtype.rpartition(".")
        tensor_type = last.removesuffix("Tensor")
        if last.endswith("Tensor") and path in ("", "torch", "ranvier") and tensor_type in TENSOR_TYPES:
            return np.dtype(TENSOR_TYPES[tensor_type])
        if path and last.endswith("Tensor"):
            raise OpError(f"[{name}] got {dtype!r}; expected a type of the CPU, such as 'torch.FloatTensor'")
        return np.dtype(last)
    refuse_torch(name, "a dtype", dtype)
    if isinstance(dtype, DType) and not hasattr(dtype, "dtype"):
        raise TypeError(f"[{name}] got {dtype}; expected a dtype that NumPy has, such as float32")
    numpy_dtype = getattr(dtype, "dtype", None)
    if isinstance(numpy_dtype, np.dtype):
        return numpy_dtype
    return np.dtype(dtype)  # a scalar type of NumPy, whose attribute is a descriptor, or a type of Python


def get_default_dtype() -> DType:
    """The dtype of Python's floats.

    >>> import ranvier as rv
    >>> rv.get_default_dtype()
    torch.float32
    """
    return DType(default.dtype)


def set_default_dtype(d: DtypeLike) -> None:
    """The dtype of Python's floats from now on, in all threads: float32, float64, float16 or bfloat16. New
    tensors and layers have it; compiled steps are captured again. Raises TypeError for another.

    >>> import ranvier as rv
    >>> rv.set_default_dtype(rv.float64)
    >>> rv.tensor(0.5).dtype, rv.nn.Linear(2, 1).weight.dtype, (rv.arange(2) / 2).dtype
    (torch.float64, torch.float64, torch.float64)
    >>> rv.set_default_dtype(rv.float32)
    """
    _set_default("set_default_dtype", d)


def set_default_tensor_type(t: DtypeLike) -> None:
    """:func:`set_default_dtype` with ranvier.FloatTensor, ranvier.DoubleTensor or the name of one.

    >>> import ranvier as rv
    >>> rv.set_default_tensor_type("torch.FloatTensor")
    """
    _set_default("set_default_tensor_type", t)


def _set_default(name: str, like: DtypeLike) -> None:
    dtype = as_dtype(name, like)
    if dtype not in (np.float32, np.float64, F16, BF16):
        raise TypeError(f"[{name}] got {dtype}; expected float32, float64, float16 or bfloat16")
    default.dtype = dtype if dtype.isnative else dtype.newbyteorder("=")
