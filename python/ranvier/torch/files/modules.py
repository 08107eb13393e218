"""Translates the attributes of Modules and the state of optimizers to those of PyTorch's classes, and back.

`state_for_torch` is used when a file is written, `state_from_torch` when one is read. Most attributes have
the same names in both libraries; the tables have those that differ, by the name of the class.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

import ranvier as rv
from ranvier import nn
from ranvier.nn import Module
from ranvier.nn.hooks import Hooks

_VALUES = ("_parameters", "_buffers", "_modules")
OWN = {*_VALUES, "_non_persistent_buffers_set", "training", "_rv_hooks", "_rv_state_hooks", "_info"}
_HOOKS = (
    *("_backward_pre_hooks", "_backward_hooks", "_is_full_backward_hook", "_forward_hooks"),
    *("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks"),
    *("_forward_pre_hooks_with_kwargs", "_state_dict_hooks", "_state_dict_pre_hooks"),
    *("_load_state_dict_pre_hooks", "_load_state_dict_post_hooks"),
)
_RNN = ("weight_ih_l", "weight_hh_l", "bias_ih_l", "bias_hh_l", "weight_hr_l")


Attributes: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
"""Computes attributes of a layer from its other attributes."""


def _conv(state: dict[str, Any]) -> dict[str, Any]:
    """The further attributes of PyTorch's convolutions; likewise the functions below.

    state: the attributes of the layer here.
    """
    around: Any = nn.Conv1d._around(SimpleNamespace(**{"_axes": len(state["kernel_size"]), **state}))
    return {
        "transposed": False,
        "_reversed_padding_repeated_twice": list(around) if isinstance(state["padding"], str) else around,
    }


def _transposed(state: dict[str, Any]) -> dict[str, Any]:
    twice = "_reversed_padding_repeated_twice"
    return {"transposed": True, twice: _conv(state)[twice]}


def _attention(state: dict[str, Any]) -> dict[str, Any]:
    one = state["kdim"] == state["vdim"] == state["embed_dim"]
    none = {name: None for name in ("bias_k", "bias_v") if state.get(name) is None}
    return {"_qkv_same_embed_dim": one, **none}


def _recurrent(state: dict[str, Any]) -> dict[str, Any]:
    names: list[list[str]] = []
    for layer in range(state["num_layers"]):
        for end in ("", "_reverse")[: 1 + bool(state["bidirectional"])]:
            names.append([f"{name}{layer}{end}" for name in _RNN if f"{name}{layer}{end}" in state])
    flat: list[str] = []
    for part in names:
        flat += part
    weights = [state[name] for name in flat]
    return {"_flat_weights_names": flat, "_all_weights": names, "_flat_weights": weights}


def _rnn_cell(state: dict[str, Any]) -> dict[str, Any]:
    return {"_name": "rnncell", "_mode": f"RNN_{state['nonlinearity'].upper()}"}


def _always(**attributes: Any) -> Attributes:
    """A function that gives these attributes, whatever the others are."""

    def given(state: dict[str, Any]) -> dict[str, Any]:
        return dict(attributes)

    return given


# Class -> a function that computes, from the attributes here, those that only PyTorch's class has.
_EXTRA: dict[str, Attributes] = {
    **dict.fromkeys(("Conv1d", "Conv2d"), _conv),
    **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d"), _transposed),
    **dict.fromkeys(("RNN", "LSTM", "GRU"), _recurrent),
    "MultiheadAttention": _attention,
    "Upsample": _always(name="Upsample"),
    "UpsamplingNearest2d": _always(name="UpsamplingNearest2d"),
    "UpsamplingBilinear2d": _always(name="UpsamplingBilinear2d"),
    "ReLU6": _always(min_val=0.0, max_val=6.0),
    "SyncBatchNorm": _always(process_group=None),
}
# Class -> a function that computes, from the common attributes, those that only this library's class has.
_PRIVATE: dict[str, Attributes] = {
    "RNN": _always(_name="rnn"),
    "LSTM": _always(_name="lstm"),
    "GRU": _always(_name="gru"),
    "RNNCell": _rnn_cell,
    "LSTMCell": _always(_name="lstmcell"),
    "GRUCell": _always(_name="grucell"),
}


# Class -> settings that PyTorch added in later versions: old files lack them.
_LATER = {
    **dict.fromkeys(("Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"), ("padding_mode",)),
    **dict.fromkeys(("RNN", "LSTM", "GRU"), ("proj_size",)),
    **dict.fromkeys(("TransformerEncoderLayer", "TransformerDecoderLayer"), ("norm_first",)),
    "MultiheadAttention": ("batch_first",),
    "Upsample": ("recompute_scale_factor",),
}


def _row(kind: type, table: dict[str, Any]) -> Any:
    """The table's row for a class: that of its first base class that is a layer here, or None."""
    ours = [c.__name__ for c in kind.__mro__ if getattr(nn, c.__name__, None) is c]
    return next((table[name] for name in ours if name in table), None)


def state_for_torch(kind: type, state: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a Module, as an instance of PyTorch's class has them."""
    parameters, buffers, modules = ({**state[kind]} for kind in _VALUES)
    hooks: dict[str, Any] = {name: OrderedDict() for name in _HOOKS}
    hooks |= _hooks_for_torch(state.get("_rv_hooks"))
    hooks |= _state_hooks_for_torch(state.get("_rv_state_hooks"))
    private = _row(kind, _PRIVATE)
    private = {} if private is None else private(state)
    gone = {*OWN, *private, *parameters, *buffers, *modules}
    rest = {name: value for name, value in state.items() if name not in gone}
    extra = _row(kind, _EXTRA)
    if extra is not None:
        added = extra(state)
        for name in added.keys() & parameters.keys():  # attributes of PyTorch's class that are None
            del parameters[name]
        rest |= added
    return {
        "training": state["training"],
        "_parameters": parameters,
        "_buffers": buffers,
        "_non_persistent_buffers_set": set(state["_non_persistent_buffers_set"]),
        **hooks,
        "_modules": modules,
        **rest,
    }


def state_from_torch(module: Module, state: dict[str, Any]) -> dict[str, Any]:
    """The attributes that a Module has here, from those of an instance of PyTorch's class."""
    kind = type(module)
    parameters, buffers, modules = ({**state.get(name, {})} for name in _VALUES)
    gone = {*_VALUES, *_HOOKS, "_flat_weight_refs", "all_weights"}
    own = {name: value for name, value in state.items() if name not in gone}
    own = {**_defaults(kind), **own, **parameters, **buffers, **modules}
    extra = _row(kind, _EXTRA)
    private = _row(kind, _PRIVATE)
    for name in extra(own) if extra is not None else ():
        own.pop(name, None)
    for name in ("bias_k", "bias_v") if extra is _attention else ():
        parameters.setdefault(name, own.setdefault(name, None))
    own |= private(own) if private is not None else {}
    own |= dict(zip(_VALUES, (parameters, buffers, modules), strict=True))
    own.setdefault("_non_persistent_buffers_set", set())
    hooks = _hooks_from_torch(state)
    if hooks is not None:
        own["_rv_hooks"] = hooks
    state_hooks = _state_hooks_from_torch(state)
    if state_hooks is not None:
        own["_rv_state_hooks"] = state_hooks
    return own


def state_here(value: Any, state: dict[str, Any]) -> Any:
    """The state for an object of a pickle: that of PyTorch's Module is translated, any other is unchanged."""
    of_torch = isinstance(value, nn.Module) and isinstance(state, dict) and "_forward_hooks" in state
    if of_torch:
        return state_from_torch(value, state)
    return state


def _defaults(kind: type) -> dict[str, Any]:
    """The default values of settings that old files lack (`_LATER`)."""
    usual: dict[str, Any] = getattr(kind, "_usual", {})
    return {name: usual[name] for name in _row(kind, _LATER) or ()}


# --- hooks: PyTorch's attribute -> the attribute of nn.hooks.Hooks here
_CALLED = {
    "_forward_pre_hooks": "before",
    "_forward_hooks": "after",
    "_forward_hooks_always_called": "always",
    "_backward_pre_hooks": "before_backward",
    "_backward_hooks": "backward",
}


def _hooks_for_torch(hooks: Any) -> dict[str, Any]:
    if hooks is None:
        return {"_is_full_backward_hook": None}
    keywords = hooks.keywords
    return {
        "_is_full_backward_hook": True if hooks.backward else None,
        **{name: OrderedDict(getattr(hooks, own)) for name, own in _CALLED.items()},
        **{
            f"{name}_with_kwargs": OrderedDict((key, True) for key in getattr(hooks, own) if key in keywords)
            for name, own in [*_CALLED.items()][:2]
        },
    }


def _hooks_from_torch(state: dict[str, Any]) -> Hooks | None:
    here: dict[str, Any] = {name: state.get(name) or {} for name in _HOOKS}
    if not any(here[name] for name in _HOOKS if name[:3] in ("_fo", "_ba")):
        return None
    hooks = Hooks()
    for name, own in _CALLED.items():
        setattr(hooks, own, dict(here[name]))
    hooks.keywords = {**here["_forward_pre_hooks_with_kwargs"], **here["_forward_hooks_with_kwargs"]}
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

    def __getstate__(self) -> dict[str, Any]:
        bound = {} if self.module is None else {"module": self.module}
        return {"hook": self.hook, "with_module": self.module is not None, **bound}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["hook"], state.get("module"))  # type: ignore[misc]


_STATE_HOOKS = {  # PyTorch's attribute -> the attribute of nn.state_dicts.StateHooks here
    "_state_dict_hooks": "after_saving",
    "_state_dict_pre_hooks": "before_saving",
    "_load_state_dict_pre_hooks": "before_loading",
    "_load_state_dict_post_hooks": "after_loading",
}


def _state_hooks_for_torch(hooks: Any) -> dict[str, Any]:
    if hooks is None:
        return {}
    return {
        name: OrderedDict((key, _unbound(hook, own)) for key, hook in getattr(hooks, own).items())
        for name, own in _STATE_HOOKS.items()
    }


def _unbound(hook: Callable[..., Any], kind: str) -> Any:
    """A hook in the form in which PyTorch keeps it; kind: the attribute that has it here."""
    if isinstance(hook, partial) and hook.func.__module__ == "ranvier.nn.state_dicts":
        return hook.args[-1]  # here the program's hook is wrapped in a function that checks its result
    if kind != "before_loading" or isinstance(hook, WrappedHook):
        return hook
    if isinstance(hook, partial) and len(hook.args) == 1 and isinstance(hook.args[0], nn.Module):
        return WrappedHook(hook.func, hook.args[0])
    return WrappedHook(hook)


def _state_hooks_from_torch(state: dict[str, Any]) -> Any:
    if not any(state.get(name) for name in _STATE_HOOKS):
        return None
    from ranvier.nn.state_dicts import StateHooks

    hooks = StateHooks()
    for name, own in _STATE_HOOKS.items():
        setattr(hooks, own, dict(state.get(name) or {}))
    return hooks


# --- optimizers
def optimizer_state(values: dict[str, Any]) -> dict[str, Any]:
    """An optimizer's state of one parameter, as in PyTorch: Tensors, and the number of steps in float32."""
    return {name: _tensors(value, name) for name, value in values.items()}


def _tensors(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return [_tensors(item, name) for item in value]
    if isinstance(value, np.ndarray):
        return rv.tensor(value, dtype=np.float32 if name == "step" else value.dtype)
    if name == "step" and isinstance(value, rv.Tensor) and value.ndim == 0 and value.is_floating_point():
        return value.detach().to(rv.float32)
    return value


def is_optimizer_state(value: Any) -> bool:
    """True if this is what ``optimizer.state_dict()`` gives, with arrays or Tensors."""
    if value.keys() == {"state", "param_groups"}:
        states = value["state"]
    else:
        states = None
    return isinstance(states, dict) and any(
        isinstance(state, dict) and any(isinstance(x, (np.ndarray, rv.Tensor, list)) for x in state.values())
        for state in states.values()
    )
