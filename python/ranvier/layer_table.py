"""`summary`: the layers of a model with their output shapes and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ranvier.nn import Module


class Layer(NamedTuple):
    """One call of a layer: its path in the model, class, output shape ("N" for the batch) and parameters.

    A layer that is called twice has two rows. The second row has 0 parameters, because they are counted once.
    """

    name: str
    kind: str
    output_shape: tuple[int | str, ...] | None
    parameters: int


class Summary:
    """The result of `rv.summary`; `str()` of it is the printed table.

    Attributes:
        layers: the layers in the order of their calls.
        total: the number of parameters and of weights of 8 and 4 bits; shared ones count once.
        trainable: the number of parameters that require gradients.
        nbytes: the bytes of memory of all of them.
    """

    def __init__(self, layers: list[Layer], weights: dict[int, Any]) -> None:
        self.layers = layers
        self.total = sum(w.numel() for w in weights.values())
        self.trainable = sum(w.numel() for w in weights.values() if getattr(w, "requires_grad", False))
        self.nbytes = sum(w.nbytes for w in weights.values())

    def __str__(self) -> str:
        rows = [("layer", "output shape", "parameters")]
        rows += [
            (f"{r.name} {r.kind}".strip(), _shape(r.output_shape), f"{r.parameters:,}") for r in self.layers
        ]
        names, shapes, counts = (max(len(row[column]) for row in rows) for column in range(3))
        lines = [f"{name:{names}}  {shape:{shapes}}  {count:>{counts}}" for name, shape, count in rows]
        rule = "-" * len(lines[0])
        size = f"{self.total:,} parameters ({_size(self.nbytes)}), {self.trainable:,} of them trainable"
        return "\n".join([lines[0], rule, *lines[1:], rule, size])

    def __repr__(self) -> str:
        return f"<Summary of {len(self.layers)} layers, {self.total:,} parameters>"


def summary(model: Module, input_shape: Sequence[int], *, dtype: Any = None, verbose: bool = True) -> Summary:
    """Print a table of the model's layers, and return it. The model is called with one sample of zeros.

    Args:
        model: any Module; it runs in evaluation mode and without gradients, and is not changed.
        input_shape: the shape of one sample, without the batch.
        dtype: the dtype of the sample (integers for an embedding); by default that of the parameters.
        verbose: False prints nothing.

    Raises:
        ValueError: a size below 1, or a shape that the model does not take.

    >>> import ranvier as rv
    >>> from ranvier import nn
    >>> table = rv.summary(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), (3,))
    layer     output shape  parameters
    ----------------------------------
    0 Linear  (N, 4)                16
    1 ReLU    (N, 4)                 0
    2 Linear  (N, 2)                10
    ----------------------------------
    26 parameters (104 bytes), 26 of them trainable
    >>> table.total
    26
    """
    import numpy as np

    from ranvier.nn import Module
    from ranvier.tensors.data import refuse_torch

    sizes = (input_shape,) if isinstance(input_shape, int) else tuple(input_shape)
    if not all(isinstance(size, (int, np.integer)) and size > 0 for size in sizes):
        raise ValueError(
            f"[summary] got input_shape {input_shape!r}; expected sizes of at least 1, without the batch"
        )
    if not isinstance(model, Module):
        refuse_torch("summary", "a model", model)
        raise TypeError(f"[summary] got {type(model).__name__}; expected a Module")
    refuse_torch("summary", "a dtype", dtype)
    parameters = list(model.parameters())
    if dtype is None:
        dtype = parameters[0].dtype if parameters else np.float32
    weights = {key: w for module in model.modules() for key, w in _weights(module).items()}
    table = Summary(_layers(model, np.zeros((1, *sizes), dtype)), weights)
    if verbose:
        print(table)
    return table


def _layers(model: Module, sample: Any) -> list[Layer]:
    """A row for each call of a layer. The parameters of a layer are counted in its first row."""
    from ranvier.nn.modes import layer_outputs

    layers: list[Layer] = []
    counted: set[int] = set()
    for call in layer_outputs(model, sample):
        layer = call.layer
        output = call.output
        own = {key: w for key, w in _weights(layer).items() if key not in counted}
        counted.update(own)
        if isinstance(output, tuple) and output:
            first = output[0]
        else:
            first = output
        shape = getattr(first, "shape", None)
        sizes = None if shape is None else ("N", *shape[1:])
        layers.append(Layer(call.name, type(layer).__name__, sizes, sum(w.numel() for w in own.values())))
    return layers


def _weights(layer: Module) -> dict[int, Any]:
    """The parameters of a layer itself, and its weights of few bits, by what is the same for shared ones."""
    found: dict[int, Any] = {id(p): p for p in layer._parameters.values() if p is not None}
    few_bits = getattr(layer, "quantized_weight", None)
    if few_bits is not None:
        found |= {id(few_bits.panels): few_bits}
        bias = getattr(layer, "bias", None)
        found |= {} if bias is None else {id(bias): bias}
    return found


def _shape(shape: tuple[int | str, ...] | None) -> str:
    if shape is None:
        return "?"
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _size(nbytes: int) -> str:
    if nbytes < 10_000:
        return f"{nbytes} bytes"
    if nbytes < 1e6:
        return f"{nbytes / 1e3:.1f} kB"
    return f"{nbytes / 1e6:.1f} MB"
