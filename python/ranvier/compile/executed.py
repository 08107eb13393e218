"""Executed: which of the user's code a recording runs, and which C functions that code calls.

The library's own code is not noted: its classes declare what a step may depend on (`walk.py`).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # its getsignal makes no enumerations
import dis
import functools
import gc
import signal
import sys
from _thread import _local as local  # as in autograd/mode.py
from dataclasses import dataclass
from types import CodeType
from typing import Any

from ranvier.autograd.recording import place
from ranvier.compile.kinds import NUMPY, PACKAGE, PURE_FILES, is_listed, is_pythons

# NumPy's modules in Python whose functions depend on their arguments alone, but for those of its settings.
_NUMPY_FILES = tuple(NUMPY + part for part in ("_core", "lib", "linalg", "__init__.py"))
_NUMPY_SETTINGS = (
    "_ufunc_config.py", "arrayprint.py", "printoptions.py", "_npyio_impl.py", "_format_impl.py",
)  # fmt: skip
_SIGNALS = signal.valid_signals()
# Methods of the library that read all of an object's settings.
_SHOW_ALL = frozenset({"__repr__", "__str__", "__format__", "__getstate__", "__reduce__", "__reduce_ex__"})
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")
# Names with which attributes are looked up whose names are not in the code.
_DYNAMIC = frozenset(
    {
        "getattr", "setattr", "delattr", "hasattr", "vars", "dir", "__dict__", "__getattribute__",
        "__match_args__", "asdict", "astuple", "replace", "fields", "format", "format_map",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Names:
    """The names in code: global variables, all (attributes and modules too), and texts."""

    variables: frozenset[str]
    names: frozenset[str]
    texts: frozenset[str]
    keywords: frozenset[str]  # of calls
    catches: bool  # whether it has `try` or `with`

    @property
    def dynamic(self) -> bool:
        """Whether attributes are looked up whose names are not in the code."""
        return bool(_DYNAMIC & self.names)


@functools.lru_cache(maxsize=4096)
def names_of(code: CodeType) -> Names:
    """The names of a code object, and of all that are equal: those of a notebook's cell that is run again."""
    constants, steps = code.co_consts, [*dis.get_instructions(code)]
    matches = ["__match_args__" for step in steps if step.opname == "MATCH_CLASS"]
    keywords = [name for c in constants if isinstance(c, tuple) for name in c if isinstance(name, str)]
    return Names(
        frozenset([step.argval for step in steps if step.opname in _LOADS]),
        frozenset(
            [*code.co_names, *[p for name in code.co_names for p in name.split(".")], *matches, *keywords]
        ),
        frozenset([c for c in constants if isinstance(c, str)]),
        frozenset(keywords),
        bool(getattr(code, "co_exceptiontable", b"?")),  # Python 3.10 does not tell
    )


def inner_of(code: CodeType) -> list[CodeType]:
    """The code inside a code object itself, not inside an equal one."""
    return [c for c in code.co_consts if isinstance(c, CodeType)]


class _Local(local):
    executed: Executed | None = None  # of this thread


_local = _Local()


def _collect(phase: str, info: object) -> None:
    """Tells the recording of this thread that the garbage collector runs, or has run."""
    if _local.executed is not None:
        _local.executed.collects = phase == "start"


# A signal that comes while the collector runs would be handled in the callback, where what its handler raises
# is lost: Ctrl-C. So the callback is there while a step is recorded. Without a GIL, where the collector may
# read the list in another thread, it is there for good.
_FOR_GOOD = not getattr(sys, "_is_gil_enabled", lambda: True)()
if _FOR_GOOD:
    gc.callbacks.insert(0, _collect)


class Executed:
    """Notes the code that is entered in a ``with`` block, and why it cannot be replayed.

    Attributes:
        codes: by id, the user's code that ran and its global variables.
        library: by id, code of the library that ran.
        dynamic: whether a function was called that looks up attributes, under whatever name.
        fault: the first call of a function of which nothing is known, or "".
    """

    def __init__(self, has_arrays: bool = False) -> None:
        self.codes: dict[int, tuple[CodeType, dict[str, Any]]] = {}
        self.library: dict[int, CodeType] = {}
        self.dynamic = False
        self.fault = ""
        self.collects = False  # whether the garbage collector runs: what it calls is no part of the step
        self._has_arrays = has_arrays  # whether arrays of NumPy are among the arguments
        self._ignored: Any = None  # a frame which is no part of the step, with all that it calls

    @property
    def ignores(self) -> bool:
        """Whether an import runs, or what a signal or the garbage collector calls: no part of the step."""
        return self._ignored is not None or self.collects

    def include(self, other: Executed) -> bool:
        """Whether another run of the step has run no other code."""
        covered = self.dynamic >= other.dynamic and other.library.keys() <= self.library.keys()
        return covered and all(
            key in self.codes and self.codes[key][1] is space for key, (_, space) in other.codes.items()
        )

    def add(self, other: Executed) -> None:
        """Takes in what another run of the step has read."""
        self.codes.update(other.codes)
        self.library.update(other.library)
        self.dynamic |= other.dynamic

    def __enter__(self) -> Executed:
        if not _FOR_GOOD:
            gc.callbacks.insert(0, _collect)
        handlers = [*gc.callbacks, *[_signal.getsignal(number) for number in _SIGNALS]]
        self._handlers = {id(h.__code__) for h in handlers if hasattr(h, "__code__")}
        self._outer, _local.executed = _local.executed, self
        self._before = sys.getprofile()
        sys.setprofile(self._event)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        before: Any = self._before
        if hasattr(before, "enable"):  # cProfile's, which is no Python function
            before.enable()
        elif self._before is not None:
            sys.setprofile(self._before)
        self._ignored = None
        _local.executed = self._outer
        if not _FOR_GOOD and _collect in gc.callbacks:  # the step may have cleared the list
            gc.callbacks.remove(_collect)

    def _event(self, frame: Any, kind: str, arg: Any) -> None:
        code = frame.f_code
        key = id(code)
        if kind == "call":
            if (
                key not in self.library
                and key not in self.codes
                and self._ignored is None
                and not self.collects
            ):
                self._enter(frame, code)
        elif kind == "return":
            if frame is self._ignored:
                self._ignored = None
        elif kind == "c_call" and key in self.codes and self._ignored is None and not self.fault:
            self._call(arg)

    def _enter(self, frame: Any, code: CodeType) -> None:
        """Notes code that runs for the first time, by whose it is: the library's, Python's or the user's."""
        file = code.co_filename
        by_user = frame.f_back is not None and id(frame.f_back.f_code) in self.codes
        module = str(frame.f_globals.get("__name__", ""))
        made = file == "<string>" and module.startswith(("ranvier.", "namedtuple_"))
        if made or file.startswith(PACKAGE):
            if code.co_name not in _SHOW_ALL:
                self.library[id(code)] = code
            elif by_user or not frame.f_back.f_code.co_filename.startswith(PACKAGE):
                self._refuse(f"asks for all settings of an object of the library ({code.co_name})")
        elif file.startswith("<frozen importlib") or id(code) in self._handlers:
            self._ignored = frame  # an import, or what a signal or the garbage collector calls
        elif file in PURE_FILES:
            self.library[id(code)] = code
        elif file.startswith(NUMPY) or is_pythons(file):
            numpy = file.startswith(_NUMPY_FILES)
            caller = "" if frame.f_back is None else frame.f_back.f_code.co_filename
            by_user = by_user or caller in PURE_FILES
            if by_user and (not numpy or file.endswith(_NUMPY_SETTINGS)):
                module = frame.f_globals.get("__name__", "?")
                self._refuse(f"calls {module}.{code.co_name}")
        else:
            self.codes[id(code)] = code, frame.f_globals

    def _call(self, function: Any) -> None:
        """A C function that the user's code calls: refused unless its result depends on arguments alone."""
        module = getattr(function, "__module__", None)
        self.dynamic |= getattr(function, "__name__", "") in _DYNAMIC
        # These may read the elements of a watched array by C alone, of which it notices nothing.
        reads_unseen = self._has_arrays and (module == "numpy" or function.__name__ in ("extend", "join"))
        if reads_unseen or not is_listed(function):
            owner = getattr(function, "__self__", None)
            kind = owner if isinstance(owner, type) else type(owner)
            of_class = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
            where = module or ("" if owner is None else of_class)
            self._refuse(f"calls {where}.{function.__name__}".replace(" builtins.", " "))

    def _refuse(self, what: str) -> None:
        if not self.fault:
            self.fault = (
                f"the step {what} at {place()}, whose effect or result a replay would not "
                "repeat; call it outside the step and pass what it gives as an argument"
            )


def looks_at_class(function: Any) -> bool:
    """Whether a function's own code names `type`: an array of NumPy is of another class in a recording."""
    codes = [code for code in [getattr(function, "__code__", None)] if code is not None]
    for code in codes:  # grows: with the code inside
        codes += inner_of(code)
    return any("type" in names_of(code).names for code in codes)
