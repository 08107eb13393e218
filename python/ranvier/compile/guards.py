"""Guards: values that a step has read, with the places where they were.

The core reads each place again before a replay, and compares. `Guards` has the guards of one step and
makes them; `walk.py` says of which values. A value that cannot be compared denies the step, which then
runs eagerly.
"""

from __future__ import annotations

import abc
import functools
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ranvier.compile.capturable import CONTAINERS, MOST, TAKES_FUNCTIONS, GuardKind, is_listed
from ranvier.compile.equality import PLAIN, pairs_of
from ranvier.compile.executed import Executed, names_of
from ranvier.tensors.tensor import Tensor

_CALL = (property, staticmethod, classmethod)
Text = str | tuple[str, str]  # with the name of the value in between
# kind, owner, key and expected, as the core takes them (cpp/bindings/replay/guards.h); a text that names
# the place
Guard = tuple[int, Any, Any, Any, Text]


class Guards:
    """The guards of one recorded step, and the values that are still to be followed.

    Attributes:
        guards: in the order in which they were found; add: appends one.
        of_library: on its classes and modules, by the id of each; they come after the others.
        fault: why the step cannot be guarded, or "".
        tensors, optimizers: those that were reached; optimizers with their names.
        names: of attributes in the user's code; looks_up: it may look for some that do not exist; stores: it
            may store by a name that is a text (`super().__setattr__(name, value)`): all attributes count.
        users: whether anything of the user's own was reached.
        passed: names that the user's code loads otherwise than to call them.
        texts: strings in the user's code, and those that it leads to.
        library_names: names in the library's code that ran.
    """

    def __init__(self, executed: Executed) -> None:
        self.fault = executed.fault
        self.guards: list[Guard] = []
        self.add = self.guards.append
        self.of_library: dict[int, Guard] = {}
        self.tensors: list[Tensor] = []
        self.optimizers: list[tuple[Any, str]] = []
        self.stack: list[tuple[Any, str]] = []
        self.seen: dict[Any, Any] = {}  # by id
        self.users = False
        self.library_names = {name for code in executed.library.values() for name in code.co_names}
        self._codes, self._library, self._called = executed.codes, executed.library, executed.called
        self._watched = executed.watched
        self._code_names = [names_of(code) for code, _ in executed.codes.values()]
        self.names = executed.asked.union(*[n.names for n in self._code_names])
        self.texts = set().union(*[n.texts for n in self._code_names])
        self.passed = executed.asked.union(*[n.passed for n in self._code_names])
        self._alone = {name for n in self._code_names for name in n.alone}
        self._sorts = any(n.sorts for n in self._code_names)
        self.looks_up = bool(executed.asked) or any(n.catches for n in self._code_names)
        self.stores = not self.names.isdisjoint(("__setattr__", "__dict__"))
        self._reads_code = executed.reads_code or "__code__" in self.names
        self._reached: set[int] = set()  # ids of code whose functions are guarded
        self._unlisted = ""  # a function made in C that is noticed only where Python calls it ...
        # ... and whether another function may call it
        self._takes_functions = executed.calls_back or "__call__" in self.names
        self._takes_functions |= self._sorts and "sort" in self.names

    def all(self) -> list[Guard]:
        """All guards, in the order of places."""
        return [*self.guards, *self.of_library.values()]

    def text(self, place: int) -> str:
        """A text that names the value of a guard that does not hold."""
        _, owner, _, expected, text = self.all()[place]
        if isinstance(text, str):
            return text
        was = dict(zip(expected[::2], expected[1::2], strict=True))
        names = [n for n, value in was.items() if owner.get(n, NotImplemented) is not value]
        name = next((n for n in [*names, *owner] if isinstance(n, str) and (n in names or n not in was)), "")
        return f"{text[0]}{name}{text[1]}"

    def items(
        self, owner: Any, names: Iterable[Any], before: str, after: str = "", follow: bool = True
    ) -> None:
        """A guard on the items of a dict with these names, be they there or not."""
        values: list[Any] = []
        for name in names:
            value = owner.get(name, NotImplemented)
            values += [name, value]
            if not follow or type(value) in PLAIN:
                if follow and type(value) is str:
                    self.texts.add(value)
                continue
            if type(value) is types.ModuleType:
                self.module(value, name)
            elif type(value) is not types.BuiltinFunctionType or name in self.passed or is_listed(value):
                # a call of any other would have been seen
                self.stack.append((value, f"{before}{name}{after}"))
        if values:
            self.add((GuardKind.ITEMS, owner, None, tuple(values), (before, after)))

    def module(self, x: types.ModuleType, name: str) -> None:
        # If the code only looks up attributes of a module, its other attributes are not guarded.
        after = {b for n in self._code_names for a, b in n.after if a == name}
        names = after if after and name not in self._alone else self.names
        if (id(x), name) not in self.seen:
            self.seen[id(x), name] = x
            self._module(x, names)

    def _module(self, x: types.ModuleType, wanted: set[str]) -> None:
        """wanted: names of attributes."""
        own = vars(x)
        self.add((GuardKind.TYPE, x, None, type(x), f"the class of the module {x.__name__}"))
        read = (wanted | self.texts if self.stores else wanted) & own.keys()
        if "__getattr__" in own or self.looks_up:
            read |= {name for name in wanted if not name.startswith("__")}
        self.items(own, read, f"{x.__name__}.")

    def whole(self, owner: dict[Any, Any], text: Text) -> None:
        """A guard on all items of a dict."""
        self.add((GuardKind.DICT, owner, "", pairs_of(owner), text))

    def call(self, text: str, function: Callable[..., Any], *args: Any) -> None:
        """A guard on what a function gives."""
        self.add((GuardKind.CALL, functools.partial(function, *args), "", function(*args), text))

    def attribute(self, x: Any, name: str, text: str) -> None:
        """A guard on an attribute, which is not followed."""
        self.add((GuardKind.ATTRIBUTE, x, name, getattr(x, name), f"{text}.{name}"))

    def list(self, x: list[Any], text: str) -> None:
        """A guard on the items of a list, which are not followed."""
        self.add((GuardKind.LIST, x, "", tuple(x), text))

    def kind(self, x: Any, text: str) -> None:
        """A guard on the class of x, which is followed."""
        text = f"the class of {text}"
        self.add((GuardKind.TYPE, x, getattr(x, "__dict__", None), type(x), text))
        self.stack.append((type(x), text))

    def deny(self, text: str, what: str, remedy: str = "") -> None:
        """The step cannot be guarded, for this value; the first reason stays."""
        if not self.fault:
            remedy = remedy or "use it outside the step and pass what it gives as an argument"
            self.fault = f"the step depends on {text}, {what}; {remedy}"

    def container(self, x: Any, text: str, base: type | None = None) -> None:
        """A guard on the items of x, which are followed. base: the class in CONTAINERS, if not that of x."""
        base = base or type(x)
        kind, contents_of = CONTAINERS[base]
        if base in (list, dict, tuple) and len(x) > MOST:
            what = f"a {type(x).__name__} of {len(x)} items, too many to be compared before each replay"
            self.deny(text, what)
            return
        contents = contents_of(x)
        if kind is not None:
            self.add((kind, x, "", contents, f"the items of {text}"))
        if base is functools.partial:  # it calls by C
            for name in ("func", "args", "keywords"):  # `__setstate__` replaces them, and its __dict__
                self.attribute(x, name, text)
            self.add((GuardKind.TYPE, x, vars(x), type(x), f"the class of {text}"))
            self.whole(vars(x), (f"{text}.", ""))
            contents += tuple(vars(x).values())
            by_c = not isinstance(x.func, (types.FunctionType, type)) or x.func in TAKES_FUNCTIONS
        else:
            by_c = base in _CALL and any(
                type(f) is types.BuiltinFunctionType and not is_listed(f) for f in contents
            )
        if by_c:
            self.deny(text, "which calls a function that is made in C")  # no event tells of that
        for item in contents:
            if type(item) not in PLAIN:
                self.stack.append((item, text))
            elif type(item) is str:
                self.texts.add(item)

    def numpy(self) -> None:
        """A guard, made once, on np.errstate: by it, arithmetic of NumPy warns or raises, or does not."""
        if "numpy" not in self.seen:
            self.seen["numpy"] = True
            self.add((GuardKind.CALL, _error_handling, "", _error_handling(), "np.errstate"))

    def abstract_classes(self) -> None:
        """A guard on their registrations, which change what isinstance() and `match` say."""
        self.add((GuardKind.CALL, abc.get_cache_token, "", abc.get_cache_token(), "the abstract classes"))


def is_empty(cell: Any) -> bool:
    """True if a variable of a closure has no value as yet: only then the cell is equal to one without."""
    return bool(cell == _EMPTY)


_EMPTY = types.CellType()
# The object that holds NumPy's error settings, a new one after each change; else a new object at each call.
_current_settings: Callable[[], Any] = getattr(
    getattr(sys.modules.get("numpy._core.umath"), "_extobj_contextvar", None), "get", object
)


def _error_handling() -> Any:
    """The settings of np.seterr and np.errstate."""
    return _settings_in(_current_settings())


@functools.lru_cache(maxsize=1)  # np.geterr() takes some us, and a replay would call it each time
def _settings_in(settings: object) -> tuple[Any, ...]:
    return *np.geterr().values(), np.geterrcall(), np.getbufsize()
