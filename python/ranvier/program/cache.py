"""The programs of a compiled function, by signature."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from typing import Any

from ranvier.program.program import Program
from ranvier.program.signature import changed_argument

__all__ = ["ProgramCache"]

_PROGRAMS = 32  # kept at most; the least recently used one is dropped
_DEBT = 128


class ProgramCache:
    """At most 32 programs; those of one signature differ in their guards.

    Attributes:
        debt: rises with each recording and falls with each replay: see `is_overdrawn`.
    """

    def __init__(self) -> None:
        self._of: OrderedDict[Any, list[Program]] = OrderedDict()
        self._last_key: Any = None
        self._warned = False
        self.debt = 0

    def all(self) -> list[Program]:
        return [program for programs in self._of.values() for program in programs]

    def current(self, key: Any) -> Program | None:
        """The program of this signature that a replay may use."""
        return next((program for program in self._of.get(key, ()) if program.is_current()), None)

    def use(self, key: Any) -> None:
        """Notes that a program of this signature is used."""
        self._of.move_to_end(key)
        self._last_key = key

    def add(self, key: Any, program: Program) -> list[Any]:
        """Keeps a new program; returns the signatures whose last program is dropped for it."""
        self.put(key, program)
        self.use(key)
        dropped = []
        while sum(map(len, self._of.values())) > _PROGRAMS:
            oldest, programs = next(iter(self._of.items()))
            programs.pop()
            if not programs:
                del self._of[oldest]
                dropped.append(oldest)
        return dropped

    def put(self, key: Any, program: Program) -> None:
        self._of.setdefault(key, []).insert(0, program)

    def take(self, key: Any, program: Program) -> None:
        """Removes a program, while it is checked."""
        self._of[key].remove(program)

    # --- calls that would be recorded too often
    def recorded(self) -> None:
        self.debt += 4

    def replayed(self) -> None:
        if self.debt:
            self.debt -= 1

    def is_overdrawn(self, key: Any, name: str) -> bool:
        """Whether a call that no program fits runs eagerly, because most calls needed a new recording.

        The first time, a warning names what differs from call to call.
        """
        if self.debt <= _DEBT:
            return False
        if not self._warned:
            self._warned = True
            cause, remedy = self._cause(key)
            warnings.warn(
                f"[compile] {cause} changes with nearly every call of {name}, and each time the step is "
                f"recorded again; such calls run eagerly from now on; {remedy}",
                stacklevel=6,
            )
        self.debt -= 1
        return True

    def _cause(self, key: Any) -> tuple[str, str]:
        last = self._last_key
        if last is not None and last != key:
            cause = changed_argument(last[0], key[0]) if last[0] != key[0] else "a setting of the library"
            return cause, "pass a number as an array, and arrays in few shapes"
        changed = (program.changed() for program in self._of.get(key, ()))
        return next(filter(None, changed), "what it reads"), "pass it as an array"
