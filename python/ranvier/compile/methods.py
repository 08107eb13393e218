"""Methods: a compiled function in a class, and copies of compiled functions."""

from __future__ import annotations

import sys
from types import MethodType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ranvier.nn.often import attach, attached

if TYPE_CHECKING:
    from ranvier.compile.cache import ProgramCache
    from ranvier.compile.locks import Lock
    from ranvier.compile.program import Program


class Methods:
    """The part of CompiledFunction that makes it a method, and that copies and pickles it."""

    _function: Any
    _place: str  # under which the core keeps the function of one object
    _serve_method: Any  # of the core
    _lock: Lock
    _cache: ProgramCache
    _instances: WeakSet[Any]  # the same method of objects

    def _method_of(self, instance: Any) -> Any:
        """The same function for one object."""
        raise NotImplementedError

    def _bound(self, instance: Any) -> Any:
        """The method of an object that has none yet: as a function, it gets its object as the first argument.

        What the object has is found in the core (`__get__` of `_CompiledCall`).
        """
        return MethodType(self._of(instance), instance)

    def _of(self, instance: Any) -> Any:
        """The programs for one object, which the core keeps for it: both are freed together."""
        try:
            with self._lock:  # two threads may come first
                method = attached(instance, self._place, None)
                if method is None:
                    method = self._method_of(instance)
                    attach(instance, self._place, method)
                    self._instances.add(method)
                return method
        except (AttributeError, TypeError):  # without a __dict__, or without weak references
            return self

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By its name where that leads here, as a function; else its function, without programs."""
        name = getattr(self, "__qualname__", "")
        named: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        for part in name.split("."):
            named = getattr(named, part, None)
        return name if named is self else super().__reduce_ex__(max(protocol, 2))

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, f"_{name}") for name in ("function", "verify", "strict")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def programs(self) -> list[Program]:
        """The programs so far, one for each signature; of a method in a class, those of all its objects."""
        return self._cache.all() + [program for one in list(self._instances) for program in one.programs]

    def explain(self) -> None:
        """Prints the table of each program's instructions: see :meth:`Program.explain`."""
        for program in self.programs:
            program.explain()
