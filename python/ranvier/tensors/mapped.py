"""Files as memory that a program may change without a change of the file: large ones are mapped.

A mapping shows the file. If the file is cut, its values are gone, also those that the process has changed,
and reading them ends the process (SIGBUS); if something is written into it, they are others. To replace or
remove the file is safe. So before this process opens a mapped file for writing, which may cut it, the mapping
becomes memory with a copy of the values, at the same address. A mapping needs no open file.

What other processes do is found at some uses only (`require_whole`): behind the values a mapping has the
first page of the file once more, with a mark in it, which is lost when the file is cut, whatever is written
later.
"""

from __future__ import annotations

import functools
import mmap
import os
import sys
import threading
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, BinaryIO

SMALL = 2**24
"""Bytes up to which a file is read instead."""

_MARK = b"ranvier\n"
_FIXED, _MOVE = 0x10, 3  # MAP_FIXED of Linux and macOS; MREMAP_MAYMOVE and MREMAP_FIXED
_WRITES = os.O_WRONLY | os.O_RDWR


class MappedFile(mmap.mmap):
    """The bytes of an open file, which may be closed then; a change copies its page.

    shared: the file gets what is changed.
    """

    path: str
    file: os.stat_result | None  # as it was then; None where the memory does not show the file, or should
    length: int  # of the file
    place: int  # of the mark

    def __new__(cls, stream: BinaryIO, shared: bool = False) -> MappedFile:
        file, kind = os.fstat(stream.fileno()), mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
        place = -(-file.st_size // mmap.PAGESIZE) * mmap.PAGESIZE
        self = super().__new__(cls, -1, place + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        _map(_address(self), file.st_size, kind | _FIXED, stream.fileno())
        self.path, self.length, self.place = os.path.abspath(stream.name), file.st_size, place
        self.file = None
        if not shared:
            _map(_address(self) + place, mmap.PAGESIZE, kind | _FIXED, stream.fileno())
            self[place : place + len(_MARK)] = _MARK
            _watch()
            with _lock:
                self.file = file
                _files.add(self)
        return self

    def detach(self) -> None:
        """Gives the values memory without the file."""
        import ctypes

        address, size, flags = _address(self), self.length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        copy = _map(None, size, flags, -1)
        ctypes.memmove(copy, address, size)
        if hasattr(_system(), "mremap"):
            moved = _system().mremap(copy, size, size, _MOVE, address)
            assert moved == address
        else:
            ctypes.memmove(_map(address, size, flags | _FIXED, -1), copy, size)
            _system().munmap(copy, size)
        self.file = None


_files: weakref.WeakSet[MappedFile] = weakref.WeakSet()  # those that show a file
_lock = threading.RLock()


def mapped(stream: BinaryIO) -> MappedFile | None:
    """An open file as memory, whatever its place; None where it should be read.

    Small files are read, and those that this process may write to already.
    """
    file = os.fstat(stream.fileno())
    if file.st_size <= SMALL or os.name == "nt":
        return None
    memory = MappedFile(stream)  # before the question, as another thread may open the file
    return None if memory.length != file.st_size or _is_open_for_writing(file) else memory


def _is_open_for_writing(file: os.stat_result) -> bool:
    import fcntl

    with suppress(FileNotFoundError):  # a system that does not list them
        for name in os.listdir("/dev/fd"):
            with suppress(OSError):  # that of the list is closed now
                same = os.path.samestat(os.fstat(int(name)), file)
                if same and fcntl.fcntl(int(name), fcntl.F_GETFL) & _WRITES:
                    return True
    return False


def require_whole(op: str, values: Iterable[Any]) -> None:
    """Raises OSError, which names the file, where another program cut a file that Tensors or arrays show."""
    for memory in {_owner(getattr(value, "_array", value)) for value in values} if _files else ():
        if memory is None or memory.file is None:
            continue
        with suppress(FileNotFoundError):  # without its name the file is kept as long as it is mapped
            now, end = os.stat(memory.path), memory.place + len(_MARK)
            if os.path.samestat(now, memory.file) and (
                now.st_size < memory.length or memory[memory.place : end] != _MARK
            ):
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
class Unchanged(str):
    """A path that is opened for writing only to see that it may be."""


@functools.cache
def _watch() -> None:
    import safetensors

    sys.addaudithook(_notice)
    write: Any = safetensors.serialize_file
    if int(safetensors.__version__.split(".")[1]) > 7:  # it replaces files; before, it cuts them unseen
        return

    @functools.wraps(write)
    def noticed(tensor_dict: Any, filename: Any, *args: Any, **settings: Any) -> None:
        _detach(filename)
        write(tensor_dict, filename, *args, **settings)

    for name, module in [*sys.modules.items()]:
        if name.startswith("safetensors") and "serialize_file" in vars(module):
            vars(module)["serialize_file"] = noticed


def _notice(event: str, args: tuple[Any, ...]) -> None:
    """Called by Python before it does what it says; an error here is one of the call."""
    if event == "open":
        flags = args[2]
        if type(flags) is int and flags & _WRITES and _files and type(args[0]) is not Unchanged:
            _detach(args[0])
    elif event == "os.truncate":
        _detach(args[0])


def _detach(path: Any) -> None:
    """Gives all mappings of the file memory of their own."""
    try:
        file = os.stat(path)
    except (OSError, TypeError, ValueError):  # a new file
        return
    with _lock:
        for memory in [*_files]:
            if memory.file is not None and os.path.samestat(memory.file, file):
                if file.st_size >= memory.length:  # else another process was first
                    memory.detach()
                _files.discard(memory)


# --- the system's functions
@functools.cache
def _system() -> Any:
    import ctypes

    system: Any = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    system.mmap.restype = pointer
    system.mmap.argtypes = pointer, size, number, number, number, ctypes.c_long
    system.munmap.argtypes = pointer, size
    if hasattr(system, "mremap"):
        system.mremap.restype, system.mremap.argtypes = pointer, (pointer, size, size, number, pointer)
    return system


def _map(address: int | None, size: int, flags: int, descriptor: int) -> int:
    import ctypes

    made = _system().mmap(address, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, 0)
    if made == ctypes.c_void_p(-1).value:
        code = ctypes.get_errno()
        raise OSError(code, f"[load] cannot map {size} bytes: {os.strerror(code)}")
    return int(made)


def _address(memory: MappedFile) -> int:
    import ctypes

    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
