"""Guards: values that a step has read, with the places where they were.

Before each replay the core reads each place again, and compares. The class `Guards` makes and keeps the
guards of one step. Its subclass `Walk` (`walk.py`) decides which values get one. If a value cannot be
compared, the step is denied (`deny`), and runs eagerly.
"""

from __future__ import annotations

import abc
import functools
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Collection
from itertools import chain, repeat
from types import CellType
from typing import Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.compile.guarding.capturable import CONTAINERS, MOST, TAKES_FUNCTIONS, GuardKind, is_listed
from ranvier.compile.guarding.equality import PLAIN, pairs_of
from ranvier.compile.guarding.traced_code import TracedCode, names_of
from ranvier.tensors.tensor import Tensor

_CALL = (property, staticmethod, classmethod)  # wrappers that call their content from C
# Names the place of a guard, for messages. Of a guard on several values: what stands before and after the
# name of the value that has changed.
Text = str | tuple[str, str]
# (kind, owner, key, expected, text): the first four as the core takes them (cpp/bindings/replay/guards.h).
Guard = tuple[int, Any, Any, Any, Text]


class SharedGuards(NamedTuple):
    """Guards on classes and functions of modules, which programs share (`shared_guards.py`): what a walk has
    found from these on. The names are those of a Walk's attributes, except two.

    core: a `_core.Guards` with the guards. code: the code that ran, so that no other code gets its ids.
    """

    guards: list[Guard]
    core: _core.Guards
    library_classes: list[type]
    seen: dict[Any, Any]
    texts: set[str]
    reached: set[int]
    users: bool
    code: list[types.CodeType]


class Guards:
    """The guards of one recorded step, and the values that are still to be followed.

    Attributes:
        guards: in the order in which they were found. add: appends one.
        of_library: guards on the library's classes and modules, by the id of each.
        shared: guards on classes and functions of modules, which other programs have, too.
        fault: why the step cannot be guarded, or "".
        tensors: the Tensors that were reached. optimizers: the optimizers, with a text that names each.
        stack: (value, text that names it) of the values that are still to be followed.
        seen: the values that were followed, by id. described: ids of objects of which a class of the library
            has declared the attributes that a step reads; these are guarded.
        names: all names in the user's code (see `Names`).
        looks_up: whether the user's code may look up attributes that do not exist (it catches errors, or uses
            `hasattr`): then guards also compare that they are missing.
        stores: whether the user's code may store by a name that is a text (`super().__setattr__(name,
            value)`): then all attributes are guarded.
        users: whether anything of the user's own was reached.
        passed: names that the user's code loads for another purpose than to call them at once.
        texts: strings in the user's code, and strings that were reached.
        reads_library_names: whether a guard depends on `library_names`.
        traced: the code that ran.
    """

    def __init__(self, traced: TracedCode) -> None:
        self.fault = traced.fault
        self.guards: list[Guard] = []
        self.add = self.guards.append
        self.of_library: dict[int, Guard] = {}
        self.shared: list[SharedGuards] = []
        self.tensors: list[Tensor] = []
        self.optimizers: list[tuple[Any, str]] = []
        self.stack: list[tuple[Any, str]] = []
        self.seen: dict[Any, Any] = {}
        self.described: set[int] = set()
        self.users = False
        self.reads_library_names = False
        self._codes = traced.codes
        self._library = traced.library
        self.traced = traced
        self._called = traced.called
        self._watched = traced.watched
        self._code_names = [names_of(code) for code, _ in traced.codes.values()]
        self.names = traced.asked.union(*[n.names for n in self._code_names])
        self.texts = set().union(*[n.texts for n in self._code_names])
        self.passed = traced.asked.union(*[n.passed for n in self._code_names])
        self._alone = {name for n in self._code_names for name in n.alone}
        # `catches`: a `try` may find out whether an attribute exists, as hasattr does.
        self.looks_up = bool(traced.asked) or any(n.catches for n in self._code_names)
        self.stores = not self.names.isdisjoint(("__setattr__", "__dict__"))
        # Then functions that did not run are compared, too: the step may read their code or signature.
        self._reads_code = traced.reads_code or "__code__" in self.names
        self._reached: set[int] = set()  # ids of code whose functions are guarded

    @functools.cached_property
    def library_names(self) -> set[str]:
        """Names in the library's code that ran."""
        return {name for code in self._library.values() for name in code.co_names}

    def all(self) -> list[Guard]:
        """All guards. The core calls the index of a guard in this list its place."""
        found = [*self.guards, *self.of_library.values()]
        for shared in self.shared:
            found += shared.guards
        return found

    def for_core(self) -> list[Any]:
        """All guards as the core takes them: shared ones as one object each, in the same places."""
        return [*self.guards, *self.of_library.values(), *[shared.core for shared in self.shared]]

    def text(self, place: int) -> str:
        """A text that names the value of the guard at this place, which does not hold."""
        return text_of(self.all()[place])

    def reads_gradients(self) -> bool:
        """True if the user's code may ask a Tensor for its gradient: it names `grad`, and not only of modules
        (``rv.autograd.grad``)."""
        if "grad" not in self.names:
            return False
        if "grad" in self.traced.asked:
            return True
        for names, (_, variables) in zip(self._code_names, self._codes.values(), strict=True):
            if not all(_leads_to_module(path, variables) for path in names.before_grad):
                return True
        return False

    def items(
        self, owner: Any, names: Collection[Any], before: str, after: str = "", follow: bool = True
    ) -> None:
        """Adds a guard on the items of the dict `owner` under these names, or on their absence.

        before, after: the guard's text around the name. follow: whether the values are followed, too.
        """
        if not owner and names:  # most functions have no attributes
            self.add((GuardKind.DICT, owner, "", (), (before, after)))
            return
        values: list[Any] = []
        if isinstance(names, set):
            missing = names - owner.keys()
            names = names - missing
            values.extend(chain.from_iterable(zip(missing, repeat(NotImplemented))))
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
                # Not followed: an unlisted C function that the code only calls. Each call of it was seen.
                self.stack.append((value, f"{before}{name}{after}"))
        if values:
            self.add((GuardKind.ITEMS, owner, None, tuple(values), (before, after)))

    def module(self, x: types.ModuleType, name: str) -> None:
        """Adds a guard on the attributes that the code reads of the module x, which it calls `name`."""
        # If the code only loads attributes of `name`, these alone are guarded; else all names in the code.
        after = {b for n in self._code_names for a, b in n.after if a == name}
        names = after if after and name not in self._alone else self.names
        if (id(x), name) not in self.seen:
            self.seen[id(x), name] = x
            self._module(x, names)

    def _module(self, x: types.ModuleType, wanted: set[str]) -> None:
        """wanted: names of the attributes that are guarded."""
        own = vars(x)
        self.add((GuardKind.TYPE, x, None, type(x), f"the class of the module {x.__name__}"))
        read = (wanted | self.texts if self.stores else wanted) & own.keys()
        if "__getattr__" in own or self.looks_up:
            read |= {name for name in wanted if not name.startswith("__")}
        self.items(own, read, f"{x.__name__}.")

    def whole(self, owner: dict[Any, Any], text: Text) -> None:
        """Adds a guard on all items of a dict, which are not followed."""
        self.add((GuardKind.DICT, owner, "", pairs_of(owner), text))

    def call(self, text: str, function: Callable[..., Any], *args: Any) -> None:
        """Adds a guard on what function(*args) returns."""
        self.add((GuardKind.CALL, functools.partial(function, *args), "", function(*args), text))

    def attribute(self, x: object, name: str, text: str) -> None:
        """Adds a guard on an attribute, which is not followed."""
        self.add((GuardKind.ATTRIBUTE, x, name, getattr(x, name), f"{text}.{name}"))

    def list(self, x: list[Any], text: str) -> None:
        """Adds a guard on the items of a list, which are not followed."""
        self.add((GuardKind.LIST, x, "", tuple(x), text))

    def sequence(self, x: object, text: str) -> None:
        """Adds a guard on the items of a list, which are not followed. A tuple needs none."""
        if isinstance(x, list):
            self.list(x, text)
        elif not isinstance(x, tuple):
            self.deny(text, f"a {type(x).__name__}, which is neither a list nor a tuple")

    def kind(self, x: Any, text: str) -> None:
        """Adds a guard on the class of x, which is followed."""
        text = f"the class of {text}"
        self.add((GuardKind.TYPE, x, getattr(x, "__dict__", None), type(x), text))
        self.stack.append((type(x), text))

    def deny(self, text: str, what: str, remedy: str = "") -> None:
        """Notes that the step cannot be guarded, because it depends on the value that `text` names.

        what: what kind of value it is. Only the first reason is kept.
        """
        if not self.fault:
            remedy = remedy or "use it outside the step and pass what it gives as an argument"
            self.fault = f"the step depends on {text}, {what}; {remedy}"

    def container(self, x: Any, text: str, base: type | None = None) -> None:
        """Adds a guard on the items of x, which are followed. base: the class in CONTAINERS from which the
        class of x inherits; None: the class of x itself."""
        base = base or type(x)
        kind, contents_of = CONTAINERS[base]
        if base in (list, dict, tuple, OrderedDict) and len(x) > MOST:
            what = f"a {type(x).__name__} of {len(x)} items, too many to be compared before each replay"
            self.deny(text, what)
            return
        contents = contents_of(x)
        if base is OrderedDict:
            self.call(f"the order of {text}", _order_of, x)
        if kind is not None:
            self.add((kind, x, "", contents, f"the items of {text}"))
        if base is functools.partial:  # calls its function from C
            for name in ("func", "args", "keywords"):  # `__setstate__` can replace these, and `__dict__`
                self.attribute(x, name, text)
            self.add((GuardKind.TYPE, x, vars(x), type(x), f"the class of {text}"))
            self.whole(vars(x), (f"{text}.", ""))
            contents += tuple(vars(x).values())
            by_c = not isinstance(x.func, (types.FunctionType, type)) or x.func in TAKES_FUNCTIONS
        else:
            unlisted = (f for f in contents if type(f) is types.BuiltinFunctionType and not is_listed(f))
            by_c = base in _CALL and any(unlisted)
        if by_c:
            self.deny(text, "which calls a function that is made in C")  # no recording sees that
        for item in contents:
            if type(item) not in PLAIN:
                self.stack.append((item, text))
            elif type(item) is str:
                self.texts.add(item)

    def numpy(self) -> None:
        """Adds a guard, once, on the settings of np.errstate: they decide whether NumPy warns or raises."""
        if "numpy" not in self.seen:
            self.seen["numpy"] = True
            self.add((GuardKind.CALL, _error_handling, "", _error_handling(), "np.errstate"))

    def abstract_classes(self) -> None:
        """Adds a guard on the registrations of abstract classes, which change what isinstance() returns."""
        self.add((GuardKind.CALL, abc.get_cache_token, "", abc.get_cache_token(), "the abstract classes"))


def text_of(guard: Guard) -> str:
    """A text that names the value of a guard which does not hold."""
    _, owner, _, expected, text = guard
    if isinstance(text, str):
        return text
    # Only guards of the kinds ITEMS and DICT have two texts: `owner` is a dict, `expected` its pairs.
    was = dict(zip(expected[::2], expected[1::2], strict=True))
    names = [n for n, value in was.items() if owner.get(n, NotImplemented) is not value]
    name = next((n for n in [*names, *owner] if isinstance(n, str) and (n in names or n not in was)), "")
    return f"{text[0]}{name}{text[1]}"


def _order_of(x: OrderedDict[Any, Any]) -> tuple[Any, ...]:
    """The keys in the order of the OrderedDict, which its method move_to_end changes alone."""
    return tuple(OrderedDict.keys(x))


def is_empty(cell: CellType) -> bool:
    """True if a variable of a closure has no value yet. Only such a cell is equal to an empty cell."""
    return bool(cell == _EMPTY)


def _leads_to_module(path: tuple[str, ...], variables: dict[str, Any]) -> bool:
    """True if a global variable and its attributes are modules."""
    found: Any = None
    for name in path:
        found = variables.get(name)
        if not isinstance(found, types.ModuleType):
            return False
        variables = vars(found)
    return found is not None


_EMPTY = types.CellType()
# Gives the object that holds NumPy's error settings: another object after each change. Where NumPy has no
# such object, it gives a new object at each call, so that the settings are always read.
_settings_variable = getattr(sys.modules.get("numpy._core.umath"), "_extobj_contextvar", None)
_current_settings: Callable[[], Any] = getattr(_settings_variable, "get", object)


def _error_handling() -> Any:
    """The settings of np.seterr and np.errstate, as a tuple."""
    return _settings_in(_current_settings())


@functools.lru_cache(maxsize=1)  # np.geterr() takes some us, and a replay would call it each time
def _settings_in(settings: object) -> tuple[Any, ...]:
    return *np.geterr().values(), np.geterrcall(), np.getbufsize()
