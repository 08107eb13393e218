"""The guards that a walk has found, and those on what arrays and cells hold."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.program.contents import layout_of
from ranvier.program.guard_kinds import Kind

_LAYOUT = frozenset({"flags", "strides"})
_LARGEST = 1 << 20  # bytes of an array whose elements are compared


class Found:
    """Guards, and the values that are still to be followed.

    Attributes:
        guards: (kind, owner, key, expected), as the core takes them; `texts`: the place of each, in words.
        fault: why the step cannot be guarded, or "".
    """

    def __init__(self, fault: str) -> None:
        self.guards: list[tuple[int, Any, Any, Any]] = []
        self.texts: list[str] = []
        self.fault = fault
        self._names: set[str] = set()  # of attributes that the code names
        self._known: set[tuple[int, int, Any]] = set()
        self.stack: list[tuple[Any, str]] = []

    def add(self, kind: Kind, owner: Any, key: Any, expected: Any, text: str) -> None:
        known = int(kind), id(owner), key if type(key) in (str, int) else id(key)
        if known not in self._known:
            self._known.add(known)
            self.guards.append((int(kind), owner, key, expected))
            self.texts.append(text)

    def item(self, owner: dict[Any, Any], key: str, text: str) -> None:
        self.add(Kind.ITEM, owner, key, owner[key], text)
        self.stack.append((owner[key], text))

    def call(self, function: Callable[[], Any], expected: Any, text: str) -> None:
        """A guard on what a function without arguments gives."""
        self.add(Kind.CALL, function, "", expected, text)

    def _call(self, function: Callable[[], Any], text: str) -> None:
        self.call(function, function(), text)

    def _array(self, x: Any, text: str) -> None:
        if x.nbytes > _LARGEST or x.dtype.hasobject or isinstance(x, np.ma.MaskedArray):
            self.fault = (
                f"the step depends on {text}, a NumPy array of {x.nbytes} bytes and dtype {x.dtype}; pass it "
                "as an argument, or wrap a true constant in rv.constant outside the step"
            )
            return
        self.add(Kind.ARRAY, x, "", np.array(x, order="C", subok=False), f"the elements of {text}")
        if self._names & _LAYOUT:
            self._call(functools.partial(layout_of, x), f"the layout of {text}")

    def _cell(self, cell: Any, text: str) -> None:
        try:
            content = cell.cell_contents
        except ValueError:  # empty as yet
            return
        self.add(Kind.CELL, cell, "", content, text)
        self.stack.append((content, text))
