"""Attributes of a Trainer and of callbacks: checked where they are set, and none that nothing reads."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

_OTHER_WORDS = {"learning_rate": "lr", "criterion": "loss", "module": "model", "net": "model"}


def require_known(thing: Any, name: str) -> None:
    """Raise AttributeError for an attribute that an object of the library does not have, and which nothing
    would read. A class of the program may have others, whose names are not close to those that are known."""
    kind = type(thing)
    if name.startswith("_") or hasattr(kind, name) or name in vars(thing):
        return
    is_own = not kind.__module__.startswith("ranvier.")
    known = [other for other in {*dir(kind), *vars(thing)} if not other.startswith("_")]
    near = get_close_matches(name, known, 1, 0.8 if is_own else 0.6)
    if _OTHER_WORDS.get(name) in known:
        near = [_OTHER_WORDS[name]]
    if near or not is_own:
        meant = f": did you mean '{near[0]}'?" if near else ""
        raise AttributeError(
            f"[{kind.__name__}] got a new attribute '{name}', which nothing reads; expected one that it "
            f"has{meant}"
        )


class Checked:
    """An attribute that is checked wherever it is set.

    check: a function (name of the class, name of the attribute, value) that gives the value to store.
    """

    def __init__(self, check: Callable[[str, str, Any], Any]) -> None:
        self._check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __set__(self, thing: Any, value: Any) -> None:
        vars(thing)[self._name] = self._check(type(thing).__name__, self._name, value)


class Known:
    """The base of callbacks that take no attributes but those that they have, once they are made.

    `_made` is set at the end of the constructor.
    """

    _made = False

    def __setattr__(self, name: str, value: Any) -> None:
        if self._made and name != "trainer":  # A run sets `trainer`.
            require_known(self, name)
        object.__setattr__(self, name, value)
