"""The output of every layer for one input."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ranvier.autograd import Tensor
from ranvier.nn.modes import evaluating
from ranvier.nn.module import Module

__all__ = ["LayerOutput", "layer_outputs"]


class LayerOutput(NamedTuple):
    """One call of a layer: its path in the model, the layer, and a copy of what it returned.

    `output` is an array, or what else the layer returned, such as a tuple.
    """

    name: str
    layer: Module
    output: Any


def layer_outputs(model: Module, x: Any) -> list[LayerOutput]:
    """Run a batch and record every call of a layer that has parameters or no children.

    The model runs in evaluation mode, without gradients; its mode is restored. Outputs are copies, since a
    layer with `inplace=True` overwrites the output of the layer before it.

    >>> import numpy as np
    >>> from ranvier import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    >>> [(name, output.shape) for name, _, output in layer_outputs(model, np.ones((1, 3), np.float32))]
    [('0', (1, 4)), ('1', (1, 4))]
    """
    calls: list[LayerOutput] = []
    handles = []

    def note(name: str) -> Any:
        def hook(layer: Module, inputs: Any, output: Any) -> None:
            kept = np.array(output._array) if isinstance(output, Tensor) else output
            calls.append(LayerOutput(name, layer, kept))

        return hook

    for name, layer in model.named_modules():
        own = any(p is not None for p in layer._parameters.values())
        if own or not any(True for _ in layer.children()):
            handles.append(layer.register_forward_hook(note(name)))
    try:
        with evaluating(model):
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return calls
