"""Copies of a data set for the workers of a DataLoader, in one process.

PyTorch's workers are processes that a fork copies: every object as it is. Here `pickle` makes the copies, but
without the classes' own methods for pickling (`__getstate__`, `__reduce__`), which may leave things out, such
as open files. Functions, classes, modules and objects that cannot be copied are shared; large arrays share
memory until one of the copies changes them.
"""

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
from typing import IO, Any, Literal

import numpy as np

_SHARED = (FunctionType, BuiltinFunctionType, ModuleType, type)
_HOOKS = {"__getnewargs__", "__getnewargs_ex__", "__getstate__", "__reduce__", "__reduce_ex__"}
_CONTAINERS = (list, dict, set)
# Arrays of at least this many bytes share memory. A page of it is copied when a copy writes to it.
_LARGE = 2**16
_local = threading.local()  # `held`: the objects that the copy being made refers to by their index


def _temporary_file() -> IO[bytes]:
    """A file in memory, where the system has such files (Linux), or on disk."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("dataset"), "w+b")
    return TemporaryFile()


def copies(dataset: Any, count: int, pickled: bool = False) -> list[Any]:
    """`count` copies of a data set; objects that cannot be copied are shared.

    pickled: use the classes' own methods for pickling, as for processes that are not forked.
    """
    try:
        with _temporary_file() as memory:
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
    """Pickles an object. Objects that the copies share, and large arrays, become references into `held`."""

    def __init__(self, memory: Any, pickled: bool) -> None:
        self.text = io.BytesIO()
        self.pickled = pickled
        super().__init__(self.text, 5)
        self.held: list[Any] = []
        # index of a large array in `held` -> offset of its bytes in the file `memory`, which all copies share
        self.places: dict[int, int] = {}
        self.memory = memory

    def reducer_override(self, x: Any) -> Any:
        if x is _held:  # it reads what is shared, so it goes by its name and not into `held`
            return NotImplemented
        array = getattr(x, "_array", x)
        if isinstance(x, _SHARED) or (isinstance(array, np.ndarray) and _is_mapped(array)):
            return self._hold(x)
        if type(x) is np.ndarray and x.nbytes >= _LARGE and x.dtype.kind in "biufc":
            self.places[len(self.held)] = place = -(-self.memory.tell() // mmap.PAGESIZE) * mmap.PAGESIZE
            self.memory.seek(place)
            order: Literal["C", "F"] = "F" if x.flags.f_contiguous else "C"
            in_order = x.T if order == "F" else x
            values = np.ascontiguousarray(in_order)
            self.memory.write(values.reshape(-1).view(np.uint8).data)
            return self._hold((x.shape, x.dtype, order))
        form = None if self.pickled else _form(type(x))  # type: ignore[arg-type]
        if form is not None:
            if _is_variable(x):
                return self._hold(x)
            return _parts(x, *form)
        try:
            reduce = copyreg.dispatch_table.get(type(x))
            reduced = reduce(x) if reduce else x.__reduce_ex__(5)
        except Exception:
            return self._hold(x)
        if isinstance(reduced, str):
            return self._hold(x)
        return reduced

    def _hold(self, x: Any) -> Any:
        self.held.append(x)
        return _held, (len(self.held) - 1,)

    def copy(self) -> Any:
        """One copy. Its large arrays are views of a private mapping: a page is copied when it is written."""
        file = self.memory.fileno()  # A mapping keeps its file open, so there is one mapping for all arrays.
        if self.places:
            memory = mmap.mmap(file, 0, access=mmap.ACCESS_COPY)
        else:
            memory = None
        _local.held = []
        for i, x in enumerate(self.held):
            if i in self.places:
                shape, dtype, order = x
                x = np.ndarray(shape, dtype, memory, self.places[i], order=order)
            _local.held.append(x)
        try:
            return pickle.loads(self.text.getvalue())
        finally:
            _local.held = []


@cache
def _form(kind: type) -> tuple[Any, Any] | None:
    """How to copy objects of a class without its own methods for pickling: (base, restore), or None.

    base: list, dict or set if the class inherits from it, else object. The contents of the base and the
    attributes are then all that an object has. restore: the `__setstate__` of the library or of Python's
    library that gives the attributes to a new object, or None if they are just set.

    None if a class of Python or of this library has its own way of pickling, or for classes written in C.
    """
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
    """True for an object that is a variable of its class's module, which pickle stores by its name."""
    kind: Any = type(x)
    if kind.__reduce__ is object.__reduce__ and kind.__reduce_ex__ is object.__reduce_ex__:
        return False
    return any(x is value for value in vars(sys.modules.get(kind.__module__, object)).values())


def _parts(x: Any, base: Any, restore: Any) -> Any:
    """An object as pickle's "reduce" tuple: its attributes, slots and the items of a container."""
    if type(x).__dictoffset__:
        own = dict(object.__getattribute__(x, "__dict__"))
    else:
        own = {}
    slots = {}
    for name in copyreg._slotnames(type(x)):  # type: ignore[attr-defined]
        with suppress(AttributeError):
            slots[name] = object.__getattribute__(x, name)
    items = []
    if base is dict:
        items = list(base.items(x))
    elif base is not object:
        items = list(base.__iter__(x))
    return base.__new__, (type(x),), (base, own, slots, items, restore), None, None, _restore


def _restore(x: Any, state: Any) -> None:
    base, own, slots, items, restore = state
    if restore is not None:
        restore(x, own)
    elif own:
        object.__getattribute__(x, "__dict__").update(own)
    for name, value in slots.items():
        object.__setattr__(x, name, value)
    if base is list:
        list.extend(x, items)
    elif base is not object:
        base.update(x, items)


def _held(i: int) -> Any:
    return _local.held[i]


def _is_mapped(array: Any) -> bool:
    """True if the array is a view of a file's memory or of shared memory, which a copy would not share."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, (mmap.mmap, memoryview))
