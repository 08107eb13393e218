"""Reads the data from which a Tensor is made (numbers, nested lists, arrays, Tensors), shapes and dtypes."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.extension import home_of
from ranvier.observe import current, is_written, observers, refuse
from ranvier.tensors.dtypes import default, dtype as DType
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

RANK = {"b": 0, "u": 1, "i": 1, "f": 2}  # NumPy's kind of a dtype -> its rank: bools, integers, floats
_PYTHON: dict[Any, Any] = {float: float, int: np.int64, bool: np.bool_}  # Python's class -> its dtype
_NUMBERS = (*_PYTHON, np.generic)
_WHOLE = {np.dtype(np.bool_), np.dtype(np.int64)}
_LISTS = frozenset({list, tuple, *_PYTHON})


def array_of(name: str, data: Any, dtype: Any = None) -> Array:
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
    # dtypes: of the numbers in nested lists; with None if there are Tensors among them.
    if own := hasattr(data, "__array__"):  # a data frame, a column, an array of another library
        dtypes = set()
        array = _array_like(name, data)
    else:
        dtypes = _dtypes(data)
        try:
            array = np.asarray(_numbers(name, data) if None in dtypes else data)
        except ValueError as error:
            raise OpError(f"[{name}] got lists of unequal lengths; expected a regular nested list") from error
    whole = dtype is None and (isinstance(data, int) or (dtypes and dtypes <= _WHOLE))
    if whole and array.dtype.kind in "Ouf" and array.size:
        raise OpError(f"[{name}] got whole numbers that int64 cannot hold; expected smaller ones, or floats")
    if array.dtype.kind in "OUSV":
        raise OpError(f"[{name}] got data of dtype {array.dtype}; expected numbers in a regular nested list")
    if array.dtype.kind == "c":
        require_numbers(name, array.dtype)
    if dtype is not None and array.size and array.dtype != dtype and np.dtype(dtype).kind in "iu":
        _require_fit(name, array, np.dtype(dtype))
    if dtype is None and not own and (array.dtype.kind == "f" or None in dtypes):
        return array.astype(_core._result_dtype(*(dtypes - {None} or {default.dtype})), copy=False)
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
    return any(str(home).partition(".")[0] == "torch" for home in homes)


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
    if not isinstance(data, (list, tuple)):
        dtype = getattr(data, "dtype", None)
        is_numeric = isinstance(dtype, (np.dtype, DType)) and dtype.kind in RANK
        return {np.dtype(dtype) if is_numeric else default.dtype, *([None] if hasattr(data, "_cell") else [])}
    types = set(map(type, data))
    known = [t for t in types if t in _PYTHON or issubclass(t, np.generic)]
    dtypes: set[Any] = {default.dtype if t is float else np.dtype(_PYTHON.get(t, t)) for t in known}
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
        return [item.item() if isinstance(item, np.ndarray) else item for item in items]
    return items


# (size, name): the shape from ``f(2, 3)`` or ``f((2, 3))``, of the op's arguments
shape_of: Any = _core._shape


def sized_or_copied(name: str, arguments: tuple[Any, ...], dtype: Any, shared: bool = False) -> Array:
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


def new_array(name: str, data: Any, dtype: Any = None, copied: bool = True) -> Array:
    """The data as an array in this dtype; a copy, unless the data is an array and `copied` is false."""
    if not observers and type(data) in _LISTS:
        kind = default.dtype if dtype is None else np.dtype(dtype)
        if kind.char in "fdl":
            made = _core._literal(data, kind, dtype is not None)
        else:
            made = None
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


def _in_step(data: Any, array: Any) -> Any:
    """The array made from the data, but by kernels, so that a replay of a recorded step makes it again. If
    the data is an array or a Tensor, the replay reads its values; Python's numbers are constants of the
    step."""
    if hasattr(data, "_cell") or isinstance(data, np.ndarray):
        source = array_of("tensor", given(data))
        if array.dtype.char in "fd":
            return like(array, source)
        if array.flags.c_contiguous:
            return cast(source, array.dtype)
        return array
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

    def __add__(self, other: Any) -> Any:
        return Size(super().__add__(tuple(other)))

    def __radd__(self, other: Any) -> Any:
        if isinstance(other, tuple):
            return Size(other + tuple(self))
        return NotImplemented

    def __mul__(self, times: Any) -> Any:
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


def as_dtype(name: str, dtype: Any) -> np.dtype[Any]:
    """The dtype of a dtype, a tensor type or its name; ValueError for those of other devices."""
    if isinstance(dtype, str):
        path, _, last = dtype.rpartition(".")
        if last.endswith("Tensor") and path in ("", "torch", "ranvier") and last[:-6] in TENSOR_TYPES:
            return np.dtype(TENSOR_TYPES[last[:-6]])
        if path and last.endswith("Tensor"):
            raise OpError(f"[{name}] got {dtype!r}; expected a type of the CPU, such as 'torch.FloatTensor'")
        return np.dtype(last)
    refuse_torch(name, "a dtype", dtype)
    if isinstance(dtype, DType) and not hasattr(dtype, "dtype"):
        raise TypeError(f"[{name}] got {dtype}; expected a dtype that NumPy has, such as float32")
    # For a scalar type of NumPy, this attribute is a descriptor and no dtype.
    kind = getattr(dtype, "dtype", dtype)
    return np.dtype(kind if isinstance(kind, np.dtype) else dtype)


def get_default_dtype() -> DType:
    """The dtype of Python's floats.

    >>> import ranvier as rv
    >>> rv.get_default_dtype()
    torch.float32
    """
    return DType(default.dtype)


def set_default_dtype(d: Any) -> None:
    """The dtype of Python's floats from now on, in all threads: float32, float64, float16 or bfloat16. New
    tensors and layers have it; compiled steps are captured again. Raises TypeError for another.

    >>> import ranvier as rv
    >>> rv.set_default_dtype(rv.float64)
    >>> rv.tensor(0.5).dtype, rv.nn.Linear(2, 1).weight.dtype, (rv.arange(2) / 2).dtype
    (torch.float64, torch.float64, torch.float64)
    >>> rv.set_default_dtype(rv.float32)
    """
    _set_default("set_default_dtype", d)


def set_default_tensor_type(t: Any) -> None:
    """:func:`set_default_dtype` with ranvier.FloatTensor, ranvier.DoubleTensor or the name of one.

    >>> import ranvier as rv
    >>> rv.set_default_tensor_type("torch.FloatTensor")
    """
    _set_default("set_default_tensor_type", t)


def _set_default(name: str, like: Any) -> None:
    kind = as_dtype(name, like)
    if kind not in (np.float32, np.float64, F16, BF16):
        raise TypeError(f"[{name}] got {kind}; expected float32, float64, float16 or bfloat16")
    default.dtype = kind if kind.isnative else kind.newbyteorder("=")
