"""Records the run of a model as a list of calls of Functions, to write the model in another form (ONNX, C).

Every operation of the library that has a gradient is a call of `Function.apply`, which tells observers of it.
A value is identified by the array of its Tensor. Operations without a gradient may compute arrays from the
inputs, too. To find these arrays, all kernel calls are recorded as well, as by `rv.compile`: an array that
depends on the inputs is no constant, and the model must not read its values in Python.

A subclass of `Calls` decides what stands for a value in the list, such as a name in a file: those of
onnx/tracing.py and export/capture.py. A value that it has not noted by `see` is a constant.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from types import FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.observe import Observer, package, place
from ranvier.tape.copy_functions import Setitem
from ranvier.tape.function import Function
from ranvier.tensors.recording import Recording, paused
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ranvier.tensors.memory import Array
    from ranvier.tensors.types import Key, TensorLike

__all__ = ["FORMULAS", "Call", "Calls", "Refused"]

FORMULAS: dict[str, Any] = {}
"""Formulas by the name of a Function's class: functions of the node and its inputs (`ops/formulas.py`)."""


class Call(NamedTuple):
    """One call of a Function.

    kind: the name of the Function's class.
    settings: the Function's attributes before the call.
    inputs, outputs: the objects that stand for operands and results, from `Calls.operand` and `Calls.result`.
    where: the line of the model's code.
    layer: the name of the layer.
    made_by: the Function's class.
    name: the public function that the model has called, "" of a layer.
    """

    kind: str
    settings: dict[str, Any]
    inputs: list[Any]
    outputs: list[Any]
    where: str
    layer: str = ""
    made_by: Any = None
    name: str = ""


class Refused(ValueError):
    """A run that cannot be written in another form."""


class Seen(NamedTuple):
    """What is known of a tensor of the run."""

    array: Callable[[], Any]  # a weak reference to the tensor's array
    value: Any  # the object that stands for the tensor in calls
    is_computed: bool  # True if it was computed from the inputs of the run
    cell: _core._Cell  # the tensor's `_cell`, which counts changes in place (tensors/views.py)
    changes: int  # this count when the tensor was seen


class Calls(Observer):
    """The calls of a run in a `with` block, in order. Subclasses have `operand` and `result`.

    op: the name that errors begin with.
    """

    op: str

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.alive: list[Any] = []  # objects that are kept, so that their ids stay unique
        self.fault = ""  # the text of the first error that `refuse` has raised
        self.failure = ""  # the first call that has failed because of its operands' values (`_failed`)
        # A line of the model -> the operations that NumPy computed there.
        self._by_numpy: dict[str, set[str]] = {}
        self._seen: dict[int, Seen] = {}  # id of an array -> what is known of it
        self._recording = Recording(_core.Recording(package()))
        # In place of a TracedCode: nothing is traced, and Functions may be defined (`host_nodes.noted`).
        self._recording.traced = SimpleNamespace(ignores=True)
        self._recording.keeps = True  # see `is_written` in observe.py

    def __enter__(self) -> Calls:
        with ExitStack() as block:
            block.callback(super().__exit__)
            super().__enter__()
            block.enter_context(paused())  # pauses the recording of a step in which a file is written
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
                f"[{self.op}] the model catches an error of {self.failure}, which the values or sizes of its "
                "inputs decide; expected one that does the same for all of them"
            )

    def refuse(self, text: str) -> NoReturn:
        """Raises Refused, and once more where the run ends."""
        self.fault = self.fault or f"[{self.op}] {text}"
        raise Refused(self.fault)

    def operand(self, x: TensorLike | None) -> Any:
        """The object that stands for a Tensor, an array, a number or None."""
        raise NotImplementedError

    def result(self, kind: str, x: Tensor) -> Any:
        """The object that stands for a result of a call."""
        raise NotImplementedError

    def layer(self) -> str:
        """The name of the layer whose forward runs now."""
        return ""

    def writes(self, function: Function, inputs: Sequence[TensorLike | None]) -> bool:
        """True if a Function is written as one call; False if it is written as the ops of its formula."""
        return True

    def may_hold(self, array: Array) -> bool:
        """True if the result of a call may be written to the array; export/capture.py refuses parameters."""
        return True

    # --- values

    def see(self, tensor: Tensor, value: object, is_computed: bool = True) -> Any:
        """Notes the object that stands for a tensor from now on, and returns it."""
        array = tensor._array
        cell = tensor._cell
        self._seen[id(array)] = Seen(ref(array), value, is_computed, cell, cell.changes)
        return value

    def find(self, array: Any) -> Seen | None:
        """The record of an array that was seen before, or None."""
        entry = self._seen.get(id(array))
        if entry is not None and entry.array() is array:
            return entry
        return None

    def unchanged(self, array: Any) -> Seen | None:
        """The record of an array, as `find` returns it; None: the array is a constant.

        Raises Refused if the array was changed in place after it was seen, or if it was not seen although it
        depends on the inputs.
        """
        entry = self.find(array)
        has_values = isinstance(array, np.ndarray) and array.size
        if entry is None and has_values and self._recording.core.varies(array):
            self.refuse(
                f"{_operation()}{place()} uses a tensor that depends on the inputs, and that "
                f"{self._maker_text(array)}, which has no counterpart; expected other operations, or "
                "the tensor as an input (what NumPy makes of other numbers: rv.constant)"
            )
        if entry is not None and entry.cell.changes != entry.changes:
            self.refuse(
                f"{_operation()}{place()} uses a tensor after it, or a tensor of the same memory, was "
                "changed in place by an assignment or a view; expected operations that make new tensors "
                "(where, cat)"
            )
        return entry

    def _maker_text(self, array: Array) -> str:
        """What has made an array, for errors: "op at file:line", and in brackets the text of the line."""
        maker = self._recording.core.maker(array)
        where = maker.rpartition(" at ")[2]
        file, _, line = where.rpartition(":")
        names = self._by_numpy.get(where)
        if names and maker.startswith("numpy at "):
            maker = f"{' or '.join(sorted(names))}{maker.removeprefix('numpy')}"
        if line.isdigit():
            text = linecache.getline(file, int(line)).strip()
            if text:
                return f"{maker} has made ({text})"
        return f"{maker} has made"

    def add(
        self,
        kind: str,
        settings: dict[str, Any],
        inputs: Sequence[TensorLike | None],
        results: Sequence[Tensor],
        made_by: type[Function] | None = None,
    ) -> None:
        """Appends a call to the list. The arguments are those of `Call`."""
        operands = [self.operand(x) for x in inputs]
        outputs = [self.result(kind, x) for x in results]
        name = _operation().removesuffix(" at ")
        self.calls.append(Call(kind, settings, operands, outputs, place(), self.layer(), made_by, name))

    # --- what observers see

    def apply(self, run: Callable[..., Any], function: Function, *inputs: Any) -> Any:
        settings = dict(vars(function))  # a copy: forward adds attributes of its own
        if type(function) is Setitem:
            self._changed_by_view(function.key, *inputs)
        kind, module = type(function).__name__, type(function).__module__
        if not module.startswith("ranvier."):
            kind = f"{module}.{kind}"
        elif not self.writes(function, inputs):
            formula = getattr(type(function), "formula", FORMULAS.get(kind))
            if formula:
                return formula(function, *inputs)
        try:
            result = run(*inputs)
        except Exception:
            self._failed(type(function), settings, inputs)
            raise
        results = result if isinstance(result, tuple) else (result,)
        self.add(kind, settings, inputs, results, type(function))
        return result

    def _changed_by_view(self, key: Key, x: Tensor, value: object) -> None:
        """Notes that x, which ``x[key] += 1`` has changed through a view, is assigned that view now.

        Python changes the view in place, and then assigns it to the same place: the rest of x has the values
        that it had before. The view must be all that has changed since x was seen.
        """
        entry = self.find(x._array)
        held = self.find(getattr(value, "_array", None))
        if entry is None or held is None or not isinstance(value, Tensor) or value._cell is not x._cell:
            return
        if entry.changes + 1 != x._cell.changes or held.changes != x._cell.changes:
            return
        with suppress(IndexError, TypeError):
            indices = key if isinstance(key, tuple) else (key,)
            if not any(index is Ellipsis for index in indices):
                indices = (*indices, Ellipsis)  # so that an element is a view, too
            assigned = x._array[indices]
            if _layout(assigned) == _layout(value._array):
                self._seen[id(x._array)] = entry._replace(changes=x._cell.changes)

    def _failed(
        self, made_by: type[Function], settings: dict[str, Any], inputs: Sequence[TensorLike | None]
    ) -> None:
        """Notes a call that has raised an error, if it succeeds with other values of the same shapes.

        If the model catches such an error, its course depends on values, so `__exit__` refuses it.
        """
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
        """Notes that a tensor was overwritten in place: if `value` is the result of a call, the tensor stands
        for this result from now on."""
        array = tensor._array
        entry = self.find(value)
        if entry is None or entry.cell.changes != entry.changes or not self.may_hold(array):
            return
        if (value.dtype, value.shape) == (array.dtype, array.shape):
            self.see(tensor, entry.value)

    def hosted(self, caller: FrameType) -> None:
        """Notes that NumPy has computed an operation. caller: the frame of the library's function."""
        names = self._by_numpy.setdefault(place(), set())
        names.add(_operation().removesuffix(" at ") or caller.f_code.co_name.strip("_"))

    def read(self, how: str, tensor: Tensor | None = None) -> None:
        """Raises Refused where Python code reads a value that depends on the inputs."""
        array = getattr(tensor, "_array", tensor)
        if not isinstance(array, np.ndarray):
            return
        entry = self.find(array)
        if (entry is not None and entry.is_computed) or self._recording.core.varies(array):
            self.refuse(
                f"{how} reads a value at {place()}, which a file cannot do; expected operations "
                "on tensors: return the tensor and read it outside"
            )


def _operation() -> str:
    """The public function of the library that the model has called, as "name at "; "" if there is none."""
    frame: FrameType | None = sys._getframe(1)
    name = ""
    while frame is not None and frame.f_code.co_filename.startswith(package()):
        function = frame.f_code.co_name
        if function == "call":  # the wrapper of `own_error` has the public name
            function = str(frame.f_locals.get("name", function))
        name = function.strip("_")
        frame = frame.f_back
    if frame is not None and name not in _OF_THE_RUN:
        return f"{name} at "
    return ""


# Names of the outermost functions of the library that run the model or a layer: then no op was called.
_OF_THE_RUN = ("forward", "call", "export", "c", "run")


class _Layout(NamedTuple):
    """Where the elements of an array are: it is the same for views of the same elements."""

    address: int
    shape: tuple[int, ...]
    steps: list[int]  # the strides of the axes with several elements


def _layout(array: Array) -> _Layout:
    steps = [stride for n, stride in zip(array.shape, array.strides, strict=True) if n > 1]
    return _Layout(array.ctypes.data, array.shape, steps)


def _usual(array: Any) -> Any:
    """Values of the same shape and dtype that most operations accept: identity matrices, indices 0."""
    if not isinstance(array, np.ndarray):
        return array
    values = np.zeros(array.shape, array.dtype)
    if array.dtype.kind == "f":
        if array.ndim > 1:
            values[...] = np.eye(*array.shape[-2:])
        else:
            values[...] = 1.0
    return values
