"""Finds the code that a recorded run enters, and the names in that code.

While a `TracedCode` is entered, the core tells it of each function that begins and each C function that the
user's code calls, at the first call. The table in `origins.py` says, by the origin of the code, whether
`TracedCode` notes it or refuses the step, so that it runs eagerly. `Names` holds the names in a code object,
by which `walk.py` finds the values that the code may have read.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # its getsignal makes no enumerations
import dis
import functools
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import ranvier._core as _core
from ranvier.compile.guarding import origins
from ranvier.compile.guarding.capturable import HIDDEN, is_listed
from ranvier.compile.guarding.dynamic_names import unwatch, watch
from ranvier.compile.guarding.origins import IMPORT, LIBRARY, PACKAGE, USER, origin_of, rule_of
from ranvier.observe import place

_SIGNALS = signal.valid_signals()
# What `_enter` returns (Entered in cpp/bindings/replay/code_watch.cpp): the code is never asked about again;
# it is the user's; it may catch exceptions; its frame is no part of the step.
_NOTED = 1
_USER = 2
_CATCHES = 4
_IGNORED = 8
# Names of instructions of all versions of Python: access to global variables, loads of variables, access to
# attributes, and (_LOADED) all loads by name.
_VARIABLES = ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")
_LOADS: tuple[str, ...] = (*_VARIABLES, "LOAD_DEREF", "LOAD_CLASSDEREF")
_LOADS += ("LOAD_FROM_DICT_OR_DEREF", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR")
_LOADED = (*_LOADS, *_ATTRIBUTES[:2], _ATTRIBUTES[-1], "IMPORT_FROM")
# Functions that look up, or store, a name which need not stand in the code.
_AT_RUN_TIME = frozenset(
    {"getattr", "setattr", "hasattr", "delattr", "vars", "dir", "globals", "locals", "eval", "exec", "format",
     "format_map", "__import__"}
)  # fmt: skip


class Names:
    """The names in the bytecode of one code object.

    Attributes:
        variables: global variables.
        names: global variables, attributes and modules together.
        imports: modules that the code itself imports.
        texts: strings among the constants.
        after: (name, attribute) pairs: a variable or attribute that is loaded to load an attribute of it.
        alone: variables and attributes that are loaded for another purpose than that.
        catches: whether the code has `try` or `with`.
        passed: names that are loaded for another purpose than to be called at once.
        hidden: names that look into Python's own objects, except those that guards on all attributes cover.
        before_grad: for each use of an attribute `grad` the variable and attributes before it, as in
            ("rv", "autograd"); () where it is not loaded from a global variable.
    """

    def __init__(self, code: CodeType) -> None:
        steps = [*dis.get_instructions(code)]
        tuples = [c for c in code.co_consts if isinstance(c, tuple)]
        constants = [name for c in tuples for name in c if isinstance(name, str)]
        # of each `case Class(...)` the number of positional patterns, for which __match_args__ is read
        matches = [step.arg for step in steps if step.opname == "MATCH_CLASS"]
        looks = {"__instancecheck__", *constants} if matches else set()
        looks |= {"__match_args__"} if any(matches) else set()
        self.names = looks.union(*[(name, *name.split(".")) for name in code.co_names])
        self.variables = {step.argval for step in steps if step.opname in _VARIABLES}
        self.texts = {c for c in code.co_consts if isinstance(c, str)}
        self.catches = bool(getattr(code, "co_exceptiontable", b"?"))  # Python 3.10 has no table: assume yes
        loaded = [(i, step.argval) for i, step in enumerate(steps) if step.opname in _LOADED]
        self.passed = {name for i, name in loaded if not _is_called(steps, i)}
        self.hidden = (self.names & HIDDEN) - _covered(code, steps)
        uses = [i for i, step in enumerate(steps) if step.opname in _ATTRIBUTES and step.argval == "grad"]
        self.before_grad = [_path_before(steps, i) for i in uses]
        if "grad" in looks:
            self.before_grad.append(())
        self.imports: set[str] = set()
        self.after: set[tuple[str, str]] = set()
        self.alone: set[str] = set()
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if step.opname == "IMPORT_NAME":
                parts = step.argval.split(".")
                self.imports.update(".".join(parts[: i + 1]) for i in range(len(parts)))
            elif step.opname == "IMPORT_FROM":
                self.imports.update([f"{path}.{step.argval}".lstrip(".") for path in self.imports])
            elif step.opname in _LOADS or step.opname in _ATTRIBUTES[:2]:
                if following is not None and following.opname in _ATTRIBUTES:
                    self.after.add((step.argval, following.argval))
                else:
                    self.alone.add(step.argval)


@functools.lru_cache(maxsize=4096)
def names_of(code: CodeType) -> Names:
    """The `Names` of a code object. Equal code objects share them, as when a notebook's cell is run again."""
    return Names(code)


def _is_called(steps: list[Any], i: int) -> bool:
    """True if the instruction steps[i] loads a function that is called with the arguments loaded after it.

    The mark for that (PUSH_NULL, or the lowest bit of `arg`) depends on Python's version. Python 3.10 has it
    for methods only; for other functions the answer is then False.
    """
    step = steps[i]
    after = steps[i + 1 : i + 2]
    if step.opname == "LOAD_METHOD" or (after and after[0].opname == "PUSH_NULL"):
        return True
    if step.opname == "LOAD_GLOBAL":
        return sys.version_info >= (3, 11) and bool(step.arg & 1)
    if step.opname not in ("LOAD_ATTR", "LOAD_SUPER_ATTR"):
        return False
    bound = sys.version_info >= (3, 12) and bool(step.arg & 1)
    after_load = i > 0 and steps[i - 1].opname in ("LOAD_GLOBAL", "LOAD_ATTR")
    return bound or (after_load and _is_called(steps, i - 1))


def _path_before(steps: list[Any], i: int) -> tuple[str, ...]:
    """The global variable and its attributes whose attribute the instruction steps[i] loads, or ()."""
    path: list[str] = []
    while i > 0 and steps[i].opname in ("LOAD_ATTR", "LOAD_METHOD") and not steps[i].is_jump_target:
        i = i - 1
        path.insert(0, steps[i].argval)
    if steps[i].opname == "LOAD_GLOBAL":
        return tuple(path)
    return ()


def _covered(code: CodeType, steps: list[Any]) -> set[str]:
    """The hidden names that the code uses only in ways that guards cover.

    These are `function.__code__`, `self.__dict__`, and `super().__getattribute__(name)` in a class that looks
    up attributes in its own way.
    """
    own = {"self", *code.co_varnames[: min(code.co_argcount, 1)]}
    uses: dict[str, list[bool]] = {}
    for i, step in enumerate(steps):
        if step.argval in ("__code__", "__dict__", "__getattribute__") and step.opname in _ATTRIBUTES:
            before = steps[i - 1]
            if isinstance(before.argval, tuple):  # an instruction that loads two variables
                loaded = before.argval
            else:
                loaded = (before.argval,)
            of_self = before.opname.startswith(("LOAD_FAST", "LOAD_DEREF")) and loaded[-1] in own
            # Before Python 3.12 the call super() is among the last four instructions.
            loads = [(s.opname, s.argval) for s in steps[max(i - 4, 0) : i]]
            above = step.opname == "LOAD_SUPER_ATTR" or ("LOAD_GLOBAL", "super") in loads
            fits = {"__code__": True, "__dict__": of_self, "__getattribute__": above}
            uses.setdefault(step.argval, []).append(fits[step.argval])
    return {name for name, all_fit in uses.items() if all(all_fit)}


def inner_of(code: CodeType) -> list[CodeType]:
    """The code objects nested in `code`. Not cached by equality: callers use their ids."""
    return [c for c in code.co_consts if isinstance(c, CodeType)]


class TracedCode:
    """Notes the code that is entered in a ``with`` block, and why it cannot be replayed.

    The core (`_core.CodeWatch`) calls `_enter` for code that it does not know, `_catches` for frames that may
    catch an error, and `_calls` for C functions that the user's code calls.

    Attributes:
        codes: by id, the user's code that ran and its global variables.
        library: by id, code of the library that ran.
        called: by id, code of Python's library that code other than the user's has called.
        fault: the first reason why the run cannot be replayed, or "".
        asked: names of attributes that `getattr` and `hasattr` were asked for at run time.
        watched: names of the built-in functions that are replaced meanwhile to note `asked`
            (`dynamic_names.py`).
        reads_code: whether `inspect.signature` looked at functions.
    """

    def __init__(self, has_arrays: bool = False) -> None:
        """has_arrays: whether arrays of NumPy are among the arguments."""
        self.codes: dict[int, tuple[CodeType, dict[str, Any]]] = {}
        self.library: dict[int, CodeType] = {}
        self.called: dict[int, CodeType] = {}
        self.fault = ""
        self.asked: set[str] = set()
        self.watched: frozenset[str] = frozenset()
        self.reads_code = False
        self._has_arrays = has_arrays
        self._watch = _core.CodeWatch(PACKAGE)
        self._reads_names = False  # True while `_enter` reads the names in a code object
        self._traced = False  # whether a trace function looks for exceptions in the user's code

    @property
    def ignores(self) -> bool:
        """True while code runs that is no part of the step: an import, a signal handler, or the reading of
        names, in which `dis` asks for attributes by the watched `getattr`."""
        return self._reads_names or self._watch.ignores()

    def is_within(self, other: TracedCode, library_counts: bool) -> bool:
        """True if `other` has noted all that this one has, as far as a walk depends on it.

        library_counts: whether the walk depends on the names in all code of the library. Else it depends only
        on the library's functions that are closures.
        """
        names = self.asked <= other.asked and self.watched == other.watched
        code = self.codes.keys() <= other.codes.keys() and self.called.keys() <= other.called.keys()
        if not (names and code and self.reads_code <= other.reads_code):
            return False
        if library_counts:
            return self.library.keys() <= other.library.keys()
        return set(self.wrappers()) <= other.library.keys()

    def code(self) -> list[CodeType]:
        """All code that was noted."""
        return [*[code for code, _ in self.codes.values()], *self.library.values(), *self.called.values()]

    def wrappers(self) -> list[int]:
        """The ids of the code in `library` on which a walk depends: all but the library's own functions that
        are no closures."""
        return [key for key, code in self.library.items() if not _is_no_closure_of_library(code)]

    def __enter__(self) -> TracedCode:
        # Code that the garbage collector calls would be noted, too, so it waits until the step has ended.
        self._pause = without_collections()
        self._pause.__enter__()
        self._before = sys.getprofile()
        self._handlers = _handlers_of_signals()  # before `watch`, which makes hasattr slower
        self.watched = watch(self)
        self._watch.begin(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._watch.end()
        unwatch(self)
        for code in self._watch.library():
            self.library[id(code)] = code
        if self._traced:
            sys.settrace(None)
        before: Any = self._before
        if hasattr(before, "enable"):  # a profiler of cProfile, which sys.setprofile does not accept
            before.enable()
        elif self._before is not None:
            sys.setprofile(self._before)
        self._pause.__exit__(None, None, None)

    def _enter(self, code: CodeType, variables: dict[str, Any], caller: FrameType | None) -> int:
        """Notes code that is not known yet, by the table in `origins.py`.

        variables: its globals. caller: the frame that has called it.
        Returns the sum of the flags below, by which the core knows what to do with further calls of the code.
        """
        origin, module = _origin(code, variables)
        if origin == USER and code in self._handlers:  # a signal handler is ignored like an import
            origin = IMPORT
        refused_from, noted = rule_of(origin, module, code.co_name)
        if refused_from and caller is not None:
            callers_origin, _ = _origin(caller.f_code, caller.f_globals)
            if callers_origin in refused_from:
                all_settings = f"asks for all settings of an object of the library ({code.co_name})"
                self.refuse(all_settings if origin == LIBRARY else f"calls {module}.{code.co_name}")
        if noted == origins.LOOKS:
            self.reads_code = True
            self.asked |= {"__signature__", "__wrapped__"}
        if noted == origins.READ:
            self.codes[id(code)] = code, variables
            self._reads_names = True
            catches = names_of(code).catches
            self._reads_names = False
            if catches:
                return _NOTED + _USER + _CATCHES
            return _NOTED + _USER
        if noted == origins.IGNORED:
            return _IGNORED
        if noted == origins.CALLED:
            self.called[id(code)] = code
            return 0
        if noted == origins.NOTHING:
            return 0
        self.library[id(code)] = code
        return _NOTED

    def _catches(self, frame: FrameType) -> None:
        """Traces the exceptions that come to a frame of the user's; not if a debugger already traces it."""
        if not self._traced and sys.gettrace() is None:
            self._traced = True
            sys.settrace(lambda frame, event, arg: None)
        if self._traced:
            frame.f_trace = self._raised
            frame.f_trace_lines = False

    def _raised(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The trace function of a frame: refuses a step that catches an error of the library.

        Whether the error occurs may depend on values, and a replay always takes the recorded path.
        """
        trace = arg[2] if event == "exception" else None
        while trace is not None and not self.fault:
            if trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
                where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                self.fault = (
                    f"the step catches an error of the library ({arg[0].__name__}) at {where}, which may "
                    "depend on values; test them outside the step"
                )
            trace = trace.tb_next
        return self._raised

    def _calls(self, function: Callable[..., Any]) -> None:
        """Refuses a C function that the user's code calls, unless its result depends on arguments alone.

        Further calls of the function pass unasked.
        """
        if self.fault:
            return
        module = getattr(function, "__module__", None)
        name = function.__name__
        # These may read the elements of an array in C, which `Watched` (`step_arguments.py`) does not notice.
        reads_unseen = self._has_arrays and (module == "numpy" or name in ("extend", "join"))
        if reads_unseen or not is_listed(function):
            owner = getattr(function, "__self__", None)
            kind = owner if isinstance(owner, type) else type(owner)
            of_class = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
            where = module or ("" if owner is None else of_class)
            self.refuse(f"calls {where}.{name}".replace(" builtins.", " "), name in _AT_RUN_TIME)

    def refuse(self, what: str, at_run_time: bool = False) -> None:
        """at_run_time: the step looks up, or stores, a name made at run time that no guard compares."""
        if self.fault:
            return
        why = "whose effect or result a replay would not repeat; call it outside the step and pass its result"
        if at_run_time:
            why = "by a name that is made at run time, which no guard compares; write the name in the code"
        self.fault = f"the step {what} at {place()}, {why}"


@contextmanager
def without_collections() -> Iterator[None]:
    """A block in which the garbage collector does not start by itself."""
    thresholds = gc.get_threshold()
    gc.set_threshold(0)
    try:
        yield
    finally:
        if gc.get_threshold()[0] == 0:  # else the step itself has set the thresholds
            gc.set_threshold(*thresholds)


def _handlers_of_signals() -> set[CodeType]:
    """The code of the functions that handle signals."""
    handlers = [_signal.getsignal(number) for number in _SIGNALS]
    return {handler.__code__ for handler in handlers if hasattr(handler, "__code__")}


def _is_no_closure_of_library(code: CodeType) -> bool:
    return not code.co_freevars and code.co_filename.startswith(PACKAGE)


def _origin(code: CodeType, variables: dict[str, Any]) -> tuple[int, str]:
    """The origin of code (see `origin_of`), and its module. variables: its globals."""
    module = str(variables.get("__name__", "?"))
    return origin_of(code.co_filename, module), module


def looks_at_class(function: Callable[..., Any]) -> bool:
    """True if a function's own code names `type`: in a recording an array of NumPy has another class
    (`Watched` in `step_arguments.py`), so that the step would not do the same."""
    codes = [code for code in [getattr(function, "__code__", None)] if code is not None]
    for code in codes:  # grows: with the code inside
        codes += inner_of(code)
    return any("type" in names_of(code).names for code in codes)
