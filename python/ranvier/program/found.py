"""The guards that a walk has found, and those on what containers, arrays and cells hold."""

from __future__ import annotations

import collections
import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.program.guard_kinds import Kind
from ranvier.program.objects import items_of_set, pairs_of

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
        self._known: set[tuple[int, int, Any]] = set()
        self._stack: list[tuple[Any, str]] = []

    def add(self, kind: Kind, owner: Any, key: Any, expected: Any, text: str) -> None:
        known = int(kind), id(owner), key if type(key) in (str, int) else id(key)
        if known not in self._known:
            self._known.add(known)
            self.guards.append((int(kind), owner, key, expected))
            self.texts.append(text)

    def _item(self, owner: dict[Any, Any], key: str, text: str) -> None:
        self.add(Kind.ITEM, owner, key, owner[key], text)
        self._stack.append((owner[key], text))

    def call(self, function: Callable[[], Any], expected: Any, text: str) -> None:
        """A guard on what a function without arguments gives."""
        self.add(Kind.CALL, function, "", expected, text)

    def _call(self, function: Callable[[], Any], text: str) -> None:
        self.call(function, function(), f"the contents of {text}")

    def _contents(self, x: Any, text: str) -> None:
        kind = type(x)
        if issubclass(kind, list):
            if type(x) is list:
                self.add(Kind.LIST, x, "", tuple(x), f"the items of {text}")
            else:
                self._call(functools.partial(tuple, x), text)
            self._stack += [(item, f"{text}[{i}]") for i, item in enumerate(x)]
        elif issubclass(kind, dict):
            self.add(Kind.DICT, x, "", pairs_of(x), f"the items of {text}")
            if issubclass(kind, collections.OrderedDict):  # which has an order of its own
                self._call(functools.partial(tuple, x), text)
            for key, value in x.items():
                self._stack += [(key, f"a key of {text}"), (value, f"{text}[{key!r}]")]
        elif issubclass(kind, tuple):
            self._stack += [(item, f"{text}[{i}]") for i, item in enumerate(x)]
        elif issubclass(kind, (set, frozenset)):
            if not issubclass(kind, frozenset):
                self._call(functools.partial(items_of_set, x), text)
            self._stack += [(item, f"an item of {text}") for item in x]
        elif issubclass(kind, collections.deque):
            self._call(functools.partial(tuple, x), text)
            self._stack += [(item, f"{text}[{i}]") for i, item in enumerate(x)]
        elif issubclass(kind, (bytearray, memoryview)):
            self._call(functools.partial(bytes, x), text)
        elif issubclass(kind, types.MappingProxyType):
            self._call(functools.partial(pairs_of, x), text)
        elif kind.__module__ == "array":
            self._call(x.tobytes, text)

    def _array(self, x: Any, text: str) -> None:
        if x.nbytes > _LARGEST or x.dtype.hasobject or isinstance(x, np.ma.MaskedArray):
            self.fault = (
                f"the step depends on {text}, a NumPy array of {x.nbytes} bytes and dtype {x.dtype}; pass it "
                "as an argument, or wrap a true constant in rv.constant outside the step"
            )
            return
        self.add(Kind.ARRAY, x, "", np.array(x, order="C", subok=False), f"the elements of {text}")

    def _cell(self, cell: Any, text: str) -> None:
        try:
            content = cell.cell_contents
        except ValueError:  # empty as yet
            return
        self.add(Kind.CELL, cell, "", content, text)
        self._stack.append((content, text))
