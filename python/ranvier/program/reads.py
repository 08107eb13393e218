"""Reads: which Python code a recording runs, and which C functions that code calls."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # its getsignal makes no enumerations
import contextlib
import copy
import dataclasses
import dis
import functools
import gc
import inspect
import os
import reprlib
import signal
import sys
import weakref
from _thread import _local as local  # as in autograd/mode.py
from dataclasses import dataclass
from types import CodeType
from typing import Any

import ranvier.program.pure as pure
from ranvier.autograd.recording import package, place
from ranvier.program.contents import NUMPY_SETTINGS
from ranvier.program.touches import Touches

_IMPORT = "<frozen importlib"
_IMPORTS = "_gcd_import"  # what importlib.import_module calls
_NUMPY = os.sep + "numpy" + os.sep
_GLOBALS = frozenset(
    {"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "STORE_NAME", "DELETE_NAME"}
)
# Layers and the training loop are read like user code; the rest of the library holds no settings.
_READ = tuple(package() + part + os.sep for part in ("nn", "train", os.path.join("optim", "lr_scheduler")))
_NOT_READ = package() + os.path.join("nn", "module.py")  # guards of modules: guards.py
_STANDARD = os.path.dirname(os.__file__) + os.sep
# Calls that change no result: which object is copied, and whether an ExitStack is entered while an exception
# is handled.
_HARMLESS = {
    (copy.deepcopy.__code__.co_filename, "id"),
    (contextlib.__file__, "sys.exc_info"),
    (reprlib.__file__, "id"),  # the repr of a dataclass, against endless nesting
    (reprlib.__file__, "_thread.get_ident"),
    (dataclasses.__file__, "id"),  # before Python 3.12
    (dataclasses.__file__, "_thread.get_ident"),
}
_SIGNALS = signal.valid_signals()
_WEAK = frozenset(
    container.__init__.__code__.co_filename
    for container in (weakref.WeakSet, weakref.WeakKeyDictionary, weakref.WeakValueDictionary)
)
# Names that look up attributes whose names are not in the code.
_DYNAMIC = frozenset(
    {
        "getattr", "setattr", "delattr", "hasattr", "vars", "dir", "__dict__", "__getattribute__",
        "__match_args__", "attrgetter", "methodcaller", "asdict", "astuple", "format", "format_map",
    }
)  # fmt: skip
# The library's inner code that a recording has met, which is not read: by id, and so kept.
_INNER: dict[int, CodeType] = {}
_CATCHING = frozenset({"CHECK_EXC_MATCH", "JUMP_IF_NOT_EXC_MATCH"})  # `except X`
_HANDLER = "PUSH_EXC_INFO"


@dataclass(frozen=True)
class Names:
    """The names that code loads or stores: global variables, attributes, imported modules; texts in it."""

    variables: frozenset[str]
    attributes: frozenset[str]
    imports: frozenset[tuple[str, int]]  # and how many folders up
    texts: frozenset[str]
    inner: tuple[CodeType, ...]
    catches: bool = False  # an AttributeError, perhaps

    @property
    def dynamic(self) -> bool:
        """Whether attributes are looked up whose names are not in the code."""
        return bool(_DYNAMIC & (self.variables | self.attributes))


@functools.lru_cache(maxsize=4096)
def names_of(code: CodeType) -> Names:
    """The names of one code object."""
    variables, attributes, imports = set(), set(), set()
    before: tuple[Any, Any] = None, None  # what the last two instructions load: level, names
    last, catches = "", False
    for step in dis.get_instructions(code):
        catches = catches or step.opname in _CATCHING or (last, step.opname) == (_HANDLER, "POP_TOP")
        last = step.opname
        if step.opname in _GLOBALS:
            variables.add(step.argval)
        elif step.opname == "IMPORT_NAME":
            imports.add((step.argval, before[0] if isinstance(before[0], int) else 0))
        elif step.opname == "MATCH_CLASS":
            attributes.add("__match_args__")
        elif step.opcode in dis.hasname:
            attributes.add(step.argval)
        before = before[1], step.argval
    constants = [c for c in code.co_consts if isinstance(c, (str, CodeType))]
    return Names(
        frozenset(variables),
        frozenset(attributes),
        frozenset(imports),
        frozenset(c for c in constants if isinstance(c, str)),
        tuple(c for c in constants if isinstance(c, CodeType)),
        not _is_standard(code) and (catches or "suppress" in variables | attributes),
    )


def absolute(name: str, level: int, parent: str | None) -> str:
    """The full name of a module that code in the package `parent` imports."""
    if level == 0 or not parent:
        return name
    return ".".join([*parent.split(".")[: len(parent.split(".")) - level + 1], *filter(None, [name])])


def is_read(code: CodeType) -> bool:
    """Whether what the code reads counts: all but the library's own inner layers and NumPy's."""
    name = code.co_filename
    if name.startswith(package()):
        return name.startswith(_READ) and name != _NOT_READ
    return _NUMPY not in name and not name.startswith(_IMPORT)


def _is_standard(code: CodeType) -> bool:
    return code.co_filename.startswith(_STANDARD) and "-packages" not in code.co_filename


def _code_of(function: Any) -> Any:
    """The code of a function, method, partial or callable object; None where it is C."""
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__code__") and not hasattr(function, "__func__"):
        function = type(function).__call__
    return getattr(getattr(function, "__func__", function), "__code__", None)


def _signal_handlers() -> list[Any]:
    return [handler for handler in map(_signal.getsignal, _SIGNALS) if callable(handler)]


def _is_removal(code: CodeType) -> bool:
    """Whether a weak set or dictionary calls this code when one of its objects is freed."""
    return code.co_filename in _WEAK and bool(code.co_flags & inspect.CO_NESTED)


class _Local(local):
    reads: Reads | None = None  # of this thread


_local = _Local()


def _collect(phase: str, info: object) -> None:
    """Tells the recording of this thread that the garbage collector runs, or has run."""
    if _local.reads is not None:
        _local.reads._collects = phase == "start"


# For good: without a GIL, the collector may read the list in another thread.
gc.callbacks.insert(0, _collect)


class Reads:
    """Notes the code that is entered in a ``with`` block, and the first C function that is not pure."""

    def __init__(self, touches: Touches | None = None) -> None:
        self.touches = touches
        self.codes: dict[int, tuple[CodeType, dict[str, Any]]] = {}  # by id: code and its global variables
        self.imported: set[str] = set()  # modules that importlib was asked for
        self.settings: set[str] = set()  # files of NumPy's functions for its settings that were entered
        self.fault = ""
        self._users: set[int] = set()  # codes that are not the library's
        self._other: set[int] = set()
        self._kept: list[CodeType] = []  # so that an id means one code object
        self._ignored: Any = None
        self._before: Any = None
        self._collects = (
            False  # whether the garbage collector runs in this thread: what it calls is no part of the step
        )
        self._others: set[int] = set()  # code that is called in between, by the collector or for a signal

    def include(self, other: Reads) -> bool:
        """Whether another run of the step has read nothing else."""
        return (
            all(
                key in self.codes and self.codes[key][1] is variables
                for key, (_, variables) in other.codes.items()
            )
            and other.imported <= self.imported
            and other.settings <= self.settings
        )

    def add(self, other: Reads) -> None:
        """Takes in what another run of the step has read."""
        self.codes.update(other.codes)
        self.imported |= other.imported
        self.settings |= other.settings

    def __enter__(self) -> Reads:
        self._others = {id(c) for c in map(_code_of, (*gc.callbacks, *_signal_handlers()))}
        self._outer, _local.reads = _local.reads, self
        self._before = sys.getprofile()
        sys.setprofile(self._events())
        return self

    def __exit__(self, *error: object) -> None:
        _local.reads = self._outer
        if hasattr(self._before, "enable"):  # cProfile's, which is no Python function
            sys.setprofile(None)
            self._before.enable()
        else:
            sys.setprofile(self._before)
        self._ignored = None

    def _events(self) -> Any:
        """The profile function: it runs some hundred times in a step."""
        codes, other, users, touches = self.codes, self._other, self._users, self.touches

        def event(frame: Any, kind: str, arg: Any) -> None:
            if kind == "call":
                key = id(frame.f_code)
                if key in _INNER or key in other or key in codes:
                    return
                if self._ignored is None and not self._collects:
                    self._enter(frame)
            elif kind == "return":
                if frame is self._ignored:
                    self._ignored = None
            elif kind == "c_call" and (touches is not None or id(frame.f_code) in users):
                if self._ignored is not None or self._collects:
                    return
                if touches is not None:
                    touches.called(arg)
                if id(frame.f_code) in users and not self.fault:
                    self._call(frame, arg)

        return event

    def _enter(self, frame: Any) -> None:
        code = frame.f_code
        key = id(code)
        if key in self._others or _is_removal(code):
            self._ignored = frame
            return
        # A module's code runs in its first import only. What the library itself uses of the standard library
        # does not depend on the step.
        if code.co_name == _IMPORTS and code.co_filename.startswith(_IMPORT):
            asked = frame.f_locals
            self.imported.add(absolute(asked["name"], asked["level"], asked["package"]))
        if code.co_filename.startswith(_IMPORT) or (
            _is_standard(code) and not self._is_called_by_reader(frame)
        ):
            self._ignored = frame
            return
        if is_read(code):
            self.codes[key] = code, frame.f_globals
            if not code.co_filename.startswith(package()):
                self._users.add(key)
            return
        if code.co_filename.startswith(package()):
            _INNER[key] = code
            return
        if _NUMPY in code.co_filename:
            self.settings |= NUMPY_SETTINGS.keys() & {os.path.basename(code.co_filename)}
        self._other.add(key)
        self._kept.append(code)

    def _is_called_by_reader(self, frame: Any) -> bool:
        return frame.f_back is None or id(frame.f_back.f_code) in self.codes

    def _call(self, frame: Any, function: Any) -> None:
        name = pure.refusal(function)
        if name and (frame.f_code.co_filename, name) not in _HARMLESS:
            self.fault = (
                f"the step calls {name} at {_users_place(frame)}, whose effect or result a replay would not "
                f"repeat; {_remedy(name)}"
            )


def _users_place(frame: Any) -> str:
    """File and line of the innermost call from outside Python's library and installed packages."""
    while frame is not None:
        file = frame.f_code.co_filename
        if not (file.startswith((package(), _STANDARD, "<")) or "-packages" in file):
            return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return place()


def _remedy(name: str) -> str:
    if name.split(".")[0] in ("_thread", "_queue", "lock"):
        return (
            "start threads, wait for them and ask about them outside the step: it runs on the calling thread"
        )
    return "call it outside the step and pass what it gives as an argument"
