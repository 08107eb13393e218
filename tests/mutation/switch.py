"""Switches a mutant on in this process, and says which mutants the code that ran met."""

from __future__ import annotations

import ctypes

import numpy as np


class Core:
    """The switch and the marks of the instrumented core, which is loaded already."""

    def __init__(self, count: int) -> None:
        from ranvier import _core

        library = ctypes.CDLL(_core.__file__)
        self._mutant = ctypes.c_int.in_dll(library, "ranvier_mutant")
        marks = (ctypes.c_ushort * count).in_dll(library, "ranvier_reached")
        self._reached = np.frombuffer(marks, np.uint16)

    def switch_on(self, number: int) -> None:
        self._mutant.value = number

    def reached(self) -> list[int]:
        return [int(n) for n in np.flatnonzero(self._reached)]

    def clear(self) -> None:
        self._reached[:] = 0
