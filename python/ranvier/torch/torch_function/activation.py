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
    for name, method in override_tables.OPERATORS.items():
        # `__torch_function__` gets the method in place of the operator: add for `__add__`
        _replace(name, vars(Tensor)[name].__wrapped__, vars(Tensor)[method])
    nowrap()  # adds the getter of `grad`, which has just been replaced
    _attach_layers()
    _core._dispatch_state(None, None, True)


def _replace(name: str, value: Any, func: Callable[..., Any] | None = None) -> None:
    """Replace an attribute of Tensor by an object that asks. func: the function that it asks for."""
    if isinstance(value, (staticmethod, classmethod)) or type(value).__name__ == "Lacking":
        return
    public_class: type[Any]
    if callable(value) and not isinstance(value, type):
        public_class = _core.PublicMethod
    else:
        public_class = _core.PublicAttribute
    flags = BINDS
    if name in override_tables.BINARY:
        flags |= _OPERATOR
    if type(value) is _core.PublicMethod:  # it only takes other spellings of arguments (`spellings.py`)
        value = _wrapped(value)
        flags |= RESPELLS
    function_name = override_tables.CALLED.get(name, name)
    asking = _core._public(public_class, value, func, "torch", f"Tensor.{name}", function_name, flags)
    setattr(Tensor, name, asking)


def _wrapped(public_object: Any) -> Any:
    """The function in an object of the core, whose attributes are otherwise those of the function."""
    return vars(type(public_object))["__wrapped__"].__get__(public_object)


def _attach_layers() -> None:
    """Replace the functions that layers call, in `ranvier.nn` and in `ops`, by objects that ask."""
    load_layers()  # now: loaded later, the functions would overwrite the objects
    nn.functional._load()
    modules = [nn, importlib.import_module("ranvier.data.collate")]  # collate stacks the Tensors of a batch
    for info in pkgutil.walk_packages(nn.__path__, "ranvier.nn."):
        modules.append(importlib.import_module(info.name))
    functional = nn.functional
    for module in (ops, *modules):
        if module is functional:
            functions = functional._OWN  # a program may have replaced functions of the module, which stay
        else:
            functions = vars(module)
        for name, value in list(functions.items()):
            if type(value) is _core.PublicFunction:
                value = _wrapped(value)
            if type(value) is not types.FunctionType:
                continue
            asking = _for_layers(value)
            if asking is value:
                continue
            if module is functional:
                functional._put(name, asking)
            else:
                setattr(module, name, asking)

    load_rare: Any = ops._rare  # it loads a function at its first use

    def load_rare_asking(module: str, name: str) -> Any:
        path = name
        if name in FUNCTIONAL_OF:
            path = f"nn.functional.{name}"
        return public(load_rare(module, name), path)

    vars(ops)["_rare"] = load_rare_asking
    vars(nn.functional)["_rare"] = load_rare_asking
    for layer, name in _LAYERS_THAT_ASK.items():
        layer.forward = _core._public(_core.PublicMethod, layer.forward, None, "torch", name, name, BINDS)
    for op, function in OF_OP.items():
        asking = public(function, f"nn.functional.{function.__name__}")
        setattr(ops, op, _loss(getattr(ops, op), asking))


# Layers that call kernels, not functions of `ops`: their `forward` asks, under the name of PyTorch's
# function.
_LAYERS_THAT_ASK: dict[Any, str] = {
    nn.MultiheadAttention: "multi_head_attention_forward",
    RNNBase: "rnn",
    nn.RNNCell: "rnn_tanh_cell",
    nn.LSTMCell: "lstm_cell",
    nn.GRUCell: "gru_cell",
}
_INPUTS = {"x": "input", "x1": "input1", "x2": "input2"}  # PyTorch's names of inputs of losses


def _loss(op: Callable[..., Any], asking: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the parameters of `op`, which layers call for a loss.

    It calls `op`, or PyTorch's function `asking`, which has other parameters, if an argument's class or a
    mode has to be asked.
    """
    op = getattr(op, "__wrapped__", op)
    parameters = signature(op).parameters.values()
    names = [_INPUTS.get(p.name, p.name) for p in parameters]
    inputs = sum(p.default is p.empty for p in parameters)  # how many `asking` takes by position

    def loss(*args: Any, **settings: Any) -> Any:
        if any(map(_core._has_hook, args)) or state.modes:
            named = dict(zip(names[inputs:], args[inputs:], strict=False))
            return asking(*args[:inputs], **named, **settings)
        return op(*args, **settings)

    loss.__wrapped__ = op  # type: ignore[attr-defined]
    return loss


def _for_layers(function: Callable[..., Any]) -> Any:
    """The object that asks in place of a function that PyTorch also has; any other function unchanged."""
    name = function.__name__
    if name.startswith("_"):
        return function
    for path, home in (("nn.functional", nn.functional), ("nn.init", nn.init), ("", ranvier)):
        own: Any = getattr(home, name, None)
        if type(own) is _core.PublicFunction:
            own = _wrapped(own)
        # sigmoid and tanh are functions of torch for PyTorch's layers
        if own is function and not (path == "nn.functional" and name in ("sigmoid", "tanh")):
            return public(function, f"{path}.{name}".lstrip("."))
    return function
