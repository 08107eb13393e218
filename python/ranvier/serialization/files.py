"""safetensors files, which are written atomically and checked when read; and nested states in them.

Nested dicts, lists and tuples of arrays and numbers are JSON and a flat table of named arrays. Numbers,
strings and None are themselves; all other values are objects with one key:

    {"dict": [[key, value], ...]}   {"list": [...]}   {"tuple": [...]}
    {"array": name}   {"tensor": name}   {"dtype": name}

A Tensor that requires a gradient is {"leaf": name}, a Parameter {"parameter": name} or {"frozen": name}.

A model file with damaged numbers still loads, but a run that continues from one would be a different run. So
the checksum of a checkpoint includes all arrays and the JSON.
"""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Sequence
from operator import index
from typing import Any, BinaryIO

import numpy as np

from ranvier._core import __version__
from ranvier.autograd import Tensor, wrap
from ranvier.nn.parameter import Parameter
from ranvier.serialization.foreign_files import BEGIN, EndError, FileError, recognised
from ranvier.serialization.work import PER_BYTE, Keys, Work
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.disk import replace as replace, replace_together as replace_together
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.mapped_files import MappedFile, mapped, require_whole
from ranvier.tensors.memory import BF16, Array, bools
from ranvier.tensors.reading import open_file, reading

VERSION = 1
"""Version of the metadata; a reader accepts this and older ones."""

KEY = "ranvier"
"""The only entry of the file's metadata, a JSON object. (Several entries would have a random order.)"""

RESERVED = "__metadata__"
"""The one name that the format does not allow for an array."""

_LONGEST = 10**8  # the most bytes of a header that safetensors allows

Arrays = dict[str, Array]


def write(path: str | os.PathLike[str] | BinaryIO, arrays: Arrays, document: dict[str, Any]) -> None:
    """Write arrays and metadata to an open file or a path. `path` is always the complete old or new file.

    Raises TypeError: an array of a type that the format lacks (objects, strings, complex numbers).
    Raises ValueError: an array has the name that the format reserves.
    """
    from safetensors.numpy import save

    if RESERVED in arrays:
        raise ValueError(
            f"[save] got an array named '{RESERVED}', which safetensors reserves; expected another"
        )
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
            raise TypeError(
                f"[save] got array '{name}' of dtype {array.dtype}; expected numbers of up to 8 bytes"
            )
    # safetensors would store strided arrays wrongly, without an error. ascontiguousarray gives an array of 0
    # dimensions the shape (1,): reshape restores the shape.
    require_whole("save", arrays.values())
    native = {name: np.ascontiguousarray(x, x.dtype.newbyteorder("=")) for name, x in arrays.items()}
    plain = {name: x.reshape(arrays[name].shape) for name, x in native.items()}
    content = save(plain, {KEY: json.dumps(document, separators=(",", ":"))})
    replace(path, content)


def read(path: str | os.PathLike[str], shown: str = "") -> tuple[Arrays, dict[str, Any] | None]:
    """The arrays of a file and its metadata; the metadata are None if another library wrote the file.

    shown: what errors call the file, by default its path.

    A large file is mapped (`tensors/mapped_files.py`): arrays are read only when they are used, and a change
    of an array copies the page of memory, not the file.

    Raises FileNotFoundError: no such file.
    Raises FileError: not a safetensors file, cut off, damaged, of a newer version, or of types Tensors lack.
    """
    from safetensors import SafetensorError, safe_open

    shown = shown or f"'{path}'"
    # For a missing or unreadable file, or a folder, this raises the error of the system.
    with open_file(path) as stream, reading("load", path, FileError):
        begin = stream.read(BEGIN)
        other_format = recognised(begin, path)
        if other_format:
            error_class = FileError if begin else EndError
            raise error_class(f"[load] {shown} {other_format}")
        try:
            stream.seek(0)
            _parsed(_header(stream)[8:])
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}  # safe_open has checked the header and the file's length.
            if not os.path.samestat(os.fstat(stream.fileno()), os.stat(path)):  # A program replaced the file.
                return read(path, shown)
            arrays = _arrays(stream)
        except (SafetensorError, ValueError) as error:
            raise FileError(
                f"[load] {shown} is not a safetensors file, or is cut off or damaged: {error}"
            ) from None
        except (TypeError, AttributeError, KeyError) as error:  # such as float8
            raise FileError(f"[load] {shown} holds values of a type that Tensors lack: {error}") from None
        document = _document(shown, metadata[KEY]) if KEY in metadata else None
    return arrays, document


def _header(stream: BinaryIO) -> bytes:
    """The bytes with the length of the header, and the header, from the present place of a stream."""
    size = stream.read(8)
    return size + stream.read(min(int.from_bytes(size, "little"), _LONGEST))


def _parsed(text: bytes) -> Any:
    """The value of a JSON text. Raises ValueError if it is no JSON, or if its objects would take far more
    memory than the text."""
    work = Work(PER_BYTE * len(text))  # A list takes some 80 bytes, a dict 240, an item or a text 60.
    work.charge(80 * text.count(b"[") + 240 * text.count(b"{") + 60 * (text.count(b",") + text.count(b":")))
    return json.loads(text)


class _Again:
    """A stream that first gives `begin`, the bytes that were read from `stream`, and then the rest."""

    def __init__(self, begin: bytes, stream: BinaryIO) -> None:
        self.begin = begin
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        begin = self.begin
        if size < 0:
            self.begin = b""
            return begin + self.stream.read(size)
        self.begin = begin[size:]
        taken = begin[:size]
        return taken + self.stream.read(size - len(taken))


def begin_of(f: Any) -> tuple[bytes, Any]:
    """(the first bytes of a file, the path or stream from which the whole file can be read).

    Raises FileNotFoundError: no such file. Raises TypeError: a stream of text.
    """
    if isinstance(f, (str, os.PathLike)):
        with open_file(f) as file:
            return file.read(BEGIN), f
    begin = "" if isinstance(f, io.TextIOBase) else f.read(BEGIN)
    if not isinstance(begin, bytes):
        raise TypeError("[load] got a file opened for text; expected one opened for reading bytes")
    if hasattr(f, "seek") and getattr(f, "seekable", lambda: True)():
        f.seek(-len(begin), os.SEEK_CUR)
        return begin, f
    return begin, _Again(begin, f)


def is_pickled(begin: bytes) -> bool:
    """True if a file with these first bytes is a pickle, or a zip archive with a pickle, as PyTorch writes.

    The length of a safetensors header may have the same first byte as a pickle, but then "{" is at byte 8.
    """
    return begin[:4] == b"PK\3\4" or (begin[:1] == b"\x80" and begin[8:9] != b"{")


def one_of(stream: BinaryIO) -> bytes:
    """The bytes of the file that starts at the present place of the stream. More data may follow it there."""
    content = bytearray(_header(stream))
    try:
        entries = _parsed(bytes(content[8:]))
        ends = (index(about["data_offsets"][1]) for name, about in entries.items() if name != RESERVED)
        end = len(content) + max((0, *ends))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):  # `read` finds the damage.
        return bytes(content + stream.read())
    # Reads parts, since a damaged header may claim more bytes than there are.
    while True:
        part = stream.read(min(end - len(content), 2**24))
        if not part:
            return bytes(content)
        content += part


_TYPES = {
    "BOOL": np.dtype(bool), "I8": np.dtype("i1"), "I16": np.dtype("i2"), "I32": np.dtype("i4"),
    "I64": np.dtype("i8"), "U8": np.dtype("u1"), "U16": np.dtype("u2"), "U32": np.dtype("u4"),
    "U64": np.dtype("u8"), "F16": np.dtype("f2"), "BF16": BF16, "F32": np.dtype("f4"), "F64": np.dtype("f8"),
}  # fmt: skip


def memory_of(stream: BinaryIO) -> tuple[MappedFile | bytes, int]:
    """The content of an open file and its length; a large file is mapped, with more bytes at the end."""
    memory = mapped(stream)
    if memory is not None:
        return memory, memory.file.st_size
    stream.seek(0)
    content = stream.read()
    return content, len(content)


def array_in(memory: MappedFile | bytes, place: int, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """The values at a place of the content of a file; a copy where they could not be changed, or not fast."""
    if 0 in shape:
        return np.empty(shape, dtype)
    array: Array = np.ndarray(shape, dtype, memory, place)
    if array.flags.aligned and array.flags.writeable:
        return array
    return array.copy()


def _arrays(stream: BinaryIO) -> Arrays:
    memory, _ = memory_of(stream)
    stream.seek(0)
    head = _header(stream)
    entries = json.loads(head[8:])
    entries.pop(RESERVED, None)
    return {name: _array(memory, len(head), **entries[name]) for name in sorted(entries)}


def _array(
    memory: MappedFile | bytes, start: int, dtype: str, shape: list[int], data_offsets: list[int]
) -> Array:
    kind = np.dtype(np.uint8) if dtype == "BOOL" else _TYPES[dtype]
    array = array_in(memory, start + data_offsets[0], shape, kind)
    # True is the byte 1; a damaged file has others
    if dtype == "BOOL":
        return bools(array)
    return array


def _document(shown: str, text: str) -> dict[str, Any]:
    try:
        document = _parsed(text.encode())
    except ValueError as error:
        raise FileError(f"[load] {shown} has metadata that is no JSON: {error}") from None
    if isinstance(document, dict):
        version = document.get("version")
    else:
        version = None
    if not isinstance(version, int) or version < 1:
        raise FileError(f"[load] {shown} has metadata without a version; expected a file written by rv.save")
    if version > VERSION:
        raise FileError(
            f"[load] {shown} has format version {version}, written by ranvier {document.get('library')}; "
            f"this one reads up to {VERSION}: upgrade ranvier"
        )
    return dict(document)


_DTYPES = ("float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")


def encode(value: Any, arrays: Arrays, path: str = "") -> Any:
    """`value` as JSON. Its arrays are added to `arrays` under their paths ("state.0.step").

    Raises TypeError: `value` has something other than arrays, numbers, strings, None, dicts, lists or tuples.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.dtype, DType)):
        return {"dtype": value.name}
    if isinstance(value, np.generic) and value.dtype.kind in "fiub" and value.dtype.itemsize <= 8:
        return value.item()
    if isinstance(value, (Tensor, np.ndarray)):
        name = path or "value"
        while name in arrays or name == RESERVED:  # {"a.b": x, "a": {"b": y}}
            name += "_"
        if isinstance(value, Tensor):
            arrays[name] = value._array
            learns = value.requires_grad
            if isinstance(value, Parameter):
                tag = "parameter" if learns else "frozen"
            else:
                tag = "leaf" if learns else "tensor"
            return {tag: name}
        arrays[name] = value
        return {"array": name}
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, (str, int)):
                raise TypeError(f"[save] got a dict with key {key!r}; expected strings or integers")
        return {"dict": [[key, encode(item, arrays, _join(path, key))] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [encode(item, arrays, _join(path, i)) for i, item in enumerate(value)]
        tag = "tuple" if isinstance(value, tuple) else "list"
        return {tag: items}
    refuse_torch("save", f"a value at {path!r}", value)
    own = callable(getattr(value, "save", None)) and callable(getattr(value, "fit", None))
    remedy = "; a Trainer writes itself: trainer.save(path)" * own
    raise TypeError(
        f"[save] got {type(value).__name__} at '{path}'; expected arrays, Tensors, numbers, strings, None, "
        f"and dicts, lists and tuples of them{remedy}"
    )


def decode(node: Any, arrays: Arrays, keys: Keys | None = None) -> Any:
    """The object from which `encode` made `node` and `arrays`. keys: the counter of work for keys of dicts.

    Raises ValueError: an unknown form, or the name of an array that is missing.
    """
    keys = keys or Keys(Work())
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if isinstance(node, dict) and len(node) == 1:
        kind, content = next(iter(node.items()))
        if kind in ("array", "tensor", "leaf", "parameter", "frozen") and isinstance(content, str):
            if content not in arrays:
                raise ValueError(f"array '{content}' is missing")
            array = arrays[content]
            if kind in ("leaf", "parameter") and array.dtype.kind != "f":
                raise ValueError(f"a {kind} of dtype {array.dtype}, which has no gradient")
            if kind in ("parameter", "frozen"):
                return Parameter(wrap(array), kind == "parameter")
            if kind == "array":
                return array
            return wrap(array).requires_grad_(kind == "leaf")
        if kind == "dtype" and content in _DTYPES:
            return DType(content).dtype
        if kind == "dict" and isinstance(content, list):
            for item in content:
                if not (isinstance(item, list) and len(item) == 2 and isinstance(item[0], (str, int))):
                    raise ValueError(f"unknown form {str(item)[:80]!r} in a dict")
                keys.work.left += PER_BYTE * 4  # An item has at least 4 bytes of JSON.
                keys.charge(item[0])
            return {key: decode(item, arrays, keys) for key, item in content}
        if kind in ("list", "tuple") and isinstance(content, list):
            items = [decode(item, arrays, keys) for item in content]
            if kind == "tuple":
                return tuple(items)
            return items
    raise ValueError(f"unknown form {str(node)[:80]!r}")


def _join(path: str, key: str | int) -> str:
    if path:
        return f"{path}.{key}"
    return str(key)


def write_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a nested dict of arrays, Tensors, numbers, strings and None, completely or not at all.

    Raises TypeError: the dict has another kind of value.
    """
    arrays: Arrays = {}
    encoded = encode(state, arrays)
    document = {"content": "checkpoint", "checksum": _checksum(encoded, arrays), "checkpoint": encoded}
    write(path, arrays, {"version": VERSION, "library": __version__, **document})


def read_checkpoint(
    path: str | os.PathLike[str], writer: str = "rv.Checkpoint", shown: str = ""
) -> dict[str, Any]:
    """Read a file of `write_checkpoint`. Runs no code of the file. writer: who wrote it, for errors. shown:
    as in `read`.

    Raises FileNotFoundError: no such file.
    Raises ValueError: the file is damaged, of a newer version, or no checkpoint.
    """
    with reading("load", path, FileError):
        return _checkpoint(path, writer, shown or f"'{path}'")


def _checkpoint(path: str | os.PathLike[str], writer: str, shown: str) -> dict[str, Any]:
    arrays, document = read(path, shown)
    if document is None or document.get("content") != "checkpoint":
        raise ValueError(f"[load] {shown} is no checkpoint; expected a file written by {writer}")
    encoded = document.get("checkpoint")
    if document.get("checksum") != _checksum(encoded, arrays):
        raise ValueError(f"[load] {shown} is damaged: its content does not have its checksum")
    try:
        state = decode(encoded, arrays)
    except ValueError as error:
        raise FileError(f"[load] {shown}: {error}") from None
    if not isinstance(state, dict):
        raise ValueError(f"[load] {shown} holds no state of a run")
    return state


def _checksum(encoded: Any, arrays: Arrays) -> int:
    """CRC-32 over the JSON, and each array's name, type, shape and bytes."""
    total = zlib.crc32(json.dumps(encoded, separators=(",", ":")).encode())
    for name in sorted(arrays):
        array = arrays[name]
        total = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), total)
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))  # the bytes in the file
        total = zlib.crc32(native.reshape(-1).view(np.uint8).data, total)
    return total
