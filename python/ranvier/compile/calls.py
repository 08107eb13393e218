"""A run as a list of calls of Functions, for what writes a model in another form.

Every operation of the library that has a gradient is a call of `Function.apply`; that is where the calls are
read. A value is identified by the array of its Tensor. While a run is traced, methods of the library are
replaced by others, which also tell the trace what they do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from weakref import ref

from ranvier.autograd import Function, Tensor, inplace
from ranvier.autograd.observe import Observer, observing
from ranvier.autograd.recording import place, running
from ranvier.compile.compiled import CompiledFunction

__all__ = ["Call", "Calls", "traced"]


class Call(NamedTuple):
    """One call: the Function's class name, its attributes before the call, operands, results, and its layer.

    What stands for an operand or a result, a subclass of Calls says. where: the line of the model's code.
    """

    kind: str
    settings: dict[str, Any]
    inputs: list[Any]
    outputs: list[Any]
    where: str
    layer: str = ""


class Seen(NamedTuple):
    """A tensor of the run: its array, what stands for it in calls, its count of changes."""

    array: Callable[[], Any]  # a weak reference
    value: Any
    is_computed: bool  # from the inputs
    cell: Any
    changes: int


_READ = ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__array__")


class Calls(Observer):
    """The calls of one run, in order. Subclasses have `operand` and `result`, and may replace more.

    op: the name that errors begin with.
    """

    op: str

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.alive: list[Any] = []  # their ids stay unique
        self.thread = threading.get_ident()
        self._seen: dict[int, Seen] = {}  # by id of the array

    def operand(self, x: Any) -> Any:
        """What stands for a Tensor, an array, a number or None."""
        raise NotImplementedError

    def result(self, kind: str, x: Tensor) -> Any:
        """What stands for a result of a call."""
        raise NotImplementedError

    def layer(self) -> str:
        """The layer that runs."""
        return ""

    def may_hold(self, array: Any) -> bool:
        """Whether a tensor may get a result of a call written to all of it."""
        return True

    # --- values

    def see(self, tensor: Tensor, value: Any, is_computed: bool = True) -> Any:
        """Notes what stands for a tensor from now on."""
        array, cell = tensor._array, tensor._cell
        self._seen[id(array)] = Seen(ref(array), value, is_computed, cell, cell[0])
        return value

    def find(self, array: Any) -> Seen | None:
        """What was noted of an array."""
        entry = self._seen.get(id(array))
        return entry if entry is not None and entry.array() is array else None

    def unchanged(self, array: Any) -> Seen | None:
        """The same. Raises ValueError where the array was changed in place since then."""
        entry = self.find(array)
        if entry is not None and entry.cell[0] != entry.changes:
            raise ValueError(
                f"[{self.op}] {place()} uses a tensor after it, or a tensor of the same memory, was changed "
                "in place by an assignment or a view; expected operations that make new tensors (where, cat)"
            )
        return entry

    def add(self, kind: str, settings: dict[str, Any], inputs: Any, results: Any) -> None:
        operands = [self.operand(x) for x in inputs]
        outputs = [self.result(kind, x) for x in results]
        self.calls.append(Call(kind, settings, operands, outputs, place(), self.layer()))

    # --- what runs in place of methods and functions; each gets the original first

    def replaced(self) -> list[tuple[Any, str, Callable[..., Any]]]:
        """What has the method or function, its name, and what runs in its place."""
        return [
            (CompiledFunction, "__call__", self.compiled),
            (inplace, "store", self.store),
            *((Tensor, name, self.read) for name in _READ),
        ]

    def apply(self, run: Any, function: Function, *inputs: Any) -> Any:
        settings = dict(vars(function))  # before forward, which adds to them
        result = run(*inputs)
        kind, module = type(function).__name__, type(function).__module__
        if not module.startswith("ranvier."):
            kind = f"{module}.{kind}"
        self.add(kind, settings, inputs, result if isinstance(result, tuple) else (result,))
        return result

    def compiled(self, original: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        """A compiled function inside the model runs eagerly."""
        return function._function(*args, **kwargs)

    def store(self, original: Any, tensor: Any, value: Any, name: str) -> None:
        """A change in place of all of a tensor: it holds the result of a call from then on."""
        array, entry = tensor._array, self.find(value)
        if entry is not None and (entry.cell[0] != entry.changes or not self.may_hold(array)):
            entry = None
        original(tensor, value, name)
        if entry is not None and (value.dtype, value.shape) == (array.dtype, array.shape):
            self.see(tensor, entry.value)

    def read(self, original: Any, tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Raises ValueError where a value that the inputs may change goes to Python."""
        entry = self.find(tensor._array)
        if entry is not None and entry.is_computed:
            raise ValueError(
                f"[{self.op}] {original.__name__.strip('_')}() reads a value at {place()}, which a file "
                "cannot do; expected operations on tensors: return the tensor and read it outside"
            )
        return original(tensor, *args, **kwargs)


_one_at_a_time = threading.RLock()


@contextmanager
def traced(calls: Calls) -> Iterator[None]:
    """Adds what this thread calls in this block to the calls."""

    def here(original: Any, instead: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == calls.thread:
                return instead(original, *args, **kwargs)
            return original(*args, **kwargs)

        return call

    with _one_at_a_time, observing(calls), ExitStack() as stack:
        running.append(calls.thread)  # no layers are replayed
        stack.callback(running.remove, calls.thread)
        for owner, name, instead in calls.replaced():
            original = getattr(owner, name)
            stack.callback(setattr, owner, name, original)
            if isinstance(original, property):
                setattr(owner, name, property(here(original.fget, instead), original.fset))
            else:
                setattr(owner, name, here(original, instead))
        yield
