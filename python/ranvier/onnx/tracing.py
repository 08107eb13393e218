"""A run of a model as a list of calls of Functions, with names for the values.

A value is identified by the array of its Tensor. An array that no call made and that is no parameter is a
constant; runs with other inputs show whether it depends on them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

from ranvier.autograd import Tensor
from ranvier.autograd.recording import place

Array = np.ndarray[Any, Any]


class Value(NamedTuple):
    """An operand or result of a call: a value of the graph, or without a name a constant.

    array: of a constant its numbers; of others only shape and dtype are right.
    """

    name: str
    array: Array


class Call(NamedTuple):
    """One call: the Function's class name, its attributes before the call, operands and results.

    where: the line of the model's code.
    """

    kind: str
    settings: dict[str, Any]
    inputs: list[Value | None]
    outputs: list[Value]
    where: str


class Trace:
    """The calls of one run. enter is called with each module that is called."""

    def __init__(self, enter: Callable[[Any], None] | None = None) -> None:
        self.enter = enter or (lambda module: None)
        self.calls: list[Call] = []
        self._known: dict[int, tuple[Any, str, Any, int]] = {}  # by id of the array
        self._constants: list[Any] = []  # their ids stay unique
        self._thread = threading.get_ident()
        self._count = 0
        self.weights: set[str] = set()  # names of parameters and buffers

    def is_here(self) -> bool:
        """Whether this is the thread that is traced."""
        return threading.get_ident() == self._thread

    def name(self, tensor: Tensor, name: str) -> Value:
        """Gives a tensor's array a name."""
        array, cell = tensor._array, tensor._cell
        self._known[id(array)] = (ref(array), name, cell, cell[0])
        return Value(name, _outline(array))

    def value(self, x: Any) -> Value | None:
        """The operand for a tensor, an array or a number."""
        if x is None:
            return None
        array = getattr(x, "_array", x)
        array = array if isinstance(array, np.ndarray) else np.asarray(array)
        known = self._known.get(id(array))
        if known is None or known[0]() is not array:
            self._constants.append(array)
            return Value("", array)
        if known[2][0] != known[3]:
            raise ValueError(
                f"[onnx.export] {place()} uses a tensor after it, or a tensor of the same memory, was "
                "changed in place by an assignment or a view; expected operations that make new tensors "
                "(where, cat)"
            )
        return Value(known[1], _outline(array))

    def add(self, kind: str, settings: dict[str, Any], inputs: Any, results: Any) -> None:
        if not self.is_here():
            return
        operands = [self.value(x) for x in inputs]
        settings = {name: self._setting(value) for name, value in settings.items()}
        outputs = []
        for result in results:
            self._count += 1
            outputs.append(self.name(result, f"{kind.lower()}_{self._count}"))
        self.calls.append(Call(kind, settings, operands, outputs, place()))

    def _setting(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self.value(value)
        if isinstance(value, tuple):
            return tuple(map(self._setting, value))
        return value

    def read(self, tensor: Tensor, how: str) -> None:
        """Before a value goes to Python: ValueError for one that the inputs may change."""
        known = self._known.get(id(tensor._array))
        if known is not None and known[0]() is tensor._array and known[1] not in self.weights:
            raise ValueError(
                f"[onnx.export] {how} reads a value at {place()}, which a graph cannot do; expected "
                "operations on tensors (where, clamp): return the tensor and read it outside"
            )

    def stored(self, tensor: Tensor, value: Any) -> None:
        """Called after a change in place: the tensor gets the name of what was written to all of it."""
        array, known = tensor._array, self._known.get(id(value))
        if known is None or known[0]() is not value:
            return
        cell = tensor._cell
        changed = known[2] is not cell and known[2][0] != known[3]
        if not changed and (value.dtype, value.shape) == (array.dtype, array.shape):
            self._known[id(array)] = (ref(array), known[1], cell, cell[0])


def _outline(array: Array) -> Array:
    """An array of the same shape and dtype, without its memory."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)
