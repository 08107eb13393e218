"""Settings: all values that change what functions of the library do, and that a program can set.

They are the attributes of objects of this module, `Settings` for the process or `ThreadSettings` for each
thread, so that a replay can compare them: to set one raises a counter, and only where that has changed since
the last replay on a thread the values are looked at. All values together have a number, by which calls of a
compiled function differ (`kernel_settings` in cpp/bindings/replay/signature.cpp, with the core's settings).
Values are plain.
"""

from __future__ import annotations

from _thread import _local as local  # threading.local, without the import of threading
from itertools import count
from typing import TYPE_CHECKING, Any

import ranvier._core as _core

_MOST = 4096  # combinations that are remembered
_all: list[tuple[Any, dict[str, Any]]] = []  # with the first values
_numbers: dict[Any, int] = {}
_next = count(1)


class Settings:
    """Settings of the process: ``options = Settings(precision=4)``, then ``options.precision = 2``."""

    def __init__(self, **first: Any) -> None:
        vars(self).update(first)
        _all.append((self, first))

    def __setattr__(self, name: str, value: Any) -> None:
        own = vars(self)
        if own[name] is not value:
            own[name] = value
            _core._setting_changed()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class ThreadSettings(Settings, local):  # type: ignore[misc, unused-ignore]
    """Settings of which each thread has its own, with these first values."""

    def __new__(cls, **first: Any) -> ThreadSettings:
        self = super().__new__(cls, **first)
        _all.append((self, first))
        return self

    def __init__(self, **first: Any) -> None:  # called for each thread
        vars(self).update(first)


# Counts how often a program has defined what functions of the library look up, as classes of trees, or has
# replaced functions by PyTorch's.
definitions = Settings(count=0)


def defined() -> None:
    """Called where a program defines such a thing."""
    definitions.count += 1


def _number() -> int:
    """The number of all values; 0: of the first ones, also where more settings are added."""
    values = [(i, *own.items()) for i, (s, first) in enumerate(_all) if (own := vars(s)) != first]
    if not values:
        return 0
    if len(_numbers) > _MOST:
        _numbers.clear()  # programs are then recorded anew
    return _numbers.setdefault(tuple(values), next(_next))


_core._set_settings(_number)
