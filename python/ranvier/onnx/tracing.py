"""A run of a model as a list of calls of Functions, with names for the values.

A value is identified by the array of its Tensor. An array that no call made and that is no parameter is a
constant; runs with other inputs show whether it depends on them. Meanwhile methods of the library are
replaced by others that also tell the trace what they do.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

import ranvier.nn as nn
import ranvier.ops.elementwise.arithmetic as arithmetic
import ranvier.ops.elementwise.choice as choice
import ranvier.ops.elementwise.compare as compare
import ranvier.ops.reduction.reduce as reduce
import ranvier.ops.shape.join as join
from ranvier.autograd import Function, Tensor, inplace, no_grad, wrap
from ranvier.autograd.recording import place
from ranvier.compile import CompiledFunction
from ranvier.ops.elementwise.dtypes import as_operand, result_dtype

__all__ = ["tracing"]

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
        entry = self._known.get(id(array))
        if entry is None or entry[0]() is not array:
            self._constants.append(array)
            return Value("", array)
        if entry[2][0] != entry[3]:
            raise ValueError(
                f"[onnx.export] {place()} uses a tensor after it, or a tensor of the same memory, was "
                "changed in place by an assignment or a view; expected operations that make new tensors "
                "(where, cat)"
            )
        return Value(entry[1], _outline(array))

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
        entry = self._known.get(id(tensor._array))
        if entry is not None and entry[0]() is tensor._array and entry[1] not in self.weights:
            raise ValueError(
                f"[onnx.export] {how} reads a value at {place()}, which a graph cannot do; expected "
                "operations on tensors (where, clamp): return the tensor and read it outside"
            )

    def stored(self, tensor: Tensor, value: Any) -> None:
        """Called after a change in place: the tensor gets the name of what was written to all of it."""
        array, entry = tensor._array, self._known.get(id(value))
        if entry is None or entry[0]() is not value:
            return
        cell = tensor._cell
        changed = entry[2] is not cell and entry[2][0] != entry[3]
        if not changed and (value.dtype, value.shape) == (array.dtype, array.shape):
            self._known[id(array)] = (ref(array), entry[1], cell, cell[0])


def _outline(array: Array) -> Array:
    """An array of the same shape and dtype, without its memory."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)


_one_at_a_time = threading.RLock()


@contextmanager
def tracing(trace: Trace) -> Iterator[None]:
    """Adds what this thread calls in this block to the trace."""
    with _one_at_a_time, ExitStack() as stack, no_grad():
        for owner, name, make in _REPLACED:
            original = getattr(owner, name)
            stack.callback(setattr, owner, name, original)
            setattr(owner, name, make(trace, original, name))
        yield


def _kind(function: Function) -> str:
    """The name of a Function of the library; of another one with its module."""
    kind = type(function)
    return kind.__name__ if kind.__module__.startswith("ranvier.") else f"{kind.__module__}.{kind.__name__}"


def _apply(trace: Trace, original: Any, _: str) -> Any:
    def apply(self: Function, *inputs: Any) -> Any:
        settings = dict(vars(self))  # before forward, which adds to them
        result = original(self, *inputs)
        trace.add(_kind(self), settings, inputs, result if isinstance(result, tuple) else (result,))
        return result

    return apply


def _compare(trace: Trace, original: Any, _: str) -> Any:
    def compared(name: str, core: Any, numpy_function: Any, a: Any, b: Any) -> Any:
        result = original(name, core, numpy_function, a, b)
        dtype = result_dtype(as_operand(name, a), as_operand(name, b))
        trace.add("Compare", {"name": name, "dtype": dtype}, (a, b), (result,))
        return result

    return compared


def _promoted(trace: Trace, original: Any, _: str) -> Any:
    def promoted(name: str, function: Any, numpy_function: Any, a: Any, b: Any, **settings: Any) -> Any:
        result = original(name, function, numpy_function, a, b, **settings)
        if result.dtype.kind in "iu":  # floats have called a Function
            trace.add("Whole", {"name": name, "dtype": result.dtype}, (a, b), (result,))
        return result

    return promoted


def _place(trace: Trace, original: Any, _: str) -> Any:
    def place(name: str, x: Any, axis: Any, keepdims: bool) -> Any:
        result = original(name, x, axis, keepdims)
        trace.add("Place", {"name": name, "axis": axis, "keepdims": keepdims}, (x,), (result,))
        return result

    return place


def _module(trace: Trace, original: Any, _: str) -> Any:
    def call(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if not trace.is_here():
            return original(self, *args, **kwargs)
        trace.enter(self)
        result = original(self, *args, **kwargs)
        if isinstance(self, nn.Dropout) and self.p > 0:
            same = wrap(result._array[...])  # the same numbers as another value
            trace.add("DropoutLayer", {"p": self.p}, (result,), (same,))
            return same
        return result

    return call


def _compiled(trace: Trace, original: Any, _: str) -> Any:
    """A compiled function inside the model runs eagerly."""

    def call(self: CompiledFunction, *args: Any, **kwargs: Any) -> Any:
        function = self._function if trace.is_here() else functools.partial(original, self)
        return function(*args, **kwargs)

    return call


def _store(trace: Trace, original: Any, _: str) -> Any:
    def store(tensor: Any, value: Any, name: str) -> None:
        original(tensor, value, name)
        trace.stored(tensor, value)

    return store


def _logic(trace: Trace, original: Any, name: str) -> Any:
    def logic(self: Tensor, *other: Any) -> Any:
        result = original(self, *other)
        if isinstance(result, Tensor):
            trace.add("Logical", {"name": name.strip("_")}, (self, *other), (result,))
        return result

    return logic


def _read(trace: Trace, original: Any, name: str) -> Any:
    def read(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        trace.read(self, f"{name.strip('_')}()")
        return original(self, *args, **kwargs)

    return read


def _slices(trace: Trace, original: Any, _: str) -> Any:
    def slices(x: Tensor, dim: int = 0) -> Iterator[Any]:
        return (join.select(x, dim, i) for i in range(x.shape[dim])) if trace.is_here() else original(x, dim)

    return slices


_READ = ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__array__")
_LOGIC = ("__and__", "__or__", "__xor__", "__rand__", "__ror__", "__rxor__", "__invert__")
_REPLACED: list[tuple[Any, str, Callable[[Trace, Any, str], Any]]] = [
    (Function, "apply", _apply),
    (compare, "_compare", _compare),
    (arithmetic, "promoted", _promoted),
    (choice, "promoted", _promoted),
    (reduce, "_arg", _place),
    (join, "_off_tape", _slices),
    (nn.Module, "__call__", _module),
    (CompiledFunction, "__call__", _compiled),
    (inplace, "store", _store),
    *((Tensor, name, _logic) for name in _LOGIC),
    *((Tensor, name, _read) for name in _READ),
]
