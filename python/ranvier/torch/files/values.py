"""The values in PyTorch's files: storages, tensors on them, and a few other objects of files with weights.

A file is a pickle, whose instructions name functions and classes and call them. Only names in the table KNOWN
are accepted; they stand for the functions and types here, which check their arguments and raise FileError.
Arguments come from a file that anybody may have written, so those annotated `object` may be anything.
"""

from __future__ import annotations

import codecs
import math
import sys
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import numpy as np

import ranvier as rv
import ranvier.torch.tensors.pair_parameters  # Parameters of complex numbers
from ranvier.nn import Parameter
from ranvier.serialization.foreign_files import FileError
from ranvier.tensors.deepcopy_pickle import TensorMemory, rebuild_shared
from ranvier.tensors.devices import is_meta
from ranvier.tensors.memory import MOST_ELEMENTS, Array as Array
from ranvier.tensors.sanitize import settable
from ranvier.tensors.types import DtypeLike
from ranvier.torch.tensors.meta import rebuilt
from ranvier.torch.tensors.pair_functions import view_as_complex
from ranvier.torch.tensors.pairs import Complex


class _ToMeta(threading.local):
    """A setting of each thread. on: tensors are loaded without values, as tensors of the device "meta"."""

    on = False


to_meta = _ToMeta()  # set by `load` with map_location="meta"

State: TypeAlias = dict[str, Any]
"""The attributes of an object, as a pickle has them."""


class Known:
    """A class or function that a pickle names, by its path in PyTorch or Python.

    call: the function that is called when a file calls the name; None: a file may name it, but not call it.
    here: this library's class for the name, or None.
    """

    def __init__(self, name: str, call: Callable[..., Any] | None, here: Any = None) -> None:
        self.name = name
        self.call = call
        self.here = here

    def __call__(self, *args: object) -> None:
        """Never called; but pickle writes the call of a name only if the object is callable."""
        raise TypeError(f"{self.name} is PyTorch's")


class StorageType(NamedTuple):
    """The type of a storage."""

    name: str  # its dtype's name, or "untyped"
    dtype: np.dtype[Any]  # the dtype of NumPy
    size: int  # of an element, in bytes
    path: str  # of the class in PyTorch


class Storage:
    """The memory of one or several tensors: an array, whose values may be read later (`fill`).

    type: the type in the file.
    count: the number of elements.
    dtype: the dtype of the array, if the file has floating-point numbers; None: the dtype in the file.
    """

    def __init__(self, type: StorageType, count: int, dtype: DtypeLike | None = None) -> None:
        self.type = type
        self.count = count
        self.begin = 0  # the first element, for a section of another storage
        memory_dtype = type.dtype
        if dtype is not None and type.dtype.kind == "f":
            memory_dtype = np.dtype(dtype)
        self.memory = TensorMemory(np.empty(count, memory_dtype))
        self._untyped_views: dict[np.dtype[Any], TensorMemory] = {}  # see `memory_for`

    def fill(self, raw: Array, byte_order: str, in_place: bool = False) -> None:
        """Reads the values from the bytes of the file.

        byte_order: "<" or ">".
        in_place: tensors use the memory already, so it is written; else the bytes may become the memory.
        """
        if to_meta.on:
            return
        if in_place:
            for dtype, memory in self._untyped_views.items():
                memory.array[...] = _view_bytes(raw, dtype)
        order: Any = byte_order
        values = _view_bytes(raw, self.type.dtype.newbyteorder(order))
        array = self.memory.array
        if in_place or values.dtype != array.dtype or not values.dtype.isnative:
            with np.errstate(over="ignore"):  # numbers beyond a smaller dtype become infinite
                array[...] = values
        elif values.flags.aligned:
            self.memory.array = values
        else:
            self.memory.array = values.copy()

    def section(self, place: object) -> Storage:
        """A section of the storage, in files of PyTorch before 0.4.

        place: its name, first element and size.
        """
        if type(place) is not tuple or len(place) != 3 or not _are_counts(place[1:]):
            raise FileError("has a part of a storage that is not inside it")
        _, first, size = place
        if first + size > self.count:
            raise FileError("has a part of a storage that is not inside it")
        section = Storage(self.type, 0)
        section.memory = self.memory
        section.begin = self.begin + first
        section.count = size
        return section

    def memory_for(self, dtype: np.dtype[Any]) -> TensorMemory:
        """The memory for tensors of a dtype. An untyped storage is viewed as the dtype; bools are copied."""
        if self.type.name != "untyped" or dtype == self.memory.array.dtype:
            return self.memory
        if dtype not in self._untyped_views:
            self._untyped_views[dtype] = TensorMemory(_view_bytes(self.memory.array, dtype))
        return self._untyped_views[dtype]


def _view_bytes(raw: Array, dtype: np.dtype[Any]) -> Array:
    """Bytes as another dtype. As bools, all bytes but 0 are True: a damaged file may have others than 1."""
    if dtype.kind == "b":
        return raw != 0
    return raw.view(dtype)


_STORAGE_DTYPES = {  # the dtype by the name of PyTorch's storage, "FloatStorage" ...
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    "ComplexFloat": "complex64", "ComplexDouble": "complex128",
}  # fmt: skip
STORAGE_TYPES = {
    "UntypedStorage": StorageType("untyped", np.dtype(np.uint8), 1, "torch.storage.UntypedStorage")
}
for _name, _dtype_name in _STORAGE_DTYPES.items():
    _dtype = rv.dtype(_dtype_name)
    STORAGE_TYPES[f"{_name}Storage"] = StorageType(
        name=_dtype_name, dtype=_dtype.dtype, size=_dtype.itemsize, path=f"torch.{_name}Storage"
    )
# Dtypes that have no class of storages: their tensors are on an UntypedStorage.
_DTYPES_WITHOUT_STORAGE = ("uint16", "uint32", "uint64", "complex32", "float8_e4m3fn", "float8_e5m2")
# Storages of quantized numbers. Tensors cannot hold them; the names are known only for a clear error.
_QUANTIZED_STORAGES = ("QUInt8", "QInt8", "QInt32", "QUInt4x2", "QUInt2x4")


def storage_type(value: object) -> StorageType:
    """The type of a storage that a persistent id names; raises FileError if Tensors lack it."""
    if isinstance(value, StorageType):
        return value
    name = value.name if isinstance(value, Known) else type(value).__name__
    raise FileError(f"has a storage of the type {name}, which Tensors lack")


def _are_counts(values: object) -> TypeGuard[tuple[int, ...] | list[int]]:
    return isinstance(values, (tuple, list)) and all(type(n) is int and n >= 0 for n in values)


def tensor_v2(
    storage: object,
    offset: object,
    size: object,
    stride: object,
    requires_grad: object = False,
    hooks: object = None,
    metadata: object = None,
    dtype: np.dtype[Any] | rv.dtype | None = None,
) -> rv.Tensor | Complex:
    """A tensor on a storage.

    offset, stride: in elements.
    hooks: ignored, as in PyTorch.
    metadata: PyTorch's bits of conjugated and negated views, which are refused.
    dtype: that of the tensor, for an untyped storage; None: that of the storage.
    """
    if not isinstance(storage, Storage) or type(offset) is not int or offset < 0:
        raise FileError("has a tensor without a storage or a place in it")
    tensor_dtype = storage.memory.array.dtype if dtype is None else np.dtype(dtype)
    memory = storage.memory_for(tensor_dtype)
    layout = _checked_layout(size, stride, requires_grad, memory.array.dtype)
    if metadata:
        raise FileError("has a tensor with the sign bit of PyTorch's views, which Tensors lack")
    available = memory.array.size if storage.type.name == "untyped" else storage.count
    if not _is_inside(layout, offset, available):
        shown = layout.size[:8]
        raise FileError(f"has a tensor of the shape {shown} beyond its storage of {available} elements")
    itemsize = memory.array.itemsize
    begin = (storage.begin + offset) * itemsize  # from here on in bytes, as in NumPy
    strides = tuple(step * itemsize for step in layout.stride)
    if to_meta.on:
        return rebuilt(
            rv.Tensor, layout.size, strides, memory.array.dtype, layout.requires_grad, offset=begin
        )
    if memory.array.dtype.kind == "c":  # as pairs of real numbers, which Complex is made of
        real_size = itemsize // 2
        pairs = rebuild_shared(
            rv.Tensor,
            memory,
            begin,
            (*layout.size, 2),
            (*strides, real_size),
            np.dtype(f"f{real_size}"),
            False,
        )
        return view_as_complex(pairs)
    return rebuild_shared(
        rv.Tensor, memory, begin, layout.size, strides, memory.array.dtype, layout.requires_grad
    )


def tensor_v3(
    storage: object,
    offset: object,
    size: object,
    stride: object,
    requires_grad: object,
    hooks: object,
    dtype: object,
    metadata: object = None,
) -> rv.Tensor | Complex:
    """A tensor whose dtype has no class of storages."""
    return tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata, _checked_dtype(dtype))


def meta_tensor(dtype: object, size: object, stride: object, requires_grad: object) -> rv.Tensor:
    """A tensor without values."""
    if not is_meta("meta"):
        raise FileError('has a tensor of the device "meta", which is there after ranvier.torch.install()')
    array_dtype = _checked_dtype(dtype)
    layout = _checked_layout(size, stride, requires_grad, array_dtype)
    strides = tuple(step * array_dtype.itemsize for step in layout.stride)
    return rebuilt(rv.Tensor, layout.size, strides, array_dtype, layout.requires_grad)


def _checked_dtype(dtype: object) -> np.dtype[Any]:
    """NumPy's dtype for one of a file, which must be one of real numbers or bools."""
    numeric: Any = dtype
    if getattr(numeric, "kind", None) not in ("b", "i", "u", "f") or not hasattr(numeric, "type"):
        raise FileError("has a tensor of a dtype that Tensors lack")
    return np.dtype(numeric)


class _Layout(NamedTuple):
    """Arguments of a tensor that were checked. stride: in elements."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool


def _checked_layout(size: object, stride: object, requires_grad: object, dtype: np.dtype[Any]) -> _Layout:
    """The arguments as what they have to be, or FileError."""
    # 64: the most dimensions of NumPy
    if not _are_counts(size) or not _are_counts(stride) or len(size) != len(stride) or len(size) > 64:
        raise FileError("has a tensor with sizes or strides that are not up to 64 whole numbers >= 0")
    if type(requires_grad) is not bool or (requires_grad and dtype.kind != "f"):
        raise FileError(f"has a tensor of {dtype} that cannot have its requires_grad")
    return _Layout(tuple(size), tuple(stride), requires_grad)


def _is_inside(layout: _Layout, offset: int, available: int) -> bool:
    """Whether a tensor that begins at an offset ends within as many elements, and is not too large."""
    elements = 1
    for n in layout.size:
        elements *= max(n, 1)
    if elements > MOST_ELEMENTS:
        return False
    if 0 in layout.size:  # no element: an empty tensor may begin at the end
        return offset <= available
    last = offset + sum((n - 1) * step for n, step in zip(layout.size, layout.stride, strict=True))
    return last < available


def parameter(
    data: object, requires_grad: object = True, hooks: object = None, state: object = None
) -> Parameter:
    if not isinstance(data, (rv.Tensor, Complex)) or type(requires_grad) is not bool:
        raise FileError("has a Parameter without a tensor")
    made = Parameter(data, requires_grad)
    set_state(made, state)
    return made


def subclass(make: Any, cls: object, args: Any, state: object) -> rv.Tensor:
    """make(*args) as a tensor with attributes (state), and of the class `cls`, a subclass of Tensor.

    make: one of the functions here, as Known from PyTorch's files, or as it is.
    """
    if isinstance(make, Known):
        make = make.call
    made: rv.Tensor = make(*args)
    if isinstance(cls, Known):
        cls = cls.here
    if not isinstance(cls, type) or not issubclass(cls, rv.Tensor):
        raise FileError("has a tensor of a class that is none of Tensors")
    made.__class__ = cls
    if hasattr(cls, "__setstate__"):
        names = state if isinstance(state, dict) else {}
        require_settable(cls, names)
        made.__setstate__(state)
    else:
        set_state(made, state)
    return made


def set_state(value: Any, state: object) -> None:
    """Sets the attributes of a pickled state, or raises FileError: a table, or one and one for __slots__."""
    attributes, slots = divided_state(state)
    require_settable(type(value), attributes, slots)
    for table in (attributes, slots):
        value.__dict__.update(table)


def divided_state(state: Any) -> tuple[State, State]:
    """The attributes and those in __slots__ of a pickled state, which is a table, a pair of them or None."""
    if isinstance(state, tuple) and len(state) == 2:
        attributes, slots = state
        return attributes or {}, slots or {}
    return state or {}, {}


def require_settable(cls: type, attributes: object, slots: object = None) -> None:
    """Raise FileError for attributes that a file may not give an object of this class."""
    if slots is None:
        slots = {}
    if not isinstance(attributes, dict) or not isinstance(slots, dict):
        raise FileError(f"has a {cls.__name__} whose state is no table of attributes")
    for name in (*attributes, *slots):
        if not settable(cls, name, name in slots):
            raise FileError(f"has a {cls.__name__} with the attribute {name!r}, which no file may set")


def _bytes(text: object = "", encoding: object = "latin1") -> bytes:
    """Bytes, which protocols below 3 write as a text of one character for each byte."""
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise FileError("has bytes in a form that PyTorch does not write")
    return codecs.encode(text, "latin1")


def _bytearray(text: object = "", encoding: object = "latin1") -> bytearray:
    return bytearray(_bytes(text, encoding))


def _default_dict(factory: object = None, *items: Any) -> defaultdict[Any, Any]:
    made_by = factory.here if isinstance(factory, Known) else None
    if factory is not None and made_by not in _FACTORIES:
        raise FileError("has a defaultdict whose default is not an empty container or a number")
    return defaultdict(made_by, *items)


_FACTORIES = (list, dict, set, tuple, int, float, str, bool, OrderedDict, Counter)


def _numpy_dtype(name: object, *flags: object) -> np.dtype[Any]:
    """flags: align and copy, which NumPy always writes."""
    if not isinstance(name, str) or len(name) >= 8:  # names as NumPy pickles them: "f8", "c16"
        raise FileError("has values of NumPy that are no numbers")
    dtype = np.dtype(name)
    if dtype.kind not in "biufc":
        raise FileError("has values of NumPy that are no numbers")
    return dtype


def _numpy_scalar(dtype: object, data: object) -> Any:
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise FileError("has a damaged number of NumPy")
    return np.frombuffer(data, dtype)[0]


def _size(values: object = ()) -> rv.Size:
    if not isinstance(values, (tuple, list)) or type(values) not in (tuple, list, rv.Size):
        raise FileError("has a Size of something else than whole numbers")
    if not all(type(n) is int for n in values):
        raise FileError("has a Size of something else than whole numbers")
    return rv.Size(values)


def _numpy_array(cls: object, shape: object, code: object) -> Array:
    """An empty array, to which build_numpy() then gives shape, dtype and values: NumPy pickles arrays so."""
    return np.empty(0, np.int8)


def build_numpy(value: np.dtype[Any] | Array, state: Any) -> None:
    """The same as NumPy's own ``__setstate__``, for arrays of numbers and their dtypes only."""
    if isinstance(value, np.dtype):
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("|", "=", _NATIVE_ORDER):
            raise FileError("has values of NumPy in another byte order")
        return
    _, shape, dtype, is_fortran_order, data = state
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes):
        raise FileError("has a damaged array of NumPy")
    if not _are_counts(shape) or len(shape) > 64:
        raise FileError("has a damaged array of NumPy")
    if len(data) != dtype.itemsize * math.prod(shape):
        raise FileError("has a damaged array of NumPy")
    # tobytes() copies: the pickle may have these bytes as another value, too
    raw = _view_bytes(np.frombuffer(data, np.uint8), dtype).tobytes()
    array_state: Any = (1, shape, dtype, is_fortran_order is True, raw)  # 1: NumPy's version of this tuple
    value.__setstate__(array_state)


def _cpu_tensor(data: Any, dtype: object, device: object, requires_grad: object) -> Any:
    """A tensor of a device that has no storages here: its values on the CPU."""
    return data


def _layout(name: object) -> str:
    return "strided"


_NATIVE_ORDER = "<" if sys.byteorder == "little" else ">"
# The names that a file may have; files are read and written by this table. The value makes the object when
# the file calls the name; None: the name must not be called. CLASSES has this library's classes for names.
_CALLS: dict[str, Callable[..., Any] | None] = {
    "torch._utils._rebuild_tensor": tensor_v2,
    "torch._utils._rebuild_tensor_v2": tensor_v2,
    "torch._utils._rebuild_tensor_v3": tensor_v3,
    "torch._utils._rebuild_meta_tensor_no_storage": meta_tensor,
    "torch._utils._rebuild_parameter": parameter,
    "torch._utils._rebuild_parameter_with_state": parameter,
    "torch._tensor._rebuild_from_type_v2": subclass,
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": _cpu_tensor,
    "torch.serialization._get_layout": _layout,
    "torch.Size": _size,
    "torch.device": rv.device,
    "torch.Tensor": None,
    "torch.nn.parameter.Parameter": parameter,
    "collections.OrderedDict": OrderedDict,
    "collections.Counter": Counter,
    "collections.defaultdict": _default_dict,
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.complex": complex,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytearray,
    "_codecs.encode": _bytes,
    "numpy.dtype": _numpy_dtype,
    "numpy.ndarray": None,
}
for _module in ("numpy.core.multiarray", "numpy._core.multiarray"):  # NumPy 1 and 2
    _CALLS[f"{_module}.scalar"] = _numpy_scalar
    _CALLS[f"{_module}._reconstruct"] = _numpy_array
CLASSES: dict[str, Any] = {
    "torch.Tensor": rv.Tensor,
    "torch.Size": rv.Size,
    "torch.device": rv.device,
    "torch.nn.parameter.Parameter": Parameter,
}
_NAMED_CLASSES = CLASSES | {f"{cls.__module__}.{cls.__name__}": cls for cls in _FACTORIES}
_CALLS = dict.fromkeys(_NAMED_CLASSES) | _CALLS
_STORAGE_MODULES = ("torch", "torch.storage", "torch.cuda")
for _module in _STORAGE_MODULES:
    for _name in _QUANTIZED_STORAGES:
        _CALLS[f"{_module}.{_name}Storage"] = None


def _known_names() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for path, call in _CALLS.items():
        names[path] = Known(path, call, _NAMED_CLASSES.get(path))
    for name in (*_STORAGE_DTYPES.values(), *_DTYPES_WITHOUT_STORAGE):
        names[f"torch.{name}"] = rv.dtype(name)
    for module in _STORAGE_MODULES:
        for name, type in STORAGE_TYPES.items():
            names[f"{module}.{name}"] = type
    return names


# All names that a pickle may have: functions and classes, dtypes, and types of storages.
KNOWN = _known_names()
