"""Attributes of a Trainer and of callbacks: checked where they are set, and none that nothing reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_OTHER_WORDS = {"learning_rate": "lr", "criterion": "loss", "module": "model", "net": "model"}


def require_known(owner: object, name: str) -> None:
    """Raise AttributeError for an attribute that an object of the library does not have, and which nothing
    would read. A class of the program may have others, whose names are not close to those that are known."""
    owner_class = type(owner)
    if name.startswith("_") or hasattr(owner_class, name) or name in vars(owner):
        return
    is_of_library = owner_class.__module__.startswith("ranvier.")
    known = [other for other in {*dir(owner_class), *vars(owner)} if not other.startswith("_")]
    similarity = 0.6 if is_of_library else 0.8
    from difflib import get_close_matches  # at an error only: it takes a millisecond to load

    near = get_close_matches(name, known, n=1, cutoff=similarity)
    if _OTHER_WORDS.get(name) in known:
        near = [_OTHER_WORDS[name]]
    if near or is_of_library:
        meant = f": did you mean '{near[0]}'?" if near else ""
        raise AttributeError(
            f"[{owner_class.__name__}] got a new attribute '{name}', which nothing reads; expected one that "
            f"it has{meant}"
        )


class Checked:
    """An attribute that is checked wherever it is set.

    check: a function (name of the class, name of the attribute, value) that gives the value to store.
    """

    def __init__(self, check: Callable[[str, str, Any], Any]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, owner: object, value: Any) -> None:
        vars(owner)[self._name] = self._check(type(owner).__name__, self._name, value)


class Known:
    """The base of callbacks that take no attributes but those that they have, once they are made.

    `_made` is set at the end of the constructor.
    """

    _made = False

    def __setattr__(self, name: str, value: Any) -> None:
        if self._made and name != "trainer":  # A run sets `trainer`.
            require_known(self, name)
        object.__setattr__(self, name, value)
