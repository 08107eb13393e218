"""`rv.quantize`: a copy of a model whose layers have weights of 8 or 4 bits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from math import isnan, nan
from typing import Any, NamedTuple

import ranvier.nn as nn
import ranvier.nn.quantized.layers as layers
import ranvier.nn.quantized.recurrent as recurrent
from ranvier.nn.modes import evaluating
from ranvier.nn.module import Module
from ranvier.nn.recurrent import Recurrent
from ranvier.ops.matrix.quantized_weight import GROUP, QuantizedWeight, quantized
from ranvier.tensors.errors import one_of
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

FORMS: dict[type, Any] = {
    nn.Linear: layers.Linear,
    nn.Embedding: layers.Embedding,
    nn.MultiheadAttention: layers.MultiheadAttention,
    **{getattr(nn, name): getattr(recurrent, name) for name in recurrent.__all__},
}


class LayerError(NamedTuple):
    """The error that fewer bits make in a layer: ||y' - y|| / ||y|| of its outputs y for the same inputs.

    It is NaN for a layer that the model does not call.
    """

    name: str
    layer: str
    error: float


class Report(NamedTuple):
    """The errors of a quantized model's layers, and of its own outputs; `str()` of it is a table."""

    layers: list[LayerError]
    model: float

    def __str__(self) -> str:
        rows = [("layer", "error")]
        for row in self.layers:
            rows.append((f"{row.name} {row.layer}".strip(), "-" if isnan(row.error) else f"{row.error:.2%}"))
        rows.append(("the model", f"{self.model:.2%}"))
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join(f"{name:{widths[0]}}  {error:>{widths[1]}}" for name, error in rows)


def quantize(
    model: Any,
    dtype: str = "int8",
    *,
    where: Callable[[str, Any], bool] | Iterable[type] | type | None = None,
    group: int | None = GROUP,
    report: Any = None,
) -> Any:
    """A copy of a model whose Linear, Embedding, MultiheadAttention and recurrent layers (LSTM, GRU, RNN and
    their cells) have weights of 8 or 4 bits.

    The copy computes with integers: activations become integers of 8 bits when a layer is called. It is a
    frozen base: gradients pass through its layers to their inputs, so that layers beside them can be trained
    (LoRA); the weights get none. Weights that layers share stay shared. All other layers stay as they are,
    subclasses of these and layers with a forward of their own as well.

    Args:
        model: a Module with weights of float32 or of 16 bits. It is not changed.
        dtype: "int8" or "int4".
        where: which layers, as a function of name and layer, or as types; None for all of these types.
        group: 32: weights have a scale of float16 for each 32 inputs (GGUF's Q8_0 and Q4_0), activations one
            for each 32 numbers. None, of int8 alone: a scale for each output, and for each row of
            activations, which takes less time; transformers lose more by it, as few of their activations are
            large.
        report: an input of the model, or a tuple of its inputs. The result is then (copy, Report): the
            relative errors of each layer and of all Tensors of floats that the model returns, in evaluation
            mode.

    Raises TypeError for what is no Module; ValueError for another dtype or group, float64 weights, NaN and
    infinity in weights, and where no layer is chosen.

    >>> import ranvier as rv
    >>> model = rv.nn.Sequential(rv.nn.Linear(64, 32), rv.nn.ReLU(), rv.nn.Linear(32, 10)).eval()
    >>> small, errors = rv.quantize(model, "int8", report=rv.ones(4, 64))
    >>> small[0].kind, errors.model < 0.05
    ('q8_0', True)
    """
    if not isinstance(model, Module):
        raise TypeError(f"[quantize] got {type(model).__name__}; expected a Module")
    one_of("quantize", "dtype", dtype, ("int8", "int4"))
    if group != GROUP and not (group is None and dtype == "int8"):
        expected = "32 or None" if dtype == "int8" else "32 with int4"
        raise OpError(f"[quantize] got group {group!r}; expected {expected}")
    kind = "q4_0" if dtype == "int4" else "int8" if group is None else "q8_0"
    chosen = chosen_layers(model, where)
    if not chosen:
        names = ", ".join(sorted(form.__name__ for form in FORMS))
        raise OpError(
            f"[quantize] got a model in which no layer is chosen; expected layers of the classes {names}"
        )
    weights: dict[int, QuantizedWeight] = {}
    made: dict[int, Any] = {}
    for name, layer in chosen.items():
        made[id(layer)] = _converted(name, layer, kind, weights)
    # deepcopy takes what it finds under the id of an object for its copy
    copies = dict(made)
    result = copy.deepcopy(model, copies)
    for layer in chosen.values():
        _take_over(layer, made[id(layer)], copies)
    if report is None:
        return result
    return result, _report(model, result, chosen, made, report if type(report) is tuple else (report,))


def chosen_layers(model: Module, where: Any) -> dict[str, Module]:
    """The layers to convert by their names. Parts of a layer that is converted are its own matter, and those
    of attention are read by it.

    A layer whose own attribute `forward` is in place of the method stays as it is, as a subclass does, and so
    does one with a weight or bias that is no parameter, since a hook makes it from others (pruning).
    """
    if where is None:
        where = FORMS
    if isinstance(where, type):
        where = (where,)
    if not callable(where):
        if isinstance(where, str) or not isinstance(where, Iterable):
            raise TypeError(f"[quantize] got where {where!r}; expected types or a function of name and layer")
        types = tuple(where)
        wrong = [kind for kind in types if kind not in FORMS]
        if wrong:
            names = ", ".join(form.__name__ for form in FORMS)
            raise OpError(f"[quantize] got where with {wrong[0]!r}; expected some of {names}, or a function")
        where = lambda name, layer: type(layer) in types  # noqa: E731
    found: dict[str, Module] = {}
    inside: set[int] = set()
    for name, layer in model.named_modules(remove_duplicate=False):
        if isinstance(layer, nn.MultiheadAttention):
            inside.update(id(part) for part in layer.children())
        if type(layer) not in FORMS or id(layer) in inside or "forward" in layer.__dict__:
            continue
        if _has_a_made_weight(layer):
            continue
        if where(name, layer):
            found[name] = layer
            inside.update(id(part) for part in layer.modules())
    return found


def _has_a_made_weight(layer: Any) -> bool:
    """Whether a weight or bias is a Tensor that is neither a parameter nor a buffer."""
    registered = {*layer._parameters, *layer._buffers}
    return any(
        ("weight" in name or "bias" in name) and isinstance(value, Tensor) and name not in registered
        for name, value in layer.__dict__.items()
    )


def _converted(name: str, layer: Any, kind: str, weights: dict[int, QuantizedWeight]) -> Any:
    shown = f"layer {name!r}" if name else "the model"
    for parameter in layer.parameters():
        if parameter.dtype == "float64":
            raise OpError(f"[quantize] got {shown} of float64; expected float32: model.float() makes it")
    try:
        if isinstance(layer, Recurrent):
            made: Any = FORMS[type(layer)].from_float(layer, kind, weights)
        elif isinstance(layer, nn.MultiheadAttention) or getattr(layer, "max_norm", None) is not None:
            made = FORMS[type(layer)].from_float(layer, kind)
        else:
            if id(layer.weight) not in weights:
                weights[id(layer.weight)] = quantized(layer.weight, kind)
            weight = weights[id(layer.weight)]
            if isinstance(layer, nn.Linear):
                made = layers.Linear.from_weight(weight, layer.bias)
            else:
                made = layers.Embedding.from_weight(weight)
    except OpError as error:
        raise OpError(f"{error} (in {shown})") from None
    return made.train(layer.training)


def _take_over(layer: Any, made: Any, copies: dict[int, Any]) -> None:
    """Gives a quantized layer the attributes that it lacks: hooks, settings, and what a program has added."""
    for name, value in layer.__dict__.items():
        is_weight = name.startswith(("weight", "bias")) and name in layer._parameters  # in another form
        if is_weight or name in made.__dict__:
            continue
        value = copy.deepcopy(value, copies)
        if name in layer._parameters:
            made.register_parameter(name, value)
        elif name in layer._buffers:
            made.register_buffer(name, value, name not in layer._non_persistent_buffers_set)
        else:
            setattr(made, name, value)


def _floats(y: Any) -> Iterator[Tensor]:
    """The Tensors of floats in nested tuples, lists and dicts."""
    if isinstance(y, Tensor) and y.is_floating_point():
        yield y.double()
    elif isinstance(y, dict | list | tuple):
        for part in y.values() if isinstance(y, dict) else y:
            yield from _floats(part)


def _squares(y: Any, from_y: Any) -> tuple[float, float]:
    """The squares of ||y - from_y|| and ||from_y||, of all Tensors of floats in them."""
    distance = size = 0.0
    for a, b in zip(_floats(y), _floats(from_y), strict=True):
        distance += float(((a - b) ** 2).sum())
        size += float((b**2).sum())
    return distance, size


def _report(model: Any, result: Any, chosen: dict[str, Any], made: dict[int, Any], data: Any) -> Report:
    sums: dict[str, tuple[float, float]] = {}

    def compare(name: str, layer: Any, args: Any, kwargs: Any, y: Any) -> None:
        of_made = made[id(layer)](*args, **kwargs)
        if isinstance(y, tuple):  # attention, which gives its weights, too
            of_made, y = of_made[0], y[0]
        distance, size = _squares(of_made, y)
        before = sums.get(name, (0.0, 0.0))
        sums[name] = before[0] + distance, before[1] + size

    with evaluating(model, "quantize"), evaluating(result, "quantize"):
        hooks = [
            layer.register_forward_hook(
                lambda layer, args, kwargs, y, name=name: compare(name, layer, args, kwargs, y),
                with_kwargs=True,
            )
            for name, layer in chosen.items()
        ]
        try:
            y = model(*data)
        finally:
            for hook in hooks:
                hook.remove()
        if not [*_floats(y)]:
            raise OpError(
                "[quantize] got a model that returns no Tensor of floats; expected one for a report"
            )
        of_model = _ratio(_squares(result(*data), y))
    rows = [
        LayerError(name, type(layer).__name__, _ratio(sums[name]) if name in sums else nan)
        for name, layer in chosen.items()
    ]
    return Report(rows, of_model)


def _ratio(squares: Any) -> float:
    distance, size = squares
    return float((distance / size) ** 0.5) if size else 0.0 if distance == 0 else float("inf")
