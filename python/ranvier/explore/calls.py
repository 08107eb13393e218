"""One record for each call of a layer: its output and the gradient at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranvier.autograd import Tensor, enable_grad, grad
from ranvier.autograd.memory import Array
from ranvier.nn import Module

__all__: list[str] = []


@dataclass
class Call:
    """One call of a layer: its path in the model, the layer, its output and, later, the output's gradient."""

    name: str
    module: Any
    output: Tensor
    input_shape: tuple[int, ...]  # of the first argument
    gradient: Array | None = None

    @property
    def kind(self) -> str:
        return type(self.module).__name__

    @property
    def value(self) -> Array:
        return self.output._array


def require_module(name: str, model: Any) -> None:
    """Raise the TypeError of function `name` unless the model is a Module."""
    if not isinstance(model, Module):
        raise TypeError(f"[{name}] got model of type {type(model).__name__}; expected a Module")


def layers(model: Any) -> Iterator[tuple[str, Any]]:
    """The modules without children, with their paths."""
    for name, module in model.named_modules():
        if not any(True for _ in module.children()):
            yield name, module


@contextmanager
def watching(model: Any) -> Iterator[list[Call]]:
    """Within the block, the list records every call of a layer, in order.

    The model continues with a copy of the output, so that layers that work in place do not change the record.
    """
    calls: list[Call] = []

    def note(name: str) -> Callable[..., Any]:
        def hook(module: Any, inputs: Any, output: Any) -> Any:
            if not isinstance(output, Tensor):  # a recurrent layer returns several
                return None
            calls.append(Call(name, module, output, tuple(getattr(inputs[0], "shape", ()))))
            return output.clone()

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in layers(model)]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def keep_gradients(calls: list[Call], of: Callable[[], Tensor]) -> None:
    """Run `of`, and store the gradients of its value with respect to the calls' outputs in the calls.

    No `.grad` changes.
    """
    with enable_grad():
        value = of()
    passing = [call for call in calls if call.output.requires_grad]
    if not value.requires_grad:  # all parameters are frozen
        return
    slopes = grad(value, [call.output for call in passing], allow_unused=True)
    for call, gradient in zip(passing, slopes, strict=True):
        call.gradient = None if gradient is None else gradient._array


def rms(array: Array) -> float:
    """sqrt(mean(x^2)), in float64; 0 for an empty array."""
    if array.size == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
