"""What a Module registers: checks of the name and the kind of a parameter, buffer or module."""

from __future__ import annotations

from typing import Any


def check(module: Any, what: str, name: Any, own: Any, value: Any, kind: type) -> None:
    """Refuses a name that is no string, empty, with a dot (paths have dots), or that of another attribute,
    and a value that is neither of this kind nor None."""
    if not isinstance(name, str):
        raise TypeError(f"[register_{what}] got name {name!r}; expected a string")
    if not name or "." in name:
        raise KeyError(f"[register_{what}] got name {name!r}; expected one without dots that is not empty")
    if hasattr(module, name) and name not in own:
        raise KeyError(f"attribute {name!r} already exists")
    if not (value is None or isinstance(value, kind)):
        raise TypeError(
            f"cannot assign {type(value).__name__} as {what} {name!r}; expected a {kind.__name__} or None"
        )
