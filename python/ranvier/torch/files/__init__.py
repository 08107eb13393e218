"""PyTorch's files, read and written without PyTorch.

`load` reads what `torch.save` wrote, and `save` writes what `torch.load` reads. With `weights_only`, which is
the default, a pickle is run by our own `Unpickler`, which makes only tensors, containers and plain values.
Otherwise Python's unpickler runs it, as in PyTorch: such a file may call any function.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from contextlib import ExitStack, suppress
from typing import Any, BinaryIO, ClassVar

import numpy as np

from ranvier import nn
from ranvier.serialization.foreign_files import EndError, FileError
from ranvier.tensors.devices import is_meta, require_cpu
from ranvier.tensors.reading import open_file, reading, require_file_of_bytes
from ranvier.torch.files import archive
from ranvier.torch.files.allowed import (
    add_safe_globals,
    by_path,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
)
from ranvier.torch.files.modules import state_from_torch, state_here
from ranvier.torch.files.naming import CLASSES, find_class, path_of
from ranvier.torch.files.unpickler import Unpickler
from ranvier.torch.files.values import KNOWN, to_meta

__all__ = [
    "FileError", "add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "safe_globals",
    "save", "state_from_torch",
]  # fmt: skip

_Python: Any = pickle._Unpickler


class _Overridden(Exception):
    """A class of the file derives from Module; its own __setstate__ may not call that of Module."""


class _WithStates(_Python):  # type: ignore[misc]
    """Python's unpickler in Python code, which translates the state of each Module before its __setstate__ is
    called.

    It is slower than the unpickler in C, so it runs only after _Overridden was raised.
    """

    dispatch: ClassVar[dict[Any, Any]] = {**_Python.dispatch}

    def load_build(self) -> None:
        self.stack[-1] = state_here(*self.stack[-2:])
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def runner(module: Any, encoding: str) -> archive.Run:
    """A function that runs a pickle with `module.Unpickler`.

    encoding: the encoding of texts that Python 2 has written.
    """

    def run(content: io.BytesIO, persistent: Any) -> Any:
        start = content.tell()
        try:
            return _reader(module.Unpickler, persistent, module is pickle)(content, encoding=encoding).load()
        except _Overridden:
            content.seek(start)
            return _reader(_WithStates, persistent, False)(content, encoding=encoding).load()

    return run


def _reader(base: Any, persistent: Any, watch: bool) -> Any:
    """A class of unpicklers that finds PyTorch's classes here. watch: raise _Overridden (see there)."""

    class Reader(base):  # type: ignore[misc]
        def find_class(self, path: str, name: str) -> Any:
            value = find_class(path, name, super().find_class)
            own = isinstance(value, type) and issubclass(value, nn.Module) and value.__setstate__
            if watch and own and own is not nn.Module.__setstate__:
                raise _Overridden
            return value

        def persistent_load(self, pid: Any) -> Any:
            return persistent(pid)

    return Reader


def load(
    f: str | os.PathLike[str] | BinaryIO,
    map_location: Any = None,
    pickle_module: Any = None,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    dtype: Any = None,
    encoding: str = "utf-8",
) -> Any:
    """The object in a file of ``torch.save``. See :func:`ranvier.load`.

    Raises FileError, which is a ValueError, for a file that is damaged, or of more than weights.
    """
    if isinstance(map_location, (str, bytes)) and map_location:
        if isinstance(map_location, str):
            on = map_location
        else:
            on = map_location.decode()
        if is_meta(on):
            return _load_on_meta(f, pickle_module, weights_only, mmap, dtype, encoding)
        require_cpu(on)
    if dtype is not None and np.dtype(dtype).kind != "f":
        raise TypeError(f"[load] got dtype {np.dtype(dtype)}; expected one of floating numbers")
    name = os.fspath(f) if isinstance(f, (str, os.PathLike)) else getattr(f, "name", None)
    shown = f"'{name}'" if isinstance(name, str) else "the open file"
    if mmap and not isinstance(f, (str, os.PathLike)):
        raise ValueError("[load] got mmap=True and an open file; expected a path")
    full = not (pickle_module is None if weights_only is None else weights_only)
    if full:
        run = runner(pickle_module or pickle, encoding)
    else:
        run = _weights()
    mapped_path = name if mmap or to_meta.on else None
    with ExitStack() as closing:
        if isinstance(f, (str, os.PathLike)):
            stream: Any = closing.enter_context(open_file(f))
        else:
            seekable = getattr(f, "seekable", lambda: hasattr(f, "seek"))()
            stream = f if seekable else io.BytesIO(f.read())
            mapped_path = None
        if not full:  # else code of the file runs, whose errors are its own
            closing.enter_context(reading("load", name, FileError))
        try:
            return archive.read(stream, mapped_path, run, dtype)
        except FileError as error:
            raise type(error)(f"[load] {shown} {error}") from error.__cause__
        except (EOFError, pickle.UnpicklingError) as error:
            kind = EndError if isinstance(error, EOFError) else FileError
            raise kind(f"[load] {shown} has a pickle that is cut off or damaged: {error}") from error


def _load_on_meta(f: Any, *settings: Any) -> Any:
    """`load` of tensors without values, of the device "meta"."""
    before = to_meta.on
    to_meta.on = True
    try:
        return load(f, None, *settings)
    finally:
        to_meta.on = before


def save(
    obj: Any,
    f: str | os.PathLike[str] | BinaryIO,
    pickle_module: Any = pickle,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Writes what ``torch.save`` writes: a file that PyTorch reads, and :func:`load`.

    Classes and functions are named as in PyTorch, and modules have the attributes of PyTorch's classes.
    If the process is killed the file is the complete old or new one; it keeps the mode of the old one.

    Raises pickle.PicklingError for an object that no pickle can hold, such as a local function.

    >>> import io
    >>> import ranvier as rv
    >>> from ranvier.torch import files
    >>> file = io.BytesIO()
    >>> files.save({"w": rv.ones(2)}, file)
    >>> rv.load(io.BytesIO(file.getvalue()))
    {'w': tensor([1., 1.])}
    """
    from ranvier.serialization.files import replace
    from ranvier.torch.files import pickler

    if getattr(pickle_module, "__name__", "pickle") not in ("pickle", "_pickle"):
        raise ValueError(f"[save] got pickle_module {pickle_module.__name__}; expected Python's pickle")
    if pickle_protocol < 2:
        raise ValueError(
            f"[save] got pickle_protocol {pickle_protocol}; expected 2 or more, which has storages"
        )
    is_path = isinstance(f, (str, os.PathLike))
    if not is_path and not hasattr(f, "write"):
        raise TypeError(f"[save] got {type(f).__name__}; expected a path or a file opened for writing bytes")
    if _use_new_zipfile_serialization:
        stem = os.path.splitext(os.path.basename(os.fspath(f)))[0] if is_path else "archive"  # type: ignore[arg-type]
        content = pickler.zipped(obj, stem or "archive", pickle_protocol)
    else:
        content = pickler.old(obj, pickle_protocol)
    replace(f, content, flush=False)
    if not is_path:
        getattr(f, "flush", bool)()  # a file object of the program may write in its flush method


def get_unsafe_globals_in_checkpoint(f: str | os.PathLike[str] | BinaryIO) -> list[str]:
    """The names in a file of ``torch.save`` that :func:`load` refuses with weights_only=True, sorted.

    Raises ValueError for another file.
    """
    op = "get_unsafe_globals_in_checkpoint"
    if isinstance(f, (str, os.PathLike)):
        require_file_of_bytes(f, op)
    with reading(op, getattr(f, "name", f)):
        return _unsafe_names(f, op)


def _unsafe_names(f: str | os.PathLike[str] | BinaryIO, op: str) -> list[str]:
    content = b""
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(f) as file:
        for entry in file.infolist():
            if entry.filename.endswith("/data.pkl") and entry.compress_type == zipfile.ZIP_STORED:
                content = file.read(entry)
                break
    if not content:
        raise ValueError(f"[{op}] got another file; expected one of torch.save")
    found: set[str] = set()
    words: list[str] = []
    for code, argument, _ in pickletools.genops(content):
        if code.name == "STACK_GLOBAL":
            found.add(".".join(words[-2:]))
        elif code.name == "GLOBAL":
            found.add(str(argument).replace(" ", ".", 1))
        elif isinstance(argument, str):
            words.append(argument)
    return sorted(found - {*KNOWN, *by_path(path_of)})


def _weights() -> archive.Run:
    """A function that runs a pickle with our own Unpickler and the classes that the program allows."""
    safe = by_path(path_of)
    # one class of this library may stand for several classes of PyTorch
    safe |= {path: kind for path, kind in CLASSES.items() if kind in safe.values()}
    return lambda content, persistent: Unpickler(content, persistent, safe).load()
