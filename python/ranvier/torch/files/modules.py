"""Translates the attributes of Modules and the state of optimizers to those of PyTorch's classes, and back.

A pickle has the attributes of a Module (its `__dict__`), so a file that PyTorch reads must have those of
PyTorch's class. `state_for_torch` is used when a file is written, `state_from_torch` when one is read. Most
attributes have the same names in both libraries; the tables have those that differ, by the name of the class.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Container
from functools import partial
from itertools import chain
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

import ranvier as rv
from ranvier import nn
from ranvier.nn import Module
from ranvier.nn.hooks import Hooks

if TYPE_CHECKING:
    from ranvier.nn.state_dicts import StateHooks

State: TypeAlias = dict[str, Any]
"""The attributes of a Module, by name."""

ComputeAttributes: TypeAlias = Callable[[State], State]
"""Computes some attributes of a layer from its others."""

# the attributes of a Module that hold its values, and those that every Module has here (`nn/module.py`)
_VALUES = ("_parameters", "_buffers", "_modules")
OWN = {*_VALUES, "_non_persistent_buffers_set", "training", "_rv_hooks", "_rv_state_hooks", "_info"}
# the attributes of PyTorch's Modules that hold hooks on calls, and on state dicts, in PyTorch's order
_FULL_BACKWARD = "_is_full_backward_hook"  # a flag: which of PyTorch's two kinds `_backward_hooks` has
_CALL_HOOKS = (
    "_backward_pre_hooks",
    "_backward_hooks",
    _FULL_BACKWARD,
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)
_STATE_DICT_HOOKS = (
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
# weights of each layer and direction of an RNN
_RNN_WEIGHTS = ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l", "weight_hr_l")


# --- attributes that only PyTorch's layers have, computed from the attributes of the layer here
def _conv(state: State) -> State:
    layer = SimpleNamespace(**{"_axes": len(state["kernel_size"]), **state})
    padding: Any = nn.Conv1d._pad_sizes(layer)  # of the last axis first, before and after each
    if isinstance(state["padding"], str):
        padding = list(padding)
    return {"transposed": False, "_reversed_padding_repeated_twice": padding}


def _transposed(state: State) -> State:
    return {**_conv(state), "transposed": True}


def _attention(state: State) -> State:
    attributes: State = {"_qkv_same_embed_dim": state["kdim"] == state["vdim"] == state["embed_dim"]}
    for name in ("bias_k", "bias_v"):
        if state.get(name) is None:  # then a plain attribute in PyTorch, and a parameter here
            attributes[name] = None
    return attributes


def _recurrent(state: State) -> State:
    directions = ("", "_reverse") if state["bidirectional"] else ("",)
    groups: list[list[str]] = []  # the names of each layer's weights in one direction
    for layer in range(state["num_layers"]):
        for direction in directions:
            names = [f"{weight}{layer}{direction}" for weight in _RNN_WEIGHTS]
            groups.append([name for name in names if name in state])
    flat = [*chain.from_iterable(groups)]
    weights = [state[name] for name in flat]
    return {"_flat_weights_names": flat, "_all_weights": groups, "_flat_weights": weights}


def _always(**attributes: Any) -> ComputeAttributes:
    """A function that gives these attributes, whatever the others are."""

    def compute(state: State) -> State:
        return dict(attributes)

    return compute


# Class -> a function that computes, from the attributes here, those that only PyTorch's class has.
_TORCH_ATTRIBUTES: dict[str, ComputeAttributes] = {
    "Conv1d": _conv,
    "Conv2d": _conv,
    "ConvTranspose1d": _transposed,
    "ConvTranspose2d": _transposed,
    "RNN": _recurrent,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "MultiheadAttention": _attention,
    "Upsample": _always(name="Upsample"),
    "UpsamplingNearest2d": _always(name="UpsamplingNearest2d"),
    "UpsamplingBilinear2d": _always(name="UpsamplingBilinear2d"),
    "ReLU6": _always(min_val=0.0, max_val=6.0),
    "SyncBatchNorm": _always(process_group=None),
}


def _rnn_cell(state: State) -> State:
    return {"_name": "rnncell", "_mode": f"RNN_{state['nonlinearity'].upper()}"}


# Class -> a function that computes, from the common attributes, those that only this library's class has.
_ATTRIBUTES_HERE: dict[str, ComputeAttributes] = {
    "RNN": _always(_name="rnn"),
    "LSTM": _always(_name="lstm"),
    "GRU": _always(_name="gru"),
    "RNNCell": _rnn_cell,
    "LSTMCell": _always(_name="lstmcell"),
    "GRUCell": _always(_name="grucell"),
}


# Class -> settings that PyTorch added in later versions: old files lack them.
_LATER_SETTINGS = {
    "Conv1d": ("padding_mode",),
    "Conv2d": ("padding_mode",),
    "ConvTranspose1d": ("padding_mode",),
    "ConvTranspose2d": ("padding_mode",),
    "RNN": ("proj_size",),
    "LSTM": ("proj_size",),
    "GRU": ("proj_size",),
    "TransformerEncoderLayer": ("norm_first",),
    "TransformerDecoderLayer": ("norm_first",),
    "MultiheadAttention": ("batch_first",),
    "Upsample": ("recompute_scale_factor",),
}

T = TypeVar("T")


def _row(cls: type, table: dict[str, T]) -> T | None:
    """The table's row for a class: that of its first base class that is a layer here, or None."""
    for base in cls.__mro__:
        name = base.__name__
        if name in table and getattr(nn, name, None) is base:
            return table[name]
    return None


def state_for_torch(cls: type, state: State) -> State:
    """The attributes of a Module, as an instance of PyTorch's class has them."""
    parameters = {**state["_parameters"]}
    buffers = {**state["_buffers"]}
    modules = {**state["_modules"]}
    hooks: State = {name: OrderedDict() for name in (*_CALL_HOOKS, *_STATE_DICT_HOOKS)}
    hooks |= _hooks_for_torch(state.get("_rv_hooks"))
    hooks |= _state_hooks_for_torch(state.get("_rv_state_hooks"))
    compute_here = _row(cls, _ATTRIBUTES_HERE)
    only_here = {} if compute_here is None else compute_here(state)
    left_out = {*OWN, *only_here, *parameters, *buffers, *modules}
    settings = {name: value for name, value in state.items() if name not in left_out}
    compute_torch = _row(cls, _TORCH_ATTRIBUTES)
    if compute_torch is not None:
        only_torch = compute_torch(state)
        for name in only_torch.keys() & parameters.keys():  # attributes of PyTorch's class that are None
            del parameters[name]
        settings |= only_torch
    return {
        "training": state["training"],
        "_parameters": parameters,
        "_buffers": buffers,
        "_non_persistent_buffers_set": set(state["_non_persistent_buffers_set"]),
        **hooks,
        "_modules": modules,
        **settings,
    }


def state_from_torch(module: Module, state: State) -> State:
    """The attributes that a Module has here, from those of an instance of PyTorch's class."""
    cls = type(module)
    parameters = {**state.get("_parameters", {})}
    buffers = {**state.get("_buffers", {})}
    modules = {**state.get("_modules", {})}
    left_out = {*_VALUES, *_CALL_HOOKS, *_STATE_DICT_HOOKS, "_flat_weight_refs", "all_weights"}
    settings = {name: value for name, value in state.items() if name not in left_out}
    # here a module's values are attributes, too
    attributes = {**_defaults(cls), **settings, **parameters, **buffers, **modules}
    compute_torch = _row(cls, _TORCH_ATTRIBUTES)
    if compute_torch is not None:
        for name in compute_torch(attributes):
            attributes.pop(name, None)
    if compute_torch is _attention:
        for name in ("bias_k", "bias_v"):
            attributes.setdefault(name, None)
            parameters.setdefault(name, attributes[name])
    compute_here = _row(cls, _ATTRIBUTES_HERE)
    if compute_here is not None:
        attributes |= compute_here(attributes)
    attributes |= {"_parameters": parameters, "_buffers": buffers, "_modules": modules}
    attributes.setdefault("_non_persistent_buffers_set", set())
    hooks = _hooks_from_torch(state)
    if hooks is not None:
        attributes["_rv_hooks"] = hooks
    state_hooks = _state_hooks_from_torch(state)
    if state_hooks is not None:
        attributes["_rv_state_hooks"] = state_hooks
    return attributes


def state_here(value: object, state: Any) -> Any:
    """The state for an object of a pickle: that of PyTorch's Module is translated, any other is unchanged."""
    if isinstance(value, nn.Module) and isinstance(state, dict) and "_forward_hooks" in state:
        return state_from_torch(value, state)
    return state


def _defaults(cls: type) -> State:
    """The default values of settings that old files lack."""
    defaults: State = getattr(cls, "_usual", {})  # of all settings of a layer, set by `nn/arguments.py`
    later_settings = _row(cls, _LATER_SETTINGS) or ()
    return {name: defaults[name] for name in later_settings}


# --- hooks on calls: PyTorch's attribute -> the attribute of nn.hooks.Hooks here
_HOOK_ATTRIBUTES = {
    "_forward_pre_hooks": "before",
    "_forward_hooks": "after",
    "_forward_hooks_always_called": "always",
    "_backward_pre_hooks": "before_backward",
    "_backward_hooks": "backward",
}


def _hooks_for_torch(hooks: Hooks | None) -> State:
    if hooks is None:
        return {_FULL_BACKWARD: None}
    attributes: State = {_FULL_BACKWARD: True if hooks.backward else None}
    for name, name_here in _HOOK_ATTRIBUTES.items():
        attributes[name] = OrderedDict(getattr(hooks, name_here))
    # the hooks that take keyword arguments, by their keys
    attributes["_forward_pre_hooks_with_kwargs"] = _marked(hooks.before, hooks.keywords)
    attributes["_forward_hooks_with_kwargs"] = _marked(hooks.after, hooks.keywords)
    return attributes


def _marked(hooks: dict[int, Any], keys: Container[int]) -> OrderedDict[int, bool]:
    """True for each hook whose key is among these."""
    return OrderedDict((key, True) for key in hooks if key in keys)


def _hooks_from_torch(state: State) -> Hooks | None:
    if not any(state.get(name) for name in _CALL_HOOKS if name != _FULL_BACKWARD):
        return None
    hooks = Hooks()
    for name, name_here in _HOOK_ATTRIBUTES.items():
        setattr(hooks, name_here, dict(state.get(name) or {}))
    hooks.keywords = {
        **(state.get("_forward_pre_hooks_with_kwargs") or {}),
        **(state.get("_forward_hooks_with_kwargs") or {}),
    }
    return hooks


class WrappedHook:
    """PyTorch's class for a hook that is called before values are loaded.

    module: its first argument, or None.
    """

    def __init__(self, hook: Callable[..., Any], module: Module | None = None) -> None:
        self.hook = hook
        self.module = module

    def __call__(self, *args: Any) -> Any:
        if self.module is None:
            return self.hook(*args)
        return self.hook(self.module, *args)

    def __getstate__(self) -> State:
        if self.module is None:
            return {"hook": self.hook, "with_module": False}
        return {"hook": self.hook, "with_module": True, "module": self.module}

    def __setstate__(self, state: State) -> None:
        self.hook = state["hook"]
        self.module = state.get("module")


_STATE_HOOK_ATTRIBUTES = {  # PyTorch's attribute -> the attribute of nn.state_dicts.StateHooks here
    "_state_dict_hooks": "after_saving",
    "_state_dict_pre_hooks": "before_saving",
    "_load_state_dict_pre_hooks": "before_loading",
    "_load_state_dict_post_hooks": "after_loading",
}


def _state_hooks_for_torch(hooks: StateHooks | None) -> State:
    attributes: State = {}
    if hooks is None:
        return attributes
    for name, name_here in _STATE_HOOK_ATTRIBUTES.items():
        attributes[name] = OrderedDict()
        for key, hook in getattr(hooks, name_here).items():
            attributes[name][key] = _hook_for_torch(hook, name_here)
    return attributes


def _hook_for_torch(hook: Callable[..., Any], name_here: str) -> Callable[..., Any]:
    """A hook as PyTorch stores it. name_here: the attribute that has it here."""
    if isinstance(hook, partial) and hook.func.__module__ == "ranvier.nn.state_dicts":
        program_hook: Callable[..., Any] = hook.args[-1]  # here it is wrapped, to check its result
        return program_hook
    if name_here != "before_loading" or isinstance(hook, WrappedHook):
        return hook
    if isinstance(hook, partial) and len(hook.args) == 1 and isinstance(hook.args[0], nn.Module):
        return WrappedHook(hook.func, hook.args[0])
    return WrappedHook(hook)


def _state_hooks_from_torch(state: State) -> StateHooks | None:
    if not any(state.get(name) for name in _STATE_HOOK_ATTRIBUTES):
        return None
    from ranvier.nn.state_dicts import StateHooks

    hooks = StateHooks()
    for name, name_here in _STATE_HOOK_ATTRIBUTES.items():
        setattr(hooks, name_here, dict(state.get(name) or {}))
    return hooks


# --- optimizers
def optimizer_state(values: State) -> State:
    """An optimizer's state of one parameter, as in PyTorch: Tensors, and the number of steps in float32."""
    return {name: _optimizer_value(value, name) for name, value in values.items()}


def _optimizer_value(value: object, name: str) -> object:
    """A value of the state as in PyTorch; numbers and others as they are."""
    if isinstance(value, list):
        return [_optimizer_value(item, name) for item in value]
    if name == "step":
        if isinstance(value, np.ndarray):
            return rv.tensor(value, dtype=np.float32)
        if isinstance(value, rv.Tensor) and value.ndim == 0 and value.is_floating_point():
            return value.detach().to(rv.float32)
    if isinstance(value, np.ndarray):
        return rv.tensor(value, dtype=value.dtype)
    return value


def is_optimizer_state(value: dict[Any, Any]) -> bool:
    """True if this is what ``optimizer.state_dict()`` gives, with arrays or Tensors."""
    if value.keys() != {"state", "param_groups"} or not isinstance(value["state"], dict):
        return False
    return any(_has_tensors(state) for state in value["state"].values())


def _has_tensors(state: object) -> bool:
    if not isinstance(state, dict):
        return False
    return any(isinstance(value, (np.ndarray, rv.Tensor, list)) for value in state.values())
