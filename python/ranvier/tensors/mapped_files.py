"""Maps large files into memory. A program may change this memory without changing the file (a private
mapping).

A mapping shows the present content of the file. If the file is made shorter, the mapped values are lost, also
those that the process has changed, and reading them ends the process (SIGBUS). If something is written into
the file, the values change. Replacing or removing the file is safe. So before this process opens a mapped
file for writing, the path gets a copy of the file (`_renew`), and the copy is written. The file need not stay
open.

What other processes do is noticed at some uses only (`require_whole`). Behind the values, a mapping has the
last page of the file once more, with a mark written in it. The mark is lost when the file is made shorter by
this page, whatever is written to the file later. A cut within the page is seen while the file is shorter.
"""

from __future__ import annotations

import functools
import mmap
import os
import sys
import weakref
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from ranvier.observe import Lock
from ranvier.tensors.disk import Unchanged, renew

if TYPE_CHECKING:
    from ranvier.tensors.tensor import Tensor

SMALL = 2**24
"""Bytes up to which a file is read instead."""

_MARK = b"ranvier\n"
_FIXED = 0x10  # MAP_FIXED of Linux and macOS
_WRITES = os.O_WRONLY | os.O_RDWR


class MappedFile(mmap.mmap):
    """The bytes of a file, as memory. The stream may be closed afterwards.

    shared: changes of the memory are written to the file; else a changed page is copied.
    """

    path: str
    file: os.stat_result  # the status that the file had when it was mapped
    place: int  # the offset of the mark in the mapping, in bytes: the file's size rounded up to pages

    def __new__(cls, stream: BinaryIO, shared: bool = False) -> MappedFile:
        file = os.fstat(stream.fileno())
        kind = mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE
        place = -(-file.st_size // mmap.PAGESIZE) * mmap.PAGESIZE
        self = super().__new__(cls, -1, place + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.path = os.path.abspath(stream.name)
        self.file = file
        self.place = place
        self._show(stream, 0, file.st_size, kind)
        if not shared:
            last_page = place - mmap.PAGESIZE
            self._show(stream, place, mmap.PAGESIZE, kind, last_page)
            self[place : place + len(_MARK)] = _MARK
            _watch()
            with _lock:
                _files.add(self)
        return self

    def _show(self, stream: BinaryIO, place: int, size: int, kind: int, start: int = 0) -> None:
        """Maps `size` bytes of the file, from `start` on, at the offset `place` of the memory. Python's
        `mmap` cannot do it, and would keep the file open."""
        import ctypes

        system = ctypes.CDLL(None, use_errno=True).mmap
        pointer = ctypes.c_void_p
        number = ctypes.c_int
        system.restype = pointer
        system.argtypes = pointer, ctypes.c_size_t, number, number, number, ctypes.c_long
        address = ctypes.addressof(ctypes.c_char.from_buffer(self)) + place
        rights = mmap.PROT_READ | mmap.PROT_WRITE
        if system(address, size, rights, kind | _FIXED, stream.fileno(), start) != address:
            code = ctypes.get_errno()
            raise OSError(code, f"[load] cannot map '{self.path}': {os.strerror(code)}")

    def is_whole(self, now: os.stat_result) -> bool:
        """True if the mapped file was never made shorter. now: its present status."""
        return now.st_size >= self.file.st_size and self[self.place : self.place + len(_MARK)] == _MARK


_files: weakref.WeakSet[MappedFile] = weakref.WeakSet()  # the mapped files that are not shared
_lock = Lock()


def mapped(stream: BinaryIO) -> MappedFile | None:
    """A whole open file as memory, whatever the position of the stream; None if the file should be read
    instead.

    Small files should be read, and files that this process already has open for writing.
    """
    file = os.fstat(stream.fileno())
    if file.st_size <= SMALL or os.name == "nt":
        return None
    # Mapped before it is asked who may write: another thread that opens the file later is noticed.
    memory = MappedFile(stream)
    if memory.file.st_size != file.st_size or _is_open_for_writing(file):
        return None
    return memory


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
    """Raises OSError, which names the file, if another program has cut a mapped file that a value shows.

    values: Tensors or arrays.
    op: the name in the error.
    """
    if not _files:
        return
    for memory in {_owner(getattr(value, "_array", value)) for value in values}:
        if memory is None:
            continue
        with suppress(FileNotFoundError):  # A removed file stays on the disk as long as it is mapped.
            now = os.stat(memory.path)
            if os.path.samestat(now, memory.file) and not memory.is_whole(now):
                raise OSError(
                    f"[{op}] got values of the mapped file '{memory.path}', which another program has cut or "
                    "written over, so that they are lost; expected one that replaces the file, as rv.save "
                    "does; load it again"
                )


def _owner(array: Any) -> MappedFile | None:
    """The mapped file of whose memory an array is a part, or None."""
    for _ in range(9):  # limited, since an object of another library may have an endless chain of bases
        if array is None or isinstance(array, MappedFile):
            return array
        if isinstance(array, memoryview):
            array = array.obj
        else:
            array = getattr(array, "base", None)
    return None


# --- what this process opens for writing
@functools.cache
def _watch() -> None:
    """Begins to notice, once, which files this process opens for writing."""
    import safetensors

    sys.addaudithook(_notice)
    write: Any = safetensors.serialize_file
    # From 0.8 on safetensors replaces files. Older versions cut them in Rust, of which Python sends no event.
    major, minor, *_ = safetensors.__version__.split(".")
    if (int(major), int(minor)) > (0, 7):
        return

    @functools.wraps(write)
    def noticed(tensor_dict: Mapping[str, Tensor], filename: str, *args: Any, **settings: Any) -> None:
        _renew(filename)
        write(tensor_dict, filename, *args, **settings)

    for name, module in [*sys.modules.items()]:
        if name.startswith("safetensors") and "serialize_file" in vars(module):
            vars(module)["serialize_file"] = noticed


def _notice(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook, which Python calls before it opens or cuts a file; an error raised here stops the
    call."""
    if event == "open":
        flags = args[2]
        if type(flags) is int and flags & _WRITES and _files and type(args[0]) is not Unchanged:
            _renew(args[0])
    elif event == "os.truncate" and _files:
        _renew(args[0])


def _renew(path: str | os.PathLike[str]) -> None:
    """If the file at the path is mapped, replaces it by a copy, so that the mapped file is not written."""
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
