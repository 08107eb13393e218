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


class _Registered:
    """An object with settings."""

    def __init__(self, settings: Settings, first_values: dict[str, Any]) -> None:
        self.settings = settings
        self.first_values = first_values


_all: list[_Registered] = []
_numbers: dict[tuple[Any, ...], int] = {}  # {combination of values: its number}
_next_number = count(1)
_MOST_NUMBERS = 4096  # how many combinations are remembered, so that a setting that varies fills no memory


class Settings:
    """Settings of the process: ``options = Settings(precision=4)``, then ``options.precision = 2``."""

    def __init__(self, **first: Any) -> None:
        vars(self).update(first)
        _all.append(_Registered(self, first))

    def __setattr__(self, name: str, value: Any) -> None:
        values = vars(self)
        if values[name] is not value:  # an unknown name is a KeyError: only `__init__` adds settings
            values[name] = value
            _core._setting_changed()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class ThreadSettings(Settings, local):  # type: ignore[misc, unused-ignore]
    """Settings that each thread has for itself, with these first values."""

    def __new__(cls, **first: Any) -> ThreadSettings:
        self = super().__new__(cls, **first)
        _all.append(_Registered(self, first))
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
    changed = []
    for i, registered in enumerate(_all):
        values = vars(registered.settings)  # of ThreadSettings those of this thread
        if values != registered.first_values:
            changed.append((i, *values.items()))
    if not changed:
        return 0
    if len(_numbers) > _MOST_NUMBERS:
        _numbers.clear()  # Calls then have new numbers, and are recorded anew.
    return _numbers.setdefault(tuple(changed), next(_next_number))


_core._set_settings(_number)  # The core calls it when it compares the settings.
