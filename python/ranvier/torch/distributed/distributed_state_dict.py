"""torch.distributed.checkpoint.state_dict: states of models and optimizers, with the names of parameters as
keys.

Each process has the whole model here. So a state is the result of `state_dict`, with names that lack the
prefixes of wrappers such as DistributedDataParallel ("module.").
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ranvier import Tensor
from ranvier.nn import Module
from ranvier.optim import Optimizer
from ranvier.tensors.failures import OpError

_WRAPPERS = re.compile(r"(^|\.)((module|_orig_mod)\.)+")


@dataclass
class StateDictOptions:
    """cpu_offload, full_state_dict and keep_submodule_prefixes have no effect: states are not divided."""

    full_state_dict: bool = False
    cpu_offload: bool = False
    ignore_frozen_params: bool = False
    keep_submodule_prefixes: bool = True
    strict: bool = True
    broadcast_from_rank0: bool = False
    flatten_optimizer_state_dict: bool = False
    dsd_fqn_modifiers: str = "_fqn_modifiers"


def _settings(name: str, options: StateDictOptions | None) -> StateDictOptions:
    """The options, or the defaults for None; raises for options that are not supported."""
    options = options or StateDictOptions()
    if options.flatten_optimizer_state_dict:
        raise NotImplementedError(f"[{name}] got flatten_optimizer_state_dict=True; expected False")
    if options.broadcast_from_rank0 and import_module("ranvier.distributed").size() > 1:
        raise NotImplementedError(f"[{name}] got broadcast_from_rank0=True; expected the state on each rank")
    return options


def _name(name: str) -> str:
    """The name of a parameter without the prefixes of wrappers.

    >>> _name("module._orig_mod.0.weight"), _name("0.module.weight")
    ('0.weight', '0.weight')
    """
    return _WRAPPERS.sub(r"\1", name)


def get_model_state_dict(
    model: Module, *, submodules: Collection[Module] | None = None, options: StateDictOptions | None = None
) -> dict[str, Any]:
    """The model's state; ignore_frozen_params leaves out parameters that require no gradient."""
    options = _settings("get_model_state_dict", options)
    state = model.state_dict()
    frozen = set()
    if options.ignore_frozen_params:
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    prefixes = [""]
    if submodules is not None:
        prefixes = [_prefix(name) for name, module in model.named_modules() if module in submodules]
    wanted = {}
    for name, value in state.items():
        if name not in frozen and name.startswith(tuple(prefixes)):
            wanted[_name(name)] = value
    return wanted


def _prefix(module: str) -> str:
    """What the names of a module's parameters begin with; "" of the whole model."""
    if module:
        return f"{module}."
    return ""


def set_model_state_dict(
    model: Module, model_state_dict: dict[str, Any], *, options: StateDictOptions | None = None
) -> Any:
    """Loads what :func:`get_model_state_dict` gives; the result has the missing and unexpected keys.

    >>> import ranvier as rv
    >>> set_model_state_dict(rv.nn.Linear(1, 1), {"weight": rv.ones(1, 1), "bias": rv.ones(1)})
    <All keys matched successfully>
    """
    options = _settings("set_model_state_dict", options)
    if not isinstance(model_state_dict, dict):
        kind = type(model_state_dict).__name__
        raise TypeError(f"[set_model_state_dict] got a state of type {kind}; expected a dict")
    names = {_name(name): name for name in model.state_dict()}
    state = {names.get(_name(name), name): value for name, value in model_state_dict.items()}
    return model.load_state_dict(state, strict=options.strict)


def _numbers(model: Module, optimizer: Optimizer) -> list[str]:
    """The names of an optimizer's parameters; the position is the parameter's number in its state dict."""
    names = {id(p): _name(name) for name, p in model.named_parameters()}
    parameters: dict[int, Tensor] = {}
    for group in optimizer.param_groups:
        for p in group["params"]:
            parameters[id(p)] = p
    for key, p in parameters.items():
        if key not in names:
            shape = tuple(p.shape)
            raise OpError(f"[optimizer state] got a parameter of shape {shape}; expected those of the model")
    return [names[key] for key in parameters]


def _optimizers(optimizers: Optimizer | Sequence[Optimizer]) -> tuple[Any, ...]:
    if isinstance(optimizers, (tuple, list, set)):
        return tuple(optimizers)
    return (optimizers,)


def get_optimizer_state_dict(
    model: Module,
    optimizers: Optimizer | Sequence[Optimizer],
    *,
    submodules: Collection[Module] | None = None,
    options: StateDictOptions | None = None,
) -> dict[str, Any]:
    """The states of optimizers, in which names of parameters replace their numbers."""
    _settings("get_optimizer_state_dict", options)
    if submodules is not None:
        raise NotImplementedError("[get_optimizer_state_dict] got submodules; expected None")
    whole: dict[str, Any] = {"state": {}, "param_groups": []}
    for optimizer in _optimizers(optimizers):
        names = _numbers(model, optimizer)
        state = optimizer.state_dict()
        whole["state"] |= {names[number]: value for number, value in state["state"].items()}
        for group in state["param_groups"]:
            parameters = [names[number] for number in group["params"]]
            whole["param_groups"].append(group | {"params": parameters})
    return whole


def _group_with(names: set[str], groups: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The first group that has all these parameters."""
    for group in groups:
        if names.issubset(group["params"]):
            return group
    return None


def set_optimizer_state_dict(
    model: Module,
    optimizers: Optimizer | Sequence[Optimizer],
    optim_state_dict: dict[str, Any],
    *,
    options: StateDictOptions | None = None,
) -> None:
    """Loads what :func:`get_optimizer_state_dict` gives. Raises ValueError where a parameter has no group."""
    _settings("set_optimizer_state_dict", options)
    for optimizer in _optimizers(optimizers):
        names = _numbers(model, optimizer)
        present = optimizer.state_dict()
        numbers = {name: number for number, name in enumerate(names)}
        groups = []
        for group in present["param_groups"]:
            wanted = {names[number] for number in group["params"]}
            found = _group_with(wanted, optim_state_dict["param_groups"])
            if found is None:
                text = f"got no group with {sorted(wanted)[0]!r}"
                raise OpError(f"[set_optimizer_state_dict] {text}; expected the groups of the optimizer")
            # The settings are those of the loaded state, the parameters' numbers those of this optimizer.
            groups.append(group | found | {"params": group["params"]})
        state = {numbers[name]: x for name, x in optim_state_dict["state"].items() if name in numbers}
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def get_state_dict(
    model: Module,
    optimizers: Optimizer | Sequence[Optimizer],
    *,
    submodules: Collection[Module] | None = None,
    options: StateDictOptions | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The states of a model and of its optimizers."""
    settings: dict[str, Any] = {"submodules": submodules, "options": options}
    return get_model_state_dict(model, **settings), get_optimizer_state_dict(model, optimizers, **settings)


def set_state_dict(
    model: Module,
    optimizers: Optimizer | Sequence[Optimizer],
    *,
    model_state_dict: dict[str, Any],
    optim_state_dict: dict[str, Any],
    options: StateDictOptions | None = None,
) -> Any:
    """Loads both states."""
    set_optimizer_state_dict(model, optimizers, optim_state_dict, options=options)
    return set_model_state_dict(model, model_state_dict, options=options)
