"""Guards on values: what a step has read, as the core compares it before each replay."""

from __future__ import annotations

import abc
import functools
import itertools
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ranvier.compile.kinds import CONTAINERS, MOST, PLAIN, TAKES_FUNCTIONS, GuardKind, is_listed
from ranvier.tensors.tensor import Tensor

_CALL = (property, staticmethod, classmethod)
Text = str | tuple[str, str]  # with the name of the value in between
# kind, owner, key and expected, as the core takes them (cpp/bindings/replay/guards.h); where, in words
Guard = tuple[int, Any, Any, Any, Text]


class Guards:
    """The guards of one recorded step, and the values that are still to be followed.

    Attributes:
        guards: in the order in which they were found; add: appends one.
        of_library: on its classes and modules, by the id of each; they come after the others.
        fault: why the step cannot be guarded, or "".
        tensors: those that were reached.
        names: of attributes in the user's code; looks_up: it may look for some that do not exist; stores: it
            may store by a name that is a text (`super().__setattr__(name, value)`): all attributes count.
        users: whether anything of the user's own was reached.
        passed: names that the user's code loads otherwise than to call them.
        texts: strings in the user's code, and those that it leads to.
        library_names: names in the library's code that ran.
    """

    names: set[str]
    looks_up: bool
    stores: bool
    texts: set[str]
    library_names: set[str]
    passed: set[str]
    users: bool

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.guards: list[Guard] = []
        self.add = self.guards.append
        self.of_library: dict[int, Guard] = {}
        self.tensors: list[Tensor] = []
        self.stack: list[tuple[Any, str]] = []
        self.seen: dict[Any, Any] = {}  # by id

    def all(self) -> list[Guard]:
        """All guards, in the order of places."""
        return [*self.guards, *self.of_library.values()]

    def text(self, place: int) -> str:
        """The value that a guard is on, in words, for one that does not hold."""
        _, owner, _, expected, text = self.all()[place]
        if isinstance(text, str):
            return text
        was = dict(zip(expected[::2], expected[1::2], strict=True))
        names = [n for n, value in was.items() if owner.get(n, NotImplemented) is not value]
        name = next((n for n in [*names, *owner] if isinstance(n, str) and (n in names or n not in was)), "")
        return f"{text[0]}{name}{text[1]}"

    def items(
        self, owner: dict[Any, Any], names: Iterable[Any], before: str, after: str = "", follow: bool = True
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
            elif (
                type(value) is types.BuiltinFunctionType and name not in self.passed and not is_listed(value)
            ):
                continue  # a call of it would have been seen
            else:
                self.stack.append((value, f"{before}{name}{after}"))
        if values:
            self.add((GuardKind.ITEMS, owner, None, tuple(values), (before, after)))

    def module(self, x: types.ModuleType, name: str) -> None:
        """Guards on a module that a variable or attribute of this name leads to."""
        raise NotImplementedError

    def whole(self, owner: dict[Any, Any], text: Text) -> None:
        """A guard on all items of a dict."""
        self.add((GuardKind.DICT, owner, "", tuple(itertools.chain.from_iterable(owner.items())), text))

    def call(self, function: Callable[[Any], Any], x: Any, text: str) -> None:
        """A guard on what a function gives for x."""
        self.add((GuardKind.CALL, functools.partial(function, x), "", function(x), text))

    def drain(self) -> None:
        """Follows all values that were reached, and what they lead to."""
        raise NotImplementedError

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
        contents = tuple(itertools.chain.from_iterable(x.items())) if base is dict else contents_of(x)
        if kind is not None:
            self.add((kind, x, "", contents, f"the items of {text}"))
        if base is functools.partial:  # it calls by C
            for name in ("func", "args", "keywords"):  # `__setstate__` replaces them, and its __dict__
                self.add((GuardKind.ATTRIBUTE, x, name, getattr(x, name), f"{text}.{name}"))
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
    """True if a variable of a closure has no value as yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


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
