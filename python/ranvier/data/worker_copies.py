"""Copies of a data set for the workers of a DataLoader, as a fork makes them: without the methods that
prepare an object for a file, which may leave out an open one."""

from __future__ import annotations

import copyreg
import io
import mmap
import os
import pickle
import sys
import threading
from contextlib import suppress
from copy import copy
from functools import cache
from tempfile import TemporaryFile
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

_SHARED = (FunctionType, BuiltinFunctionType, ModuleType, type)
_HOOKS = {"__getnewargs__", "__getnewargs_ex__", "__getstate__", "__reduce__", "__reduce_ex__"}
_CONTAINERS = (list, dict, set)
# Arrays of at least this many bytes share memory, of which pages are copied when they are changed.
_LARGE = 2**16
_local = threading.local()  # `held` is what the copy that is being made refers to.


def copies(dataset: Any, count: int, pickled: bool = False) -> list[Any]:
    """Copies of a data set; what cannot be copied is shared. pickled: as a file would have it."""
    in_memory = getattr(os, "memfd_create", None)  # Only Linux has it.
    try:
        with os.fdopen(in_memory("dataset"), "w+b") if in_memory else TemporaryFile() as memory:
            copier = _Copier(memory, pickled)
            copier.dump(dataset)
            memory.flush()
            return [copier.copy() for _ in range(count)]
    except Exception:  # Some objects say that they can be copied, and cannot.
        pass
    with suppress(Exception):
        return [copy(dataset) for _ in range(count)]
    return [dataset] * count


class _Copier(pickle.Pickler):
    """Writes an object as text, but for objects that the copies share and the memory of large arrays."""

    def __init__(self, memory: Any, pickled: bool) -> None:
        self.text, self.pickled = io.BytesIO(), pickled
        super().__init__(self.text, 5)
        self.held: list[Any] = []
        # Where the large arrays begin in the memory, by their index in `held`. The memory has each page once,
        # for all copies.
        self.places: dict[int, int] = {}
        self.memory = memory  # a file

    def reducer_override(self, x: Any) -> Any:
        if x is _held:
            return NotImplemented
        array = getattr(x, "_array", x)
        if isinstance(x, _SHARED) or (isinstance(array, np.ndarray) and _is_mapped(array)):
            return self._hold(x)
        if type(x) is np.ndarray and x.nbytes >= _LARGE and x.dtype.kind in "biufc":
            self.places[len(self.held)] = place = -(-self.memory.tell() // mmap.PAGESIZE) * mmap.PAGESIZE
            self.memory.seek(place)
            order: Any = "F" if x.flags.f_contiguous else "C"
            self.memory.write(
                np.ascontiguousarray(x.T if order == "F" else x).reshape(-1).view(np.uint8).data
            )
            return self._hold((x.shape, x.dtype, order))
        form = None if self.pickled else _form(type(x))  # type: ignore[arg-type]
        if form is not None:
            return self._hold(x) if _is_variable(x) else _parts(x, *form)
        try:
            reduce = copyreg.dispatch_table.get(type(x))
            reduced = reduce(x) if reduce else x.__reduce_ex__(5)
        except Exception:
            return self._hold(x)
        return self._hold(x) if isinstance(reduced, str) else reduced

    def _hold(self, x: Any) -> Any:
        self.held.append(x)
        return _held, (len(self.held) - 1,)

    def copy(self) -> Any:
        """One copy; the pages of its large arrays are copied where they are changed."""
        file = self.memory.fileno()  # A mapping keeps its file open, so there is one mapping for all arrays.
        memory = mmap.mmap(file, 0, access=mmap.ACCESS_COPY) if self.places else None
        _local.held = [
            np.ndarray(x[0], x[1], memory, self.places[i], order=x[2]) if i in self.places else x
            for i, x in enumerate(self.held)
        ]
        try:
            return pickle.loads(self.text.getvalue())
        finally:
            _local.held = []


@cache
def _form(kind: type) -> tuple[Any, Any] | None:
    """The class of Python beside whose contents its objects have attributes alone, and what gives them to a
    new one. None where Python or this library copies them in a way of its own, or not all is known."""
    restore: Any = None
    for owner in kind.__mro__:
        package = owner.__module__.partition(".")[0]
        known = package == "ranvier" or package in sys.stdlib_module_names
        if known and owner not in (object, *_CONTAINERS):
            if _HOOKS & vars(owner).keys():
                return None
            restore = vars(owner).get("__setstate__", restore)  # A Module defines __setstate__.
    base: Any = next((base for base in _CONTAINERS if issubclass(kind, base)), object)
    try:
        base.__new__(kind)
    except TypeError:  # A class made in C raises this.
        return None
    return base, restore


def _is_variable(x: Any) -> bool:
    """True for an object that is the variable of a module, which pickle stores by its name."""
    kind: Any = type(x)
    if kind.__reduce__ is object.__reduce__ and kind.__reduce_ex__ is object.__reduce_ex__:
        return False
    return any(x is value for value in vars(sys.modules.get(kind.__module__, object)).values())


def _parts(x: Any, base: Any, restore: Any) -> Any:
    """The parts of an object: attributes, slots and the items of a container."""
    own = dict(object.__getattribute__(x, "__dict__")) if type(x).__dictoffset__ else {}
    slots = {}
    for name in copyreg._slotnames(type(x)):  # type: ignore[attr-defined]
        with suppress(AttributeError):
            slots[name] = object.__getattribute__(x, name)
    items = list(base.items(x) if base is dict else base.__iter__(x)) if base is not object else []
    return base.__new__, (type(x),), (base, own, slots, items, restore), None, None, _restore


def _restore(x: Any, state: Any) -> None:
    base, own, slots, items, restore = state
    if restore is not None:
        restore(x, own)
    elif own:
        object.__getattribute__(x, "__dict__").update(own)
    for name, value in slots.items():
        object.__setattr__(x, name, value)
    if base is not object:
        (list.extend if base is list else base.update)(x, items)


def _held(i: int) -> Any:
    return _local.held[i]


def _is_mapped(array: Any) -> bool:
    """True if the array shows memory of a file, or of several processes, which a copy would not share."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, (mmap.mmap, memoryview))
