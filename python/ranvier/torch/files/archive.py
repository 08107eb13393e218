"""Reads the two formats of PyTorch's files: zip archives, and the format before version 1.6.

A storage is the memory of one or several tensors; a pickle names it by a persistent id. A zip archive has a
folder with data.pkl, the storages data/0, data/1 ... as uncompressed bytes, and byteorder. An old file has
four pickles (a number, a version, the machine's sizes, the object), a fifth with the names of the storages,
and then the length and the bytes of each storage.

`load` of this package calls `read` with a function that runs a pickle. Errors are FileErrors whose text
follows the name of the file: "holds no file of PyTorch".
"""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from ranvier.serialization.foreign_files import EndError, FileError
from ranvier.tensors.mapped_files import MappedFile, mapped
from ranvier.tensors.types import DtypeLike
from ranvier.torch.files.values import Array, Storage, storage_type, to_meta

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of an old file
PROTOCOL = 1001  # the second

# what `zipfile` raises for damaged archives
_ZIP_ERRORS = (zipfile.BadZipFile, EOFError, OSError, OverflowError, struct.error, ValueError, RuntimeError)

FindStorage: TypeAlias = Callable[[object], Any]
"""The storage for a persistent id of a pickle."""

Run: TypeAlias = Callable[[io.BytesIO, FindStorage], Any]
"""Runs a pickle from a stream: gives its object."""


def read(content: BinaryIO | io.BytesIO, path: str | None, run: Run, dtype: DtypeLike | None) -> Any:
    """The object in an open file, from its present position on.

    path: the path of the file, if storages are to be mapped; None: they are copied.
    dtype: the dtype of floating-point tensors; None: that of the file.

    Afterwards the position is at the end of the file, or in the old format after the object; after an error
    it is where it was.
    """
    start = content.tell()
    is_zip = content.read(2) == b"PK"
    content.seek(start)
    try:
        if is_zip:
            return _read_zip(content, start, path, run, dtype)
        return _read_old(content, start, path, run, dtype)
    except BaseException:
        content.seek(start)
        raise


def _read_zip(
    content: BinaryIO | io.BytesIO, start: int, path: str | None, run: Run, dtype: DtypeLike | None
) -> Any:
    # positions in a zip archive count from the beginning of its file
    stream = io.BytesIO(content.read()) if start else content
    with _zip_errors_as_file_errors():
        archive = zipfile.ZipFile(stream)
    with archive:
        value = _Zip(archive, path, dtype).read(run)
    content.seek(0, io.SEEK_END)
    return value


def _read_old(
    content: BinaryIO | io.BytesIO, start: int, path: str | None, run: Run, dtype: DtypeLike | None
) -> Any:
    if path is not None and not to_meta.on:
        raise FileError("has the old form, of which nothing can be mapped; expected mmap=None")
    stream = io.BytesIO(content.read())
    value = _Old(stream, run, dtype).read()
    content.seek(start + stream.tell())
    return value


def _no_storage(pid: object) -> Any:
    """The FindStorage of pickles without tensors."""
    raise FileError("has a storage where none can be")


@contextlib.contextmanager
def _zip_errors_as_file_errors() -> Iterator[None]:
    """A block in which errors of `zipfile` become FileErrors."""
    try:
        yield
    except FileError:
        raise
    except _ZIP_ERRORS as error:
        raise FileError(f"is a zip archive that is cut off or damaged: {error}") from None


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
    first_files = ", ".join(map(repr, files[:3]))
    return f"expected one entry data.pkl; got {first_files or 'none'}"


class _Zip:
    """A zip archive. Reads at most as many bytes as the file has, even if entries overlap (`bytes_left`)."""

    def __init__(self, archive: zipfile.ZipFile, path: str | None, dtype: DtypeLike | None) -> None:
        self.archive = archive
        self.dtype = dtype
        self.entries: dict[str, zipfile.ZipInfo] = {}
        for entry in archive.infolist():
            if entry.filename in self.entries:
                raise FileError(f"is a zip archive with two entries of the name {entry.filename!r}")
            self.entries[entry.filename] = entry
        pickles = [name for name in self.entries if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise FileError(f"is a zip archive, but not one of PyTorch: {_other_archive(self.entries)}")
        self.folder = pickles[0].removesuffix("data.pkl")
        if f"{self.folder}constants.pkl" in self.entries:
            remedy = "with PyTorch, torch.save(torch.jit.load(path).state_dict(), path) writes its weights"
            raise FileError(
                f"is an archive of TorchScript, which holds code; expected a file of torch.save; {remedy}"
            )
        assert archive.fp is not None
        self.bytes_left = archive.fp.seek(0, io.SEEK_END)
        byte_order = b"little"
        if f"{self.folder}byteorder" in self.entries:
            byte_order = self.read_entry("byteorder")
        if byte_order not in (b"little", b"big"):
            raise FileError(f"has the byte order {byte_order[:20]!r}; expected 'little' or 'big'")
        self.byte_order = "<" if byte_order == b"little" else ">"
        self.storages: dict[str, Storage] = {}
        stream: Any = archive.fp
        self.memory = None if path is None else mapped(stream)

    def read(self, run: Run) -> Any:
        """The object of the archive."""
        return run(io.BytesIO(self.read_entry("data.pkl")), self.storage)

    def take_entry(self, name: str) -> zipfile.ZipInfo:
        """The entry of a name in the folder; its size counts as read.

        Raises FileError if it is missing, compressed, or beyond the limit.
        """
        entry = self.entries.get(self.folder + name)
        if entry is None:
            raise FileError(f"lacks the entry {name!r}")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise FileError(f"has the entry {name!r} in a compressed form; expected plain bytes")
        self.bytes_left -= entry.file_size
        if self.bytes_left < 0:
            raise FileError("has entries that are larger than the file")
        return entry

    def read_entry(self, name: str) -> bytes:
        with _zip_errors_as_file_errors():
            return self.archive.read(self.take_entry(name))

    def storage(self, pid: object) -> Storage:
        """The storage that a persistent id names, read or mapped from the archive at its first use.

        pid: ("storage", type, key, device, number of elements), if the file is not damaged.
        """
        if not isinstance(pid, tuple) or len(pid) != 5 or pid[0] != "storage" or type(pid[2]) is not str:
            raise FileError("has a persistent id that is not one of a storage")
        _, type_in_file, key, _, count = pid
        storage = self.storages.get(key)
        if storage is not None:
            return storage
        stored = storage_type(type_in_file)
        if type(count) is not int or count < 0:
            raise FileError(f"has the storage {key!r} with a number of elements that is none")
        if self.memory is None:
            raw = self.copied(f"data/{key}")
        else:
            raw = self.mapped(f"data/{key}", self.memory)
        if raw.size != count * stored.size:
            raise FileError(f"has the storage {key!r} with {raw.size} bytes; expected {count} elements")
        storage = Storage(stored, count, self.dtype)
        self.storages[key] = storage
        storage.fill(raw, self.byte_order)
        return storage

    def copied(self, name: str) -> Array:
        """The bytes of an entry as an array that may be written."""
        return np.frombuffer(bytearray(self.read_entry(name)), np.uint8)

    def mapped(self, name: str, memory: MappedFile) -> Array:
        """The bytes of an entry as a view of the mapped file; writing changes a copy of the page only."""
        entry = self.take_entry(name)
        stream = self.archive.fp
        assert stream is not None
        stream.seek(entry.header_offset)
        header = stream.read(30)  # the local header of an entry has 30 bytes
        if header[:4] != b"PK\3\4" or len(header) < 30:
            raise FileError(f"has no entry {name!r} where it should be")
        # the header's last two numbers: the sizes of the name and of the extra field that follow it
        name_size, extra_size = struct.unpack("<HH", header[26:])
        start = entry.header_offset + 30 + name_size + extra_size
        if not entry.file_size:
            return np.empty(0, np.uint8)
        if start + entry.file_size > memory.file.st_size:
            raise FileError(f"ends within the entry {name!r}")
        return np.frombuffer(memory, np.uint8, entry.file_size, start)


class _Old:
    """A file of the old format. The bytes of storages are always in little-endian order."""

    def __init__(self, content: io.BytesIO, run: Run, dtype: DtypeLike | None) -> None:
        self.content = content
        self.run = run
        self.dtype = dtype
        self.bytes_left = len(content.getbuffer())  # which storages may still take
        self.storages: dict[str, Storage] = {}

    def read(self) -> Any:
        """The object of the file, whose storages are filled after its pickle was run."""
        try:
            magic = self.run(self.content, _no_storage)
        except EOFError as error:
            raise EndError("holds no file of PyTorch, or one that is cut off") from error
        except (ValueError, pickle.UnpicklingError):
            magic = None
        if type(magic) is not int or magic != MAGIC:
            raise FileError(
                "holds no file of PyTorch, or one that is cut off or damaged: it begins with a pickle that "
                "torch.save did not write; if you trust it, pickle.load or joblib.load reads such a file"
            )
        if self.run(self.content, _no_storage) != PROTOCOL:
            raise FileError("has a version that torch.save never wrote")
        self.run(self.content, _no_storage)  # sizes of types on the machine that wrote it
        value = self.run(self.content, self.storage)
        keys = self.run(self.content, _no_storage)
        if type(keys) is not list or {*map(str, keys)} != self.storages.keys():
            raise FileError("has a list of storages that are not those of its tensors")
        for key in map(str, keys):
            self.fill(key, self.storages[key])
        return value

    def fill(self, key: str, storage: Storage) -> None:
        """Reads the next storage: its number of elements in 8 bytes, and their values."""
        count = int.from_bytes(self.content.read(8), "little", signed=True)
        size = storage.count * storage.type.size
        raw = np.frombuffer(self.content.read(size), np.uint8)
        if count != storage.count or raw.size != size:
            raise FileError(f"is cut off or damaged at the storage {key!r}")
        storage.fill(raw, "<", in_place=True)

    def storage(self, pid: object) -> Any:
        """The storage, or a section of one, that a persistent id names; its values are read after the pickle.

        pid: ("storage", type, key, device, number of elements, section or None), if the file is not damaged.
        """
        if isinstance(pid, tuple) and len(pid) > 1 and pid[0] == "module":
            return pid[1]  # the id of a class, which also has the class's source code
        if not isinstance(pid, tuple) or len(pid) != 6 or pid[0] != "storage":
            raise FileError("has a persistent id that is not one of a storage")
        _, type_in_file, key, _, count, section = pid
        stored = storage_type(type_in_file)
        if type(count) is not int or count < 0 or type(key) not in (str, int):
            raise FileError("has a storage without a name or a number of elements")
        storage = self.storages.get(str(key))
        if storage is None:
            self.bytes_left -= count * stored.size
            if self.bytes_left < 0:
                raise FileError("is cut off or damaged: its storages are larger than the file")
            storage = Storage(stored, count, self.dtype)
            self.storages[str(key)] = storage
        if section is None:
            return storage
        return storage.section(section)
