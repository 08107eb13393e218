"""Observers: what follows the operations of a run, as what writes a model in another form does.

While a thread has one, the core makes every operation a call of `Function.apply`, in the order of the
program, and nothing is replayed. Without one, a call costs the test of a number.
"""

from __future__ import annotations

from _thread import get_ident
from functools import partial
from typing import Any, Generic, TypeVar

import ranvier._core as _core

__all__ = ["Observer", "observing"]

_O = TypeVar("_O", bound="Observer")
_observers: list[tuple[int | None, Observer]] = []  # with their threads; None: all


class Observer:
    """Follows what is computed inside ``with observing(observer)``."""

    def apply(self, run: Any, function: Any, *inputs: Any) -> Any:
        """``function.apply(*inputs)``, which is ``run(*inputs)``."""
        return run(*inputs)


class observing(Generic[_O]):
    """A block in which the observer follows this thread, or all of them."""

    def __init__(self, observer: _O, everywhere: bool = False) -> None:
        self._entry = None if everywhere else get_ident(), observer

    def __enter__(self) -> _O:
        thread, observer = self._entry
        _observers.append(self._entry)
        _core._observe(True, thread is None)
        return observer

    def __exit__(self, *error: object) -> None:
        _core._observe(False, self._entry[0] is None)
        _observers.remove(self._entry)


def observed(function: Any, *inputs: Any) -> Any:
    """``function.apply(*inputs)`` as the observers of this thread make it, the first one innermost."""
    run = function._apply
    for thread, observer in list(_observers):
        if thread is None or thread == get_ident():
            run = partial(observer.apply, run, function)
    return run(*inputs)
