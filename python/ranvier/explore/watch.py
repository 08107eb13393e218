"""The outputs of the layers of a model, and their gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranvier.autograd import Tensor, enable_grad, grad, wrap
from ranvier.autograd.memory import Array
from ranvier.nn import Module

__all__ = ["Call", "gradients_of", "layers", "require_module", "rms", "watching"]


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


def as_batch(x: Any, y: Any, dtype: Any, requires_grad: bool = False) -> tuple[Tensor, Tensor]:
    """Copies of a batch as Tensors; floats get `dtype`, and only a float x can require gradients."""
    given, target = (np.array(getattr(part, "_array", part)) for part in (x, y))
    given, target = (part.astype(dtype) if part.dtype.kind == "f" else part for part in (given, target))
    return wrap(given, requires_grad=requires_grad and given.dtype.kind == "f"), wrap(target)


def gradients_of(
    calls: list[Call], parameters: list[Any], of: Callable[[], Tensor], start: Any = None
) -> tuple[Tensor, list[Array | None]]:
    """Run `of`, and compute the gradients of its value with respect to the calls' outputs and the parameters.

    The gradients of the outputs are stored in the calls; the value and the gradients of the parameters are
    returned. No `.grad` changes. start: the gradient at the value, 1 for a number.
    """
    with enable_grad():
        value = of()
    parts = [call for call in calls if call.output.requires_grad]
    wanted = [call.output for call in parts] + [p for p in parameters if p.requires_grad]
    if not value.requires_grad:  # all parameters are frozen
        return value, [None] * len(parameters)
    found = iter(grad(value, wanted, start, allow_unused=True))
    for call in parts:
        gradient = next(found)
        call.gradient = None if gradient is None else gradient._array
    rest = [next(found) if p.requires_grad else None for p in parameters]
    return value, [None if g is None else g._array for g in rest]


def rms(array: Array) -> float:
    """sqrt(mean(x^2)), in float64; 0 for an empty array."""
    if array.size == 0:
        return 0.0
    return float(np.sqrt(np.mean(np.square(array, dtype=np.float64))))
