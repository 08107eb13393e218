"""Settings: all values that a program can set and that change what functions of the library do.

A setting is an attribute of an object of `Settings`, for the process, or `ThreadSettings`, for each thread;
its value is plain. So the replay of a recorded call can check them quickly: setting a value raises a counter,
and a replay compares the values only if the counter has changed since the last replay on its thread. Each
combination of values has a number; a compiled function has its own recording for each number
(`kernel_settings` in cpp/bindings/replay/signature.cpp, which adds the settings of the core).
"""

from __future__ import annotations

from _thread import _local as local  # threading.local, without the import of threading
from itertools import count
from typing import TYPE_CHECKING, Any

import ranvier._core as _core

_MOST = 4096  # the most combinations of values whose numbers are remembered
_all: list[tuple[Any, dict[str, Any]]] = []  # (object, its first values) for all objects with settings
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

    def __init__(self, **first: Any) -> None:  # Python calls it once for each thread.
        vars(self).update(first)


# The number of times that a program has defined something that functions of the library look up, such as a
# class of containers, or has replaced functions by PyTorch's.
definitions = Settings(count=0)


def defined() -> None:
    """Called when a program defines such a thing: see `definitions`."""
    definitions.count += 1


def _number() -> int:
    """The number of the present combination of values. It is 0 for the first values of all settings, even if
    modules that are loaded later add settings."""
    values = [(i, *own.items()) for i, (s, first) in enumerate(_all) if (own := vars(s)) != first]
    if not values:
        return 0
    if len(_numbers) > _MOST:
        _numbers.clear()  # Calls then have new numbers, and are recorded anew.
    return _numbers.setdefault(tuple(values), next(_next))


_core._set_settings(_number)
