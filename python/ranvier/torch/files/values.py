"""The values in PyTorch's files: storages, tensors on them, and a few other objects of files with weights.

A file is a pickle, whose instructions name functions and classes and call them. Only names in the table KNOWN
are accepted; they stand for the functions and types here, which check their arguments and raise FileError.
"""

from __future__ import annotations

import codecs
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import ranvier as rv
import ranvier.torch.tensors.pair_parameters  # Parameters of complex numbers
from ranvier.nn import Parameter
from ranvier.serialization.foreign_files import FileError
from ranvier.tensors.deepcopy_pickle import TensorMemory, rebuild_shared
from ranvier.tensors.devices import is_meta
from ranvier.tensors.memory import MOST_ELEMENTS, Array as Array
from ranvier.tensors.sanitize import settable
from ranvier.torch.tensors.meta import rebuilt
from ranvier.torch.tensors.pair_functions import view_as_complex
from ranvier.torch.tensors.pairs import Complex


class _ToMeta(threading.local):
    """A setting of each thread. on: tensors are loaded without values, as tensors of the device "meta"."""

    on = False


to_meta = _ToMeta()


class Known:
    """A class or function that a pickle names, by its path in PyTorch or Python.

    call: the function that is called when a file calls the name; None: a file may name it, but not call it.
    here: this library's class for the name, or None.
    """

    def __init__(self, name: str, call: Callable[..., Any] | None, here: Any = None) -> None:
        self.name = name
        self.call = call
        self.here = here

    def __call__(self, *args: Any) -> None:
        """Never called; but pickle writes the call of a name only if the object is callable."""
        raise TypeError(f"{self.name} is PyTorch's")


class Kind(NamedTuple):
    """The type of a storage: its dtype's name, NumPy's dtype, bytes of an element, path in PyTorch."""

    name: str
    dtype: np.dtype[Any]
    size: int
    path: str


class Storage:
    """The memory of one or several tensors: an array, whose values may be read later (`fill`).

    kind, count: the type in the file, and the number of elements. dtype: the dtype of the array, if the file
    has floating-point numbers; None: the dtype in the file. begin: the first element, for a part of another
    storage.
    """

    def __init__(self, kind: Kind, count: int, dtype: Any = None) -> None:
        self.kind = kind
        self.count = count
        self.begin = 0
        if dtype is None or kind.dtype.kind != "f":
            own = kind.dtype
        else:
            own = np.dtype(dtype)
        self.memory = TensorMemory(np.empty(count, own))
        self._typed: dict[Any, TensorMemory] = {}

    def fill(self, raw: Array, order: str, in_place: bool = False) -> None:
        """Reads the values from the bytes of the file, in the byte order `order`.

        in_place: tensors use the memory already, so it is written; else the bytes may become the memory.
        """
        if to_meta.on:
            return
        for dtype, memory in self._typed.items() if in_place else ():  # used by tensors of another dtype
            memory.array[...] = _as(raw, dtype)
        kind = self.kind
        array = self.memory.array
        swapped: Any = order
        values = _as(raw, kind.dtype.newbyteorder(swapped))
        if values.dtype == array.dtype and values.dtype.isnative and not in_place:
            self.memory.array = values if values.flags.aligned else values.copy()
        else:
            with np.errstate(over="ignore"):
                array[...] = values

    def part(self, cut: Any) -> Storage:
        """A part of the storage, in files of PyTorch before 0.4. cut: its name, first element and size."""
        if type(cut) is not tuple or len(cut) != 3 or not _is_counts(cut[1:]) or sum(cut[1:]) > self.count:
            raise FileError("has a part of a storage that is not inside it")
        part = Storage(self.kind, 0)
        part.memory, part.begin, part.count = self.memory, self.begin + cut[1], cut[2]
        return part

    def of(self, dtype: np.dtype[Any]) -> TensorMemory:
        """The memory for tensors of a dtype. An untyped storage is viewed as the dtype; bools are copied."""
        if self.kind.name != "untyped" or dtype == self.memory.array.dtype:
            return self.memory
        if dtype not in self._typed:
            self._typed[dtype] = TensorMemory(_as(self.memory.array, dtype))
        return self._typed[dtype]


def _as(raw: Array, dtype: np.dtype[Any]) -> Array:
    """Bytes as another dtype. As bools, all bytes but 0 are True: a damaged file may have others than 1."""
    if dtype.kind == "b":
        return raw != 0
    return raw.view(dtype)


_KINDS = {  # the dtype by the name of PyTorch's storage, "FloatStorage" ...
    "Double": "float64", "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
    "ComplexFloat": "complex64", "ComplexDouble": "complex128",
}  # fmt: skip
KINDS = {
    f"{name}Storage": Kind(dtype, rv.dtype(dtype).dtype, rv.dtype(dtype).itemsize, f"torch.{name}Storage")
    for name, dtype in _KINDS.items()
}
KINDS["UntypedStorage"] = Kind("untyped", np.dtype(np.uint8), 1, "torch.storage.UntypedStorage")
# Dtypes without a storage class of their own.
_NAMED = "uint16 uint32 uint64 complex32 float8_e4m3fn float8_e5m2"
_DTYPES = {f"torch.{name}": rv.dtype(name) for name in (*_KINDS.values(), *_NAMED.split())}
# Storages of quantized numbers. Tensors cannot hold them; the names are known only for a clear error.
_ABSENT = ("QUInt8", "QInt8", "QInt32", "QUInt4x2", "QUInt2x4")


def type_of(kind: Any) -> Kind:
    """The type of a storage that a persistent id names; raises FileError if Tensors lack it."""
    if isinstance(kind, Kind):
        return kind
    if isinstance(kind, Known):
        name = kind.name
    else:
        name = type(kind).__name__
    raise FileError(f"has a storage of the type {name}, which Tensors lack")


def _is_counts(values: Any) -> bool:
    return isinstance(values, (tuple, list)) and all(type(n) is int and n >= 0 for n in values)


def tensor_v2(
    storage: Any,
    offset: Any,
    size: Any,
    stride: Any,
    requires_grad: Any = False,
    hooks: Any = None,
    metadata: Any = None,
    dtype: Any = None,
) -> Any:
    """A tensor on a storage; offset and stride count elements."""
    if not isinstance(storage, Storage) or not _is_counts((offset,)):
        raise FileError("has a tensor without a storage or a place in it")
    memory = storage.of(storage.memory.array.dtype if dtype is None else np.dtype(dtype))
    _require_form(size, stride, requires_grad, memory.array.dtype)
    if metadata:
        raise FileError("has a tensor with the sign bit of PyTorch's views, which Tensors lack")
    step = memory.array.itemsize
    count = memory.array.size
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    elements = 1
    for n in size:
        elements *= n or 1
    if storage.kind.name != "untyped":
        count = storage.count
    if elements > MOST_ELEMENTS or (last >= count if all(size) else offset > count):
        raise FileError(f"has a tensor of the shape {tuple(size)[:8]} beyond its storage of {count} elements")
    steps = tuple(s * step for s in stride)
    if to_meta.on:
        begin = (storage.begin + offset) * step
        return rebuilt(rv.Tensor, tuple(size), steps, memory.array.dtype, requires_grad, offset=begin)
    place = (storage.begin + offset) * step
    if memory.array.dtype.kind == "c":  # as pairs of real numbers, which Complex is made of
        form = place, (*size, 2), (*steps, step // 2), np.dtype(f"f{step // 2}"), False
        return view_as_complex(rebuild_shared(rv.Tensor, memory, *form))
    return rebuild_shared(rv.Tensor, memory, place, tuple(size), steps, memory.array.dtype, requires_grad)


def tensor_v3(storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any,
              metadata: Any = None) -> Any:  # fmt: skip
    _require_numbers(dtype)
    return tensor_v2(storage, offset, size, stride, requires_grad, hooks, metadata, dtype)


def meta_tensor(dtype: Any, size: Any, stride: Any, requires_grad: Any) -> Any:
    """A tensor without values."""
    if not is_meta("meta"):
        raise FileError('has a tensor of the device "meta", which is there after ranvier.torch.install()')
    _require_numbers(dtype)
    _require_form(size, stride, requires_grad, np.dtype(dtype))
    steps = tuple(s * np.dtype(dtype).itemsize for s in stride)
    return rebuilt(rv.Tensor, tuple(size), steps, np.dtype(dtype), requires_grad)


def _require_numbers(dtype: Any) -> None:
    if getattr(dtype, "kind", None) not in ("b", "i", "u", "f") or not hasattr(dtype, "type"):
        raise FileError("has a tensor of a dtype that Tensors lack")


def _require_form(size: Any, stride: Any, requires_grad: Any, dtype: np.dtype[Any]) -> None:
    if not _is_counts(size) or not _is_counts(stride) or len(size) != len(stride) or len(size) > 64:
        raise FileError("has a tensor with sizes or strides that are not up to 64 whole numbers >= 0")
    if type(requires_grad) is not bool or (requires_grad and dtype.kind != "f"):
        raise FileError(f"has a tensor of {dtype} that cannot have its requires_grad")


def parameter(data: Any, requires_grad: Any = True, hooks: Any = None, state: Any = None) -> Any:
    if not isinstance(data, (rv.Tensor, Complex)) or type(requires_grad) is not bool:
        raise FileError("has a Parameter without a tensor")
    made = Parameter(data, requires_grad)
    return _with_state(made, state)


def subclass(function: Any, kind: Any, args: Any, state: Any) -> Any:
    """function(*args) as a tensor with attributes (state), and of the class `kind`, a subclass of Tensor."""
    call: Any = function.call if isinstance(function, Known) else function
    made = call(*args)
    if isinstance(kind, Known):
        kind = kind.here
    if not isinstance(kind, type) or not issubclass(kind, rv.Tensor):
        raise FileError("has a tensor of a class that is none of Tensors")
    made.__class__ = kind
    if hasattr(kind, "__setstate__"):
        require_names(kind, state if isinstance(state, dict) else {})
        made.__setstate__(state)
        return made
    return _with_state(made, state)


def _with_state(tensor: Any, state: Any) -> Any:
    """The tensor with the attributes of a pickled state: a dict, or a pair of dicts, one for __slots__."""
    named, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    require_names(type(tensor), named or {}, slots or {})
    for values in (named, slots):
        if values:
            tensor.__dict__.update(values)
    return tensor


def require_names(kind: type, named: Any, slots: Any = ()) -> None:
    """Raise FileError for attributes that a file may not give an object of this class."""
    if not isinstance(named, dict) or not isinstance(slots or {}, dict):
        raise FileError(f"has a {kind.__name__} whose state is no table of attributes")
    for name in (*named, *slots):
        if not settable(kind, name, name in slots):
            raise FileError(f"has a {kind.__name__} with the attribute {name!r}, which no file may set")


def _bytes(text: Any = "", encoding: Any = "latin1") -> bytes:
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise FileError("has bytes in a form that PyTorch does not write")
    return codecs.encode(text, "latin1")


def _default_dict(factory: Any = None, *rest: Any) -> Any:
    kind = factory.here if isinstance(factory, Known) else None
    if factory is not None and kind not in _FACTORIES:
        raise FileError("has a defaultdict whose default is not an empty container or a number")
    return defaultdict(kind, *rest)


_FACTORIES = (list, dict, set, tuple, int, float, str, bool, OrderedDict, Counter)


def _numpy_dtype(name: Any, *flags: Any) -> np.dtype[Any]:
    if isinstance(name, str) and len(name) < 8:
        kind = np.dtype(name)
    else:
        kind = None
    if kind is None or kind.kind not in "biufc":
        raise FileError("has values of NumPy that are no numbers")
    return kind


def _numpy_scalar(dtype: Any, data: Any) -> Any:
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise FileError("has a damaged number of NumPy")
    return np.frombuffer(data, dtype)[0]


def _size(values: Any = ()) -> Any:
    if type(values) not in (tuple, list, rv.Size) or not all(type(n) is int for n in values):
        raise FileError("has a Size of something else than whole numbers")
    return rv.Size(values)


def _numpy_array(kind: Any, shape: Any, code: Any) -> Array:
    """An empty array, to which build_numpy() then gives shape, dtype and values: NumPy pickles arrays so."""
    return np.empty(0, np.int8)


def build_numpy(value: Any, state: Any) -> None:
    """The same as NumPy's own ``__setstate__``, for arrays of numbers and their dtypes only."""
    if isinstance(value, np.dtype):
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("|", "=", "<" if _LITTLE else ">"):
            raise FileError("has values of NumPy in another byte order")
        return
    _, shape, dtype, _, data = state
    fits = isinstance(dtype, np.dtype) and isinstance(data, bytes) and _is_counts(shape) and len(shape) <= 64
    if not fits or len(data) != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise FileError("has a damaged array of NumPy")
    # tobytes() copies: the pickle may have these bytes as another value, too
    raw = _as(np.frombuffer(data, np.uint8), dtype).tobytes()
    value.__setstate__((1, shape, dtype, state[3] is True, raw))


_LITTLE = np.dtype("<i4").isnative
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
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": lambda data, dtype, device, grad: data,
    "torch.serialization._get_layout": lambda name: "strided",
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
    "builtins.bytearray": lambda *args: bytearray(_bytes(*args)),
    "_codecs.encode": _bytes,
    "numpy.dtype": _numpy_dtype,
    "numpy.ndarray": None,
}
for _name in ("numpy.core.multiarray", "numpy._core.multiarray"):
    _CALLS |= {f"{_name}.scalar": _numpy_scalar, f"{_name}._reconstruct": _numpy_array}
CLASSES: dict[str, Any] = {
    "torch.Tensor": rv.Tensor,
    "torch.Size": rv.Size,
    "torch.device": rv.device,
    "torch.nn.parameter.Parameter": Parameter,
}
_HERE = CLASSES | {f"{kind.__module__}.{kind.__name__}": kind for kind in _FACTORIES}
_CALLS = dict.fromkeys(_HERE) | _CALLS
for _module in ("torch", "torch.storage", "torch.cuda"):
    _CALLS |= {f"{_module}.{name}Storage": None for name in _ABSENT}

# All names that a pickle may have: functions and classes, dtypes, and types of storages.
KNOWN: dict[str, Any] = {path: Known(path, call, _HERE.get(path)) for path, call in _CALLS.items()}
KNOWN |= _DTYPES
KNOWN |= {f"torch.{name}": getattr(rv, name) for name in _NAMED if hasattr(rv, name)}
for _module in ("torch", "torch.storage", "torch.cuda"):
    KNOWN |= {f"{_module}.{name}": kind for name, kind in KINDS.items()}
