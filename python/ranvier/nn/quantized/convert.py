"""`rv.quantize`: a copy of a model whose layers have weights of 8 or 4 bits."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from math import isnan, nan
from typing import Any, NamedTuple

import ranvier.nn as nn
import ranvier.nn.quantized.layers as layers
import ranvier.nn.quantized.recurrent as recurrent
from ranvier.nn.modes import evaluating
from ranvier.nn.module import Module
from ranvier.nn.recurrent import Recurrent
from ranvier.ops.matrix.quantized_weight import GROUP, PANEL, QuantizedWeight, quantized
from ranvier.tensors.errors import one_of
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor

# Layers of other libraries that compute as Linear, with a weight (in_features, out_features).
TRANSPOSED = {"transformers.pytorch_utils.Conv1D"}

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


class Left(NamedTuple):
    """Layers that stay as they are: their class, how many, and their share of the model's weights."""

    layer: str
    number: int
    share: float


class Report(NamedTuple):
    """The errors of a quantized model's layers, and of its own outputs; what has no fewer bits; `str()` of it
    is a table."""

    layers: list[LayerError]
    model: float
    left: list[Left]

    def __str__(self) -> str:
        rows = [("layer", "error")]
        for row in self.layers:
            rows.append((f"{row.name} {row.layer}".strip(), "-" if isnan(row.error) else f"{row.error:.2%}"))
        rows.append(("the model", f"{self.model:.2%}"))
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        lines = [f"{name:{widths[0]}}  {error:>{widths[1]}}" for name, error in rows]
        if self.left:
            lines.append(f"stays as it is: {_told(self.left)}")
        return "\n".join(lines)


def quantize(
    model: Module,
    dtype: str = "int8",
    *,
    where: Callable[[str, Any], bool] | Iterable[type] | type | None = None,
    group: int | None = GROUP,
    report: Any = None,
) -> Any:
    """A copy of a model whose Linear, Embedding, MultiheadAttention and recurrent layers (LSTM, GRU, RNN and
    their cells) have weights of 8 or 4 bits.

    The copy computes with integers: activations become integers of 8 bits when a layer is called. It is a
    frozen base: no parameter of the copy requires a gradient. Gradients pass through its layers to their
    inputs, so that layers beside them can be trained (LoRA); adapters that the model has (``lora_A`` ...)
    stay as they are, and are trained on. Weights that layers share stay shared, and the dtype of their
    results stays that of the model. Subclasses of Linear and Embedding that only begin in another way, and
    the Conv1D of transformers, count as these. All other layers stay as they are, also those with a forward
    of their own; a warning says so where more than half of the weights are theirs.

    Args:
        model: a Module with weights of float32 or of 16 bits. It is not changed.
        dtype: "int8" or "int4".
        where: which layers, as a function of name and layer, or as types; None for all of these types, but
            for a layer whose weight is that of one which stays as it is.
        group: 32: weights have a scale of float16 for each 32 inputs (GGUF's Q8_0 and Q4_0), activations one
            for each 32 numbers. None, of int8 alone: a scale for each output, and for each row of
            activations, which takes less time; transformers lose more by it, as few of their activations are
            large.
        report: an input of the model, or a tuple of its inputs. The result is then (copy, Report): the
            relative errors of each layer and of all Tensors of floats that the model returns, in evaluation
            mode, and what stays as it is.

    Raises TypeError for what is no Module; ValueError for another dtype or group, float64 weights, NaN and
    infinity in weights, and where no layer is chosen, as of a model that has few bits already.

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
    kind = _kind(dtype, group)
    chosen = chosen_layers(model, where)
    made = _made_layers(chosen, kind)
    chosen = {name: layer for name, layer in chosen.items() if id(layer) in made}
    if not chosen:
        raise OpError(f"[quantize] got {_nothing_to_do(model)}")
    # deepcopy takes what it finds under the id of an object for its copy
    copies = dict(made)
    result = copy.deepcopy(model, copies)
    for layer in chosen.values():
        if type(made[id(layer)]) is not type(layer):
            _take_over(layer, made[id(layer)], copies)
    _freeze(result)
    left = _left(model, chosen, made)
    if where is None and sum(row.share for row in left) > _MOST_LEFT:
        warnings.warn(f"[quantize] most of the weights stay as they are: {_told(left)}", stacklevel=2)
    if report is None:
        return result
    data = report if type(report) is tuple else (report,)
    return result, _report(model, result, chosen, made, data, left)


def _kind(dtype: str, group: int | None) -> str:
    """The kind of the weights, a name of `QuantizedWeight`."""
    if dtype == "int4":
        return "q4_0"
    if group is None:
        return "int8"
    return "q8_0"


def _nothing_to_do(model: Module) -> str:
    """Why no layer of a model can be converted, and what is expected."""
    if any(x.rpartition(".")[2] == "panels" for x, _ in model.named_buffers()):
        return (
            "a model whose layers have few bits already, and no other layer is chosen; expected the model "
            "that it was made from"
        )
    names = ", ".join(sorted(form.__name__ for form in FORMS))
    return f"a model in which no layer is chosen; expected layers of the classes {names}"


def _made_layers(chosen: dict[str, Any], kind: str) -> dict[int, Any]:
    """The new layers by the ids of the old ones."""
    of_products = {id(layer.weight) for layer in chosen.values() if _form(layer) is layers.Linear}
    weights: dict[int, QuantizedWeight] = {}
    made = {}
    for name, layer in chosen.items():
        new = _converted(name, layer, kind, weights, of_products)
        if new is not None:
            made[id(layer)] = new
    return made


def _form(layer: Module) -> Any:
    """The class that a layer becomes; None where it stays as it is. A module that computes products without
    layers makes its copy itself: its method ``with_few_bits(kind)``.

    A subclass of Linear or Embedding has to compute as these do: it may add what begins or shows a layer. A
    layer whose own attribute `forward` is in place of the method stays as it is, and so does one with a
    weight or bias that is no parameter, since a hook makes it from others (pruning).
    """
    cls = type(layer)
    if hasattr(cls, "with_few_bits"):
        return cls
    if "forward" in layer.__dict__ or _has_a_made_weight(layer):
        return None
    if f"{cls.__module__}.{cls.__qualname__}" in TRANSPOSED:
        return layers.Linear
    for base in (nn.Linear, nn.Embedding):
        if issubclass(cls, base) and _begins_differently(cls, base):
            return FORMS[base]
    return FORMS.get(cls)


_BEGINS = {"reset_parameters", "extra_repr", "_maker", "_usual"}
_CHANGES = {"__call__", "__getattr__", "__getattribute__", "__setattr__"}


def _begins_differently(cls: type, base: type) -> bool:
    """Whether a class adds nothing to a base but how a layer begins and is shown."""
    for one in cls.__mro__[: cls.__mro__.index(base)]:
        for name in vars(one):
            is_special = name.startswith("__") and name not in _CHANGES
            if not is_special and name not in _BEGINS:
                return False
    return True


def chosen_layers(model: Module, where: Any) -> dict[str, Module]:
    """The layers to convert by their names. Parts of a layer that is converted are its own matter, those of
    attention are read by it, and adapters are trained."""
    accepts = _accepts(where)
    found: dict[str, Module] = {}
    inside = {id(part) for adapter in adapters(model) for part in adapter.modules()}
    kept: set[int] = set()  # weights of layers that stay as they are
    for name, layer in model.named_modules(remove_duplicate=False):
        if isinstance(layer, nn.MultiheadAttention):
            inside.update(id(part) for part in layer.children())
        if id(layer) in inside:
            continue
        if _form(layer) is None:
            if isinstance(layer, (nn.Linear, nn.Embedding)):
                kept.add(id(layer.weight))
            continue
        if accepts(name, layer):
            found[name] = layer
            inside.update(id(part) for part in layer.modules())
    if where is None:
        found = {
            name: layer for name, layer in found.items() if id(getattr(layer, "weight", None)) not in kept
        }
    return found


def _accepts(where: Any) -> Callable[[str, Any], bool]:
    """The argument `where` as a function of name and layer."""
    if where is None:
        return lambda name, layer: True
    if isinstance(where, type):
        where = (where,)
    if callable(where):
        accepts: Callable[[str, Any], bool] = where
        return accepts
    if isinstance(where, str) or not isinstance(where, Iterable):
        raise TypeError(f"[quantize] got where {where!r}; expected types or a function of name and layer")
    types = tuple(where)
    wrong = [kind for kind in types if kind not in FORMS]
    if wrong:
        names = ", ".join(form.__name__ for form in FORMS)
        raise OpError(f"[quantize] got where with {wrong[0]!r}; expected some of {names}, or a function")
    forms = [FORMS[kind] for kind in types]
    return lambda name, layer: _form(layer) in forms


def adapters(model: Module) -> list[Module]:
    """The small layers that are trained beside the layers of a base: those that a layer names itself in
    ``adapter_layer_names``, as in peft, and those whose names begin with "lora_" or "prompt_encoder"."""
    found = []
    for layer in model.modules():
        named = getattr(layer, "adapter_layer_names", ())
        for name, part in layer.named_children():
            if name in named or name.startswith(("lora_", "prompt_encoder")):
                found.append(part)
    return found


def _freeze(result: Module) -> None:
    """Takes the gradients from all parameters but those of adapters."""
    trained = {id(parameter) for adapter in adapters(result) for parameter in adapter.parameters()}
    for parameter in result.parameters():
        if id(parameter) not in trained:
            parameter.requires_grad_(False)


_MOST_LEFT = 0.5  # the share of weights that may stay as they are without a warning


def _left(model: Module, chosen: dict[str, Module], made: dict[int, Any]) -> list[Left]:
    """What stays as it is, by the classes of layers, the largest share first. A weight of several layers
    counts once."""
    trained = {id(part) for adapter in adapters(model) for part in adapter.modules()}
    names = dict.fromkeys(trained, "adapters")
    counted: set[int] = set()
    for layer in chosen.values():
        new = made[id(layer)]
        if type(new) is type(layer):
            kept = {name for name, _ in new.named_parameters()}
        else:
            kept = set()
        counted.update(id(p) for name, p in layer.named_parameters() if name not in kept)
        if type(new) is type(layer):
            names.update({id(part): type(layer).__name__ for part in layer.modules()})
    total = sum(p.numel() for p in model.parameters())
    total += sum(x.quantized_weight.numel() for x in model.modules() if isinstance(x, layers.Quantized))
    sizes: dict[str, list[int]] = {}
    for layer in model.modules():
        own = [p for p in layer._parameters.values() if p is not None and id(p) not in counted]
        counted.update(map(id, own))
        if own:
            name = names.get(id(layer), type(layer).__name__)
            sizes.setdefault(name, []).append(sum(p.numel() for p in own))
    rows = [Left(name, len(own), sum(own) / total) for name, own in sizes.items()]
    return sorted(rows, key=lambda row: -row.share)


def _told(left: list[Left]) -> str:
    """What stays as it is in words: the classes with the most weights, and the rest."""
    words = [f"{row.layer} ({row.number}) {row.share:.1%}" for row in left[:4]]
    others = sum(row.share for row in left[4:])
    if others:
        words.append(f"others {others:.1%}")
    return ", ".join(words)


def _has_a_made_weight(layer: Module) -> bool:
    """Whether a weight or bias is a Tensor that is neither a parameter nor a buffer."""
    registered = {*layer._parameters, *layer._buffers}
    return any(
        ("weight" in name or "bias" in name) and isinstance(value, Tensor) and name not in registered
        for name, value in layer.__dict__.items()
    )


def _converted(
    name: str, layer: Any, kind: str, weights: dict[int, QuantizedWeight], of_products: set[int]
) -> Any:
    """The layer with few bits. weights: those made so far, by the id of the parameter; of_products: the ids
    of those that a Linear has, which an Embedding shares in its panels."""
    shown = f"layer {name!r}" if name else "the model"
    for parameter in layer.parameters():
        if parameter.dtype == "float64":
            raise OpError(f"[quantize] got {shown} of float64; expected float32: model.float() makes it")
    form = _form(layer)
    try:
        if form is type(layer):
            return layer.with_few_bits(kind)
        if isinstance(layer, Recurrent):
            made: Any = form.from_float(layer, kind, weights)
        elif isinstance(layer, nn.MultiheadAttention) or getattr(layer, "max_norm", None) is not None:
            made = form.from_float(layer, kind)
        elif form is layers.Embedding and id(layer.weight) not in of_products:
            made = layers.Embedding.from_weight(_shared(layer, kind, weights, 1))
        elif form is layers.Embedding:
            made = layers.Embedding.from_weight(_shared(layer, kind, weights), tied=True)
        else:
            made = layers.Linear.from_weight(_shared(layer, kind, weights), layer.bias)
    except OpError as error:
        raise OpError(f"{error} (in {shown})") from None
    if isinstance(made, layers.Quantized):
        made.weight_dtype = layers.half_or_float32(layer.weight)
    return made.train(layer.training)


def _shared(
    layer: Any, kind: str, weights: dict[int, QuantizedWeight], rows_of_panel: int = PANEL
) -> QuantizedWeight:
    """The layer's weight with few bits, which all layers that have the same weight get."""
    weight = layer.weight
    if id(weight) not in weights:
        is_transposed = not isinstance(layer, (nn.Linear, nn.Embedding))
        matrix = weight.detach().t() if is_transposed else weight
        weights[id(weight)] = quantized(matrix, kind, rows_of_panel)
    return weights[id(weight)]


def _take_over(layer: Module, made: Any, copies: dict[int, Any]) -> None:
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


def _report(
    model: Module, result: Any, chosen: dict[str, Any], made: dict[int, Any], data: Any, left: list[Left]
) -> Report:
    sums: dict[str, tuple[float, float]] = {}

    def compare(name: str, layer: Module, args: Any, kwargs: Any, y: Any) -> None:
        of_made = made[id(layer)](*args, **kwargs)
        if isinstance(y, tuple):  # attention, which gives its weights, too
            of_made = of_made[0]
            y = y[0]
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
    return Report(rows, of_model, left)


def _ratio(squares: Any) -> float:
    distance, size = squares
    if size:
        return float((distance / size) ** 0.5)
    if distance == 0:
        return 0.0
    return float("inf")
