"""torch.ao.quantization: `quantize_dynamic`, by :func:`ranvier.quantize`."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import ranvier as rv
import ranvier.torch.modules.quantized_dynamic as quantized_dynamic
from ranvier.nn import Module
from ranvier.nn.quantized.convert import chosen_layers
from ranvier.tensors.types import DtypeLike

_FORMS: dict[type, type] = {
    getattr(rv.nn, name): getattr(rv.nn.quantized, name) for name in rv.nn.quantized.__all__
}
_USUAL = [getattr(rv.nn, name) for name in ("Linear", "LSTM", "GRU", "LSTMCell", "GRUCell", "RNNCell")]


def quantize_dynamic(
    model: Module,
    qconfig_spec: Any = None,
    dtype: DtypeLike = rv.int8,
    mapping: Any = None,
    inplace: bool = False,
) -> Any:
    """The model with layers of 8 bits: a scale for each output of a weight and for each row of activations.

    PyTorch has one scale for each tensor, and 7 bits of activations on some processors, so that results here
    are nearer to those of float32. qconfig_spec: types, names of layers or of their parents, or a dict of
    them, where None as the value leaves a layer as it is; None for Linear, LSTM, GRU, LSTMCell, GRUCell and
    RNNCell. Other layers stay in float32, but for RNN, Embedding and MultiheadAttention where they are asked
    for; a warning names others that are. dtype: torch.qint8. inplace: the layers are replaced in the model
    itself. The result is in evaluation mode.

    >>> import ranvier as rv
    >>> quantize_dynamic(rv.nn.Sequential(rv.nn.Linear(3, 2)), {rv.nn.Linear})[0].weight().int_repr().shape
    (2, 3)
    """
    if dtype != rv.int8:
        expected = "torch.qint8; of 16 bits, use model.half() or model.bfloat16()"
        raise NotImplementedError(f"[quantize_dynamic] got dtype {dtype}; expected {expected}")
    if mapping is not None:
        raise NotImplementedError("[quantize_dynamic] got mapping; expected None")
    wanted = {*(_USUAL if qconfig_spec is None else qconfig_spec)}
    if isinstance(qconfig_spec, dict):
        wanted = {key for key, value in qconfig_spec.items() if value is not None}
    types = {kind for kind in wanted if isinstance(kind, type)}
    names = {name for name in wanted if isinstance(name, str)}
    for kind in types - {*_FORMS}:
        warnings.warn(f"[quantize_dynamic] {kind.__name__} stays in float32", stacklevel=2)

    def is_wanted(name: str, layer: rv.nn.Module) -> bool:
        parts = name.split(".")
        paths = {".".join(parts[:i]) for i in range(1, len(parts) + 1)}
        return type(layer) in types or not names.isdisjoint(paths)

    if inplace:
        model.eval()
    if not chosen_layers(model, is_wanted):
        if inplace:
            return model
        return copy.deepcopy(model).eval()
    made = _with_methods(rv.quantize(model, group=None, where=is_wanted).eval())
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(name in trained)
    if not inplace or type(made) is not type(model):  # the model itself is a layer that was replaced
        return made
    for name, child in [*made.named_modules(remove_duplicate=False)][1:]:
        if type(child) in {*_FORMS.values(), quantized_dynamic.Linear}:
            model.set_submodule(name, child)
    return model


def _with_methods(model: Module) -> Any:
    """The model, whose Linear layers of 8 bits become PyTorch's, but for those that others consist of."""
    inside: set[Any] = set()  # layers of layers of 8 bits; `modules` gives a layer before those in it
    for layer in [*model.modules()]:
        if type(layer) is rv.nn.quantized.Linear and layer.kind == "int8" and layer not in inside:
            layer.__class__ = quantized_dynamic.Linear
        elif type(layer) in _FORMS.values():
            inside.update(layer.children())
    return model
