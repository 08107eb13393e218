"""Files of models with weights of 8 and 4 bits: what a file that does not fit needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ranvier.nn as nn
from ranvier.ops.matrix.quantized_weight import panels_shape

_PANELS = "panels"  # the buffer of a quantized layer that no other layer has
_CALLS = {
    "int8": 'rv.quantize(model, "int8", group=None)',
    "q8_0": 'rv.quantize(model, "int8")',
    "q4_0": 'rv.quantize(model, "int4")',
}


def kind_of(model: nn.Module) -> str:
    """The kind of the weights of a model's quantized layers; "" without them, or of several kinds."""
    layers: list[Any] = [*model.modules()]
    kinds = {layer.kind for layer in layers if hasattr(type(layer), "quantized_weight")}
    if len(kinds) == 1:
        return kinds.pop()
    return ""


def call(kind: str | None) -> str:
    """The call that makes of a model of floats one with weights of this kind."""
    if isinstance(kind, str):
        return _CALLS.get(kind, "rv.quantize(model)")
    return "rv.quantize(model)"


def remedy(model: nn.Module, values: Any) -> str:
    """What to do where the values of a file have few bits and the model has floats, or the other way round;
    "" where it is neither."""
    if not isinstance(values, Mapping):
        return ""
    held = {name for name, _ in model.named_buffers()}
    of_file = {name for name in values if isinstance(name, str) and _is_panels(name)}
    of_model = {name for name in held if _is_panels(name)}
    if of_file - held:
        kinds = {_kind_in(model, values, name) for name in of_file} - {""}
        kind = kinds.pop() if len(kinds) == 1 else ""
        made = call(kind)
        return f"its weights have few bits, and the model has floats; expected rv.load(path, into={made})"
    if of_model - of_file:
        return (
            "its weights are floats, and the model has few bits; expected the model of floats, which "
            "rv.quantize makes smaller after it is loaded"
        )
    return ""


def _is_panels(name: str) -> bool:
    return name.rpartition(".")[2] == _PANELS


def _kind_in(model: nn.Module, values: Mapping[str, Any], name: str) -> str:
    """The kind of a weight in a file, by the layer of floats in its place; "" where there is none."""
    path = name.rpartition(".")[0]
    if f"{path}.scale".lstrip(".") in values:
        return "int8"
    weight: Any = getattr(dict(model.named_modules()).get(path), "weight", None)
    if getattr(weight, "ndim", 0) != 2:
        return ""
    n, k = weight.shape
    # panels have 16 rows, but one row where a table of embeddings is read row by row
    shape = tuple(values[name].shape)
    for kind in ("q8_0", "q4_0"):
        if shape in (panels_shape(kind, n, k, 1), panels_shape(kind, n, k, 16)):
            return kind
    return ""
