"""What a run is: model, optimizer, loss, settings, schedules and data as plain values, which a run that is
resumed must have in common with the earlier one.

`Run` stores the result of `describe` in its checkpoints, and `require_same` compares it with the description
of the run that is to continue. Several processes of one run compare theirs in the same way.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CellType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier.nn as nn
from ranvier.config import get_float32_matmul_precision
from ranvier.serialization import architecture
from ranvier.tensors.memory import Array
from ranvier.train.batch_source import Source
from ranvier.train.callbacks.base import Callback, Training
from ranvier.train.callbacks.control import Schedule
from ranvier.train.losses import Loss, name_of

if TYPE_CHECKING:
    from ranvier.nn.module import Module

_DEPTH = 4  # how many objects within objects are described
_MOST = 1000  # of longer lists the first ones are described
_OF_GROUPS = ("params", "initial_lr")  # entries that are no settings: of parameters and of a schedule
_OPTIMIZER = "settings of the optimizer"
RATES = ("schedules", _OPTIMIZER)  # what decides the learning rates
# what is not a setting: data that are described elsewhere, and states that a checkpoint has
_LEFT_OUT = {"dataset", "data_source", "datasets", "optimizer", "generator", "training"}


def describe(
    trainer: Training, source: Source, valid: Source | None, hooks: Sequence[Callback]
) -> dict[str, Any]:
    """A run at its beginning as plain values, without anything that a checkpoint restores."""
    model = trainer.model
    groups = getattr(trainer.optimizer, "param_groups", ())
    settings = trainer.settings()
    if settings.get("precision") is None:
        settings["precision"] = get_float32_matmul_precision()
    described_model = architecture.describe(model)
    # A description of the library's layers has their settings; of a user's class it has only the name.
    layer_settings = _layers(model) if _is_custom(described_model) else {}
    weights = model.state_dict().items()
    valid_data = None if valid is None else _data(valid)
    return {
        "model": described_model,
        "settings of the model": layer_settings,
        "weights": [[name, list(value.shape), value.dtype.name] for name, value in weights],
        "frozen parameters": [name for name, p in model.named_parameters() if not p.requires_grad],
        "optimizer": [type(trainer.optimizer).__name__, _names_in(groups, model, trainer.loss)],
        "data": _data(source),
        "validation data": valid_data,
        "schedules": [_schedule(hook) for hook in hooks if isinstance(hook, Schedule)],
        _OPTIMIZER: list(map(_group, groups)),
        "loss": name_of(trainer.loss),
        "settings of the loss": _loss(trainer.loss),
        "metrics": list(trainer.metrics),
        "settings": described(settings),
    }


def _names_in(groups: Sequence[Mapping[str, Any]], model: Module, loss: Loss) -> list[list[str | None]]:
    """The names of the parameters in each group; those of the loss are there, too, which may learn."""
    names = {id(p): name for name, p in model.named_parameters()}
    if isinstance(loss, nn.Module):
        names |= {id(p): f"loss.{name}" for name, p in loss.named_parameters()}
    by_group = []
    for group in groups:
        by_group.append([names.get(id(p)) for p in group["params"]])
    return by_group


def _group(group: Mapping[str, Any]) -> Any:
    """The settings of a group of an optimizer."""
    return described({name: value for name, value in group.items() if name not in _OF_GROUPS})


def _is_custom(node: object) -> bool:
    """True if a description of a model has a class of the user's own in it."""
    if isinstance(node, dict):
        return "custom" in node or any(map(_is_custom, node.values()))
    return isinstance(node, list) and any(map(_is_custom, node))


def _layers(model: Module) -> dict[str, Any]:
    """By path: the class of each module and its attributes that are numbers, texts or tuples of them."""
    layers = {}
    for path, module in model.named_modules():
        layers[path] = [type(module).__name__, _attributes(module, depth=1, texts=True)]
    return layers


def _loss(loss: Loss) -> Any:
    """The settings of a loss: attributes and buffers of a module, values that a function holds."""
    if not isinstance(loss, nn.Module):
        return described(loss)
    by_module = {path: _attributes(module, 1, texts=True) for path, module in loss.named_modules()}
    buffers = {name: described(buffer) for name, buffer in loss.named_buffers()}
    return {"attributes": by_module, "buffers": buffers}


def _schedule(hook: Schedule) -> dict[str, Any]:
    scheduler = hook.scheduler
    if hasattr(scheduler, "state_dict"):
        state = scheduler.state_dict()
    else:
        state = vars(scheduler)
    settings = {key: value for key, value in state.items() if key not in _LEFT_OUT}
    return {
        "class": type(scheduler).__name__,
        "per": hook.per,
        "monitor": hook.monitor,
        "settings": described(settings),
        "functions": _functions(scheduler),
    }


def _functions(scheduler: object) -> list[Any]:
    """The functions of a schedule and of those inside it: their states leave them out."""
    found = []
    for name, value in vars(scheduler).items():
        values = value if isinstance(value, (list, tuple)) else [value]
        functions = [described(item) for item in values if callable(item)]
        if functions:
            found.append([name, functions])
    inner = [_functions(schedule) for schedule in getattr(scheduler, "_schedulers", ())]
    if any(inner):
        return [*found, inner]
    return found


def _data(source: Source) -> dict[str, Any]:
    """The data of a run: of arrays all values, of a loader its settings and the arrays that it takes from."""
    facts = source.description()
    data = source.data
    if data is not None:
        for name, array in zip(("x", "y", "weights"), data.arrays, strict=False):
            facts[name] = [*facts[name], checksum(array)]
        return facts
    # In a run on several processes a source that divides batches stands before that of the loader.
    loader_source = getattr(source, "_whole", source)
    loader = getattr(loader_source, "loader", None)
    facts["loader"] = type(loader).__name__
    settings = getattr(loader, "__dict__", {})
    for name in ("sampler", "batch_sampler", "collate_fn", "augment", "transform", "drop_last"):
        if name in settings:
            facts[name] = described(settings[name])
    facts["dataset"] = described(getattr(loader, "dataset", None))
    facts["class_weight"] = described(getattr(loader_source, "_class_weight", None))
    return facts


def described(value: Any, depth: int = _DEPTH) -> Any:
    """A value as plain ones, equal for equal settings: numbers and texts, lists and dicts of them; of an
    array its dtype, shape and values or their checksum; of a function and of any other object its name and
    what it holds in attributes, without texts, which may be paths of one machine.

    depth: how many objects within objects are described; of what is deeper only the name.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return str(value)
    array = _as_array(value)
    if array is not None:
        if getattr(value, "requires_grad", False):  # a parameter, whose values a checkpoint has
            return [array.dtype.name, list(array.shape)]
        return _array(array)
    if depth == 0 or isinstance(value, type):
        return name_of(value)
    if isinstance(value, Mapping):
        return {str(key): described(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return _items(sorted(value, key=repr), depth)
    if isinstance(value, (list, tuple)):
        return _items(value, depth)
    if isinstance(value, functools.partial):
        facts = {"function": described(value.func, depth - 1)}
        facts["args"] = described(value.args, max(depth - 2, 0))
        facts["keywords"] = described(value.keywords, max(depth - 2, 0))
        return facts
    if isinstance(value, FunctionType):
        return {"function": value.__qualname__, "code": _code(value.__code__), **_captured(value, depth)}
    facts = {"class": type(value).__name__}
    name = getattr(value, "__name__", None)  # of a function that is made in C, or a method
    if isinstance(name, str):
        facts["name"] = name
    return facts | _attributes(value, depth - 1)


def _items(items: Sequence[Any], depth: int) -> list[Any]:
    """The items of a list, of a long one the first and the length."""
    first = [described(item, depth - 1) for item in items[:_MOST]]
    if len(items) <= _MOST:
        return first
    return [*first, len(items)]


def _code(code: CodeType) -> dict[str, Any]:
    """The names and numbers in the code of a function; texts may be paths of one machine."""
    inner = [_code(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return {"names": list(code.co_names), "numbers": _numbers(code.co_consts), "functions": inner}


def _numbers(constant: object) -> list[Any]:
    """The numbers in a constant of a function's code, in an order that is always the same."""
    if isinstance(constant, frozenset):
        constant = tuple(sorted(constant, key=repr))
    if isinstance(constant, tuple):
        numbers = []
        for item in constant:
            numbers += _numbers(item)
        return numbers
    if isinstance(constant, (int, float)):
        return [described(constant)]
    return []


def _captured(function: FunctionType, depth: int) -> dict[str, Any]:
    """The values of a function's defaults and of the names that it takes from around it."""
    cells = [_contents(cell) for cell in function.__closure__ or ()]
    values = {"defaults": function.__defaults__, "keywords": function.__kwdefaults__, "around": cells or None}
    depth = min(depth - 1, 2)
    return {name: described(value, depth) for name, value in values.items() if value is not None}


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # It is empty: the name has no value yet.
        return None


def _attributes(owner: object, depth: int, texts: bool = False) -> dict[str, Any]:
    """The public attributes of an object, without those that are described elsewhere.

    texts: whether attributes that are texts count, which may be paths of one machine.
    """
    attributes = {}
    for name, value in getattr(owner, "__dict__", {}).items():
        if name.startswith("_") or name in _LEFT_OUT or (isinstance(value, str) and not texts):
            continue
        attributes[name] = described(value, depth)
    return attributes


def _as_array(value: object) -> Array | None:
    """The array of a NumPy array or number, or of a Tensor; None for anything else."""
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    array = getattr(value, "_array", None)
    if isinstance(array, np.ndarray):
        return array
    return None


def _array(array: Array) -> Any:
    """Dtype, shape and values of an array, of a long one the checksum; of an array of no axis its number."""
    if array.ndim == 0 and array.dtype.kind in "biuf":
        return described(array.item())
    is_short = array.size <= 16 and array.dtype.kind in "biuf"
    values = array.tolist() if is_short else checksum(array)
    return [array.dtype.name, list(array.shape), described(values, depth=8)]


def checksum(array: Array) -> int:
    """CRC-32 of all values of an array."""
    if array.dtype.kind == "O":
        return zlib.crc32(repr(array.tolist()).encode())
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)


def require_same(path: Path, state: Mapping[str, Any], ours: dict[str, Any]) -> None:
    """Raise ValueError, which names the difference, unless the state is of a run of this description."""
    theirs = state.get("run")
    for what, value in ours.items():
        saved = theirs.get(what) if isinstance(theirs, dict) else None
        if saved == value or (what == "model" and _is_same_model(saved, value)):
            continue
        verb = "are" if what.split()[0] in _PLURAL else "is"
        raise ValueError(
            f"[Trainer.fit] cannot resume from '{path}': the {what} of its run {verb} different: "
            f"{difference(saved, value)}; {_remedy(what)}"
        )


_PLURAL = ("settings", "weights", "metrics", "schedules", "frozen")  # first words of names in a description


def _remedy(what: str) -> str:
    """What the user can do about a difference."""
    if what in RATES:
        return (
            "expected those of the run. To continue with another rate, leave them and set trainer.lr in "
            "on_train_begin of a callback, which is called after the checkpoint is read; or begin a new run "
            "from the weights: model.load_state_dict(rv.load(...))"
        )
    return "expected that of the run, or a new run without resume=, from the weights of this one"


def _is_same_model(theirs: Any, ours: dict[str, Any]) -> bool:
    """True if two descriptions are of the same model; one may name arguments that the other leaves out."""
    try:
        with nn.init.skipped():
            return architecture.describe(architecture.build(theirs)) == ours
    except (KeyError, TypeError, ValueError):
        return False


def difference(theirs: object, ours: object, place: str = "") -> str:
    """The first difference of two nested values, in words: theirs is in the file, ours of this run."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*ours, *theirs]:
            if theirs.get(key) != ours.get(key):
                return difference(theirs.get(key), ours.get(key), f"{place}{key}: ")
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for a, b in zip(theirs, ours, strict=True):
            if a != b:
                return difference(a, b, place)
    return f"{place}{_short(theirs)} there, {_short(ours)} here"


def _short(value: object) -> str:
    text = str(value)
    if len(text) <= 200:
        return text
    return text[:200] + "..."
