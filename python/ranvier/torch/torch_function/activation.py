"""`activate`: from then on Tensor's methods and attributes, and layers, ask `__torch_function__`.

To ask means: before a function computes, it calls the `__torch_function__` of its arguments' classes and the
TorchFunctionModes. `activate` replaces each function by an object of the core that asks and then calls it.
`dispatch.py` says when it runs; before that, calls have no extra cost.
"""

from __future__ import annotations

import importlib
import pkgutil
import types
from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any

import ranvier
import ranvier._core as _core
import ranvier.nn as nn
import ranvier.nn.functional
import ranvier.nn.init
import ranvier.ops as ops
import ranvier.torch.torch_function.override_tables as override_tables
from ranvier import Tensor
from ranvier.nn.loss.functional import OF_OP
from ranvier.nn.recurrent import RNNBase
from ranvier.ops import load_layers
from ranvier.ops.attach import Later
from ranvier.ops.table import FUNCTIONAL_OF
from ranvier.tensors.spellings import RESPELLS
from ranvier.torch.torch_function.dispatch import BINDS, nowrap, public, state

_OPERATOR = 8  # a flag of `_core._public`, as in public_function.cpp: the method of a binary operator
_is_active = False


def activate() -> None:
    """Make Tensor's methods and attributes, and layers, ask from now on; see the head of `dispatch.py`."""
    global _is_active
    if _is_active:
        return
    _is_active = True
    for name, value in list(vars(Tensor).items()):
        if (name[0] == "_" and name not in override_tables.SPECIAL) or name in override_tables.ASK_NOBODY:
            continue
        if not getattr(value, "__globals__", override_tables.OWN_GLOBALS)["__name__"].startswith("ranvier."):
            continue  # a method that the program has added
        if type(value) is Later:  # load the method itself
            value = getattr(Tensor, name)
        _replace(name, value)
    unbind: Any = vars(Tensor)["unbind"]  # it asks now, and so does iteration
    Tensor.__iter__ = lambda self: iter(unbind(self, 0))  # type: ignore[method-assign]
    for (
        name,
        op,
    ) in override_tables.OPERATORS.items():  # `__torch_function__` gets the method: add for `__add__`
        _replace(name, vars(Tensor)[name].__wrapped__, vars(Tensor)[op])
    nowrap()  # adds the getter of `grad`, which has just been replaced
    _attach_layers()
    _core._dispatch_state(None, None, True)


def _replace(name: str, value: Any, func: Callable[..., Any] | None = None) -> None:
    """Replace an attribute of Tensor by an object that asks. func: the function that it asks for."""
    if isinstance(value, (staticmethod, classmethod)) or type(value).__name__ == "Lacking":
        return
    is_method = callable(value) and not isinstance(value, type)
    kind = _core.PublicMethod if is_method else _core.PublicAttribute
    how = BINDS | _OPERATOR if name in override_tables.BINARY else BINDS
    text = override_tables.CALLED.get(name, name)
    if type(value) is _core.PublicMethod:
        value = vars(type(value))["__wrapped__"].__get__(value)
        how = how | RESPELLS
    setattr(Tensor, name, _core._public(kind, value, func, "torch", f"Tensor.{name}", text, how))


def _attach_layers() -> None:
    """Replace the functions that layers call, in `ranvier.nn` and in `ops`, by objects that ask."""
    load_layers()  # now: loaded later, the functions would overwrite the objects
    nn.functional._load()
    modules = [nn, importlib.import_module("ranvier.data.collate")]
    for info in pkgutil.walk_packages(nn.__path__, "ranvier.nn."):
        modules.append(importlib.import_module(info.name))
    functional = nn.functional
    for module in (ops, *modules):
        # A program may have replaced functions of `nn.functional`, which stay.
        held = functional._OWN if module is functional else vars(module)
        for name, value in list(held.items()):
            if type(value) is _core.PublicFunction:
                value = vars(type(value))["__wrapped__"].__get__(value)
            if type(value) is types.FunctionType and (made := _for_layers(value)) is not value:
                if module is functional:
                    put = functional._put
                else:
                    put = partial(setattr, module)
                put(name, made)
    rare: Any = ops._rare
    vars(ops)["_rare"] = vars(nn.functional)["_rare"] = lambda module, name: public(
        rare(module, name), f"nn.functional.{name}" if name in FUNCTIONAL_OF else name
    )
    for kind, name in _WHOLE.items():
        made = _core._public(_core.PublicMethod, kind.forward, None, "torch", name, name, BINDS)
        kind.forward = made
    for op, form in OF_OP.items():
        setattr(ops, op, _loss(getattr(ops, op), public(form, f"nn.functional.{form.__name__}")))


# Layers that call kernels, not functions of `ops`: their `forward` asks, under the name of PyTorch's
# function.
_WHOLE: dict[Any, str] = {nn.MultiheadAttention: "multi_head_attention_forward", RNNBase: "rnn"}
_WHOLE |= {nn.RNNCell: "rnn_tanh_cell", nn.LSTMCell: "lstm_cell", nn.GRUCell: "gru_cell"}


_INPUTS = {"x": "input", "x1": "input1", "x2": "input2"}  # PyTorch's names of inputs of losses


def _loss(op: Any, form: Any) -> Callable[..., Any]:
    """A function with the parameters of `op`, which layers call for a loss.

    It calls `op`, or PyTorch's function `form`, which has other parameters, if an argument's class or a mode
    has to be asked.
    """
    op = getattr(op, "__wrapped__", op)
    parameters = signature(op).parameters.values()
    names = [_INPUTS.get(p.name, p.name) for p in parameters]
    inputs = sum(p.default is p.empty for p in parameters)

    def loss(*args: Any, **settings: Any) -> Any:
        if any(map(_core._has_hook, args)) or state.modes:
            return form(*args[:inputs], **dict(zip(names[inputs:], args[inputs:], strict=False)), **settings)
        return op(*args, **settings)

    loss.__wrapped__ = op  # type: ignore[attr-defined]
    return loss


def _for_layers(function: Callable[..., Any]) -> Any:
    """The object that asks in place of a function that PyTorch also has; any other function unchanged."""
    name = function.__name__
    for path, home in (("nn.functional", nn.functional), ("nn.init", nn.init), ("", ranvier)):
        own: Any = getattr(home, name, None) if name[0] != "_" else None
        if type(own) is _core.PublicFunction:
            own = vars(type(own))["__wrapped__"].__get__(own)
        if own is function and not (path == "nn.functional" and name in ("sigmoid", "tanh")):
            return public(function, f"{path}.{name}".lstrip("."))
    return function
