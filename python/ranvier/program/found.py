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
        self._dynamic = False  # whether it may look up other attributes
        self._known: set[tuple[int, int, Any]] = set()
        self.stack: list[tuple[Any, str]] = []
        self.large: list[Any] = []  # arrays whose elements are not compared
        self.untouched: set[int] = set()  # ids of those that the step does not read: touches.py
        self.parents: dict[int, list[Any]] = {}  # by id: the containers that hold a value
        self._too_large = ""  # why the step cannot be guarded, if it reads one of them

    def add(self, kind: Kind, owner: Any, key: Any, expected: Any, text: str) -> None:
        known = int(kind), id(owner), key if type(key) in (str, int) else id(key)
        if known not in self._known:
            self._known.add(known)
            self.guards.append((int(kind), owner, key, expected))
            self.texts.append(text)

    def item(self, owner: dict[Any, Any], key: str, text: str) -> None:
        self.add(Kind.ITEM, owner, key, owner[key], text)
        self.stack.append((owner[key], text))
        if self._dynamic or "__builtins__" not in owner:
            self.parents.setdefault(id(owner[key]), []).append(owner)

    def call(self, function: Callable[[], Any], expected: Any, text: str) -> None:
        """A guard on what a function without arguments gives."""
        self.add(Kind.CALL, function, "", expected, text)

    def _call(self, function: Callable[[], Any], text: str) -> None:
        self.call(function, function(), text)

    def _array(self, x: Any, text: str) -> None:
        if x.dtype.hasobject or isinstance(x, np.ma.MaskedArray):
            self.fault = (
                f"the step depends on {text}, an array whose elements cannot be compared "
                f"({type(x).__name__}, dtype {x.dtype}); use it outside the step and pass what it gives as "
                "an argument"
            )
            return
        if x.nbytes > _LARGEST:
            self.large.append(x)
            self._call(functools.partial(_form_of, x), f"the form of {text}")
            if id(x) not in self.untouched and not self._too_large:
                self._too_large = (
                    f"the step reads {text}, a NumPy array of {x.nbytes} bytes, too many to be compared "
                    "before each replay; make it a Tensor outside the step (rv.tensor), which a replay reads "
                    "as it is, or pass what the step needs of it as an argument"
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


def _form_of(x: Any) -> tuple[Any, ...]:
    """All that can change of a large array but its elements."""
    return x.shape, x.strides, x.dtype.str, x.flags.num, x.ctypes.data
