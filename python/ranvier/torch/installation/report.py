"""`python -m ranvier.torch --report`: prints which missing names were asked for, and which calls ran in
NumPy."""

from __future__ import annotations

import atexit
import os
import sys
from collections import Counter
from types import FrameType
from typing import TypeVar

from ranvier.observe import Observer

_Error = TypeVar("_Error", bound=BaseException)
_missing: dict[str, tuple[BaseException, str]] | None = None
_calls: Counter[str] = Counter()
_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def missing(error: _Error, name: str) -> _Error:
    """Returns the error for a missing name; a report notes the name and who asked for it first.

    `finder.py` and `torch_ops.py` call it for each such error that they raise.
    """
    if _missing is not None and name not in _missing:
        asker = sys._getframe(1)
        while asker.f_back is not None and _is_inner(asker):
            asker = asker.f_back
        _missing[name] = error, f"{asker.f_code.co_filename}:{asker.f_lineno}"
    return error


def start() -> None:
    """Prints the report when the process ends."""
    global _missing
    if _missing is None:
        _missing = {}
        _Counter().__enter__()  # it is not left: it counts until the process ends
        atexit.register(_print)


def _is_inner(frame: FrameType) -> bool:
    """True if a frame belongs to this folder or to Python's import system."""
    file = frame.f_code.co_filename
    return file.startswith((_HERE, "<frozen importlib"))


def _is_probed(error: BaseException) -> bool:
    """True if the program handled the error where it asked (hasattr, getattr, try)."""
    traceback = error.__traceback__
    seen = 0
    while traceback is not None:
        seen += not _is_inner(traceback.tb_frame)
        traceback = traceback.tb_next
    return seen < 2  # only the frame that asked: the error did not leave it


class _Counter(Observer):
    """Counts the calls that operations make in NumPy, by the function that makes them."""

    everywhere = allows_replays = True  # it counts on all threads, and does not stop replays

    def hosted(self, caller: FrameType) -> None:
        code = caller.f_code
        name = getattr(code, "co_qualname", code.co_name)
        _calls[f"{os.path.basename(code.co_filename)[:-3]}.{name}"] += 1


def _print() -> None:
    found = _missing or {}
    probed = sorted(name for name, (error, _) in found.items() if _is_probed(error))
    lines = [f"  {name}  {place}" for name, (_, place) in sorted(found.items()) if name not in probed]
    print("names that ranvier does not have:", *(lines or ["  none"]), sep="\n", file=sys.stderr)
    if probed:
        print("and names that the program only looked for:", *probed, sep="\n  ", file=sys.stderr)
    calls = [f"  {count:8} {name}" for name, count in _calls.most_common(20)]
    print("calls that ran in NumPy:", *(calls or ["  none"]), sep="\n", file=sys.stderr)
