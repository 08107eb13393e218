"""Records the run of a model as a list of calls of Functions, to write the model in another form.

Every operation of the library that has a gradient is a call of `Function.apply`; that is where the calls are
read. A value is identified by the array of its Tensor. Other operations may compute arrays from the inputs,
too. To know these, all kernel calls are recorded as well, as `rv.compile` does: an array that depends on the
inputs is no constant, and its values may not be read in Python.

A subclass of Calls decides what stands for a value in the list, such as a name in a file.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import SimpleNamespace
from typing import Any, NamedTuple, NoReturn
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.observe import Observer, package, place
from ranvier.tape.function import Function
from ranvier.tensors.recording import Recording, paused
from ranvier.tensors.tensor import Tensor

__all__ = ["FORMULAS", "Call", "Calls", "Refused"]

FORMULAS: dict[str, Any] = {}
"""Formulas by the name of a Function's class: functions of the node and its inputs (`ops/formulas.py`)."""


class Call(NamedTuple):
    """One call: the Function's class name, its attributes before the call, operands, results, and its layer.

    inputs, outputs: the objects that stand for operands and results, by `Calls.operand` and `Calls.result`.
    where: the line of the model's code. made_by: the Function's class.
    """

    kind: str
    settings: dict[str, Any]
    inputs: list[Any]
    outputs: list[Any]
    where: str
    layer: str = ""
    made_by: Any = None


class Refused(ValueError):
    """A run that cannot be written in another form."""


class Seen(NamedTuple):
    """A tensor of the run: its array, the object that stands for it in calls, its count of changes."""

    array: Callable[[], Any]  # a weak reference
    value: Any
    is_computed: bool  # True if it was computed from the inputs of the run
    cell: Any
    changes: int


class Calls(Observer):
    """The calls of a run in a `with` block, in order. Subclasses have `operand` and `result`.

    op: the name that errors begin with.
    """

    op: str

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.alive: list[Any] = []  # objects that are kept, so that their ids stay unique
        self.fault = ""  # the text of the first error that `refuse` has raised
        self.failure = ""  # the first call that has failed, because of the values of its operands
        self._seen: dict[int, Seen] = {}  # id of an array -> what is known of it
        self._recording = Recording(_core.Recording(package()))
        self._recording.executed, self._recording.keeps = SimpleNamespace(ignores=True), True

    def __enter__(self) -> Calls:
        with ExitStack() as block:
            block.callback(super().__exit__)
            super().__enter__()
            block.enter_context(paused())  # the recording of a step that writes a file
            block.enter_context(self._recording)
            for entry in self._seen.values():
                if entry.is_computed:
                    self._recording.core.follow(entry.array())
            self._block = block.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._block.close()
        if self.fault:  # the model may have caught the error, and gone on in another way
            raise Refused(self.fault) from None
        if self.failure and error[0] is None:
            raise Refused(
                f"[{self.op}] the model catches an error of {self.failure}, which the values of its inputs "
                "decide; expected one that does the same for all values"
            )

    def refuse(self, text: str) -> NoReturn:
        """Raises Refused, and once more where the run ends."""
        self.fault = self.fault or f"[{self.op}] {text}"
        raise Refused(self.fault)

    def operand(self, x: Any) -> Any:
        """The object that stands for a Tensor, an array, a number or None."""
        raise NotImplementedError

    def result(self, kind: str, x: Tensor) -> Any:
        """The object that stands for a result of a call."""
        raise NotImplementedError

    def layer(self) -> str:
        """The name of the layer whose forward runs now."""
        return ""

    def writes(self, function: Function, inputs: Any) -> bool:
        """True where a Function is written as it is, not as its formula."""
        return True

    def may_hold(self, array: Any) -> bool:
        """True if the result of a call may be written to the array."""
        return True

    # --- values

    def see(self, tensor: Tensor, value: Any, is_computed: bool = True) -> Any:
        """Notes the object that stands for a tensor from now on, and returns it."""
        array, cell = tensor._array, tensor._cell
        self._seen[id(array)] = Seen(ref(array), value, is_computed, cell, cell[0])
        return value

    def find(self, array: Any) -> Seen | None:
        """The record of an array that was seen before; None for another."""
        entry = self._seen.get(id(array))
        return entry if entry is not None and entry.array() is array else None

    def unchanged(self, array: Any) -> Seen | None:
        """The record of an array, as `find` returns it; None: the array is a constant.

        Raises ValueError where it was changed in place since then, or is no constant.
        """
        entry = self.find(array)
        if (
            entry is None
            and isinstance(array, np.ndarray)
            and array.size
            and self._recording.core.varies(array)
        ):
            maker = self._recording.core.maker(array)
            file, _, line = maker.rpartition(" at ")[2].rpartition(":")
            text = linecache.getline(file, int(line)).strip() if line.isdigit() else ""
            self.refuse(
                f"{place()} uses a tensor that depends on the inputs, and that {maker} has made"
                + f" ({text})" * bool(text)
                + ", which has no counterpart; expected other operations, or the tensor as an input (what "
                "NumPy makes of other numbers: rv.constant)"
            )
        if entry is not None and entry.cell[0] != entry.changes:
            self.refuse(
                f"{place()} uses a tensor after it, or a tensor of the same memory, was changed in place "
                "by an assignment or a view; expected operations that make new tensors (where, cat)"
            )
        return entry

    def add(
        self, kind: str, settings: dict[str, Any], inputs: Any, results: Any, made_by: Any = None
    ) -> None:
        operands = [self.operand(x) for x in inputs]
        outputs = [self.result(kind, x) for x in results]
        self.calls.append(Call(kind, settings, operands, outputs, place(), self.layer(), made_by))

    # --- what observers see
    def apply(self, run: Any, function: Function, *inputs: Any) -> Any:
        settings = dict(vars(function))  # a copy: forward adds attributes of its own
        kind, module = type(function).__name__, type(function).__module__
        if not module.startswith("ranvier."):
            kind = f"{module}.{kind}"
        elif not self.writes(function, inputs) and (
            formula := getattr(type(function), "formula", FORMULAS.get(kind))
        ):
            return formula(function, *inputs)
        try:
            result = run(*inputs)
        except Exception:
            self._failed(type(function), settings, inputs)
            raise
        results = result if isinstance(result, tuple) else (result,)
        self.add(kind, settings, inputs, results, type(function))
        return result

    def _failed(self, made_by: Any, settings: dict[str, Any], inputs: Any) -> None:
        """Notes a call that fails, but not with other values of the same shapes."""
        arrays = [getattr(x, "_array", x) for x in inputs]
        if not any(isinstance(a, np.ndarray) and a.size and self._recording.core.varies(a) for a in arrays):
            return
        function = object.__new__(made_by)
        vars(function).update(settings)
        function.needs = (False,) * len(arrays)
        with suppress(Exception), paused():
            made_by.forward(function, *map(_usual, arrays))
            self.failure = self.failure or f"{made_by.__name__} at {place()}"

    def stored(self, tensor: Tensor, value: Any) -> None:
        """The tensor holds the result of a call from then on."""
        array, entry = tensor._array, self.find(value)
        if entry is None or entry.cell[0] != entry.changes or not self.may_hold(array):
            return
        if (value.dtype, value.shape) == (array.dtype, array.shape):
            self.see(tensor, entry.value)

    def read(self, how: str, tensor: Any = None) -> None:
        """Raises ValueError where a value that the inputs may change goes to Python."""
        array = getattr(tensor, "_array", tensor)
        if not isinstance(array, np.ndarray):
            return
        entry = self.find(array)
        if (entry is not None and entry.is_computed) or self._recording.core.varies(array):
            self.refuse(
                f"{how} reads a value at {place()}, which a file cannot do; expected operations "
                "on tensors: return the tensor and read it outside"
            )


def _usual(array: Any) -> Any:
    """Values of the same shape that most operations take: matrices with ones on the diagonal, indices 0."""
    if not isinstance(array, np.ndarray):
        return array
    values = np.zeros(array.shape, array.dtype)
    if array.dtype.kind == "f":
        values[...] = np.eye(*array.shape[-2:]) if array.ndim > 1 else 1.0
    return values
