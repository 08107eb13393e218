"""`rv.quantize`: a copy of a model whose layers have weights of 8 or 4 bits.

The layers to convert are chosen (`chosen_layers`), converted (`_converted_layers`), and put into a deep copy
of the model. kind is the format of a weight, "int8", "q8_0" or "q4_0" (nn/quantized/layers.py). A dictionary
by ids of layers or parameters has the new object for each old one, so that what is shared stays shared.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import isnan, nan
from typing import Any, NamedTuple, TypeAlias

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

# The quantized class of each class of layers.
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
        names = ["layer"]
        errors = ["error"]
        for row in self.layers:
            names.append(f"{row.name} {row.layer}".strip())
            errors.append("-" if isnan(row.error) else f"{row.error:.2%}")
        names.append("the model")
        errors.append(f"{self.model:.2%}")
        width = max(map(len, names))
        error_width = max(map(len, errors))
        lines = []
        for name, error in zip(names, errors, strict=True):
            lines.append(f"{name:{width}}  {error:>{error_width}}")
        if self.left:
            lines.append(f"stays as it is: {_told(self.left)}")
        return "\n".join(lines)


def quantize(
    model: Module,
    dtype: str = "int8",
    *,
    where: Where = None,
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
    converted = _converted_layers(chosen, kind)
    chosen = {name: layer for name, layer in chosen.items() if id(layer) in converted}
    if not chosen:
        raise OpError(f"[quantize] got {_nothing_to_do(model)}")
    # deepcopy takes what it finds under the id of an object for its copy: so the new layers are in the copy.
    copies = dict(converted)
    result = copy.deepcopy(model, copies)
    for layer in chosen.values():
        new = converted[id(layer)]
        if type(new) is not type(layer):
            _copy_other_attributes(layer, new, copies)
    _freeze(result)
    left = _left(model, chosen, converted)
    if where is None and sum(row.share for row in left) > _MOST_LEFT:
        warnings.warn(f"[quantize] most of the weights stay as they are: {_told(left)}", stacklevel=2)
    if report is None:
        return result
    data = report if type(report) is tuple else (report,)
    return result, _report(model, result, chosen, converted, data, left)


def _kind(dtype: str, group: int | None) -> str:
    """The kind of the weights, a name of `QuantizedWeight`."""
    if dtype == "int4":
        return "q4_0"
    if group is None:
        return "int8"
    return "q8_0"


def _nothing_to_do(model: Module) -> str:
    """Why no layer of a model can be converted, and what is expected."""
    buffers = [path.rpartition(".")[2] for path, _ in model.named_buffers()]
    if "panels" in buffers:
        return (
            "a model whose layers have few bits already, and no other layer is chosen; expected the model "
            "that it was made from"
        )
    names = ", ".join(sorted(form.__name__ for form in FORMS))
    return f"a model in which no layer is chosen; expected layers of the classes {names}"


def _converted_layers(chosen: dict[str, Any], kind: str) -> dict[int, Any]:
    """The new layers by the ids of the old ones."""
    linear_weights = set()  # the ids of the weights of Linear layers
    for layer in chosen.values():
        if _quantized_class(layer) is layers.Linear:
            linear_weights.add(id(layer.weight))
    weights: dict[int, QuantizedWeight] = {}
    converted = {}
    for name, layer in chosen.items():
        new = _convert(name, layer, kind, weights, linear_weights)
        if new is not None:
            converted[id(layer)] = new
    return converted


def _quantized_class(layer: Module) -> Any:
    """The class that a layer becomes; None where it stays as it is.

    A module that computes products without layers makes its copy itself, by its method
    ``with_few_bits(kind)``: its class stays.

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
        if issubclass(cls, base) and _only_begins_differently(cls, base):
            return FORMS[base]
    return FORMS.get(cls)


# What a subclass may define: how a layer begins and is shown (`check_arguments` sets the last two).
_OF_BEGINNING = {"reset_parameters", "extra_repr", "_maker", "_usual"}
# Methods of Python that change what a layer computes.
_OF_CALLS = {"__call__", "__getattr__", "__getattribute__", "__setattr__"}


def _only_begins_differently(cls: type, base: type) -> bool:
    """Whether a class adds nothing to a base but how a layer begins and is shown."""
    derived = cls.__mro__[: cls.__mro__.index(base)]
    for ancestor in derived:
        for name in vars(ancestor):
            is_special = name.startswith("__") and name not in _OF_CALLS
            if not is_special and name not in _OF_BEGINNING:
                return False
    return True


Where: TypeAlias = Callable[[str, Any], bool] | Iterable[type] | type | None
"""Which layers are converted: see `quantize`."""


def chosen_layers(model: Module, where: Where) -> dict[str, Module]:
    """The layers to convert by their names. torch/modules/quantization.py calls it, too.

    Left out are the layers inside one that is converted, those inside an attention, which reads their
    weights itself, and adapters, which are trained.
    """
    accepts = _accepts(where)
    found: dict[str, Module] = {}
    left_out = _adapter_modules(model)  # the ids of layers
    unconverted_weights: set[int] = set()  # the ids of weights of layers that stay as they are
    for name, layer in model.named_modules(remove_duplicate=False):
        if isinstance(layer, nn.MultiheadAttention):
            left_out.update(map(id, layer.children()))
        if id(layer) in left_out:
            continue
        if _quantized_class(layer) is None:
            if isinstance(layer, (nn.Linear, nn.Embedding)):
                unconverted_weights.add(id(layer.weight))
            continue
        if accepts(name, layer):
            found[name] = layer
            left_out.update(map(id, layer.modules()))
    if where is not None:
        return found
    chosen = {}
    for name, layer in found.items():
        if id(getattr(layer, "weight", None)) not in unconverted_weights:
            chosen[name] = layer
    return chosen


def _accepts(where: Where) -> Callable[[str, Any], bool]:
    """The argument `where` as a function of name and layer."""
    if where is None:
        return _accept_all
    if isinstance(where, type):
        where = (where,)
    if callable(where):
        accepts: Callable[[str, Any], bool] = where
        return accepts
    if isinstance(where, str) or not isinstance(where, Iterable):
        raise TypeError(f"[quantize] got where {where!r}; expected types or a function of name and layer")
    types = tuple(where)
    wrong = [layer_type for layer_type in types if layer_type not in FORMS]
    if wrong:
        names = ", ".join(layer_type.__name__ for layer_type in FORMS)
        raise OpError(f"[quantize] got where with {wrong[0]!r}; expected some of {names}, or a function")
    classes = [FORMS[layer_type] for layer_type in types]

    def is_of_these_types(name: str, layer: Module) -> bool:
        return _quantized_class(layer) in classes

    return is_of_these_types


def _accept_all(name: str, layer: Module) -> bool:
    return True


def adapters(model: Module) -> list[Module]:
    """The small layers that are trained beside the layers of a base: those that a layer names itself in
    ``adapter_layer_names``, as in peft, and those whose names begin with "lora_" or "prompt_encoder"."""
    found = []
    for layer in model.modules():
        names = getattr(layer, "adapter_layer_names", ())
        for name, child in layer.named_children():
            if name in names or name.startswith(("lora_", "prompt_encoder")):
                found.append(child)
    return found


def _adapter_modules(model: Module) -> set[int]:
    """The ids of all modules of adapters."""
    found: set[int] = set()
    for adapter in adapters(model):
        found.update(map(id, adapter.modules()))
    return found


def _freeze(result: Module) -> None:
    """Takes the gradients from all parameters but those of adapters."""
    trained: set[int] = set()
    for adapter in adapters(result):
        trained.update(map(id, adapter.parameters()))
    for parameter in result.parameters():
        if id(parameter) not in trained:
            parameter.requires_grad_(False)


_MOST_LEFT = 0.5  # the share of weights that may stay as they are without a warning


def _left(model: Module, chosen: dict[str, Module], converted: dict[int, Any]) -> list[Left]:
    """What stays as it is, by the classes of layers, the largest share first. A weight of several layers
    counts once."""
    names = dict.fromkeys(_adapter_modules(model), "adapters")  # {id of a layer: its name in the result}
    counted: set[int] = set()  # the ids of parameters that are converted, or counted already
    for layer in chosen.values():
        new = converted[id(layer)]
        remaining: set[str] = set()  # the names of parameters that the new layer has, too
        if type(new) is type(layer):  # It has made its copy itself, by `with_few_bits`.
            remaining = {name for name, _ in new.named_parameters()}
            names.update(dict.fromkeys(map(id, layer.modules()), type(layer).__name__))
        for name, parameter in layer.named_parameters():
            if name not in remaining:
                counted.add(id(parameter))
    total = sum(parameter.numel() for parameter in model.parameters())
    for module in model.modules():
        if isinstance(module, layers.Quantized):
            total += module.quantized_weight.numel()
    sizes: dict[str, list[int]] = {}  # {class of layers: the number of weights of each layer}
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
    for name, value in layer.__dict__.items():
        is_weight = "weight" in name or "bias" in name
        if is_weight and isinstance(value, Tensor) and name not in registered:
            return True
    return False


def _convert(
    name: str, layer: Any, kind: str, weights: dict[int, QuantizedWeight], linear_weights: set[int]
) -> Any:
    """The layer with few bits.

    weights: those made so far, by the id of the parameter; new ones are added. linear_weights: the ids of the
    parameters that a Linear has; an Embedding with one of them has its panels in the Linear's order.
    """
    shown = f"layer {name!r}" if name else "the model"
    for parameter in layer.parameters():
        if parameter.dtype == "float64":
            raise OpError(f"[quantize] got {shown} of float64; expected float32: model.float() makes it")
    quantized_class = _quantized_class(layer)
    try:
        if quantized_class is type(layer):
            return layer.with_few_bits(kind)
        if isinstance(layer, Recurrent):
            new: Any = quantized_class.from_float(layer, kind, weights)
        elif isinstance(layer, nn.MultiheadAttention) or getattr(layer, "max_norm", None) is not None:
            new = quantized_class.from_float(layer, kind)
        elif quantized_class is layers.Embedding and id(layer.weight) not in linear_weights:
            new = layers.Embedding.from_weight(_shared_weight(layer, kind, weights, rows_of_panel=1))
        elif quantized_class is layers.Embedding:
            new = layers.Embedding.from_weight(_shared_weight(layer, kind, weights), tied=True)
        else:
            new = layers.Linear.from_weight(_shared_weight(layer, kind, weights), layer.bias)
    except OpError as error:
        raise OpError(f"{error} (in {shown})") from None
    if isinstance(new, layers.Quantized):
        new.weight_dtype = layers.half_or_float32(layer.weight)
    return new.train(layer.training)


def _shared_weight(
    layer: Any, kind: str, weights: dict[int, QuantizedWeight], rows_of_panel: int = PANEL
) -> QuantizedWeight:
    """The layer's weight with few bits, which all layers that have the same weight get."""
    weight = layer.weight
    if id(weight) not in weights:
        matrix = weight
        if not isinstance(layer, (nn.Linear, nn.Embedding)):  # a class of TRANSPOSED
            matrix = weight.detach().t()
        weights[id(weight)] = quantized(matrix, kind, rows_of_panel)
    return weights[id(weight)]


def _copy_other_attributes(layer: Module, new: Any, copies: dict[int, Any]) -> None:
    """Gives a quantized layer the attributes that it lacks: hooks, settings, and what a program has added.

    copies: the memo of the deep copy of the model.
    """
    for name, value in layer.__dict__.items():
        is_weight = name.startswith(("weight", "bias")) and name in layer._parameters
        if is_weight or name in new.__dict__:  # The new layer has it, a weight as panels.
            continue
        value = copy.deepcopy(value, copies)
        if name in layer._parameters:
            new.register_parameter(name, value)
        elif name in layer._buffers:
            is_persistent = name not in layer._non_persistent_buffers_set
            new.register_buffer(name, value, is_persistent)
        else:
            setattr(new, name, value)


def _floats(y: Any) -> Iterator[Tensor]:
    """The Tensors of floats in nested tuples, lists and dicts."""
    if isinstance(y, Tensor) and y.is_floating_point():
        yield y.double()
    elif isinstance(y, dict):
        for value in y.values():
            yield from _floats(value)
    elif isinstance(y, (list, tuple)):
        for value in y:
            yield from _floats(value)


class _Squares:
    """The sums of ||y' - y||^2 and ||y||^2 over several outputs y, and the relative error that they give."""

    def __init__(self) -> None:
        self.distance = 0.0
        self.size = 0.0

    def add(self, new_y: Any, y: Any) -> None:
        """Adds all Tensors of floats in two equally nested outputs."""
        for a, b in zip(_floats(new_y), _floats(y), strict=True):
            self.distance += float(((a - b) ** 2).sum())
            self.size += float((b**2).sum())

    def relative_error(self) -> float:
        if self.size:
            return float((self.distance / self.size) ** 0.5)
        if self.distance == 0:
            return 0.0
        return float("inf")


def _report(
    model: Module,
    result: Any,
    chosen: dict[str, Any],
    converted: dict[int, Any],
    data: tuple[Any, ...],
    left: list[Left],
) -> Report:
    """Runs the model and its copy on the data. A hook of each chosen layer calls the new layer with the same
    inputs, and compares."""
    squares: dict[str, _Squares] = {}

    def compare(name: str, layer: Module, args: tuple[Any, ...], kwargs: dict[str, Any], y: Any) -> None:
        new_y = converted[id(layer)](*args, **kwargs)
        if isinstance(y, tuple):  # attention, which gives its weights, too
            new_y = new_y[0]
            y = y[0]
        squares.setdefault(name, _Squares()).add(new_y, y)

    with evaluating(model, "quantize"), evaluating(result, "quantize"):
        hooks = []
        for name, layer in chosen.items():
            hooks.append(layer.register_forward_hook(partial(compare, name), with_kwargs=True))
        try:
            y = model(*data)
        finally:
            for hook in hooks:
                hook.remove()
        if not list(_floats(y)):
            raise OpError(
                "[quantize] got a model that returns no Tensor of floats; expected one for a report"
            )
        squares_of_model = _Squares()
        squares_of_model.add(result(*data), y)
    rows = []
    for name, layer in chosen.items():
        error = squares[name].relative_error() if name in squares else nan
        rows.append(LayerError(name, type(layer).__name__, error))
    return Report(rows, squares_of_model.relative_error(), left)
