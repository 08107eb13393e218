"""Copies of a data set for the workers of a DataLoader."""

from __future__ import annotations

import copyreg
import io
import mmap
import os
import pickle
import threading
from contextlib import suppress
from copy import copy
from tempfile import TemporaryFile
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np

_SHARED = (FunctionType, BuiltinFunctionType, ModuleType, type)
_LARGE = 2**16  # bytes; the memory of larger arrays is copied where it is changed
_local = threading.local()  # what the copy refers to that is being made


def copies(dataset: Any, count: int) -> list[Any]:
    """Copies of a data set; what cannot be copied is shared."""
    in_memory = getattr(os, "memfd_create", None)  # of Linux
    try:
        with os.fdopen(in_memory("dataset"), "w+b") if in_memory else TemporaryFile() as memory:
            copier = _Copier(memory)
            copier.dump(dataset)
            memory.flush()
            return [copier.copy() for _ in range(count)]
    except Exception:  # an object that says that it can be copied, and cannot
        pass
    with suppress(Exception):
        return [copy(dataset) for _ in range(count)]
    return [dataset] * count


class _Copier(pickle.Pickler):
    """Writes an object as text, but for objects that the copies share and the memory of large arrays."""

    def __init__(self, memory: Any) -> None:
        self.text = io.BytesIO()
        super().__init__(self.text, 5)
        self.held: list[Any] = []
        self.places: dict[int, int] = {}  # of large arrays in the memory, which has all pages once
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
        file = self.memory.fileno()  # which a mapping keeps open: one for all arrays
        memory = mmap.mmap(file, 0, access=mmap.ACCESS_COPY) if self.places else None
        _local.held = [
            np.ndarray(x[0], x[1], memory, self.places[i], order=x[2]) if i in self.places else x
            for i, x in enumerate(self.held)
        ]
        try:
            return pickle.loads(self.text.getvalue())
        finally:
            _local.held = []


def _held(i: int) -> Any:
    return _local.held[i]


def _is_mapped(array: Any) -> bool:
    """Whether it shows memory of a file, or of several processes: their changes are not those of a copy."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array, (mmap.mmap, memoryview))
