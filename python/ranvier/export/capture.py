"""A run of a model or of a training step as a list of calls of Functions.

Every operation of the library that has a gradient is a call of `Function.apply`; that is where the calls are
read. A backward pass and an update are only noted: nothing is computed, so a capture changes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import Function, Tensor, inplace
from ranvier.autograd.recording import place
from ranvier.compile import CompiledFunction
from ranvier.optim import Optimizer

__all__ = ["Call", "Capture", "captured"]

Array = np.ndarray[Any, Any]


class Call(NamedTuple):
    """One call: class name and attributes of the Function, operands and results as arrays, and its layer.

    An array that is the result of a call is the same object there and here. where: of the layer and the line.
    """

    kind: str
    settings: dict[str, Any]
    inputs: list[Array | None]
    outputs: list[Array]
    layer: str
    where: str


class Capture:
    """The calls of one run, in order, its results, the loss of which backward was called, the optimizers."""

    def __init__(self, roots: dict[str, nn.Module]) -> None:
        self.calls: list[Call] = []
        self.loss: Array | None = None
        self.optimizers: list[Any] = []
        self.outputs: list[Array] = []
        self.cleared: list[Any] = []  # optimizers whose gradients were dropped
        self.computed: set[int] = set()  # ids of the arrays of inputs and results
        self._thread = threading.get_ident()
        self._names: dict[int, str] = {}
        self._layers: list[str] = []
        self._stored: dict[int, Array] = {}  # what a tensor holds since it was changed, by id of its array
        self._alive: list[Any] = []  # ids stay unique
        self._cells: dict[int, tuple[Any, int]] = {}
        self.restore = ExitStack()
        for prefix, root in roots.items():
            for name, module in root.named_modules():
                label = f"{prefix}{'.' if prefix and name else ''}{name}"
                self._names[id(module)] = f"{label}: {module!r}" if label else repr(module)

    def is_here(self) -> bool:
        return threading.get_ident() == self._thread

    def require_unchanged(self, tensor: Any, array: Array) -> None:
        """Raises ValueError where a value was changed in place since it was made."""
        cell = getattr(tensor, "_cell", None)
        if cell is None:
            return
        first, count = self._cells.setdefault(id(array), (cell, cell[0]))
        if first[0] != count:
            raise ValueError(
                f"[export.c] {place()} uses a tensor after it was changed in place; expected operations that "
                "make new tensors (where, cat)"
            )

    def add(self, function: Function, settings: dict[str, Any], inputs: Any, result: Any) -> None:
        operands: list[Array | None] = []
        for x in inputs:
            array = getattr(x, "_array", x)
            if isinstance(x, Tensor):
                self.require_unchanged(x, array)
            array = self._stored.get(id(array), array)
            operands.append(None if x is None else array if isinstance(array, np.ndarray) else np.asarray(x))
        results = result if isinstance(result, tuple) else (result,)
        layer = next((text for text in reversed(self._layers) if text), "")
        kind, where = type(function).__name__, place()
        if not type(function).__module__.startswith("ranvier."):
            kind = f"{type(function).__module__}.{kind}"
        outputs = [r._array for r in results]
        for r in results:
            self.require_unchanged(r, r._array)
        self._alive += [*operands, *results]
        self.computed.update(map(id, outputs))
        self.calls.append(Call(kind, settings, operands, outputs, layer, where))

    # --- what is replaced while the target runs: each gets the original and returns another in its place

    def apply(self, original: Any) -> Any:
        def apply(function: Function, *inputs: Any) -> Any:
            if not self.is_here():
                return original(function, *inputs)
            settings = dict(vars(function))  # before forward, which adds to them
            for array in settings.get("running", ()):  # the statistics of a batch norm, which forward changes
                if array is not None:
                    self.restore.callback(np.copyto, array, array.copy())
            result = original(function, *inputs)
            self.add(function, settings, inputs, result)
            return result

        return apply

    def module(self, original: Any) -> Any:
        def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if not self.is_here():
                return original(module, *args, **kwargs)
            is_leaf = not any(True for _ in module.children())
            self._layers.append(self._names.get(id(module), repr(module)) if is_leaf else "")
            try:
                return original(module, *args, **kwargs)
            finally:
                self._layers.pop()

        return call

    def compiled(self, original: Any) -> Any:
        def call(function: Any, *args: Any, **kwargs: Any) -> Any:
            run = function._function if self.is_here() else lambda *a, **k: original(function, *a, **k)
            return run(*args, **kwargs)

        return call

    def backward(self, original: Any) -> Any:
        def backward(loss: Tensor, gradient: Any = None, *args: Any, **kwargs: Any) -> None:
            if not self.is_here():
                return original(loss, gradient, *args, **kwargs)
            if self.loss is not None or gradient is not None or loss._array.size != 1:
                raise ValueError(
                    f"[export.c] got a second backward, or one with a gradient, at {place()}; expected one "
                    "call of backward of a loss"
                )
            self.loss = loss._array
            return None

        return backward

    def zero_grad(self, original: Any) -> Any:
        def zero_grad(owner: Any, *args: Any, **kwargs: Any) -> None:
            if not self.is_here():
                return original(owner, *args, **kwargs)
            self.cleared.append(owner)
            return None

        return zero_grad

    def step(self, original: Any) -> Any:
        def step(optimizer: Optimizer, closure: Any = None) -> Any:
            if not self.is_here():
                return original(optimizer, closure)
            if closure is not None or self.loss is None or optimizer in self.optimizers:
                raise ValueError(
                    f"[export.c] got optimizer.step with a closure, before backward or twice, at {place()}; "
                    "expected backward, then one step() of each optimizer"
                )
            self.optimizers.append(optimizer)
            return None

        return step

    def store(self, original: Any) -> Any:
        """A change in place of all of a tensor: it holds the result of a call from then on."""

        def store(tensor: Any, value: Any, name: str) -> None:
            array = tensor._array
            here = self.is_here() and id(value) in self.computed and id(array) in self.computed
            known = self._cells.get(id(array))
            valid = known is not None and known[0][0] == known[1]
            original(tensor, value, name)
            if here and valid and value.shape == array.shape and value.dtype == array.dtype:
                self._stored[id(array)] = value
                self._cells[id(array)] = (tensor._cell, tensor._cell[0])

        return store

    def read(self, original: Any) -> Any:
        def read(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
            if self.is_here() and self.loss is None and id(tensor._array) in self.computed:
                name = getattr(original, "__name__", "").strip("_")
                raise ValueError(
                    f"[export.c] {name}() reads a value at {place()}, which C could not follow; expected "
                    "operations on tensors, and in a step no value that is read before backward"
                )
            return original(tensor, *args, **kwargs)

        return read

    def grad(self, original: Any) -> Any:
        def grad(tensor: Tensor) -> Any:
            if self.is_here() and self.loss is not None:
                raise ValueError(
                    f"[export.c] {place()} reads a gradient; expected a step of forward, loss, backward and "
                    "the optimizer's update, without clipping"
                )
            return original.fget(tensor)

        return property(grad, original.fset)


_lock = threading.RLock()
_READ = ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "__array__")


@contextmanager
def _replaced(capture: Capture) -> Iterator[None]:
    table: list[tuple[Any, str, Callable[[Any], Any]]] = [
        (Function, "apply", capture.apply),
        (nn.Module, "__call__", capture.module),
        (CompiledFunction, "__call__", capture.compiled),
        (Tensor, "backward", capture.backward),
        (Tensor, "grad", capture.grad),
        (Optimizer, "zero_grad", capture.zero_grad),
        (nn.Module, "zero_grad", capture.zero_grad),
        (Optimizer, "step", capture.step),
        (inplace, "store", capture.store),
    ]
    table += [(Tensor, name, capture.read) for name in _READ]
    with _lock, ExitStack() as stack:
        stack.callback(lambda: capture.restore.close())
        for owner, name, make in table:
            original = getattr(owner, name)
            stack.callback(setattr, owner, name, original)
            setattr(owner, name, make(original))
        yield


def captured(target: Any, arguments: list[Any], roots: dict[str, nn.Module]) -> Capture:
    """Runs the target once with these Tensors and notes its calls."""
    capture = Capture(roots)
    capture._alive += arguments
    for x in arguments:
        capture.require_unchanged(x, x._array)
        capture.computed.add(id(x._array))
    with _replaced(capture):
        result = target(*arguments)
    for t in _flat(result):
        capture.require_unchanged(t, t._array)
        capture.outputs.append(capture._stored.get(id(t._array), t._array))
    capture._alive.append(result)
    return capture


def _flat(value: Any) -> Iterator[Tensor]:
    """The Tensors of nested tuples, lists and dicts; numbers (loss.item()) are left out."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (dict, tuple, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _flat(item)
    elif value is not None and not isinstance(value, (int, float)):
        raise TypeError(f"[export.c] got a result of type {type(value).__name__}; expected tensors")
