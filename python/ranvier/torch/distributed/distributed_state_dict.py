"""torch.distributed.checkpoint.state_dict: states of models and optimizers, with the names of parameters as
keys.

Each process has the whole model here. So a state is the result of `state_dict`, with names that lack the
prefixes of wrappers such as DistributedDataParallel ("module.").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

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
    model: Module, *, submodules: Any = None, options: StateDictOptions | None = None
) -> dict[str, Any]:
    """The model's state; ignore_frozen_params leaves out parameters that require no gradient."""
    options, state = _settings("get_model_state_dict", options), model.state_dict()
    frozen = {n for n, p in model.named_parameters() if options.ignore_frozen_params and not p.requires_grad}
    inside = [n for n, m in model.named_modules() if submodules is not None and m in submodules]
    kept = [n for n in state if submodules is None or any(n.startswith(f"{i}." if i else "") for i in inside)]
    return {_name(name): state[name] for name in kept if name not in frozen}


def set_model_state_dict(
    model: Module, model_state_dict: Any, *, options: StateDictOptions | None = None
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
    parameters = {id(p): p for group in optimizer.param_groups for p in group["params"]}
    if unknown := [tuple(p.shape) for key, p in parameters.items() if key not in names]:
        raise OpError(f"[optimizer state] got a parameter of shape {unknown[0]}; expected those of the model")
    return [names[key] for key in parameters]


def _optimizers(optimizers: Optimizer | Sequence[Optimizer]) -> tuple[Any, ...]:
    if isinstance(optimizers, (tuple, list, set)):
        return tuple(optimizers)
    return (optimizers,)


def get_optimizer_state_dict(
    model: Module,
    optimizers: Optimizer | Sequence[Optimizer],
    *,
    submodules: Any = None,
    options: StateDictOptions | None = None,
) -> dict[str, Any]:
    """The states of optimizers, in which names of parameters replace their numbers."""
    _settings("get_optimizer_state_dict", options)
    if submodules is not None:
        raise NotImplementedError("[get_optimizer_state_dict] got submodules; expected None")
    whole: dict[str, Any] = {"state": {}, "param_groups": []}
    for optimizer in _optimizers(optimizers):
        names, state = _numbers(model, optimizer), optimizer.state_dict()
        whole["state"] |= {names[number]: value for number, value in state["state"].items()}
        for group in state["param_groups"]:
            whole["param_groups"].append(group | {"params": [names[number] for number in group["params"]]})
    return whole


def set_optimizer_state_dict(
    model: Module,
    optimizers: Optimizer | Sequence[Optimizer],
    optim_state_dict: Any,
    *,
    options: StateDictOptions | None = None,
) -> None:
    """Loads what :func:`get_optimizer_state_dict` gives. Raises ValueError where a parameter has no group."""
    _settings("set_optimizer_state_dict", options)
    for optimizer in _optimizers(optimizers):
        names, own = _numbers(model, optimizer), optimizer.state_dict()
        numbers = {name: number for number, name in enumerate(names)}
        groups = []
        for group in own["param_groups"]:
            wanted = {names[number] for number in group["params"]}
            found = next((g for g in optim_state_dict["param_groups"] if wanted <= {*g["params"]}), None)
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
    submodules: Any = None,
    options: StateDictOptions | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The states of a model and of its optimizers."""
    settings: dict[str, Any] = {"submodules": submodules, "options": options}
    return get_model_state_dict(model, **settings), get_optimizer_state_dict(model, optimizers, **settings)


def set_state_dict(
    model: Module,
    optimizers: Optimizer | Sequence[Optimizer],
    *,
    model_state_dict: Any,
    optim_state_dict: Any,
    options: StateDictOptions | None = None,
) -> Any:
    """Loads both states."""
    set_optimizer_state_dict(model, optimizers, optim_state_dict, options=options)
    return set_model_state_dict(model, model_state_dict, options=options)
