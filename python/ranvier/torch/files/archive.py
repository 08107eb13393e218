"""Reads the two forms of PyTorch's files: zip archives, and the form before version 1.6.

A storage is the memory of one or several tensors; a pickle names it by a persistent id. A zip archive has a
folder with data.pkl, the storages data/0, data/1 ... as uncompressed bytes, and byteorder. An old file has
four pickles (a number, a version, the machine's sizes, the object), a fifth with the names of the storages,
and then the length and the bytes of each storage.
"""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ranvier.serialization.foreign_files import EndError, FileError
from ranvier.tensors.mapped_files import MappedFile, mapped
from ranvier.tensors.types import DtypeLike
from ranvier.torch.files.values import Array, Storage, to_meta, type_of

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001

# runs a pickle: its stream, and a function from a persistent id to the storage -> the object
Run = Callable[[io.BytesIO, Any], Any]


def read(content: Any, path: str | None, run: Run, dtype: DtypeLike) -> Any:
    """The object in an open file, from its present position on.

    path: the path of the file, if storages are to be mapped; None: they are copied. dtype: the dtype of
    floating-point tensors; None: that of the file. Afterwards the position is at the end of the file, or in
    the old format after the object.
    """
    start = content.tell()
    is_zip = content.read(2) == b"PK"
    content.seek(start)
    try:
        return _read(content, start, is_zip, path, run, dtype)
    except BaseException:
        content.seek(start)
        raise


def _read(content: Any, start: int, is_zip: bool, path: str | None, run: Run, dtype: DtypeLike) -> Any:
    """Read a file of PyTorch, a zip archive or the older form, from its present place."""
    if not is_zip:
        if path is not None and not to_meta.on:
            raise FileError("has the old form, of which nothing can be mapped; expected mmap=None")
        stream = io.BytesIO(content.read())
        value = _Old(stream, run, dtype).read()
        content.seek(start + stream.tell())
        return value
    stream = io.BytesIO(content.read()) if start else content
    with _damage():
        archive = zipfile.ZipFile(stream)
    with archive:
        value = _Zip(archive, path, dtype).read(run)
    content.seek(0, io.SEEK_END)
    return value


@contextlib.contextmanager
def _damage() -> Iterator[None]:
    """A block in which errors of `zipfile` become FileErrors."""
    try:
        yield
    except FileError:
        raise
    except _ERRORS as error:
        raise FileError(f"is a zip archive that is cut off or damaged: {error}") from None


_ERRORS = (zipfile.BadZipFile, EOFError, OSError, OverflowError, struct.error, ValueError, RuntimeError)


def _other_archive(names: Iterable[str]) -> str:
    """A text that says what a zip archive is that torch.save did not write, and how to read it."""
    files = [name for name in names if not name.endswith("/")]
    if files and all(name.endswith(".npy") for name in files):
        return "it is one of NumPy (.npz); np.load reads it"
    if "model.weights.h5" in files:
        return "it is one of Keras, which reads it"
    for name in files:
        if name.endswith((".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".pkl", ".onnx")):
            return f"it holds the file {name!r}; unpack it and load that"
    return f"expected one entry data.pkl; got {', '.join(map(repr, files[:3])) or 'none'}"


class _Zip:
    """A zip archive. Reads at most as many bytes as the file has, even if entries overlap (`left`)."""

    def __init__(self, archive: zipfile.ZipFile, path: str | None, dtype: DtypeLike) -> None:
        self.archive = archive
        self.dtype = dtype
        self.entries: dict[str, zipfile.ZipInfo] = {}
        for entry in archive.infolist():
            if entry.filename in self.entries:
                raise FileError(f"is a zip archive with two entries of the name {entry.filename!r}")
            self.entries[entry.filename] = entry
        found = [name[: -len("data.pkl")] for name in self.entries if name.endswith("/data.pkl")]
        if len(found) != 1:
            raise FileError(f"is a zip archive, but not one of PyTorch: {_other_archive(self.entries)}")
        self.folder = found[0]
        if f"{self.folder}constants.pkl" in self.entries:
            remedy = "with PyTorch, torch.save(torch.jit.load(path).state_dict(), path) writes its weights"
            raise FileError(
                f"is an archive of TorchScript, which holds code; expected a file of torch.save; {remedy}"
            )
        assert archive.fp is not None
        self.left = archive.fp.seek(0, io.SEEK_END)
        if f"{self.folder}byteorder" in self.entries:
            order = self.bytes_of("byteorder")
        else:
            order = b"little"
        if order not in (b"little", b"big"):
            raise FileError(f"has the byte order {order[:20]!r}; expected 'little' or 'big'")
        self.order = "<" if order == b"little" else ">"
        self.storages: dict[str, Storage] = {}
        stream: Any = archive.fp
        self.memory = None if path is None else mapped(stream)

    def read(self, run: Run) -> Any:
        return run(io.BytesIO(self.bytes_of("data.pkl")), self.storage)

    def entry(self, name: str) -> zipfile.ZipInfo:
        """The entry of a name in the folder.

        Raises FileError if it is missing, compressed, or beyond the limit.
        """
        entry = self.entries.get(self.folder + name)
        if entry is None:
            raise FileError(f"lacks the entry {name!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise FileError(f"has the entry {name!r} in a compressed form; expected plain bytes")
        self.left -= entry.file_size
        if self.left < 0:
            raise FileError("has entries that are larger than the file")
        return entry

    def bytes_of(self, name: str) -> bytes:
        with _damage():
            return self.archive.read(self.entry(name))

    def storage(self, pid: Any) -> Storage:
        """The storage that a persistent id names, read or mapped from the archive at its first use."""
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or type(pid[2]) is not str:
            raise FileError("has a persistent id that is not one of a storage")
        _, kind, key, _, count = pid
        storage = self.storages.get(key)
        if storage is None:
            kind = type_of(kind)
            if type(count) is not int or count < 0:
                raise FileError(f"has the storage {key!r} with a number of elements that is none")
            name = f"data/{key}"
            if self.memory is None:
                raw = self.copied(name)
            else:
                raw = self.mapped(name, self.memory)
            if raw.size != count * kind.size:
                raise FileError(f"has the storage {key!r} with {raw.size} bytes; expected {count} elements")
            storage = self.storages[key] = Storage(kind, count, self.dtype)
            storage.fill(raw, self.order)
        return storage

    def copied(self, name: str) -> Array:
        return np.frombuffer(bytearray(self.bytes_of(name)), np.uint8)

    def mapped(self, name: str, memory: MappedFile) -> Array:
        """The bytes of an entry as a view of the mapped file; writing changes a copy of the page only."""
        entry = self.entry(name)
        stream = self.archive.fp
        assert stream is not None
        stream.seek(entry.header_offset)
        head = stream.read(30)
        if head[:4] != b"PK\3\4" or len(head) < 30:
            raise FileError(f"has no entry {name!r} where it should be")
        start = entry.header_offset + 30 + sum(struct.unpack("<HH", head[26:]))
        if not entry.file_size:
            return np.empty(0, np.uint8)
        if start + entry.file_size > memory.file.st_size:
            raise FileError(f"ends within the entry {name!r}")
        return np.frombuffer(memory, np.uint8, entry.file_size, start)


class _Old:
    """A file of the old form. The bytes of storages are always in little-endian order."""

    def __init__(self, content: io.BytesIO, run: Run, dtype: DtypeLike) -> None:
        self.content = content
        self.run = run
        self.dtype = dtype
        self.left = len(content.getbuffer())
        self.storages: dict[str, Storage] = {}

    def read(self) -> Any:
        try:
            magic = self.run(self.content, None)
        except EOFError as error:
            raise EndError("holds no file of PyTorch, or one that is cut off") from error
        except (ValueError, pickle.UnpicklingError):
            magic = None
        if type(magic) is not int or magic != MAGIC:
            raise FileError(
                "holds no file of PyTorch, or one that is cut off or damaged: it begins with a pickle that "
                "torch.save did not write; if you trust it, pickle.load or joblib.load reads such a file"
            )
        if self.run(self.content, None) != PROTOCOL:
            raise FileError("has a version that torch.save never wrote")
        self.run(self.content, None)  # sizes of types on the machine that wrote it
        value = self.run(self.content, self.storage)
        keys = self.run(self.content, None)
        if type(keys) is not list or {*map(str, keys)} != self.storages.keys():
            raise FileError("has a list of storages that are not those of its tensors")
        for key in map(str, keys):
            storage = self.storages[key]
            count = int.from_bytes(self.content.read(8), "little", signed=True)
            raw = np.frombuffer(self.content.read(storage.count * storage.kind.size), np.uint8)
            if count != storage.count or raw.size != count * storage.kind.size:
                raise FileError(f"is cut off or damaged at the storage {key!r}")
            storage.fill(raw, "<", in_place=True)
        return value

    def storage(self, pid: Any) -> Any:
        """The storage, or a part of one, that a persistent id names; its values are read after the pickle."""
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":
            return pid[1]  # the id of a class, which also has the class's source code
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] != "storage":
            raise FileError("has a persistent id that is not one of a storage")
        _, kind, key, _, count, part = pid
        kind = type_of(kind)
        if type(count) is not int or count < 0 or type(key) not in (str, int):
            raise FileError("has a storage without a name or a number of elements")
        storage = self.storages.get(str(key))
        if storage is None:
            self.left -= count * kind.size
            if self.left < 0:
                raise FileError("is cut off or damaged: its storages are larger than the file")
            storage = self.storages[str(key)] = Storage(kind, count, self.dtype)
        if part is None:
            return storage
        return storage.part(part)
