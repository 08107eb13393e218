"""PyTorch's files, read and written without PyTorch: `torch.load` and `torch.save` of programs.

`load` reads what `torch.save` wrote, and `save` writes what `torch.load` reads. With `weights_only`, which is
the default, a pickle is run by this package's own `Unpickler`, which makes only tensors, containers and plain
values. Otherwise Python's unpickler runs it, as in PyTorch: such a file may call any function.

In the other files: `archive` (the bytes around the pickle), `unpickler` and `values` (reading), `pickler`
(writing), `modules` (attributes of layers and hooks), `naming` (paths of classes), `allowed` (the classes
that a program allows).
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Protocol, TypeAlias

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

if TYPE_CHECKING:
    from ranvier.tensors.types import DeviceLike, DtypeLike

__all__ = [
    "FileError", "add_safe_globals", "clear_safe_globals", "get_safe_globals", "load", "safe_globals",
    "save", "state_from_torch",
]  # fmt: skip

File: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, or a file opened for bytes."""


class PickleModule(Protocol):
    """What stands for Python's `pickle`: a module with a class `Unpickler`."""

    Unpickler: type[Any]


_PythonUnpickler: Any = pickle._Unpickler


class _OverriddenError(Exception):
    """A class of the file derives from Module and has a __setstate__, which may not call that of Module.

    Module.__setstate__ translates PyTorch's attributes to those here. Where it may be left out the file is
    read again by `_TranslatingUnpickler`, which translates them itself.
    """


class _TranslatingUnpickler(_PythonUnpickler):  # type: ignore[misc]
    """Python's unpickler in Python code, which translates the state of each Module before its __setstate__ is
    called.

    It is slower than the unpickler in C, so it runs only after _OverriddenError was raised.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {**_PythonUnpickler.dispatch}

    def load_build(self) -> None:
        """The opcode BUILD: the state is on top of the stack, its object below."""
        target, state = self.stack[-2:]
        self.stack[-1] = state_here(target, state)
        super().load_build()

    dispatch[pickle.BUILD[0]] = load_build


def runner(module: PickleModule, encoding: str) -> archive.Run:
    """A function that runs a pickle with `module.Unpickler`.

    encoding: the encoding of texts that Python 2 has written.
    """

    def run(content: io.BytesIO, persistent: archive.FindStorage) -> Any:
        start = content.tell()
        # an Unpickler of another module may translate states in its own way
        Unpickler = _unpickler_class(module.Unpickler, persistent, refuse_setstate=module is pickle)
        try:
            return Unpickler(content, encoding=encoding).load()
        except _OverriddenError:
            content.seek(start)
            Unpickler = _unpickler_class(_TranslatingUnpickler, persistent, refuse_setstate=False)
            return Unpickler(content, encoding=encoding).load()

    return run


def _unpickler_class(base: type[Any], persistent: archive.FindStorage, refuse_setstate: bool) -> type[Any]:
    """A subclass of an unpickler that finds PyTorch's classes here.

    persistent: the storage for a persistent id.
    refuse_setstate: raise _OverriddenError for a Module's class with its own __setstate__.
    """

    class Unpickler(base):  # type: ignore[misc]
        def find_class(self, path: str, name: str) -> Any:
            value = find_class(path, name, super().find_class)
            is_module = isinstance(value, type) and issubclass(value, nn.Module)
            if refuse_setstate and is_module and value.__setstate__ is not nn.Module.__setstate__:
                raise _OverriddenError
            return value

        def persistent_load(self, pid: object) -> Any:
            return persistent(pid)

    return Unpickler


def load(
    f: File,
    map_location: Callable[..., Any] | DeviceLike | bytes | dict[str, str] | None = None,
    pickle_module: PickleModule | None = None,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    dtype: DtypeLike | None = None,
    encoding: str = "utf-8",
) -> Any:
    """The object in a file of ``torch.save``. See :func:`ranvier.load`.

    Raises FileError, which is a ValueError, for a file that is damaged, or of more than weights.
    """
    # a function or a table of devices is not asked: every tensor comes to the CPU
    if isinstance(map_location, bytes):
        map_location = map_location.decode()
    if isinstance(map_location, str) and map_location:
        if is_meta(map_location):
            return _load_on_meta(f, pickle_module, weights_only, mmap, dtype, encoding)
        require_cpu(map_location)
    if dtype is not None and np.dtype(dtype).kind != "f":
        raise TypeError(f"[load] got dtype {np.dtype(dtype)}; expected one of floating numbers")
    is_path = isinstance(f, (str, os.PathLike))
    if mmap and not is_path:
        raise ValueError("[load] got mmap=True and an open file; expected a path")
    name = os.fspath(f) if isinstance(f, (str, os.PathLike)) else getattr(f, "name", None)
    shown = f"'{name}'" if isinstance(name, str) else "the open file"
    if weights_only is None:
        weights_only = pickle_module is None
    if weights_only:
        run = _weights_runner()
    else:
        run = runner(pickle_module or pickle, encoding)
    # tensors of the device "meta" need no values, so the storages need not be read
    is_mapped = is_path and (mmap or to_meta.on)
    mapped_path = name if is_mapped else None
    with ExitStack() as closing:
        if isinstance(f, (str, os.PathLike)):
            stream: BinaryIO | io.BytesIO = closing.enter_context(open_file(f))
        elif _is_seekable(f):
            stream = f
        else:
            stream = io.BytesIO(f.read())
        if weights_only:  # else code of the file runs, whose errors are its own
            closing.enter_context(reading("load", name, FileError))
        try:
            return archive.read(stream, mapped_path, run, dtype)
        except FileError as error:
            raise type(error)(f"[load] {shown} {error}") from error.__cause__
        except (EOFError, pickle.UnpicklingError) as error:
            Error = EndError if isinstance(error, EOFError) else FileError
            raise Error(f"[load] {shown} has a pickle that is cut off or damaged: {error}") from error


def _is_seekable(file: BinaryIO) -> bool:
    """Whether the position in an open file can be set; a program's own file object may lack `seekable`."""
    if hasattr(file, "seekable"):
        return file.seekable()
    return hasattr(file, "seek")


def _load_on_meta(
    f: File,
    pickle_module: PickleModule | None,
    weights_only: bool | None,
    mmap: bool | None,
    dtype: DtypeLike | None,
    encoding: str,
) -> Any:
    """`load` of tensors without values, of the device "meta"."""
    before = to_meta.on
    to_meta.on = True
    try:
        return load(f, None, pickle_module, weights_only, mmap, dtype, encoding)
    finally:
        to_meta.on = before


def save(
    obj: Any,
    f: File,
    pickle_module: PickleModule = pickle,
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

    module_name = getattr(pickle_module, "__name__", "pickle")
    if module_name not in ("pickle", "_pickle"):
        raise ValueError(f"[save] got pickle_module {module_name}; expected Python's pickle")
    if pickle_protocol < 2:
        raise ValueError(
            f"[save] got pickle_protocol {pickle_protocol}; expected 2 or more, which has storages"
        )
    is_path = isinstance(f, (str, os.PathLike))
    if not is_path and not hasattr(f, "write"):
        raise TypeError(f"[save] got {type(f).__name__}; expected a path or a file opened for writing bytes")
    if _use_new_zipfile_serialization:
        # the folder within the archive has the name of the file without its ending
        stem = ""
        if isinstance(f, (str, os.PathLike)):
            file_name = os.path.basename(os.fspath(f))
            stem, _ = os.path.splitext(file_name)
        content = pickler.zipped(obj, stem or "archive", pickle_protocol)
    else:
        content = pickler.old(obj, pickle_protocol)
    replace(f, content, flush=False)
    if not is_path and hasattr(f, "flush"):
        f.flush()  # a file object of the program may write in its flush method


def get_unsafe_globals_in_checkpoint(f: File) -> list[str]:
    """The names in a file of ``torch.save`` that :func:`load` refuses with weights_only=True, sorted.

    Raises ValueError for another file.
    """
    op = "get_unsafe_globals_in_checkpoint"
    if isinstance(f, (str, os.PathLike)):
        require_file_of_bytes(f, op)
    with reading(op, getattr(f, "name", f)):
        return _unsafe_names(f, op)


def _unsafe_names(f: File, op: str) -> list[str]:
    """The names in the pickle of an archive that neither the tables here nor the program allow, sorted."""
    content = b""
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(f) as file:
        for entry in file.infolist():
            if entry.filename.endswith("/data.pkl") and entry.compress_type == zipfile.ZIP_STORED:
                content = file.read(entry)
                break
    if not content:
        raise ValueError(f"[{op}] got another file; expected one of torch.save")
    found: set[str] = set()
    words: list[str] = []  # the texts of the pickle; STACK_GLOBAL names the last two
    for code, argument, _ in pickletools.genops(content):
        if code.name == "STACK_GLOBAL":
            found.add(".".join(words[-2:]))
        elif code.name == "GLOBAL":
            found.add(str(argument).replace(" ", ".", 1))
        elif isinstance(argument, str):
            words.append(argument)
    return sorted(found - {*KNOWN, *by_path(path_of)})


def _weights_runner() -> archive.Run:
    """A function that runs a pickle with this package's Unpickler and the classes that the program allows."""
    safe = by_path(path_of)
    # one class of this library may stand for several classes of PyTorch
    safe |= {path: cls for path, cls in CLASSES.items() if cls in safe.values()}

    def run(content: io.BytesIO, persistent: archive.FindStorage) -> Any:
        return Unpickler(content, persistent, safe).load()

    return run
