"""Writes files atomically: a file is complete, or the old one stays; permissions of the old file are kept.

The new file is written in the folder of the old one, under a hidden name that no other save has, and is then
renamed to the old name. It is locked while it is written: a hidden file without a lock is left from a process
that was killed, and the next save removes it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, BinaryIO

TEMPORARY = ".tmp"
"""Ending of a file that is being written; it remains only if the process was killed, until the next save."""

_HOUR = 3600  # seconds; without locks, an older hidden file is taken as left by a killed process


class Unchanged(str):
    """A path that is opened for writing only to see that writing is allowed: the file is not changed."""


def replace(
    path: str | os.PathLike[str] | BinaryIO,
    content: bytes | memoryview,
    flush: bool = True,
    op: str = "save",
) -> None:
    """Write a file so that `path` has the complete old or new content, also if the process is killed.

    path: a path, or an open file, to which all is written.
    flush: afterwards the content and the name are on the disk, also if the machine stops, which takes some
        hundredths of a second.
    op: the op's name in errors about an open file.

    The file keeps the mode and the attributes of the old one, and its owner and group if the process may give
    them; a new file follows the umask. A symbolic link stays: the file that it names is replaced. A device or
    a pipe stays, too, and gets the content. A file with several hard links is written in place, so that all
    of them have the content, and so is one in a folder that takes no new file.

    Raises TypeError: neither a path nor a file opened for writing bytes.
    Raises OSError: the disk is full, a folder is missing, the file may not be written, as `open(path, "wb")`
        says (root may write any) ...; says if an old file is kept.
    """
    if not isinstance(path, (str, os.PathLike)):
        return _send(path, content, op)
    target = os.path.realpath(path)
    in_place = False
    try:
        old = _status(path, target)
        if old is not None and not stat.S_ISREG(old.st_mode):  # For a folder, open raises the system's error.
            with open(path, "wb") as stream:
                return _send(stream, content, op)
        # A file without a link: another save has replaced it since `path` was looked up.
        has_other_names = old is not None and old.st_nlink > 1
        if not has_other_names:
            try:

                def write_content(stream: BinaryIO) -> None:
                    stream.write(content)

                return _replace(target, old, write_content, flush)
            except OSError as error:
                if old is None or error.errno not in (errno.EACCES, errno.EPERM, errno.EBUSY):
                    raise
        with open(target, "wb", opener=_as_it_is) as stream:
            if hasattr(os, "posix_fallocate"):  # a full disk is known before anything is changed
                os.posix_fallocate(stream.fileno(), 0, max(len(content), 1))
            in_place = True
            stream.write(content)
            stream.truncate()
            _flush(stream, flush)
    except OSError as error:
        text = f"[save] cannot write '{path}': {error.strerror or error}"
        if os.path.isfile(target) and not in_place:
            text += "; the file that was there is kept"
        said = type(error)(text)
        said.errno = error.errno
        raise said from error


def replace_together(contents: Mapping[str | os.PathLike[str], bytes], op: str = "save") -> None:
    """Write several files that belong together: all of them have the new content afterwards, or the old one.

    All are first written beside their targets, and then renamed. If one cannot be renamed, those before it
    get their old files again.

    Raises OSError: as `replace`; also for a path that is no ordinary file.
    """
    try:
        with ExitStack() as stack:
            _renamed_together([_staged(stack, path, content) for path, content in contents.items()])
    except OSError as error:
        paths = ", ".join(f"'{path}'" for path in contents)
        text = f"[{op}] cannot write {paths}: {error.strerror or error}; the files that were there are kept"
        said = type(error)(text)
        said.errno = error.errno
        raise said from error


def _staged(stack: ExitStack, path: str | os.PathLike[str], content: bytes) -> tuple[str, str]:
    """(hidden file with the new content, target). The stack removes what is left of the hidden file."""
    target = os.path.realpath(path)
    old = _status(path, target)
    if old is not None and not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, f"'{path}' is a folder or a device")
    part = stack.enter_context(_part(target, old))
    part.write(content)
    _flush(part, True)
    if os.name == "nt":
        part.close()  # Windows does not rename an open file.
    return part.name, target


def _keep(target: str, kept: str) -> None:
    """Gives a file a second name, under which it stays when the first is replaced."""
    import shutil  # see `renew`

    try:
        os.link(target, kept)
    except OSError:  # a file system without hard links
        shutil.copy2(target, kept)


def _renamed_together(staged: list[tuple[str, str]]) -> None:
    """Renames each hidden file to its target; undoes it all if one cannot be renamed."""
    former: list[tuple[str, str | None]] = []  # target, and the hidden name of its old file
    try:
        for part, target in staged:
            kept = None
            if os.path.exists(target):
                kept = f"{part.removesuffix(TEMPORARY)}0{TEMPORARY}"
                _keep(target, kept)
            former.append((target, kept))
            os.replace(part, target)
    except OSError:
        for target, kept in former:
            if kept is None:
                with suppress(FileNotFoundError):
                    os.unlink(target)
            else:
                os.replace(kept, target)
        raise
    finally:
        for _, kept in former:
            if kept is not None:
                with suppress(FileNotFoundError):  # renamed above, which keeps a second name of the same file
                    os.unlink(kept)
    for folder in {os.path.dirname(target) for _, target in staged}:
        _flush_folder(folder)


def renew(path: str | os.PathLike[str]) -> None:
    """Give the path a copy of its file, so that this one can be written while the old one is in use.

    Raises OSError: the folder takes no new file, or the disk is full.
    """
    import shutil  # loads every compression: 5 ms of `import ranvier`

    target = os.path.realpath(path)
    with open(target, "rb") as stream:

        def copy_from_stream(copy: BinaryIO) -> None:
            shutil.copyfileobj(stream, copy, 2**20)

        _replace(target, os.stat(target), copy_from_stream, flush=False)


def _as_it_is(path: str, flags: int) -> int:
    """An opener of files for writing that neither makes nor truncates them."""
    return os.open(path, flags & ~(os.O_TRUNC | os.O_CREAT))


def _status(path: str | os.PathLike[str], target: str) -> os.stat_result | None:
    """The status of the file at the path, None if there is no file. Raises the system's error if it may not
    be written. target: the path without symbolic links."""
    try:
        old = os.stat(path)
        if stat.S_ISREG(old.st_mode):
            open(Unchanged(target), "wb", opener=_as_it_is).close()
    except FileNotFoundError:
        return None
    return old


def _send(stream: BinaryIO, content: bytes | memoryview, op: str) -> None:
    """Writes the content to an open file."""
    if not hasattr(stream, "write"):
        raise TypeError(f"[{op}] got path {stream!r}; expected a path or a file opened for writing bytes")
    try:
        written = stream.write(content)
        while isinstance(written, int) and 0 < written < len(content):  # An unbuffered file may write a part.
            content = memoryview(content)[written:]
            written = stream.write(content)
    except TypeError:
        raise TypeError(f"[{op}] got a file opened for text; expected one opened for writing bytes") from None


def remove_parts(folder: str | os.PathLike[str], was_for: Callable[[str], Any]) -> None:
    """Removes the hidden files in a folder that killed saves have left.

    was_for: says of the name of a file, shortened to 50 characters, whether hidden files of saves to it
        count.
    """
    with suppress(OSError):  # a folder that may not be listed
        for name in os.listdir(folder):
            stem, _, number = name.removesuffix(TEMPORARY).rpartition(".")
            if not name.endswith(TEMPORARY) or number.strip("0123456789abcdef") or not was_for(stem[1:]):
                continue
            path = os.path.join(folder, name)
            with suppress(OSError), open(path, "wb", opener=_as_it_is) as stream:
                if _is_locked(stream, wait=False):
                    if os.name == "nt":
                        stream.close()  # Windows does not remove an open file.
                    os.unlink(path)


def _is_locked(stream: BinaryIO, wait: bool = True) -> bool:
    """Locks the file: True if this process has the lock now. If the system has no such locks: True if the
    file is older than an hour."""
    try:
        import fcntl

        if wait:
            fcntl.flock(stream, fcntl.LOCK_EX)
        else:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return time.time() - os.fstat(stream.fileno()).st_mtime > _HOUR


def _replace(target: str, old: os.stat_result | None, write: Callable[[BinaryIO], None], flush: bool) -> None:
    """Write a hidden file beside the target by write(stream), and rename it to the target."""
    with _part(target, old) as stream:
        write(stream)
        _flush(stream, flush)
        if os.name == "nt":
            stream.close()  # Windows does not rename an open file.
        os.replace(stream.name, target)
    if flush:
        _flush_folder(os.path.dirname(target))


@contextmanager
def _part(target: str, old: os.stat_result | None) -> Iterator[BinaryIO]:
    """A new hidden file beside the target, locked, with the rights of the old one. What is left of it at the
    end of the block is removed."""
    folder, name = os.path.split(target)
    # `remove_parts` gets names shortened in the same way.
    name = name[:50]  # A longer name, with what is added to it, could be too long for the file system.
    remove_parts(folder, name.__eq__)
    mode = 0o666 if old is None else old.st_mode & 0o600  # the mode until `_like` sets that of the old file

    def opener(path: str, flags: int) -> int:
        return os.open(path, flags, mode)

    while True:
        part = os.path.join(folder, f".{name}.{os.urandom(8).hex()}{TEMPORARY}")
        try:
            with open(part, "xb", opener=opener) as stream:
                _is_locked(stream)
                if not os.path.exists(part):  # Another save has removed the file before it was locked.
                    continue
                if old is not None and hasattr(os, "fchown"):
                    _like(stream.fileno(), target, old)
                yield stream
            return
        finally:
            with suppress(OSError):  # the first error is the one to report
                os.unlink(part)


def _flush_folder(folder: str) -> None:
    """New names of the folder are on the disk afterwards."""
    if os.name == "nt":  # Windows cannot open a folder; its file systems keep the new name
        return
    with suppress(PermissionError):  # a folder that may not be listed
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _flush(stream: BinaryIO, to_disk: bool) -> None:
    stream.flush()
    if to_disk:
        os.fsync(stream.fileno())


def _like(new: int, target: str, old: os.stat_result) -> None:
    """Give a new file the owner, the attributes and the mode of the one that it replaces."""
    mode = old.st_mode & 0o777
    made = os.fstat(new)
    if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.fchown(new, old.st_uid, old.st_gid)
        except OSError:
            try:
                os.fchown(new, -1, old.st_gid)
            except OSError:  # The file keeps another group, which gets the rights of all others only.
                mode &= 0o707 | (mode & 0o007) << 3  # the group's bits: only those that others have
    if hasattr(os, "listxattr"):
        with suppress(OSError):  # Some file systems have none.
            for name in os.listxattr(target):
                with suppress(OSError):  # Attributes of the system cannot be set.
                    os.setxattr(new, name, os.getxattr(target, name))
    if os.fstat(new).st_mode & 0o777 != mode:
        os.fchmod(new, mode)
