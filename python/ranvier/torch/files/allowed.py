"""The classes and functions that a program allows in PyTorch's files, beside those of files with weights.

The list is a setting of the process: a compiled step that reads it is recorded anew after a change
(`defined`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ranvier.settings import defined

Safe: TypeAlias = type | Callable[..., Any] | tuple[type | Callable[..., Any], str]
"""A class or function, or a pair of it and the path that files have for it."""

_safe: set[Safe] = set()  # what programs have added


def add_safe_globals(safe_globals: Iterable[Safe]) -> None:
    """Allows :func:`ranvier.load` to call these classes and functions for PyTorch's files.

    An entry may be a pair of a class or function and the path that files have for it.

    >>> import ranvier as rv, fractions
    >>> rv.serialization.add_safe_globals([fractions.Fraction])
    >>> rv.serialization.get_safe_globals(), rv.serialization.clear_safe_globals()
    ([<class 'fractions.Fraction'>], None)
    """
    _safe.update(safe_globals)
    defined()


def get_safe_globals() -> list[Safe]:
    """The objects that :func:`add_safe_globals` has added."""
    return list(_safe)


def clear_safe_globals() -> None:
    """Removes all that :func:`add_safe_globals` has added."""
    _safe.clear()
    defined()


class safe_globals:
    """A block in which classes and functions count as added by :func:`add_safe_globals`."""

    def __init__(self, safe_globals: Iterable[Safe]) -> None:
        self.added = [value for value in safe_globals if value not in _safe]

    def __enter__(self) -> None:
        add_safe_globals(self.added)

    def __exit__(self, *error: object) -> None:
        _safe.difference_update(self.added)
        defined()


def by_path(name_of: Callable[[Any], str]) -> dict[str, Any]:
    """The objects that programs have added, by the paths that files have for them."""
    paths = {}
    for added in _safe:
        if isinstance(added, tuple):
            value, path = added
        else:
            value, path = added, name_of(added)
        paths[path] = value
    return paths


def refusal(path: str) -> str:
    """The text of the error for a file that names `path`, which is not allowed."""
    shown = path.removeprefix("builtins.")
    return (
        f"holds more than weights. Weights only load failed: Unsupported global: GLOBAL {path} was not an "
        "allowed global by default, since it could run code. If you trust the source of the file: load it "
        "with weights_only=False, or allow this name with "
        f"`torch.serialization.add_safe_globals([{shown}])` or "
        f"`torch.serialization.safe_globals([{shown}])` (WeightsUnpickler error)"
    )
