"""`summary`: a table of the layers of a model with their output shapes and parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from ranvier.nn import Module
    from ranvier.tensors.memory import Array
    from ranvier.tensors.types import DtypeLike, ShapeLike


class _Weight(Protocol):
    """A parameter, or a weight of few bits, of which some layers have one in place of a parameter."""

    @property
    def nbytes(self) -> int: ...

    def numel(self) -> int: ...


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

    def __init__(self, layers: list[Layer], weights: dict[int, _Weight]) -> None:
        self.layers = layers
        self.total = sum(w.numel() for w in weights.values())
        self.trainable = sum(w.numel() for w in weights.values() if getattr(w, "requires_grad", False))
        self.nbytes = sum(w.nbytes for w in weights.values())

    def __str__(self) -> str:
        lines = _format_table(self.layers)
        rule = "-" * len(lines[0])
        size = f"{self.total:,} parameters ({_size(self.nbytes)}), {self.trainable:,} of them trainable"
        return "\n".join([lines[0], rule, *lines[1:], rule, size])

    def __repr__(self) -> str:
        return f"<Summary of {len(self.layers)} layers, {self.total:,} parameters>"


def _format_table(layers: Sequence[Layer]) -> list[str]:
    """The head and a line for each layer, in aligned columns."""
    names = ["layer"]
    shapes = ["output shape"]
    counts = ["parameters"]
    for layer in layers:
        names.append(f"{layer.name} {layer.kind}".strip())  # the model itself has no name
        shapes.append(_shape(layer.output_shape))
        counts.append(f"{layer.parameters:,}")
    name_width = max(map(len, names))
    shape_width = max(map(len, shapes))
    count_width = max(map(len, counts))
    lines = []
    for name, shape, count in zip(names, shapes, counts, strict=True):
        lines.append(f"{name:{name_width}}  {shape:{shape_width}}  {count:>{count_width}}")
    return lines


def summary(
    model: Module, input_shape: ShapeLike, *, dtype: DtypeLike | None = None, verbose: bool = True
) -> Summary:
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

    if isinstance(input_shape, int):
        sizes: tuple[int, ...] = (input_shape,)
    else:
        sizes = tuple(input_shape)
    if not all(isinstance(size, (int, np.integer)) and size > 0 for size in sizes):
        raise ValueError(
            f"[summary] got input_shape {input_shape!r}; expected sizes of at least 1, without the batch"
        )
    if not isinstance(model, Module):
        refuse_torch("summary", "a model", model)
        raise TypeError(f"[summary] got {type(model).__name__}; expected a Module")
    refuse_torch("summary", "a dtype", dtype)
    if dtype is None:
        parameters = list(model.parameters())
        dtype = parameters[0].dtype if parameters else np.float32
    sample: Array = np.zeros((1, *sizes), dtype)
    weights: dict[int, _Weight] = {}
    for module in model.modules():
        weights.update(_weights(module))
    table = Summary(_called_layers(model, sample), weights)
    if verbose:
        print(table)
    return table


def _called_layers(model: Module, sample: Array) -> list[Layer]:
    """A row for each call of a layer. The parameters of a layer are counted in its first row."""
    from ranvier.nn.modes import layer_outputs

    rows: list[Layer] = []
    counted: set[int] = set()
    for call in layer_outputs(model, sample):
        count = 0
        for key, weight in _weights(call.layer).items():
            if key not in counted:
                counted.add(key)
                count += weight.numel()
        output = call.output
        if isinstance(output, tuple) and output:
            output = output[0]
        shape = getattr(output, "shape", None)
        shown_shape = None if shape is None else ("N", *shape[1:])
        rows.append(Layer(call.name, type(call.layer).__name__, shown_shape, count))
    return rows


def _weights(layer: Module) -> dict[int, _Weight]:
    """The parameters of a layer itself, and its weights of few bits. The keys are the same for weights that
    share their memory: these count once."""
    weights: dict[int, Any] = {id(p): p for p in layer._parameters.values() if p is not None}
    # A quantized layer (nn/quantized) has these attributes, which are no parameters.
    few_bits = getattr(layer, "quantized_weight", None)
    if few_bits is not None:
        weights[id(few_bits.panels)] = few_bits
        bias = getattr(layer, "bias", None)
        if bias is not None:
            weights[id(bias)] = bias
    return weights


def _shape(shape: tuple[int | str, ...] | None) -> str:
    if shape is None:
        return "?"
    if len(shape) == 1:
        return f"({shape[0]},)"
    return f"({', '.join(map(str, shape))})"


def _size(nbytes: int) -> str:
    if nbytes < 10_000:
        return f"{nbytes} bytes"
    if nbytes < 1e6:
        return f"{nbytes / 1e3:.1f} kB"
    return f"{nbytes / 1e6:.1f} MB"
