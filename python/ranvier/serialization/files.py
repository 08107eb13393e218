"""safetensors files: written atomically, and checked when read."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["KEY", "RESERVED", "TEMPORARY", "VERSION", "one_of", "read", "replace", "write"]

VERSION = 1
"""Version of the metadata; a reader accepts this and older ones."""

KEY = "ranvier"
"""The only entry of the file's metadata, a JSON object. (Several entries would have a random order.)"""

TEMPORARY = ".tmp"
"""Ending of a file that is being written; it remains only if the process was killed."""

RESERVED = "__metadata__"
"""The one name that the format does not allow for an array."""

_LONGEST = 10**8  # of a header, the limit of safetensors

Arrays = dict[str, npt.NDArray[Any]]


def write(path: str | os.PathLike[str] | BinaryIO, arrays: Arrays, document: dict[str, Any]) -> None:
    """Write arrays and metadata to an open file, or so that `path` is always the complete old or new file.

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
    # safetensors stores strided arrays wrongly without an error; the reshape restores the shape of 0-d arrays
    plain = {
        name: np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
        for name, array in arrays.items()
    }
    content = save(plain, {KEY: json.dumps(document, separators=(",", ":"))})
    if isinstance(path, (str, os.PathLike)):
        replace(path, content)
    elif hasattr(path, "write"):
        try:
            path.write(content)
        except TypeError:
            raise TypeError(
                "[save] got a file opened for text; expected one opened for writing bytes"
            ) from None
    else:
        raise TypeError(f"[save] got path {path!r}; expected a path or a file opened for writing bytes")


def replace(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that `path` has the complete old or new content, also if the process is killed.

    Afterwards the content and the name are on the disk: both are flushed. A symbolic link stays: the file
    that it names is replaced. A device or a pipe stays, too, and gets the content.

    Raises OSError: the disk is full, a folder is missing or not writable ...; says if an old file is kept.
    """
    target = Path(path)
    try:
        if target.exists() and not target.is_file():  # of a folder, the system's error
            with open(target, "wb") as stream:
                stream.write(content)
        else:
            _replace(Path(os.path.realpath(target)), content)
    except OSError as error:
        kept = "; the file that was there is kept" if target.is_file() else ""
        said = type(error)(f"[save] cannot write '{target}': {error.strerror or error}{kept}")
        said.errno = error.errno
        raise said from error


def _replace(target: Path, content: bytes) -> None:
    # in the same folder, because replace needs the same disk
    temporary = target.with_name(f".{target.name}.{os.getpid()}{TEMPORARY}")
    try:
        with open(temporary, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    finally:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink(missing_ok=True)
    if os.name == "nt":  # Windows cannot open a folder; its file systems keep the new name
        return
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read(path: str | os.PathLike[str]) -> tuple[Arrays, dict[str, Any] | None]:
    """The arrays of a file and its metadata; None if another library wrote it. bfloat16 becomes float32.

    Raises FileNotFoundError: no such file.
    Raises ValueError: not a safetensors file, cut off, damaged, of a newer version, or of types NumPy lacks.
    """
    from safetensors import SafetensorError, safe_open

    with open(path, "rb"):  # the system's error for a missing or unreadable file or a folder
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: _array(file, path, name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(
            f"[load] '{path}' is not a safetensors file, or is cut off or damaged: {error}{_hint(path)}"
        ) from None
    except (TypeError, AttributeError, KeyError) as error:  # float8 and other types that NumPy lacks
        raise ValueError(f"[load] '{path}' holds values of a type that NumPy lacks: {error}") from None
    return arrays, _document(path, metadata[KEY]) if KEY in metadata else None


def _hint(path: str | os.PathLike[str]) -> str:
    """What the user of a file of another kind can do."""
    if str(path).endswith(".onnx"):
        return "; rv.onnx.load reads ONNX files"
    with open(path, "rb") as file:
        begin = file.read(4096)
    # of PyTorch: a zip archive with a pickle, before version 1.6 a pickle alone. The length of a safetensors
    # header may begin as a pickle does; its text follows from byte 8 on.
    pickled = begin[:1] == b"\x80" and begin[8:9] != b"{"
    if pickled or (begin[:4] == b"PK\3\4" and b"/data.pkl" in begin):
        return (
            "; it holds a pickle, as PyTorch writes, which could run code: in PyTorch, "
            "safetensors.torch.save_file(state_dict, file) writes one that can be read here"
        )
    return ""


def one_of(stream: BinaryIO) -> bytes:
    """The bytes of the file that starts at the place of the stream, which may go on after its end.

    Raises TypeError: a stream of text.
    """
    size = stream.read(8)
    if not isinstance(size, bytes):
        raise TypeError("[load] got a file opened for text; expected one opened for reading bytes")
    head = stream.read(min(int.from_bytes(size, "little"), _LONGEST))
    try:
        entries = json.loads(head)
        end = max(
            (about["data_offsets"][1] for name, about in entries.items() if name != RESERVED), default=0
        )
        return size + head + stream.read(max(int(end), 0))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):  # damaged: `read` tells how
        return size + head + stream.read()


def _array(file: Any, path: str | os.PathLike[str], name: str) -> npt.NDArray[Any]:
    from safetensors import deserialize

    try:
        array: npt.NDArray[Any] = file.get_tensor(name)
        if array.dtype.isbuiltin != 1:  # a type of the package ml_dtypes, where that is loaded
            raise TypeError(f"{array.dtype}")
    except TypeError:
        part = dict(deserialize(Path(path).read_bytes()))[name]  # type: ignore[no-untyped-call]
        if part["dtype"] != "BF16":
            raise
        upper = np.frombuffer(part["data"], "<u2").astype(np.uint32)  # the upper half of a float32
        array = (upper << 16).view(np.float32).reshape(part["shape"])
    return array


def _document(path: str | os.PathLike[str], text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"[load] '{path}' has metadata that is no JSON: {error}") from None
    version = document.get("version") if isinstance(document, dict) else None
    if not isinstance(version, int) or version < 1:
        raise ValueError(
            f"[load] '{path}' has metadata without a version; expected a file written by rv.save"
        )
    if version > VERSION:
        raise ValueError(
            f"[load] '{path}' has format version {version}, written by ranvier {document.get('library')}; "
            f"this one reads up to {VERSION}: upgrade ranvier"
        )
    return dict(document)
