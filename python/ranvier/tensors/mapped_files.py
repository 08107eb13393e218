"""Files as memory that a program may change without a change of the file: large ones are mapped.

A mapping shows the file. If the file is cut, its values are gone, also those that the process has changed,
and reading them ends the process (SIGBUS); if something is written into it, they change. To replace or
remove the file is safe. So before this process opens a mapped file for writing, which may cut it, the path
gets a copy of the file, which is then written. A mapping needs no open file.

What other processes do is found at some uses only (`require_whole`): behind the values a mapping has the
first page of the file once more, with a mark in it, which is lost when the file is cut, whatever is written
later.
"""

from __future__ import annotations

import functools
import mmap
import os
import sys
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

from ranvier.observe import Lock
from ranvier.tensors.disk import Unchanged, renew

SMALL = 2**24
"""Bytes up to which a file is read instead."""

_MARK = b"ranvier\n"
_FIXED = 0x10  # MAP_FIXED of Linux and macOS
_WRITES = os.O_WRONLY | os.O_RDWR


class MappedFile(mmap.mmap):
    """The bytes of an open file, which may be closed then; a change copies its page.

    shared: the file gets what is changed.
    """

    path: str
    file: os.stat_result  # the status that the file had when it was mapped
    place: int  # where the mark is in the mapping

    def __new__(cls, stream: BinaryIO, shared: bool = False) -> MappedFile:
        file, kind = os.fstat(stream.fileno()), mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
        place = -(-file.st_size // mmap.PAGESIZE) * mmap.PAGESIZE
        self = super().__new__(cls, -1, place + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.path, self.file, self.place = os.path.abspath(stream.name), file, place
        self._show(stream, 0, file.st_size, kind)
        if not shared:
            self._show(stream, place, mmap.PAGESIZE, kind)
            self[place : place + len(_MARK)] = _MARK
            _watch()
            with _lock:
                _files.add(self)
        return self

    def _show(self, stream: BinaryIO, place: int, size: int, kind: int) -> None:
        """Puts the beginning of the file at a place; a mapping of `mmap` would keep the file open."""
        import ctypes

        system, pointer, number = ctypes.CDLL(None, use_errno=True).mmap, ctypes.c_void_p, ctypes.c_int
        system.restype = pointer
        system.argtypes = pointer, ctypes.c_size_t, number, number, number, ctypes.c_long
        address = ctypes.addressof(ctypes.c_char.from_buffer(self)) + place
        rights = mmap.PROT_READ | mmap.PROT_WRITE
        if system(address, size, rights, kind | _FIXED, stream.fileno(), 0) != address:
            code = ctypes.get_errno()
            raise OSError(code, f"[load] cannot map '{self.path}': {os.strerror(code)}")

    def is_whole(self, now: os.stat_result) -> bool:
        """True if the mapped file, which has this status now, was never made shorter."""
        return now.st_size >= self.file.st_size and self[self.place : self.place + len(_MARK)] == _MARK


_files: weakref.WeakSet[MappedFile] = weakref.WeakSet()  # those that are not shared
_lock = Lock()


def mapped(stream: BinaryIO) -> MappedFile | None:
    """An open file as memory, whatever its place; None where it should be read.

    Small files are read, and those that this process may write to already.
    """
    file = os.fstat(stream.fileno())
    if file.st_size <= SMALL or os.name == "nt":
        return None
    memory = MappedFile(stream)  # before the question, as another thread may open the file
    return None if memory.file.st_size != file.st_size or _is_open_for_writing(file) else memory


def _is_open_for_writing(file: os.stat_result) -> bool:
    import fcntl

    with suppress(FileNotFoundError):  # Some systems do not list the open files.
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):  # The list has its own file, too, which is closed by now.
                same = os.path.samestat(os.fstat(int(name)), file)
                if same and fcntl.fcntl(int(name), fcntl.F_GETFL) & _WRITES:
                    return True
    return False


def require_whole(op: str, values: Iterable[Any]) -> None:
    """Raises OSError, which names the file, where another program cut a file that Tensors or arrays show."""
    for memory in {_owner(getattr(value, "_array", value)) for value in values} if _files else ():
        if memory is None:
            continue
        with suppress(FileNotFoundError):  # without its name the file is kept as long as it is mapped
            now = os.stat(memory.path)
            if os.path.samestat(now, memory.file) and not memory.is_whole(now):
                raise OSError(
                    f"[{op}] got values of the mapped file '{memory.path}', which another program has cut or "
                    "written over, so that they are lost; expected one that replaces the file, as rv.save "
                    "does; load it again"
                )


def _owner(array: Any) -> MappedFile | None:
    for _ in range(9):  # an object of another library may have a base without end
        if array is None or isinstance(array, MappedFile):
            return array
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return None


# --- what this process opens for writing
@functools.cache
def _watch() -> None:
    import safetensors

    sys.addaudithook(_notice)
    write: Any = safetensors.serialize_file
    if int(safetensors.__version__.split(".")[1]) > 7:  # it replaces files; before, it cuts them unseen
        return

    @functools.wraps(write)
    def noticed(tensor_dict: Any, filename: Any, *args: Any, **settings: Any) -> None:
        _renew(filename)
        write(tensor_dict, filename, *args, **settings)

    for name, module in [*sys.modules.items()]:
        if name.startswith("safetensors") and "serialize_file" in vars(module):
            vars(module)["serialize_file"] = noticed


def _notice(event: str, args: tuple[Any, ...]) -> None:
    """Called by Python before it does what it says; an error here is one of the call."""
    if event == "open":
        flags = args[2]
        if type(flags) is int and flags & _WRITES and _files and type(args[0]) is not Unchanged:
            _renew(args[0])
    elif event == "os.truncate" and _files:
        _renew(args[0])


def _renew(path: Any) -> None:
    """Gives a path of a file of which values are mapped a copy of it."""
    with _lock:
        try:
            file = os.stat(path)
        except (OSError, TypeError, ValueError):  # a new file
            return
        if isinstance(path, int) or not any(os.path.samestat(memory.file, file) for memory in _files):
            return
        try:
            renew(path)
        except OSError as error:
            raise OSError(
                error.errno,
                f"[load] cannot copy '{path}', of which values are mapped, before it is written: "
                f"{error.strerror}; expected another path, or cloned values",
            ) from error
