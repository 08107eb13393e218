"""Finds the code that a recorded run enters, and the names in that code.

`Executed` is called through ``sys.setprofile`` for each function that begins and each C function that is
called. By the table in `origins.py` it notes the code, or refuses the step. `Names` are the names in a code
object, by which `walk.py` finds what the code may have read.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # its getsignal makes no enumerations
import dis
import functools
import gc
import signal
import sys
from types import CodeType
from typing import Any

from ranvier.compile import origins
from ranvier.compile.capturable import HIDDEN, is_listed
from ranvier.compile.looked_up import unwatch, watch
from ranvier.compile.origins import IMPORT, LIBRARY, PACKAGE, origin_of, rule_of
from ranvier.observe import place

_SIGNALS = signal.valid_signals()
_VARIABLES = ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL")
_LOADS: tuple[str, ...] = (*_VARIABLES, "LOAD_DEREF", "LOAD_CLASSDEREF")
_LOADS += ("LOAD_FROM_DICT_OR_DEREF", "LOAD_FROM_DICT_OR_GLOBALS")
_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR")
_LOADED = (*_LOADS, *_ATTRIBUTES[:2], _ATTRIBUTES[-1], "IMPORT_FROM")
_AT_RUN_TIME = frozenset(
    {"getattr", "setattr", "hasattr", "delattr", "vars", "dir", "globals", "locals", "eval", "exec", "format",
     "format_map", "__import__"}
)  # fmt: skip


class Names:
    """The names in code.

    Attributes:
        variables: global variables.
        names: all others too, of attributes and modules.
        imports: modules that are imported inside.
        texts: strings.
        after: (name, attribute), where a variable or an attribute is loaded, and then an attribute of it.
        alone: variables and attributes that are loaded, and used otherwise than for one of their attributes.
        catches: whether it has `try` or `with`.
        passed: names that are loaded otherwise than to be called at once.
        sorts: whether a call names `key`, as that of sorted.
        hidden: names that look into Python's own objects, but for those that guards on all attributes cover.
    """

    def __init__(self, code: CodeType) -> None:
        steps = [*dis.get_instructions(code)]
        tuples = [c for c in code.co_consts if isinstance(c, tuple)]
        constants = [name for c in tuples for name in c if isinstance(name, str)]
        matches = [
            step.arg for step in steps if step.opname == "MATCH_CLASS"
        ]  # each: patterns without a name
        looks = {"__instancecheck__", *constants} if matches else set()
        looks |= {"__match_args__"} if any(matches) else set()
        self.names = looks.union(*[(name, *name.split(".")) for name in code.co_names])
        self.variables = {step.argval for step in steps if step.opname in _VARIABLES}
        self.texts = {c for c in code.co_consts if isinstance(c, str)}
        self.catches = bool(getattr(code, "co_exceptiontable", b"?"))  # Python 3.10 does not tell
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
    """The names of a code object, and of all that are equal: those of a notebook's cell that is run again."""
    return Names(code)


def _is_called(steps: list[Any], i: int) -> bool:
    """True if an instruction loads what is called with the arguments that follow; in Python 3.10 this can
    be seen of methods only."""
    step, after = steps[i], steps[i + 1 : i + 2]
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
    """The hidden names that are used only in ways that guards cover: `function.__code__`,
    `self.__dict__`, and `super().__getattribute__(name)` where a class looks attributes up in its own way."""
    own = {"self", *code.co_varnames[: min(code.co_argcount, 1)]}
    uses: dict[str, list[bool]] = {}
    for i, step in enumerate(steps):
        if step.argval in ("__code__", "__dict__", "__getattribute__") and step.opname in _ATTRIBUTES:
            before = steps[i - 1]
            loaded = before.argval if isinstance(before.argval, tuple) else (before.argval,)
            of_self = before.opname.startswith(("LOAD_FAST", "LOAD_DEREF")) and loaded[-1] in own
            above = step.opname == "LOAD_SUPER_ATTR" or any(
                s.opname == "LOAD_GLOBAL" and s.argval == "super" for s in steps[max(i - 4, 0) : i]
            )
            fits = {"__code__": True, "__dict__": of_self, "__getattribute__": above}
            uses.setdefault(step.argval, []).append(fits[step.argval])
    return {name for name, all_fit in uses.items() if all(all_fit)}


def inner_of(code: CodeType) -> list[CodeType]:
    """The code inside a code object itself, not inside an equal one."""
    return [c for c in code.co_consts if isinstance(c, CodeType)]


class Executed:
    """Notes the code that is entered in a ``with`` block, and why it cannot be replayed.

    Attributes:
        codes: by id, the user's code that ran and its global variables.
        library: by id, code of the library that ran.
        called: ids of functions made in C, and of code of Python's library, that code of others has called.
        calls_back: whether `iter` got a function.
        fault: the first call of a function of which nothing is known, or "".
        asked: names made at run time, of attributes that `getattr` and `hasattr` were asked for.
        watched: the built-in functions that note these.
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
        self._ignored: Any = None  # a frame which is no part of the step, with all that it calls
        self._catching: set[int] = set()  # ids of the user's code that may catch an exception
        self._traced = False  # whether a trace function looks for these

    @property
    def ignores(self) -> bool:
        """True if an import runs, or what a signal calls: no part of the step."""
        return self._ignored is not None

    def __enter__(self) -> Executed:
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
        if hasattr(before, "enable"):  # cProfile's, which is no Python function
            before.enable()
        elif self._before is not None:
            sys.setprofile(self._before)
        self._ignored = None
        if gc.get_threshold()[0] == 0:  # else the step has set it
            gc.set_threshold(*self._thresholds)

    def _event(self, frame: Any, kind: str, arg: Any) -> None:
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
                # the instruction has the number of arguments: a second one is where a function's results end
                self.calls_back |= arg is iter and code.co_code[frame.f_lasti + 1] != 1

    def _enter(self, frame: Any, code: CodeType) -> None:
        """Notes code that runs for the first time, by the table in `origins.py`."""
        origin, module = _origin(frame)
        if id(code) in self._handlers and origin != LIBRARY:  # what a signal calls
            origin = IMPORT
        refused_from, noted = rule_of(origin, module, code.co_name)
        if frame.f_back is not None and _origin(frame.f_back)[0] in refused_from:
            all_settings = f"asks for all settings of an object of the library ({code.co_name})"
            self.refuse(all_settings if origin == LIBRARY else f"calls {module}.{code.co_name}")
        if noted == origins.READ:
            self.codes[id(code)] = code, frame.f_globals
            self._ignored = frame  # also what `dis` looks up
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

    def _watch(self, frame: Any) -> None:
        """Looks for exceptions that come to a frame of the user's; not where a debugger traces the step."""
        if not self._traced and sys.gettrace() is None:
            self._traced = True
            sys.settrace(lambda frame, event, arg: None)
        if self._traced:
            frame.f_trace, frame.f_trace_lines = self._raised, False

    def _raised(self, frame: Any, event: str, arg: Any) -> Any:
        """Refuses a step that catches an error of the library: it may depend on values, of which a replay
        would not take the same path."""
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

    def _call(self, function: Any) -> None:
        """A C function that the user's code calls: refused unless its result depends on arguments alone."""
        module, name = getattr(function, "__module__", None), function.__name__
        # These may read the elements of a watched array by C alone, of which it notices nothing.
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


def _origin(frame: Any) -> tuple[int, str]:
    """The origin of the code that a frame runs (see `origin_of`), and its module."""
    module = str(frame.f_globals.get("__name__", "?"))
    return origin_of(frame.f_code.co_filename, module), module


def looks_at_class(function: Any) -> bool:
    """True if a function's own code names `type`: an array of NumPy is of another class in a recording."""
    codes = [code for code in [getattr(function, "__code__", None)] if code is not None]
    for code in codes:  # grows: with the code inside
        codes += inner_of(code)
    return any("type" in names_of(code).names for code in codes)
