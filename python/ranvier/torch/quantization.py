"""torch.ao.quantization: `quantize_dynamic`, by :func:`ranvier.quantize`."""

from __future__ import annotations

import warnings
from typing import Any

import ranvier as rv

_FORMS: dict[type, type] = {
    getattr(rv.nn, name): getattr(rv.nn.quantized, name) for name in rv.nn.quantized.__all__
}


def quantize_dynamic(
    model: Any, qconfig_spec: Any = None, dtype: Any = rv.int8, mapping: Any = None, inplace: bool = False
) -> Any:
    """The model with layers of 8 bits: a scale for each output of a weight and for each row of activations.

    PyTorch has one scale for each tensor, and 7 bits of activations on some processors, so that results here
    are nearer to those of float32. qconfig_spec: types, names of layers or of their parents, or a dict of
    them; None for Linear. LSTM, GRU and other layers stay in float32, with a warning where they are asked
    for. dtype: torch.qint8. inplace: the layers are replaced in the model itself.

    >>> import ranvier as rv
    >>> quantize_dynamic(rv.nn.Sequential(rv.nn.Linear(3, 2)), {rv.nn.Linear})[0].kind
    'int8'
    """
    if dtype != rv.int8:
        expected = "torch.qint8; of 16 bits, use model.half() or model.bfloat16()"
        raise NotImplementedError(f"[quantize_dynamic] got dtype {dtype}; expected {expected}")
    if mapping is not None:
        raise NotImplementedError("[quantize_dynamic] got mapping; expected None")
    wanted = {rv.nn.Linear} if qconfig_spec is None else {*qconfig_spec}
    types = {kind for kind in wanted if isinstance(kind, type)}
    names = {name for name in wanted if isinstance(name, str)}
    for kind in types - {*_FORMS}:
        warnings.warn(f"[quantize_dynamic] {kind.__name__} stays in float32", stacklevel=2)

    def is_wanted(name: str, layer: rv.nn.Module) -> bool:
        parts = name.split(".")
        paths = {".".join(parts[:i]) for i in range(1, len(parts) + 1)}
        return type(layer) in types or not names.isdisjoint(paths)

    if not any(type(layer) in _FORMS and is_wanted(name, layer) for name, layer in model.named_modules()):
        return model
    made = rv.quantize(model, where=is_wanted)
    if not inplace or made._modules.keys() != model._modules.keys():
        return made
    for name, child in [*made.named_modules()][1:]:
        if type(child) in _FORMS.values():
            model.set_submodule(name, child)
    return model
