"""`rv.quantize`: a copy of a model whose layers have weights of 8 or 4 bits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import ranvier.nn as nn
import ranvier.nn.quantized.layers as layers
from ranvier.grad_mode import no_grad
from ranvier.nn.module import Module
from ranvier.ops.matrix.quantized_weight import GROUP, QuantizedWeight, quantized
from ranvier.tensors.errors import one_of
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

FORMS: dict[type, Any] = {
    nn.Linear: layers.Linear,
    nn.Embedding: layers.Embedding,
    nn.MultiheadAttention: layers.MultiheadAttention,
}


class LayerError(NamedTuple):
    """The error that fewer bits make in a layer: ||y' - y|| / ||y|| of its outputs y for the same inputs."""

    name: str
    layer: str
    error: float


class Report(NamedTuple):
    """The errors of a quantized model's layers, and of its own outputs; `str()` of it is a table."""

    layers: list[LayerError]
    model: float

    def __str__(self) -> str:
        rows = [("layer", "error"), *[(f"{r.name} {r.layer}".strip(), f"{r.error:.2%}") for r in self.layers]]
        rows.append(("the model", f"{self.model:.2%}"))
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join(f"{name:{widths[0]}}  {error:>{widths[1]}}" for name, error in rows)


def quantize(
    model: Any,
    dtype: str = "int8",
    *,
    where: Callable[[str, Any], bool] | Iterable[type] | None = None,
    group: int | None = None,
    report: Any = None,
) -> Any:
    """A copy of a model whose Linear, Embedding and MultiheadAttention layers have weights of 8 or 4 bits.

    The copy computes with integers: activations become integers of 8 bits when a layer is called. It is a
    frozen base: gradients pass through its layers to their inputs, so that layers beside them can be trained
    (LoRA); the weights get none. Weights that layers share stay shared. All other layers stay as they are.

    Args:
        model: a Module with weights of float32 or of 16 bits. It is not changed.
        dtype: "int8", a scale for each output; or "int4", a scale of float16 for each 32 inputs (GGUF's
            Q4_0).
        where: which layers, as a function of name and layer, or as types; None for all of these types.
        group: 32 gives int8 a scale of float16 for each 32 inputs (GGUF's Q8_0), too.
        report: an input of the model, or a tuple of its inputs. The result is then (copy, Report): the
            relative errors of each layer and of the model.

    Raises TypeError for what is no Module; ValueError for another dtype or group, float64 weights, NaN and
    infinity in weights, and where no layer is chosen.

    >>> import ranvier as rv
    >>> model = rv.nn.Sequential(rv.nn.Linear(64, 32), rv.nn.ReLU(), rv.nn.Linear(32, 10)).eval()
    >>> small, errors = rv.quantize(model, "int8", report=rv.ones(4, 64))
    >>> small[0].kind, errors.model < 0.05
    ('int8', True)
    """
    if not isinstance(model, Module):
        raise TypeError(f"[quantize] got {type(model).__name__}; expected a Module")
    one_of("quantize", "dtype", dtype, ("int8", "int4"))
    if group not in (None, GROUP):
        raise OpError(f"[quantize] got group {group!r}; expected 32 or None")
    kind = "q4_0" if dtype == "int4" else "int8" if group is None else "q8_0"
    chosen = _chosen(model, where)
    if not chosen:
        names = ", ".join(sorted(form.__name__ for form in FORMS))
        raise OpError(f"[quantize] got a model without such layers; expected one with {names}")
    weights: dict[int, QuantizedWeight] = {}
    made: dict[int, Any] = {}
    for name, layer in chosen.items():
        made[id(layer)] = _converted(name, layer, kind, weights)
    # deepcopy takes what it finds under the id of an object for its copy
    result = copy.deepcopy(model, dict(made))
    if report is None:
        return result
    return result, _report(model, result, chosen, made, report if isinstance(report, tuple) else (report,))


def _chosen(model: Module, where: Any) -> dict[str, Module]:
    """The layers to convert by their names. Parts of a layer that is converted are its own matter."""
    if where is None:
        where = FORMS
    if not callable(where):
        types = tuple(where)
        wrong = [kind for kind in types if kind not in FORMS]
        if wrong:
            names = ", ".join(form.__name__ for form in FORMS)
            raise OpError(f"[quantize] got where with {wrong[0]!r}; expected some of {names}")
        where = lambda name, layer: type(layer) in types  # noqa: E731
    found: dict[str, Module] = {}
    inside: set[int] = set()
    for name, layer in model.named_modules():
        if type(layer) in FORMS and id(layer) not in inside and where(name, layer):
            found[name] = layer
            inside.update(id(part) for part in layer.modules())
    return found


def _converted(name: str, layer: Any, kind: str, weights: dict[int, QuantizedWeight]) -> Any:
    shown = f"layer {name!r}" if name else "the model"
    for parameter in layer.parameters():
        if parameter.dtype == "float64":
            raise OpError(f"[quantize] got {shown} of float64; expected float32: model.float() makes it")
    try:
        if isinstance(layer, nn.Linear | nn.Embedding):
            if id(layer.weight) not in weights:
                weights[id(layer.weight)] = quantized(layer.weight, kind)
            weight = weights[id(layer.weight)]
        if isinstance(layer, nn.Linear):
            made: Any = layers.Linear.from_weight(weight, layer.bias)
        elif isinstance(layer, nn.Embedding):
            made = layers.Embedding.from_weight(weight)
        else:
            made = layers.MultiheadAttention.from_float(layer, kind)
    except OpError as error:
        raise OpError(f"{error} (in {shown})") from None
    made._rv_hooks = copy.copy(layer._rv_hooks)
    return made.train(layer.training)


def _distance(y: Any, from_y: Any) -> tuple[float, float]:
    """The squares of ||y - from_y|| and ||from_y||, of Tensors or of the first of several results."""
    y, from_y = (z if isinstance(z, Tensor) else z[0] for z in (y, from_y))
    wide = from_y.double()
    return float(((y.double() - wide) ** 2).sum()), float((wide**2).sum())


def _report(model: Any, result: Any, chosen: dict[str, Any], made: dict[int, Any], data: Any) -> Report:
    sums: dict[str, list[float]] = {name: [0.0, 0.0] for name in chosen}

    def compare(name: str, layer: Any, args: Any, kwargs: Any, y: Any) -> None:
        distance, size = _distance(made[id(layer)](*args, **kwargs), y)
        sums[name][0] += distance
        sums[name][1] += size

    hooks = [
        layer.register_forward_hook(
            lambda layer, args, kwargs, y, name=name: compare(name, layer, args, kwargs, y), with_kwargs=True
        )
        for name, layer in chosen.items()
    ]
    try:
        with no_grad():
            y = model(*data)
    finally:
        for hook in hooks:
            hook.remove()
    with no_grad():
        of_model = _ratio(_distance(result(*data), y))
    rows = [LayerError(name, type(chosen[name]).__name__, _ratio(sums[name])) for name in chosen]
    return Report(rows, of_model)


def _ratio(squares: Any) -> float:
    distance, size = squares
    return float((distance / size) ** 0.5) if size else 0.0 if distance == 0 else float("inf")
