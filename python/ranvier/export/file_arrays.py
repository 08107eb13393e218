"""The arrays of an exported file, constants and state, and their names in C.

`FileArrays` has those of the file, `Values` adds the temporaries of one function. A parameter "0.weight" of a
model becomes

    static const float w_0_weight[32] = {...};
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ranvier.export.instructions import CArray, Routine, Value
from ranvier.tensors.memory import Array

_C = """
    auto break case char const continue default do double else enum extern float for goto if inline int
    long register restrict return short signed sizeof static struct switch typedef union unsigned void
    volatile while
"""
_OTHERS = """
    ram state main exp log sin cos tan y0 y1 yn j0 j1 jn gamma signgam asm bool true false class new
    delete this template private public protected operator namespace linux unix errno index time abs div
    null nan infinity expm1f int32_t
"""
_RESERVED = {*_C.split(), *_OTHERS.split()}
"""Keywords of C, names of its library, of C++ and of the file itself."""


def identifier(text: str, taken: set[str], prefix: str = "") -> str:
    """A C identifier made of `text`, unlike those in `taken` (in lower case), to which it is added."""
    plain = re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_") or "x"
    if prefix or not plain[0].isdigit():
        plain = prefix + plain
    else:
        plain = f"x{plain}"
    name = plain
    number = 1
    while name.lower() in taken or name.lower() in _RESERVED:
        number += 1
        name = f"{plain}_{number}"
    taken.add(name.lower())
    return name


_DTYPES = {"float": np.float32, "int32_t": np.int32, "int8_t": np.int8}


class FileArrays:
    """The constants and the state of a file: each array has one place in it, whichever function uses it.

    names: id of an array -> its name in Python. learned: ids of the arrays that a step changes, which are
    state.
    prefix: the prefix of the names of constants. buffers: all arrays. scalars: (C type, name, first value) of
    single numbers of the state, such as the number of steps.
    """

    def __init__(self, names: dict[int, str], learned: set[int], prefix: str) -> None:
        self.names = names
        self.learned = learned
        self.prefix = prefix
        self.buffers: list[CArray] = []
        self.scalars: list[tuple[str, str, float]] = []
        self.taken: set[str] = {"steps", "learning_rate"}  # the names of scalars, which update.py gives
        self.matrices: dict[int, tuple[Value, Value]] = {}  # of few bits, by id of their bytes: quantized.py
        self._values: dict[int, Value] = {}
        self._alive: list[Any] = []  # the arrays, so that their ids stay unique

    def value(self, array: Array, name: str = "constant") -> Value:
        """The place of a parameter, statistic or constant."""
        value = self._values.get(id(array))
        if value is None:
            kind = "state" if id(array) in self.learned else "constant"
            name = identifier(self.names.get(id(array), name), self.taken, self.prefix)
            value = self._new(name, array, kind)
            self._values[id(array)] = value
        return value

    def beside(self, value: Value, name: str, array: Any) -> Value:
        """A new array of the state beside a parameter, for an optimizer.

        array: its first values, None for zeros.
        """
        if array is None:
            array = np.zeros(value.shape, np.float32)
        else:
            array = np.asarray(array)
        return self._new(identifier(f"{value.buffer.name}_{name}", self.taken), array, "state")

    def scalar(self, name: str, kind: str, start: float, number: int) -> str:
        """Adds a number to the state; returns its name in C.

        number: that of the optimizer's parameter group, from 1.
        """
        if number != 1:
            name = f"{name}_{number}"
        self.scalars.append((kind, name, start))
        return name

    def constant(self, array: Array, name: str) -> Value:
        """A new constant; int8 remains int8, and other integers become int32_t."""
        type = "int8_t" if array.dtype == np.int8 else None
        return self._new(identifier(name, self.taken, self.prefix), array, "constant", type)

    def _new(self, name: str, array: Array, kind: str, type: str | None = None) -> Value:
        self._alive.append(array)
        type = type or ("int32_t" if array.dtype.kind in "iu" else "float")
        values = np.array(array, _DTYPES[type], order="C").reshape(-1)
        buffer = CArray(name, values.size, kind, values, type)
        self.buffers.append(buffer)
        return Value(buffer, array.shape)

    def keep(self, routines: list[Routine]) -> None:
        """Drops arrays that no instruction uses, such as weights that were combined with a batch norm."""
        used: set[int] = set()
        for routine in routines:
            for instruction in routine.instructions:
                values = [*instruction.operands(), *instruction.writes]
                used.update(id(value.buffer) for value in values)
        self.buffers = [b for b in self.buffers if id(b) in used]

    def bytes(self, kind: str) -> int:
        """The bytes of all arrays (and for "state" the numbers) of a kind of CArray."""
        total = sum(b.bytes for b in self.buffers if b.kind == kind)
        if kind == "state":
            total += 4 * len(self.scalars)
        return total


class Values:
    """The place of each array of one function: inputs and results of its calls (`made`, by id of the array),
    parameters and constants (`memory`)."""

    def __init__(self, memory: FileArrays) -> None:
        self.memory = memory
        self.made: dict[int, Value] = {}

    def __call__(self, array: Array, name: str = "constant") -> Value:
        return self.made.get(id(array)) or self.memory.value(array, name)
