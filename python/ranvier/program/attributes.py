"""Guards on the attributes of functions, objects and classes that the code names."""

from __future__ import annotations

import functools
from typing import Any

import ranvier.program.objects as objects
from ranvier.nn import Module
from ranvier.program.found import Found
from ranvier.program.guard_kinds import Kind, guard_module
from ranvier.program.reads import Reads, names_of

__all__ = ["AttributeGuards"]

_OF_FUNCTIONS = frozenset({"__name__", "__qualname__", "__doc__", "__module__", "__annotations__"})
_OF_CLASSES = _OF_FUNCTIONS | {"__bases__", "__mro__"}


class AttributeGuards(Found):
    """What the code of a recording names, and guards on the attributes with these names."""

    def __init__(self, reads: Reads, names: set[str] | None = None) -> None:
        super().__init__(reads.fault)
        self._codes, self._imported, self._settings = reads.codes, reads.imported, reads.settings
        codes = [code for code, _ in reads.codes.values()]
        all_names = [names_of(code) for code in codes]
        self._names = set().union(names or (), *[n.attributes for n in all_names])
        user = [
            n for n, (code, _) in zip(all_names, reads.codes.values(), strict=True) if objects.is_user(code)
        ]
        self._user_names = set().union(*[n.attributes for n in user]) if user else set()
        self._dynamic = any(n.dynamic for n in user)
        # Whether the code may look for an attribute that does not exist: it catches the AttributeError.
        self._misses = any(n.catches for n in user)
        self._super = any("super" in n.variables for n in user)
        if self._dynamic:  # a text may be the name of an attribute
            parts = {part for n in user for text in n.texts for part in text.split(".")}
            self._names |= {part for part in parts if part.isidentifier()}
        self._inner = {id(inner) for n in all_names for inner in n.inner}
        self._functions: set[int] = set()  # ids of code whose functions were reached
        self._families: set[int] = set()  # classes whose bases were followed, too
        self._all_names = all_names

    def _function(self, f: Any, text: str) -> None:
        for name in self._user_names & _OF_FUNCTIONS:
            self.add(Kind.ATTRIBUTE, f, name, getattr(f, name), f"{f.__name__}.{name}")
        for name in vars(f).keys() if self._dynamic else self._names & vars(f).keys():
            self.item(vars(f), name, f"{f.__name__}.{name}")
        if self._dynamic and objects.is_user(f.__code__):  # any of its names
            self.add(Kind.DICT, vars(f), "", objects.pairs_of(vars(f)), f"the attributes of {f.__name__}")
        elif self._misses and objects.is_user(f.__code__):
            self._missing(vars(f), self._names, f.__name__)
        if id(f.__code__) not in self._codes:
            return
        self._functions.add(id(f.__code__))
        expected = f.__code__, f.__defaults__, f.__kwdefaults__
        self.add(Kind.FUNCTION, f, "", expected, f"the function {f.__name__}")
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            self._cell(cell, f"the variable {name} in {f.__name__}")
        self.stack += [(value, f"a default of {f.__name__}") for value in (f.__defaults__, f.__kwdefaults__)]

    def _missing(self, own: dict[str, Any], names: set[str], text: str) -> None:
        for name in names - own.keys():
            self.add(Kind.MISSING, own, name, None, f"{text}.{name}")

    def _absent(self, x: Any, names: set[str], text: str) -> None:
        for name in names:
            self.call(functools.partial(hasattr, x, name), False, f"{text}.{name}")

    def _instance(self, x: Any, text: str) -> None:
        kind = type(x)
        own = objects.attributes_of(x)
        self.add(Kind.TYPE, x, own, kind, f"the class of {text}")
        found = self._class(kind, kind.__name__)
        names = self._names | ({"forward"} if isinstance(x, Module) else set())
        if own is not None:
            # Code of NumPy's is not read: an object of its classes is compared as a whole.
            whole = kind.__module__.split(".")[0] == "numpy"
            all_of_them = whole or (self._dynamic and objects.is_plain_class(kind))
            if all_of_them:
                self.add(Kind.DICT, own, "", objects.pairs_of(own), f"the attributes of {text}")
            wanted = own.keys() if all_of_them else names & own.keys()
            for name in list(wanted):
                if isinstance(name, str):
                    self.item(own, name, f"{text}.{name}")
            if self._misses or objects.in_class(kind, "__getattr__") is not None:
                found = found | names
            self._missing(own, found, text)
        for name in names | (objects.slots_of(kind) if self._dynamic else set()):
            if (
                name not in ("__dict__", "__class__")
                and objects.is_slot(objects.in_class(kind, name))
                and hasattr(x, name)
            ):
                value = getattr(x, name)
                self.add(Kind.ATTRIBUTE, x, name, value, f"{text}.{name}")
                self.stack.append((value, f"{text}.{name}"))
        if self._misses or self._dynamic:
            self._absent(x, {n for n in objects.slots_of(kind) - {"__dict__"} if not hasattr(x, n)}, text)
        if isinstance(x, Module):
            guard_module(self, x, text)

    def _class(self, kind: type, text: str) -> set[str]:
        """Guards what the code can read of a class; returns the names of it that an instance could hide."""
        if objects.is_builtin(kind):
            return set()
        values: list[Any] = []
        hidden: set[str] = set()
        for name in self._user_names & _OF_CLASSES:
            self.add(Kind.ATTRIBUTE, kind, name, getattr(kind, name, None), f"{text}.{name}")
        if type(kind) is not type:
            self._class(type(kind), f"{text}'s class")
        if self._dynamic and not kind.__module__.startswith("ranvier"):
            self.call(functools.partial(tuple, vars(kind)), tuple(vars(kind)), f"the names in {text}")
        for base in kind.__mro__:
            if objects.is_builtin(base):
                continue
            for name, value in list(vars(base).items()):
                functions = objects.functions_of(value)
                ran = any(id(f.__code__) in self._codes for f in functions)
                named = name in self._names or (self._dynamic and not name.startswith("__"))
                read = named and not functions and not objects.is_descriptor(value)
                if named and isinstance(value, property):
                    self.stack.append((value, f"{text}.{name}"))  # which may be no Python function
                if name in hidden or not (ran or read):
                    continue
                values += [name, value]
                if not name.startswith("__") and not isinstance(value, property):
                    hidden.add(name)
                self.stack.append((value, f"{text}.{name}"))
        known, members = set(values[::2]), objects.members_of(kind)
        for name in sorted((self._names | objects.SPECIAL) - known):
            values += [name, members.get(name, NotImplemented)]  # None: `__hash__` of a dataclass
        self.add(Kind.NAMES, kind, "", tuple(values), f"the class {text}")
        if self._super and id(kind) not in self._families:  # it finds what a subclass hides
            self._families.add(id(kind))
            for base in kind.__mro__[1:]:
                self._class(base, base.__name__)
        return hidden
