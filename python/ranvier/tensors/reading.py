"""The gate for files of unknown origin: what may be opened, and which errors leave a reader.

A reader opens its file by `open_file`, or asks `require_file_of_bytes` before another library opens it, and
runs its parser in a block `reading`. So all readers have the same promise (SECURITY.md): a file that is
damaged or forged is a ValueError with a text of limited length, whatever the parser raises.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from ranvier.tensors.failures import op_of
from ranvier.tensors.sanitize import printable

if TYPE_CHECKING:
    import pathlib

LONGEST = 2000
"""The most characters of the text of an error about a file, and of a warning."""

_OF_SYSTEM = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
_END = 300  # of these, the characters at the end, where the remedy stands
# What the system says of a place or a size that the file has named, not of the file itself.
_OF_CONTENT = (None, errno.EINVAL, errno.EOVERFLOW, errno.ESPIPE, errno.EBADF)

Path = str | os.PathLike[str]


def shortened(text: str, most: int = LONGEST) -> str:
    """The text, without its middle if it is longer than `most` characters.

    >>> shortened("a" * 5000)[1640:1710]
    'aaaaaaaaaaaaaaa ... (3000 characters and more left out) ... aaaaaaaaaa'
    """
    if len(text) <= most:
        return text
    left_out = f" ... ({len(text) - most} characters and more left out) ... "
    begin = most - _END - len(left_out)
    return f"{text[:begin]}{left_out}{text[-_END:]}"


def path_of(op: str, name: str, value: object, of: str = "a file") -> pathlib.Path:
    """A path that a caller gives, for an argument of this name. Raises TypeError for anything else: to the
    system a whole number is one of the files that the process has open."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"[{op}] got {name} of type {type(value).__name__}; expected the path of {of}")
    import pathlib  # takes 2 ms, and `rv.load` does without it

    return pathlib.Path(value)


def require_file_of_bytes(path: Path, op: str = "load") -> None:
    """Raise ValueError for a device, a pipe or a socket: it may have no end, or wait for ever.

    Raises OSError: no such file, or it may not be asked for. A folder passes: to open it is an error of the
    system.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    raise ValueError(f"[{op}] got '{path}', which is {kind}; expected a file: write the content to one")


def open_file(path: Path, op: str = "load") -> BinaryIO:
    """A file, opened for reading bytes. Raises as `require_file_of_bytes`, and what `open` raises."""
    require_file_of_bytes(path, op)
    return open(path, "rb")


@contextmanager
def reading(op: str, shown: object, kind: type[ValueError] = ValueError) -> Iterator[None]:
    """A block that parses a file. Its errors are ValueErrors, with a printable text of at most `LONGEST`
    characters.

    A ValueError with the name of a function stays the same error; any other becomes one of `kind`. Errors of
    the system (no such file, no permission, a broken disk) pass, as do missing packages, a machine that has
    too little memory, and a TypeError of this op about one of its arguments. Anything else that a parser
    raises becomes an error of `kind`, which says that the file is damaged.

    op: the name in the error.
    shown: what it calls the file.
    """
    try:
        yield
    except (*_OF_SYSTEM, ImportError, MemoryError, Warning):
        raise
    except UnicodeError as error:  # its text is made of its parts
        raise kind(_of_parser(op, shown, error)) from error
    except ValueError as error:
        if not op_of(error):
            raise kind(shortened(printable(f"[{op}] '{shown}': {error}"))) from error
        _bound(error)
        raise
    except OSError as error:
        if error.errno not in _OF_CONTENT:
            raise
        raise kind(_of_parser(op, shown, error)) from error
    except Exception as error:
        if isinstance(error, TypeError) and str(error).startswith(f"[{op}] got "):
            raise
        raise kind(_of_parser(op, shown, error)) from error


def _of_parser(op: str, shown: object, error: Exception) -> str:
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, RecursionError):
        said = "its parts are nested too deeply"
    return shortened(printable(f"[{op}] '{shown}' is damaged, or no such file: {said}"))


def _bound(error: Exception) -> None:
    """Limits the text of an error, in place, so that its class and attributes stay."""
    text = str(error)
    bounded = shortened(printable(text))
    if bounded != text:
        error.args = (bounded,)
