"""One run of the model that `export` writes.

`runs_at_sizes.py` makes several. A traced run records the calls of Functions, with the sizes of dynamic axes
as symbols. A plain run records nothing: the results of the file are compared with its results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import no_grad, wrap
from ranvier.nn.modes import evaluating, mode_kept, require_untrained
from ranvier.onnx.arguments import Axes, filled, flat
from ranvier.onnx.dims import Dim, Dims
from ranvier.onnx.patching import concrete, followed, has_size, recording
from ranvier.onnx.sizes import Size, size_of_axis
from ranvier.onnx.tracing import Trace
from ranvier.onnx.values import Array


class Output(NamedTuple):
    """A result of a run. value: its `Value` in the trace (`tracing.py`); None in a plain run."""

    value: Any
    array: Array


class Run(NamedTuple):
    """One run of the model.

    weights: the parameters and buffers by name.
    buffers: the names of those that are no parameters.
    """

    trace: Trace
    inputs: list[Array]
    outputs: list[Output]
    weights: dict[str, Array]
    buffers: set[str]


class Modules:
    """Finds the modules that a function calls, puts them in evaluation mode and names their parameters.

    roots: prefix of the names of parameters -> module. It is "" for the model, or for the first module that
    an exported function calls.
    """

    def __init__(self, target: Callable[..., Any], opset: int) -> None:
        self.opset = opset
        self.trace = Trace()  # of the last traced run
        self.roots: dict[str, nn.Module] = {}
        if isinstance(target, nn.Module):
            self.roots[""] = target

    def enter(self, trace: Trace, module: nn.Module, modes: ExitStack) -> None:
        """Is called before each call of a module; modes restores the module's mode after the run."""
        is_registered = any(module is one for one in self.all())
        if not is_registered:
            prefix = ""
            if self.roots:
                prefix = f"{type(module).__name__.lower()}{len(self.roots)}"
            self.roots[prefix] = module
        if module.training:
            require_untrained(module, "onnx.export")
            modes.enter_context(mode_kept(module))
            module.eval()
        if not is_registered:
            self.register(trace)

    def all(self) -> list[nn.Module]:
        """The modules that are known."""
        found: dict[nn.Module, None] = {}
        for root in self.roots.values():
            found.update(dict.fromkeys(root.modules()))
        return list(found)

    def weights(self) -> set[str]:
        """The parameters that have a shape, as texts; there are more after a lazy layer has made some."""
        names = set()
        for prefix, root in self.roots.items():
            for name, parameter in root.named_parameters(prefix):
                with suppress(Exception):  # that of a lazy layer raises
                    names.add(f"{name} {parameter.shape}")
        return names

    def forget_symbols(self) -> None:
        """Puts numbers in the place of sizes that modules have kept in their attributes."""
        for module in self.all():
            attributes = vars(module)
            for name, value in list(attributes.items()):
                if has_size(value):
                    attributes[name] = concrete(value)

    def register(self, trace: Trace) -> tuple[dict[str, Array], set[str]]:
        """Names parameters and buffers in the trace; returns the new names, and which are buffers."""
        weights: dict[str, Array] = {}
        buffers = set()
        for prefix, root in self.roots.items():
            for name, tensor in (*root.named_parameters(prefix), *root.named_buffers(prefix)):
                if trace.find(tensor._array) is None:
                    trace.name(tensor, name, False)
                    weights[name] = tensor._array
                    if not isinstance(tensor, nn.Parameter):
                        buffers.add(name)
        return weights, buffers


def run(
    target: Callable[..., Any],
    modules: Modules,
    example: Any,
    arrays: list[Array],
    axes: Axes,
    answers: Sequence[bool] = (),
) -> Run:
    """One traced run.

    example: the arguments of the model, whose tensors and arrays are replaced by `arrays`.
    axes: the dynamic axes, whose sizes are symbols in the run.
    answers: to the first conditions on sizes.
    """
    with ExitStack() as block:
        trace = Trace(lambda module: modules.enter(trace, module, block), modules.opset)
        trace.answers = list(answers)
        modules.trace = trace
        tensors = [wrap(np.array(a)) for a in arrays]
        for i, dims in enumerate(_symbols(trace, arrays, axes)):
            trace.name(tensors[i], f"input {i}", dims=dims)
        modules.register(trace)
        block.enter_context(no_grad())
        block.enter_context(trace)
        if axes:
            block.enter_context(recording(target, modules.all()))
            block.enter_context(followed(trace))
        result = target(*filled(example, iter(tensors)))
    modules.forget_symbols()
    weights, buffers = modules.register(Trace())  # a new Trace knows no tensor, so all are returned
    outputs = [Output(trace.operand(y), np.array(y._array)) for y in flat(result, "result")]
    return Run(trace, arrays, outputs, weights, buffers)


def _symbols(trace: Trace, arrays: list[Array], axes: Axes) -> list[Dims]:
    """The shapes of the inputs, in which the size of a dynamic axis is a symbol."""
    found: dict[str, Size] = {}
    shapes = []
    for i, array in enumerate(arrays):
        dims: list[Dim] = list(array.shape)
        for at, name in axes.get(i, {}).items():
            if name not in found:
                found[name] = size_of_axis(trace, f"input {i}", at, 1, array.shape[at], name)
            dims[at] = found[name]
        shapes.append(tuple(dims))
    return shapes


def plain_run(target: Callable[..., Any], modules: Modules, example: Any, arrays: list[Array]) -> Run:
    """A run that is not traced, with whose results the graph is compared. Arguments as of `run`."""
    with no_grad(), ExitStack() as modes:
        for root in modules.roots.values():
            modes.enter_context(evaluating(root))
        tensors = [wrap(np.array(a)) for a in arrays]
        result = target(*filled(example, iter(tensors)))
        outputs = [Output(None, np.array(y._array)) for y in flat(result, "result")]
    return Run(Trace(), arrays, outputs, {}, set())
