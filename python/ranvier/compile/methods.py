"""Methods: a compiled function in a class, and copies of compiled functions."""

from __future__ import annotations

import functools
import sys
from _thread import RLock
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

if TYPE_CHECKING:
    from ranvier.compile.cache import ProgramCache
    from ranvier.compile.program import Program


class Methods:
    """The part of CompiledFunction that makes it a method, and that copies and pickles it."""

    _function: Any
    _place: str  # in the dict of the object of a method
    _lock: RLock
    _cache: ProgramCache
    _instances: WeakSet[Any]  # the same method of objects

    @property
    def _own(self) -> dict[str, Any]:
        """The attributes of this object, where ``__dict__`` has those of the function."""
        own: dict[str, Any] = _DICT.__get__(self)
        return own

    def _forget(self) -> None:
        raise NotImplementedError

    def _method_of(self, instance: Any) -> Any:
        """The same function for one object."""
        raise NotImplementedError

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a function does: a decorated method gets its object as the first argument."""
        if instance is None or type(self._function) is not FunctionType:
            return self
        try:  # what the object has already, and quickly
            method = instance.__dict__[self._place]
            if method._owner() is instance and method._family is self:
                return MethodType(method, instance)
        except (AttributeError, KeyError, TypeError):
            pass
        return MethodType(self._of(instance), instance)

    def _of(self, instance: Any) -> Any:
        """The programs for one object. The object holds them, since they hold it: both are freed together."""
        try:
            own = object.__getattribute__(instance, "__dict__")
        except AttributeError:
            return self
        with self._lock:  # two threads may come first
            method = own.get(self._place)
            if getattr(method, "_family", None) is self and method._owner() is instance:
                return method
            try:
                method = own[self._place] = self._method_of(instance)
            except TypeError:  # no weak reference to it can be made
                return self
            self._instances.add(method)
        return method

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By its name where that leads here, as a function; else its function, without programs."""
        name = getattr(self, "__qualname__", "")
        named: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        for part in name.split("."):
            named = getattr(named, part, None)
        return name if named is self else super().__reduce_ex__(max(protocol, 2))

    def __getstate__(self) -> dict[str, Any]:
        names = "_function", "_verify", "_strict", "_tensors"
        return {name: self._own[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._own.update(state)
        functools.update_wrapper(cast(Any, self), self._function, updated=())
        self._forget()

    @property
    def programs(self) -> list[Program]:
        """The programs so far, one for each signature; of a method in a class, those of all its objects."""
        return self._cache.all() + [program for one in list(self._instances) for program in one.programs]

    def explain(self) -> None:
        """Prints the table of each program's instructions: see :meth:`Program.explain`."""
        for program in self.programs:
            program.explain()


_DICT: Any = vars(Methods)["__dict__"]
