"""`captured`: runs a model or a training step once, and records the calls of Functions, for the export to C.

backward, zero_grad and the optimizers' steps are recorded but not executed, so a capture changes nothing.
The methods of `Capture` are called by the observer that it is (`observe.py`, `tape/calls.py`): `apply` in
place of each call of a Function, `call` in place of each call of a module, `instead` of the three methods
above. This file writes no C: exporter.py turns the calls of a Capture into instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import Function, Tensor
from ranvier.export.linear_maps import KINDS, arrays_in
from ranvier.export.operations import RULES
from ranvier.observe import place
from ranvier.ops.formulas import LOSSES
from ranvier.tape.calls import Calls

Array = np.ndarray[Any, Any]


class Capture(Calls):
    """The calls of one run with these arguments (`tape/calls.py`), its results, its loss and its optimizers.

    Operands and results of calls are arrays; the result of a call is the same object as the operand of a
    later call.
    roots: the modules that are called, by the prefix of their parameters' names.
    """

    op = "export.c"

    def __init__(self, arguments: list[Tensor], roots: dict[str, nn.Module]) -> None:
        super().__init__()
        self.arguments = arguments
        self.roots = roots
        self.loss: Array | None = None
        self.optimizers: list[Any] = []
        self.outputs: list[Array] = []
        self.cleared = False  # whether zero_grad was called
        self.made: set[int] = set()  # ids of the arrays of inputs and results
        self.dependent: set[int] = set()  # ids of the arrays that depend on parameters
        self.stopped = ""  # the first line of code that uses such an array without its gradient
        self.restore = ExitStack()  # restores running statistics after the run
        self._names: dict[int, str] = {}  # id of a module -> its name and its repr
        self._layers: list[str] = []  # names of the modules that run now; "" for those with children
        for prefix, root in roots.items():
            for name, module in root.named_modules():
                label = ".".join(filter(None, (prefix, name)))
                text = repr(module)
                if label:
                    text = f"{label}: {text}"
                self._names[id(module)] = text
        for x in arguments:
            self.result("input", x)

    def operand(self, x: Any) -> Any:
        if x is None:
            return None
        array = getattr(x, "_array", x)
        entry = self.unchanged(array)
        if entry is not None:
            return entry.value
        self.alive.append(array)
        if isinstance(x, Tensor):
            return self.see(x, array, False)
        return np.asarray(array)

    def result(self, kind: str, x: Tensor) -> Array:
        self.alive.append(x._array)
        self.made.add(id(x._array))
        return self.see(x, x._array)

    def layer(self) -> str:
        for text in reversed(self._layers):
            if text:
                return text
        return ""

    def writes(self, function: Any, inputs: Sequence[Any]) -> bool:
        kind = type(function).__name__
        if kind in LOSSES and not any(getattr(x, "_requires_grad", False) for x in inputs):
            has_weights = any(isinstance(value, np.ndarray) for value in function.settings)
            return not has_weights and function.reduction != "none"  # other losses have no helper
        return kind in RULES

    def add(self, kind: str, settings: dict[str, Any], *rest: Any) -> None:
        if kind in KINDS and any(self.unchanged(array) for array in arrays_in(settings)):
            self.refuse(f"{place()} takes indices that depend on the inputs; expected constant ones")
        super().add(kind, settings, *rest)

    def may_hold(self, array: Array) -> bool:
        return id(array) in self.made  # no parameter

    def apply(self, run: Callable[..., Any], function: Function, *inputs: Any) -> Any:
        for array in vars(function).get("running", ()):  # statistics of a batch norm, which forward changes
            if array is not None:
                self.restore.callback(np.copyto, array, array.copy())
        result = super().apply(run, function, *inputs)
        results = result if isinstance(result, tuple) else (result,)
        self._follow(inputs, results)
        return result

    def computed(
        self, name: str, inputs: Sequence[Any], result: Tensor | tuple[Tensor, ...], **settings: Any
    ) -> None:
        """Called for an op without a gradient, such as a comparison, which may have a rule, too."""
        if isinstance(result, tuple) or self.find(result._array) is not None:
            return  # `apply` has recorded what a Function has made
        arrays = [getattr(x, "_array", x) for x in inputs]
        if any(isinstance(a, np.ndarray) and a.dtype != np.float32 and a.dtype.kind != "b" for a in arrays):
            return  # integers
        # comparisons with a number have rules of their own (elementwise.py)
        if isinstance(arrays[-1], (int, float)) and f"{name}_number" in RULES:
            name = f"{name}_number"
            inputs = inputs[:1]
            settings = {"number": arrays[-1]}
        if name in RULES:
            self.add(name, settings, inputs, (result,))

    def _follow(self, inputs: Sequence[Any], results: Sequence[Tensor]) -> None:
        """Notes where an array that depends on parameters is used without its gradient.

        The backward pass in C would add this gradient, so `instead` refuses such a step.
        """
        tensors = [x for x in inputs if isinstance(x, Tensor) and x._array.dtype.kind == "f"]
        depends = [x for x in tensors if x._requires_grad or id(x._array) in self.dependent]
        if any(y._requires_grad for y in results) and not all(x._requires_grad for x in depends):
            self.stopped = self.stopped or place()
        if depends:
            self.dependent.update(id(y._array) for y in results)

    def read(self, how: str, tensor: Tensor | None = None) -> None:
        if self.loss is None:  # after backward, the loss may be read
            super().read(how, tensor)

    def call(self, run: Callable[..., Any], module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        text = ""
        has_children = any(True for _ in module.children())
        if not has_children:
            text = self._names.get(id(module), repr(module))
        self._layers.append(text)
        try:
            return run(*args, **kwargs)
        finally:
            self._layers.pop()

    def gradient_read(self, tensor: Tensor) -> None:
        if self.loss is not None:
            self.refuse(
                f"{place()} reads a gradient; expected a step of forward, loss, backward and "
                "the optimizer's update, without clipping"
            )

    def instead(self, method: str, owner: Any, argument: Any) -> bool:
        """Records backward, zero_grad and step; True: they are not executed."""
        if method == "zero_grad":
            self.cleared = True
        elif method == "backward":
            if self.loss is not None or argument is not None or owner._array.size != 1:
                self.refuse(
                    f"got a second backward, or one with a gradient, at {place()}; expected one "
                    "call of backward of a loss"
                )
            if self.stopped:
                self.refuse(
                    f"{self.stopped} stops a gradient (detach, data or no_grad), which C would "
                    "pass on; expected a loss whose parts all get their gradients"
                )
            self.loss = owner._array
        else:
            if argument is not None or self.loss is None or owner in self.optimizers:
                self.refuse(
                    f"got optimizer.step with a closure, before backward or twice, at {place()}; "
                    "expected backward, then one step() of each optimizer"
                )
            self.optimizers.append(owner)
        return True


def captured(target: Callable[..., Any], arguments: list[Tensor], roots: dict[str, nn.Module]) -> Capture:
    """Runs the target once with these Tensors, and returns the Capture of its calls."""
    capture = Capture(arguments, roots)
    with capture, capture.restore:
        result = target(*arguments)
    capture.alive.append(result)
    capture.outputs = [capture.operand(t) for t in _flat(result)]
    return capture


def _flat(value: object) -> Iterator[Tensor]:
    """The Tensors of nested tuples, lists and dicts; numbers (loss.item()) are left out."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _flat(list(value.values()))
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _flat(item)
    elif value is not None and not isinstance(value, (int, float)):
        raise TypeError(f"[export.c] got a result of type {type(value).__name__}; expected tensors")
