"""Writes pickles and files as PyTorch does: tensors as views of storages, modules and classes with PyTorch's
names.

A storage is the memory of one or several tensors. The pickle names it by a persistent id, and the file has
its bytes outside the pickle. `save` of this package calls `zipped` and `old`.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from itertools import chain
from types import FunctionType
from typing import Any, ClassVar, NamedTuple, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import as_strided

import ranvier as rv
from ranvier import Tensor, nn
from ranvier.nn import Module
from ranvier.optim import Optimizer
from ranvier.tensors.deepcopy_pickle import TensorMemory, place_in_memory, rebuild
from ranvier.tensors.mapped_files import require_whole
from ranvier.tensors.types import DtypeLike
from ranvier.tensors.views import bounds, is_shared, share
from ranvier.torch.files.archive import MAGIC, PROTOCOL
from ranvier.torch.files.modules import is_optimizer_state, optimizer_state, state_for_torch
from ranvier.torch.files.naming import path_of
from ranvier.torch.files.values import KNOWN, STORAGE_TYPES, Array, Known, StorageType
from ranvier.torch.tensors.pairs import Complex, array_of

Reduced: TypeAlias = str | tuple[Any, ...]
"""How an object is made again, as `__reduce_ex__` gives it: a function, its arguments, a state ..."""


class Call:
    """Is pickled as a call of `function` with args, which the reader of the file makes."""

    def __init__(self, function: Known, args: tuple[Any, ...]) -> None:
        self.reduced = function, args


class WrittenStorage:
    """A storage of the file.

    key: its name in the file.
    raw: its bytes.
    dtype: the dtype of the tensors on it.
    owner: the object that keeps the memory.
    count: the number of elements.
    pid: its persistent id, as PyTorch has it.
    """

    def __init__(self, key: str, raw: Array, dtype: np.dtype[Any], owner: object) -> None:
        type = _TYPES_BY_DTYPE.get(dtype, STORAGE_TYPES["UntypedStorage"])
        self.key = key
        self.raw = raw
        self.dtype = dtype
        self.owner = owner
        self.count = raw.size // type.size
        self.pid = ("storage", type, key, "cpu", self.count)


class Place(NamedTuple):
    """Where a tensor is in a storage; offset and stride in elements."""

    storage: WrittenStorage
    offset: int
    stride: tuple[int, ...]


_TYPES_BY_DTYPE = {type.dtype: type for type in STORAGE_TYPES.values() if type.name != "untyped"}
_PLAIN = {int, float, str, bool, type(None), bytes, list, tuple}
# the functions of PyTorch that make tensors when a file is read
_REBUILD_TENSOR = KNOWN["torch._utils._rebuild_tensor_v2"]
_REBUILD_WITH_DTYPE = KNOWN["torch._utils._rebuild_tensor_v3"]
_REBUILD_META = KNOWN["torch._utils._rebuild_meta_tensor_no_storage"]
_REBUILD_PARAMETER = KNOWN["torch._utils._rebuild_parameter"]
_REBUILD_PARAMETER_WITH_STATE = KNOWN["torch._utils._rebuild_parameter_with_state"]
_REBUILD_SUBCLASS = KNOWN["torch._tensor._rebuild_from_type_v2"]

_PythonPickler: Any = pickle._Pickler


class Pickler(_PythonPickler):  # type: ignore[misc]
    """Writes one object.

    storages: the storages of its tensors, which go to the file.
    old: use the format before PyTorch 1.6.

    It derives from Python's pickler in Python code, whose methods and table (`dispatch`) the one in C lacks.
    """

    def __init__(self, file: io.BytesIO, protocol: int, old: bool = False) -> None:
        super().__init__(file, protocol)
        self.old = old
        self.storages: list[WrittenStorage] = []
        self._by_memory: dict[int, WrittenStorage] = {}  # by the id of the memory
        self._temporary: list[object] = []  # objects made here, which stay so that their ids are unique
        self._in_numpy = 0  # above 0 while an array is written, whose dtype has NumPy's name

    # --- methods of pickle's class
    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        """Writes one object; pickle calls it for each object within others, too."""
        if type(obj) in _PLAIN:  # written by pickle's own methods
            self.framer.commit_frame()
            known = self.memo.get(id(obj))
            if known is None:
                return self.dispatch[type(obj)](self, obj)
            return self.write(self.get(known[0]))
        if type(obj) is dict and is_optimizer_state(obj):
            states = {key: optimizer_state(values) for key, values in obj["state"].items()}
            as_in_torch = {**obj, "state": states}
            self._temporary.append(as_in_torch)
            return super().save(as_in_torch, save_persistent_id)
        if isinstance(obj, Known):
            return self._write_path(obj, obj.name)
        if isinstance(obj, StorageType):
            return self._write_path(obj, obj.path)
        if isinstance(obj, rv.dtype) and not self._in_numpy:
            path = _dtype_path(obj)
            return self._write_path(KNOWN.get(path, obj), path)
        if isinstance(obj, (np.ndarray, np.generic)):
            self._in_numpy += 1
            try:
                return super().save(obj, save_persistent_id)
            finally:
                self._in_numpy -= 1
        return super().save(obj, save_persistent_id)

    def persistent_id(self, obj: object) -> tuple[Any, ...] | None:
        if not isinstance(obj, WrittenStorage):
            return None
        if self.old:  # None: the storage is not a section of another
            return (*obj.pid, None)
        return obj.pid

    def reducer_override(self, obj: object) -> Any:
        """How an object is pickled, as in `__reduce_ex__`: as PyTorch pickles its own object."""
        if isinstance(obj, Call):
            return obj.reduced
        if isinstance(obj, (rv.Tensor, Complex)):
            if obj.dtype.kind == "c":
                obj = _joined(obj)
            return self._reduce_tensor(obj)
        if isinstance(obj, rv.Size):
            return rv.Size, (tuple(obj),)
        if isinstance(obj, rv.device):
            if obj.index is None:
                return rv.device, (obj.type,)
            return rv.device, (obj.type, obj.index)
        if isinstance(obj, nn.Module):
            return self._reduce_module(obj)
        if isinstance(obj, rv.optim.Optimizer):
            return self._reduce_optimizer(obj)
        return NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        """Writes a class or function by its path."""
        module = str(getattr(obj, "__module__", None))
        if module.startswith("ranvier.") and name is None:
            path = path_of(obj)
            if path.startswith("torch"):
                self._write_path(obj, path)
                return
        super().save_global(obj, name)

    def _save_function(self, obj: Callable[..., Any]) -> None:
        self.save_global(obj)

    def _save_type(self, obj: type) -> None:
        if obj in (type(None), type(NotImplemented), type(...)):
            super().save_type(obj)
        else:
            self.save_global(obj)

    # pickle calls these instead of its own methods, which do not ask `save_global`
    dispatch: ClassVar[dict[type, Callable[..., None]]] = {
        **_PythonPickler.dispatch,
        FunctionType: _save_function,
        type: _save_type,
    }

    def _write_path(self, obj: object, path: str) -> None:
        """Writes an object by its path in PyTorch, or the number of its first place in the pickle."""
        known = self.memo.get(id(obj))
        if known is not None:
            self.write(self.get(known[0]))
            return
        module, _, name = path.rpartition(".")
        if self.proto >= 4:
            self.save(module)
            self.save(name)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
        self.memoize(obj)

    # --- tensors
    def _reduce_tensor(self, tensor: Any) -> Reduced:
        """The function and the arguments by which PyTorch makes this tensor when the file is read."""
        if isinstance(tensor, nn.parameter.UninitializedParameter):
            raise pickle.PicklingError("[save] got a lazy layer that was not called; expected one with sizes")
        cls = type(tensor)
        if tensor.is_meta:
            cls = cls._kind  # Tensor or Parameter: a tensor without values is of a class below these
        state = vars(tensor)
        if cls is nn.Parameter:
            # the data has no gradient, and the Parameter that is made of it has
            function, args = self._rebuild_call(tensor, requires_grad=False)
            parameter_args: tuple[Any, ...] = (Call(function, args), tensor.requires_grad, OrderedDict())
            if state:
                return _REBUILD_PARAMETER_WITH_STATE, (*parameter_args, dict(state))
            return _REBUILD_PARAMETER, parameter_args
        function, args = self._rebuild_call(tensor, tensor.requires_grad)
        if cls is rv.Tensor and not state:
            return function, args
        return _REBUILD_SUBCLASS, (function, cls, args, dict(state))

    def _rebuild_call(self, tensor: Any, requires_grad: bool) -> tuple[Known, tuple[Any, ...]]:
        """The function that makes a plain tensor of these values, and its arguments."""
        array: Array = tensor._array
        shape = tuple(array.shape)
        if tensor.is_meta:
            return _REBUILD_META, (KNOWN[_dtype_path(array.dtype)], shape, _stride(array), requires_grad)
        place = self._place(tensor, array)
        args: tuple[Any, ...]
        args = (place.storage, place.offset, shape, place.stride, requires_grad, OrderedDict())
        if array.dtype in _TYPES_BY_DTYPE:
            return _REBUILD_TENSOR, args
        if self.old:
            raise pickle.PicklingError(f"[save] got {array.dtype}; expected a dtype that old files have")
        return _REBUILD_WITH_DTYPE, (*args, KNOWN[_dtype_path(array.dtype)])

    def _place(self, tensor: Tensor, array: Array) -> Place:
        """The storage of a tensor, which views of the same memory share, and where the tensor is in it."""
        dtype = array.dtype
        if not array.size:
            return Place(self._add_storage(np.empty(0, np.uint8), dtype, owner=None), 0, _stride(array))
        # PyTorch has no negative strides, and counts strides in elements
        fits = min(array.strides, default=0) >= 0 and _has_whole_strides(array)
        if fits and is_shared(tensor):
            memory, start = place_in_memory(array)
            if start % dtype.itemsize == 0:
                return Place(self._shared_storage(memory, dtype), start // dtype.itemsize, _stride(array))
        if not fits:
            array = array.copy()
        low, high = bounds(array)
        first = as_strided(array, (1,), (dtype.itemsize,))  # in one piece, so that it can be viewed as bytes
        raw = as_strided(first.view(np.uint8), (high - low,), (1,))
        return Place(self._add_storage(raw, dtype, owner=array), 0, _stride(array))

    def _shared_storage(self, memory: TensorMemory, dtype: np.dtype[Any]) -> WrittenStorage:
        """The storage of a memory that several tensors share, a new one at its first use."""
        storage = self._by_memory.get(id(memory))
        if storage is None:
            raw = memory.array.reshape(-1).view(np.uint8)
            whole_elements = raw[: raw.size - raw.size % dtype.itemsize]
            storage = self._add_storage(whole_elements, dtype, owner=memory)
            self._by_memory[id(memory)] = storage
        if storage.dtype != dtype:
            raise RuntimeError(
                f"[save] got tensors of {dtype} and {storage.dtype} on the same data; expected one "
                "type: cannot save multiple tensors or storages that view the same data as "
                "different types"
            )
        return storage

    def _add_storage(self, raw: Array, dtype: np.dtype[Any], owner: object) -> WrittenStorage:
        storage = WrittenStorage(str(len(self.storages)), raw, dtype, owner)
        self.storages.append(storage)
        return storage

    # --- modules and optimizers
    def _reduce_module(self, module: Module) -> Reduced:
        reduced = module.__reduce_ex__(2)
        return _with_state(reduced, "_parameters", lambda state: state_for_torch(type(module), state))

    def _reduce_optimizer(self, optimizer: Optimizer) -> Reduced:
        def state_with_parameters(state: dict[str, Any]) -> dict[str, Any]:
            """As in PyTorch, whose optimizers have their state by parameter, not by number."""
            groups = [group["params"] for group in optimizer.param_groups]
            parameters = [*chain.from_iterable(groups)]
            by_parameter: Any = defaultdict(dict)
            for number, values in optimizer.state_dict()["state"].items():
                by_parameter[parameters[number]] = optimizer_state(values)
            return {**state, "state": by_parameter}

        return _with_state(optimizer.__reduce_ex__(2), "state", state_with_parameters)


def _with_state(
    reduced: Reduced, attribute: str, translate: Callable[[dict[str, Any]], dict[str, Any]]
) -> Reduced:
    """What `__reduce_ex__` gave, with its state translated, if that is a table with this attribute.

    A class of the program may have a `__reduce_ex__` that gives anything else, which stays.
    """
    if isinstance(reduced, str) or len(reduced) < 3:
        return reduced
    function, args, state, *others = reduced
    if not isinstance(state, dict) or attribute not in state:
        return reduced
    return (function, args, translate(state), *others)


def _joined(numbers: Any) -> Any:
    """Complex numbers as one array, as PyTorch's files have them. numbers: a Tensor or a Complex."""
    pairs = numbers[...]._pairs
    joined = rebuild(type(numbers)._kind, array_of(pairs._array), numbers.requires_grad)
    if np.may_share_memory(joined._array, pairs._array):
        share(pairs, joined)  # they share memory, so the file has one storage for both
    return joined


def _dtype_path(dtype: DtypeLike) -> str:
    return "torch." + str(dtype).rpartition(".")[2]


def _stride(array: Array) -> tuple[int, ...]:
    """The strides in elements."""
    return tuple(step // array.itemsize for step in array.strides)


def _has_whole_strides(array: Array) -> bool:
    """Whether all strides are multiples of an element."""
    return all(step % array.itemsize == 0 for step in array.strides)


# --- files
def zipped(obj: object, folder: str, protocol: int) -> memoryview:
    """The zip archive of torch.save. Storages begin at multiples of 64 bytes, so that they can be mapped."""
    content = io.BytesIO()
    pickler = Pickler(content, protocol)
    pickler.dump(obj)
    require_whole("save", [storage.raw for storage in pickler.storages])
    entries: dict[str, bytes | memoryview] = {
        "data.pkl": content.getbuffer(),
        ".format_version": b"1",
        ".storage_alignment": b"64",
        "byteorder": sys.byteorder.encode(),
    }
    for storage in pickler.storages:
        entries[f"data/{storage.key}"] = storage.raw.data
    entries["version"] = b"3\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, data in entries.items():
            entry = zipfile.ZipInfo(f"{folder}/{name}")
            # before the bytes: a header of 30, the name, and an extra field of 4 and the padding
            begin = archive.tell() + 30 + len(entry.filename.encode()) + 4
            # zipfile's own condition, by which it puts 20 bytes before this extra field
            if len(data) * 1.05 > zipfile.ZIP64_LIMIT:
                begin += 20
            padding = -begin % 64
            entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            file.writestr(entry, data)
    return archive.getbuffer()


def old(obj: object, protocol: int) -> memoryview:
    """The file in the format before PyTorch 1.6 (see the head of archive.py)."""
    content = io.BytesIO()
    sizes = {"short": 2, "int": 4, "long": 4}  # what PyTorch writes on every machine
    machine = {"protocol_version": PROTOCOL, "little_endian": sys.byteorder == "little", "type_sizes": sizes}
    for value in (MAGIC, PROTOCOL, machine):
        pickle.dump(value, content, protocol)
    pickler = Pickler(content, protocol, old=True)
    pickler.dump(obj)
    require_whole("save", [storage.raw for storage in pickler.storages])
    pickle.dump([storage.key for storage in pickler.storages], content, protocol)
    for storage in pickler.storages:
        content.write(struct.pack("<q", storage.count))
        values = storage.raw.view(storage.dtype)
        content.write(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
    return content.getbuffer()
