"""Finds the code that a recorded run enters, and the names in that code.

`TracedCode` is called through ``sys.setprofile`` for each function that begins and each C function that is
called. The table in `origins.py` says, by the origin of the code, whether `TracedCode` notes it or refuses
the step, so that it runs eagerly. `Names` holds the names in a code object, by which `walk.py` finds the
values that the code may have read.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # its getsignal makes no enumerations
import dis
import functools
import gc
import signal
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

from ranvier.compile.guarding import origins
from ranvier.compile.guarding.capturable import HIDDEN, is_listed
from ranvier.compile.guarding.dynamic_names import unwatch, watch
from ranvier.compile.guarding.origins import IMPORT, LIBRARY, PACKAGE, origin_of, rule_of
from ranvier.observe import place

_SIGNALS = signal.valid_signals()
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
        sorts: whether the code passes an argument named `key`, as to sorted.
        hidden: names that look into Python's own objects, except those that guards on all attributes cover.
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
        self.sorts = "key" in constants or "key" in code.co_consts
        self.hidden = (self.names & HIDDEN) - _covered(code, steps)
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

    Attributes:
        codes: by id, the user's code that ran and its global variables.
        library: by id, code of the library that ran.
        called: ids of C functions that code other than the user's has called, and of code of Python's library
            that it has called.
        calls_back: whether `iter` got a function, which its iterator then calls from C.
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
        self.called: set[int] = set()
        self.calls_back = False
        self.fault = ""
        self.asked: set[str] = set()
        self.watched: frozenset[str] = frozenset()
        self.reads_code = False
        self._has_arrays = has_arrays
        self._ignored: Any = None  # a running frame that, with all its calls, is no part of the step
        self._catching: set[int] = set()  # ids of the user's code that may catch an exception
        self._traced = False  # whether a trace function looks for exceptions in that code

    @property
    def ignores(self) -> bool:
        """True while an import or a signal handler runs, which is no part of the step."""
        return self._ignored is not None

    def __enter__(self) -> TracedCode:
        # Code that the garbage collector calls would be noted, too, so it waits until the step has ended.
        self._thresholds = gc.get_threshold()
        gc.set_threshold(0)
        handlers = map(_signal.getsignal, _SIGNALS)
        self._handlers = {id(h.__code__) for h in handlers if hasattr(h, "__code__")}
        self._before = sys.getprofile()
        self.watched = watch(self)
        sys.setprofile(self._event)
        return self

    def __exit__(self, *error: object) -> None:
        sys.setprofile(None)
        unwatch(self)
        if self._traced:
            sys.settrace(None)
        before: Any = self._before
        if hasattr(before, "enable"):  # a profiler of cProfile, which sys.setprofile does not accept
            before.enable()
        elif self._before is not None:
            sys.setprofile(self._before)
        self._ignored = None
        if gc.get_threshold()[0] == 0:  # else the step itself has set the thresholds
            gc.set_threshold(*self._thresholds)

    def _event(self, frame: FrameType, kind: str, arg: Any) -> None:
        code = frame.f_code
        key = id(code)
        if kind == "call":
            if key not in self.library and key not in self.codes and self._ignored is None:
                self._enter(frame, code)
            if key in self._catching:
                self._watch(frame)
        elif kind == "return":
            if frame is self._ignored:
                self._ignored = None
        elif kind == "c_call" and self._ignored is None:
            if key not in self.codes:
                self.called.add(id(arg))
            elif not self.fault:
                self._call(arg)
                # The argument of the call instruction is the number of arguments. iter(function, sentinel)
                # has two, and calls the function from C.
                self.calls_back |= arg is iter and code.co_code[frame.f_lasti + 1] != 1

    def _enter(self, frame: FrameType, code: CodeType) -> None:
        """Notes code that runs for the first time, by the table in `origins.py`."""
        origin, module = _origin(frame)
        if id(code) in self._handlers and origin != LIBRARY:  # a signal handler is ignored like an import
            origin = IMPORT
        refused_from, noted = rule_of(origin, module, code.co_name)
        if frame.f_back is not None and _origin(frame.f_back)[0] in refused_from:
            all_settings = f"asks for all settings of an object of the library ({code.co_name})"
            self.refuse(all_settings if origin == LIBRARY else f"calls {module}.{code.co_name}")
        if noted == origins.READ:
            self.codes[id(code)] = code, frame.f_globals
            self._ignored = frame  # so that calls which `names_of` makes in `dis` are not noted
            if names_of(code).catches:
                self._catching.add(id(code))
            self._ignored = None
        elif noted == origins.IGNORED:
            self._ignored = frame
        elif noted == origins.CALLED:
            self.called.add(id(code))
        elif noted != origins.NOTHING:
            self.library[id(code)] = code
        if noted == origins.LOOKS:
            self.reads_code = True
            self.asked |= {"__signature__", "__wrapped__"}

    def _watch(self, frame: FrameType) -> None:
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

    def _call(self, function: Callable[..., Any]) -> None:
        """Refuses a C function that the user's code calls, unless its result depends on arguments alone."""
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


def _origin(frame: FrameType) -> tuple[int, str]:
    """The origin of the code that a frame runs (see `origin_of`), and its module."""
    module = str(frame.f_globals.get("__name__", "?"))
    return origin_of(frame.f_code.co_filename, module), module


def looks_at_class(function: Callable[..., Any]) -> bool:
    """True if a function's own code names `type`: in a recording an array of NumPy has another class
    (`Watched` in `step_arguments.py`), so that the step would not do the same."""
    codes = [code for code in [getattr(function, "__code__", None)] if code is not None]
    for code in codes:  # grows: with the code inside
        codes += inner_of(code)
    return any("type" in names_of(code).names for code in codes)
