"""A model as JSON: its layers and their arguments.

    {"layer": "Conv2d", "arguments": {"in_channels": 1, ...}}      one of our layers; also as an argument
    {"layer": "quantized.Linear", "arguments": {...}}              one of nn.quantized
    {"layer": "TransformerEncoderLayer", "parts": {...}, ...}            a layer with quantized layers inside
    {"layer": "Sequential", "children": [["0", {...}], ...]}       one of our containers
    {"same": "features.0"}                                         a layer that is used in two places
    {"custom": "shop.models.Net"}                                  a class of the user

Only classes of `ranvier.nn` are built, by their names: a file contains no code.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

import ranvier.nn as nn
import ranvier.serialization.few_bits as few_bits
from ranvier.nn.arguments import arguments_of
from ranvier.serialization.work import Work
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.sanitize import printable

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def _layer(name: str) -> type[nn.Module] | None:
    """The class of `ranvier.nn` or `ranvier.nn.quantized` with this name, if it has one of layers."""
    folder, _, last = name.rpartition(".")
    kind = getattr(nn, name, None) if not folder else None
    if folder == "quantized":
        kind = getattr(nn.quantized, last, None)
    if isinstance(kind, type) and issubclass(kind, nn.Module) and kind is not nn.Module:
        return kind
    return None


def _name_of(kind: type) -> str:
    """The name of a class in a description, by which `_layer` finds it."""
    inside = kind.__module__.startswith("ranvier.nn.quantized.")
    if inside:
        return f"quantized.{kind.__name__}"
    return kind.__name__


def describe(model: nn.Module, path: str = "", seen: dict[int, str] | None = None) -> dict[str, Any]:
    """The JSON form of a model. seen: {id of a module: its path} of the modules so far."""
    if seen is None:
        seen = {}
    if id(model) in seen:
        return {"same": seen[id(model)]}
    seen[id(model)] = path
    kind = model.__class__
    if _layer(_name_of(kind)) is not kind:
        node = _custom(kind)
        few = few_bits.kind_of(model)  # of layers of few bits inside, for the remedy in `build`
        if few:
            node["few_bits"] = few
        return node
    if "forward" in vars(model):
        return _custom(kind, ["forward"])
    node = {"layer": _name_of(kind)}
    if kind in _CONTAINERS:
        children = []
        for name, child in model._modules.items():
            if child is not None:
                children.append([name, describe(child, _joined(path, name), seen)])
        node["children"] = children
    else:
        node = _of_layer(node, model)
    if not model.training:
        node["training"] = False
    return node


def _joined(path: str, name: str) -> str:
    """The path of a module or attribute inside the module at a path, "" for the model."""
    if path:
        return f"{path}.{name}"
    return name


def _of_layer(node: dict[str, Any], layer: nn.Module) -> dict[str, Any]:
    """The JSON form of a layer, from which `build` makes a layer with the same settings.

    The program may have changed attributes after it made the layer. If all of them are arguments of the
    constructor, the JSON form has their new values; else the layer is described as a class of the user.
    """
    node["arguments"] = arguments_of(layer)
    parts = _quantized_parts(layer)
    if parts:
        node["parts"] = parts
    changed = _changed(layer, node)
    if changed and inspect.signature(type(layer).__init__).parameters.keys() >= changed.keys():
        try:
            node["arguments"] |= json.loads(json.dumps(changed))
            changed = _changed(layer, node)
        except (TypeError, ValueError):  # JSON cannot hold the values, or the layer refuses them.
            pass
    if changed:
        return _custom(type(layer), changed)
    return node


def _quantized_parts(layer: nn.Module) -> dict[str, Any]:
    """By path: the JSON form of the quantized layers that `rv.quantize` has put into a layer."""
    parts: dict[str, Any] = {}
    for path, module in layer.named_modules():
        if not _name_of(type(module)).startswith("quantized."):
            continue
        if not path:  # The layer is quantized itself, and makes the layers inside.
            return {}
        if not any(path.startswith(f"{outer}.") for outer in parts):
            parts[path] = describe(module)
    return parts


def _custom(kind: type, changed: Iterable[str] = ()) -> dict[str, Any]:
    another = f" with another {', '.join(changed)}" if changed else ""
    return {"custom": f"{kind.__module__}.{kind.__qualname__}{another}"}


def _changed(layer: nn.Module, node: dict[str, Any]) -> dict[str, Any]:
    """The settings of `layer` whose values differ from those of the layer that `node` describes."""
    with nn.init.skipped():  # starting values are not drawn
        built = _settings(build(node))
        settings = _settings(layer)
    same = [name for name in built.keys() & settings.keys() if _equal(built[name], settings[name])]
    return {name: settings.get(name) for name in built if name not in same}


def _settings(layer: nn.Module) -> dict[str, Any]:
    """By path: the attributes of a layer and of the layers inside, and the classes of the layers inside."""
    settings: dict[str, Any] = {}
    for path, module in layer.named_modules():
        described_elsewhere = {*module._parameters, *module._buffers, *module._modules, "training"}
        if path:
            settings[path] = type(module)
        for name, value in vars(module).items():
            if not name.startswith("_") and name not in described_elsewhere:
                settings[_joined(path, name)] = value
    return settings


def _equal(a: Any, b: Any) -> bool:
    """Whether two settings are equal; NaN equals NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    return a is b or (type(a) is type(b) and np.array_equal(a, b))


def require_sizes(node: object, elements: int, products: bool = False) -> None:
    """Raise ValueError for numbers in layers that are far larger than the number of elements of the weights.

    In a damaged or forged file, one such argument would make layers without end, or fill the memory.

    products: compare the product of the numbers of each layer, too. Sound layers may exceed it, such as a
    convolution with groups. So `models.load_model` asks for it only after the memory was too small, to tell
    damage from a lack of memory.
    """
    if isinstance(node, list):
        for value in node:
            require_sizes(value, elements, products)
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        # 2**20, a round number, is for sizes that no weight has, such as that of a pool's result; each of
        # num_layers has weights
        most = elements if name == "num_layers" else elements + 2**20
        if isinstance(value, int) and value > most:
            raise ValueError(f"a layer has {name} {value}, and the file has weights of {elements} elements")
    if products:
        numbers: list[Any] = []
        for value in node.values():
            if isinstance(value, list):
                numbers += value
            else:
                numbers.append(value)
        sizes = [n for n in numbers if type(n) is int and n > 1]
        if math.prod(sizes) > elements + 2**20:
            raise ValueError(f"a layer has sizes {sizes}, and the file has weights of {elements} elements")
    for value in node.values():
        require_sizes(value, elements, products)


def build(
    node: Any, path: str = "", built: dict[str, tuple[nn.Module, int]] | None = None, work: Work | None = None
) -> nn.Module:
    """The model that `node` describes, without its weights.

    built: by path, the layers so far, each with the number of layers inside, counted once per path.
    work: the counter that names, and layers in several places, are charged to. Parameters are charged to it
    by `models.load_model`, as they are made: those of `parts` and of layers in arguments, too.

    Raises:
        ValueError: an unknown form or layer, a class of the user, or arguments that the layer refuses.
    """
    if built is None:
        built = {}
    where = f"layer '{path}'" if path else "the model"
    if not isinstance(node, dict):
        node = {}
    same = node.get("same")
    if isinstance(same, str):
        if same not in built:
            raise ValueError(f"{where} is the same as '{same}', which does not come before it")
        if work is not None:
            # state dicts visit the layers inside again for each path; 500 is an estimate of bytes for each
            work.charge(500 * built[same][1])
        built[path] = built[same]
        return built[same][0]
    custom = node.get("custom")
    if isinstance(custom, str):
        if "few_bits" in node:
            into = few_bits.call(node["few_bits"])
        else:
            into = "model"
        raise ValueError(
            f"{where} has the class {custom}, which is not part of ranvier; build the model yourself and "
            f"call rv.load(path, into={into})"
        )
    if not isinstance(node.get("layer"), str):
        raise ValueError(f"{where} has no description that this version knows")
    kind = _layer(node["layer"])
    if kind is None:
        raise ValueError(f"{where} is of type '{node['layer']}', which ranvier.nn does not have")
    if work is not None:
        work.charge(len(path))
    inside = 1
    try:
        if kind in _CONTAINERS:
            model, inside = _container(kind, node, path, built, work)
        else:
            arguments = {name: _argument(value) for name, value in node["arguments"].items()}
            if "dtype" in arguments:
                arguments["dtype"] = DType(arguments["dtype"])
            model = kind(**arguments)
            # each part is one quantized layer, in the place of the layer of floats that `kind` has made
            for name, part in dict(node.get("parts", {})).items():
                model.set_submodule(name, build(part, f"{path}.{name}", work=work), strict=True)
    except (TypeError, KeyError, AttributeError, OverflowError, ZeroDivisionError) as error:
        raise ValueError(
            f"{where} of type {kind.__name__} has arguments that it refuses: {error!r}"
        ) from None
    built[path] = model, inside
    training = node.get("training", True) is not False
    if kind in _CONTAINERS:  # The children may be in the other mode.
        model.training = training
    else:
        model.train(training)
    return model


def _argument(value: Any) -> Any:
    """The argument of a layer for this JSON value: lists become tuples, descriptions become layers."""
    if isinstance(value, dict):
        return build(value)
    if isinstance(value, str) and printable(value) != value:
        raise ValueError(f"a layer has the argument {value!r}, with control codes")
    if isinstance(value, list):
        return tuple(map(_argument, value))
    return value


def _container(
    kind: type[nn.Module],
    node: dict[str, Any],
    path: str,
    built: dict[str, tuple[nn.Module, int]],
    work: Work | None,
) -> tuple[nn.Module, int]:
    """Builds a container from its description. Returns the container and the number of modules in it."""
    model: nn.Module = kind()
    inside = 1
    for name, child in node["children"]:
        is_name = isinstance(name, str) and name and "." not in name and name.isprintable()
        if not is_name or hasattr(model, name):
            raise ValueError(f"layer '{path}' has a part with the name {name!r}")
        place = _joined(path, name)
        model.add_module(name, build(child, place, built, work))
        inside += built[place][1]
    return model, inside
