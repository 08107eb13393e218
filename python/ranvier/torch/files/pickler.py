"""Writes pickles and files as PyTorch does: tensors as parts of storages, modules and classes with PyTorch's
names.

A storage is the memory of one or several tensors. The pickle names it by a persistent id, and the file has
its bytes outside the pickle.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict, defaultdict
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import as_strided

import ranvier as rv
from ranvier import Tensor, nn
from ranvier.nn import Module
from ranvier.optim import Optimizer
from ranvier.tensors.deepcopy_pickle import place_in_memory, rebuild
from ranvier.tensors.mapped_files import require_whole
from ranvier.tensors.types import DtypeLike
from ranvier.tensors.views import bounds, is_shared, share
from ranvier.torch.files.archive import MAGIC, PROTOCOL
from ranvier.torch.files.modules import is_optimizer_state, optimizer_state, state_for_torch
from ranvier.torch.files.naming import path_of
from ranvier.torch.files.values import KINDS, KNOWN, Array, Kind, Known
from ranvier.torch.tensors.pairs import Complex, array_of


class Call:
    """Is pickled as a call of the function `name` with args, which the reader of the file makes."""

    def __init__(self, name: Known, args: tuple[Any, ...]) -> None:
        self.reduced = name, args


class Bytes:
    """A storage.

    raw: its bytes. dtype: the dtype of the tensors on it. owner: the object that keeps the memory.
    """

    def __init__(self, key: str, raw: Array, dtype: np.dtype[Any], owner: Any) -> None:
        self.raw = raw
        self.dtype = dtype
        self.owner = owner
        kind = _STORAGES.get(dtype, KINDS["UntypedStorage"])
        self.pid: tuple[Any, ...] = ("storage", kind, key, "cpu", raw.size // kind.size)


_STORAGES = {kind.dtype: kind for kind in KINDS.values() if kind.name != "untyped"}
_DTYPE = rv.dtype
_PLAIN = {int, float, str, bool, type(None), bytes, list, tuple}
_TENSOR = KNOWN["torch._utils._rebuild_tensor_v2"]
_UNSIGNED = KNOWN["torch._utils._rebuild_tensor_v3"]
_META = KNOWN["torch._utils._rebuild_meta_tensor_no_storage"]
_PARAMETER = KNOWN["torch._utils._rebuild_parameter"]
_WITH_STATE = KNOWN["torch._utils._rebuild_parameter_with_state"]
_SUBCLASS = KNOWN["torch._tensor._rebuild_from_type_v2"]


_Base: Any = pickle._Pickler


class Pickler(_Base):  # type: ignore[misc]
    """Writes one object.

    storages: the storages of its tensors, which go to the file. old: use the format before PyTorch 1.6.
    """

    def __init__(self, file: io.BytesIO, protocol: int, old: bool = False) -> None:
        super().__init__(file, protocol)
        self.old = old
        self.storages: list[Bytes] = []
        self._by_memory: dict[Any, Bytes] = {}
        self._kept: list[Any] = []  # objects made here, kept so that their ids stay unique
        self._in_numpy = 0  # above 0 while an array is written, whose dtype has NumPy's name

    # --- what pickle asks for
    def save(self, obj: Any, save_persistent_id: bool = True) -> Any:
        if type(obj) in _PLAIN:  # written by pickle's own methods
            self.framer.commit_frame()
            known = self.memo.get(id(obj))
            if known is None:
                return self.dispatch[type(obj)](self, obj)
            return self.write(self.get(known[0]))
        if type(obj) is dict and is_optimizer_state(obj):
            obj = {**obj, "state": {key: optimizer_state(values) for key, values in obj["state"].items()}}
            self._kept.append(obj)
        elif isinstance(obj, (Known, Kind)):
            return self._name(obj, obj.name if isinstance(obj, Known) else obj.path)
        elif isinstance(obj, _DTYPE) and not self._in_numpy:
            path = _path(obj)
            return self._name(KNOWN.get(path, obj), path)
        elif isinstance(obj, (np.ndarray, np.generic)):
            self._in_numpy += 1
            try:
                return super().save(obj, save_persistent_id)
            finally:
                self._in_numpy -= 1
        return super().save(obj, save_persistent_id)

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, Bytes):
            return None
        if self.old:
            return (*obj.pid, None)
        return obj.pid

    def reducer_override(self, obj: Any) -> Any:
        """How an object is pickled, as in `__reduce_ex__`: as PyTorch pickles its own object of this kind."""
        if isinstance(obj, Call):
            return obj.reduced
        if isinstance(obj, (rv.Tensor, Complex)):
            return self._tensor(obj if obj.dtype.kind != "c" else _joined(obj))
        if isinstance(obj, rv.Size):
            return rv.Size, (tuple(obj),)
        if isinstance(obj, rv.device):
            return rv.device, (obj.type,) if obj.index is None else (obj.type, obj.index)
        if isinstance(obj, nn.Module):
            return self._module(obj)
        if isinstance(obj, rv.optim.Optimizer):
            return self._optimizer(obj)
        return NotImplemented

    def save_global(self, obj: Any, name: Any = None) -> None:
        module = str(getattr(obj, "__module__", None))
        if module.startswith("ranvier.") and name is None:
            path = path_of(obj)
        else:
            path = ""
        if path.startswith("torch"):
            self._name(obj, path)
        else:
            super().save_global(obj, name)

    dispatch: ClassVar[dict[Any, Any]] = {**_Base.dispatch}

    def _function(self, obj: Any) -> None:
        self.save_global(obj)

    def _type(self, obj: Any) -> None:
        if obj in (type(None), type(NotImplemented), type(...)):
            super().save_type(obj)
        else:
            self.save_global(obj)

    dispatch[type(lambda: None)] = _function
    dispatch[type] = _type

    def _name(self, obj: Any, path: str) -> None:
        """Writes an object by its path in PyTorch."""
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
    def _tensor(self, tensor: Any) -> Any:
        """The function and the arguments by which PyTorch makes this tensor when the file is read."""
        kind = type(tensor)
        learns = tensor.requires_grad
        array, plain = tensor._array, isinstance(tensor, nn.Parameter)
        if isinstance(tensor, nn.parameter.UninitializedParameter):
            raise pickle.PicklingError("[save] got a lazy layer that was not called; expected one with sizes")
        args: Any
        state = vars(tensor)
        make = _META if tensor.is_meta else _TENSOR
        if tensor.is_meta:
            kind = kind._kind
            args = (KNOWN[_path(array.dtype)], tuple(array.shape), _steps(array), learns and not plain)
        else:
            storage, offset, steps = self._storage(tensor, array)
            args = (storage, offset, tuple(array.shape), steps, learns and not plain, OrderedDict())
        if array.dtype not in _STORAGES and not tensor.is_meta:
            if self.old:
                raise pickle.PicklingError(f"[save] got {array.dtype}; expected a dtype that old files have")
            args = (*args, KNOWN[_path(array.dtype)])
            make = _UNSIGNED
        if kind is rv.Tensor and not state:
            return make, args
        if kind is nn.Parameter:
            data = Call(make, args)
            rest: Any = (data, learns, OrderedDict())
            if state:
                return (_WITH_STATE, (*rest, dict(state)))
            return (_PARAMETER, rest)
        if plain:
            if tensor.is_meta:
                args = (*args[:3], learns)
            else:
                args = (*args[:4], learns, *args[5:])
        return _SUBCLASS, (make, kind, args, dict(state))

    def _storage(self, tensor: Tensor, array: Array) -> tuple[Bytes, int, tuple[int, ...]]:
        """The storage of a tensor, and in elements its first element's position and the strides."""
        dtype = array.dtype
        if not array.size:
            return self._bytes(np.empty(0, np.uint8), dtype, None), 0, _steps(array)
        if is_shared(tensor):
            memory, start = place_in_memory(array)
            whole = memory.array.reshape(-1).view(np.uint8)
            if min(array.strides, default=0) >= 0 and not start % dtype.itemsize and _is_in_steps(array):
                known = self._by_memory.get(id(memory))
                if known is not None and known.dtype != dtype:
                    raise RuntimeError(
                        f"[save] got tensors of {dtype} and {known.dtype} on the same data; expected one "
                        "type: cannot save multiple tensors or storages that view the same data as "
                        "different types"
                    )
                if known is None:
                    whole = whole[: whole.size - whole.size % dtype.itemsize]
                    known = self._by_memory[id(memory)] = self._bytes(whole, dtype, memory)
                return known, start // dtype.itemsize, _steps(array)
        if min(array.strides, default=0) < 0 or not _is_in_steps(array):
            array = array.copy()
        low, high = bounds(array)
        raw = as_strided(array.reshape(-1)[:1] if array.ndim == 0 else _first(array), (1,), (dtype.itemsize,))
        raw = as_strided(raw.view(np.uint8), (high - low,), (1,))
        return self._bytes(raw, dtype, array), 0, _steps(array)

    def _bytes(self, raw: Array, dtype: np.dtype[Any], owner: Any) -> Bytes:
        storage = Bytes(str(len(self.storages)), raw, dtype, owner)
        self.storages.append(storage)
        return storage

    # --- modules and optimizers
    def _module(self, module: Module) -> Any:
        reduced = module.__reduce_ex__(2)
        if len(reduced) > 2 and isinstance(reduced[2], dict) and "_parameters" in reduced[2]:
            state = state_for_torch(type(module), reduced[2])
            return (*reduced[:2], state, *reduced[3:])
        return reduced

    def _optimizer(self, optimizer: Optimizer) -> Any:
        reduced = optimizer.__reduce_ex__(2)
        if len(reduced) > 2 and isinstance(reduced[2], dict) and "state" in reduced[2]:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            states = optimizer.state_dict()["state"].items()
            kept: Any = defaultdict(dict)
            kept.update({parameters[i]: optimizer_state(values) for i, values in states})
            return (*reduced[:2], {**reduced[2], "state": kept}, *reduced[3:])
        return reduced


def _joined(numbers: Any) -> Any:
    """Complex numbers as one array, as PyTorch's files have them."""
    pairs = numbers[...]._pairs
    joined = rebuild(type(numbers)._kind, array_of(pairs._array), numbers.requires_grad)
    if np.may_share_memory(joined._array, pairs._array):
        share(pairs, joined)  # they share memory, so the file has one storage for both
    return joined


def _path(dtype: DtypeLike) -> str:
    return "torch." + str(dtype).rpartition(".")[2]


def _first(array: Array) -> Array:
    return array[(slice(0, 1),) * array.ndim].reshape(-1)


def _steps(array: Array) -> tuple[int, ...]:
    """The strides in elements."""
    return tuple(s // array.itemsize for s in array.strides)


def _is_in_steps(array: Array) -> bool:
    return not any(s % array.itemsize for s in array.strides)


# --- files
def zipped(obj: Any, folder: str, protocol: int) -> memoryview:
    """The zip archive of torch.save. Storages begin at multiples of 64 bytes, so that they can be mapped."""
    content = io.BytesIO()
    pickler = Pickler(content, protocol)
    pickler.dump(obj)
    require_whole("save", [storage.raw for storage in pickler.storages])
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        entries: list[tuple[str, Any]] = [("data.pkl", content.getbuffer()), (".format_version", b"1")]
        entries += [(".storage_alignment", b"64"), ("byteorder", sys.byteorder.encode())]
        entries += [(f"data/{s.pid[2]}", s.raw) for s in pickler.storages]
        entries += [("version", b"3\n")]
        for name, data in entries:
            entry = zipfile.ZipInfo(f"{folder}/{name}")
            size = len(data)
            begin = archive.tell() + 30 + len(entry.filename.encode()) + 4
            if size * 1.05 > zipfile.ZIP64_LIMIT:  # then zipfile puts 20 bytes before this extra field
                begin += 20
            padding = -begin % 64
            entry.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            file.writestr(entry, data.data if isinstance(data, np.ndarray) else data)
    return archive.getbuffer()


def old(obj: Any, protocol: int) -> memoryview:
    """The file in the form before PyTorch 1.6 (see the head of archive.py)."""
    content = io.BytesIO()
    sizes = {"short": 2, "int": 4, "long": 4}
    machine = {"protocol_version": PROTOCOL, "little_endian": sys.byteorder == "little", "type_sizes": sizes}
    for value in (MAGIC, PROTOCOL, machine):
        pickle.dump(value, content, protocol)
    pickler = Pickler(content, protocol, old=True)
    pickler.dump(obj)
    require_whole("save", [storage.raw for storage in pickler.storages])
    pickle.dump([storage.pid[2] for storage in pickler.storages], content, protocol)
    for storage in pickler.storages:
        content.write(struct.pack("<q", storage.pid[4]))
        values = storage.raw.view(storage.dtype)
        content.write(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes())
    return content.getbuffer()
