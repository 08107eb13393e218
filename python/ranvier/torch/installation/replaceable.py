"""The modules of PyTorch with functions that layers look up at each call, so that a program may replace them.

Counters of operations and recorders put functions of their own into `torch.nn.functional`, and programs that
load large models put others into `torch.nn.init`. The layers here look up functions in
`ranvier.nn.functional` and `ranvier.nn.init`. So PyTorch's modules are these modules themselves, whose
functions become the objects that ask (`dispatch.py`), and which get PyTorch's further names.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any

import ranvier._core as _core
import ranvier.nn.functional as functional
import ranvier.nn.init as init
from ranvier.torch.torch_function.dispatch import public

MODULES: dict[str, ModuleType] = {"torch.nn.functional": functional, "torch.nn.init": init}


def shared(name: str, value_of: Callable[..., Any]) -> ModuleType:
    """The module of this library for one of PyTorch's, with the functions and names of PyTorch's.

    value_of: as that of `finder.py`, which calls this function.
    """
    home = MODULES[name]
    if home is functional:
        functional._load()  # functions that are loaded at their first use become attributes, too
    path = name.removeprefix("torch.")
    if home is functional:
        put = functional._put  # it keeps what a program has put in a function's place
    else:
        put = partial(setattr, home)
    for key, value in list(vars(home).items()):
        if type(value) in (types.FunctionType, _core.PublicFunction) and key[0] != "_":
            put(key, public(value, f"{path}.{key}"))
    vars(home)["__getattr__"] = _further(home, path, value_of)
    return home


def _further(home: ModuleType, path: str, value_of: Callable[..., Any]) -> Callable[[str], Any]:
    """`__getattr__` of the module: names that only PyTorch's module has, and rare functions.

    None becomes an attribute of the module, whose attributes captured steps compare.
    """
    rare = ModuleType(home.__name__)
    rare.__getattr__ = vars(home).get("__getattr__", _none)  # type: ignore[method-assign]
    found: dict[str, Any] = {}

    def attribute(name: str) -> Any:
        if name not in found:
            found[name] = value_of("torch", path, name, [rare])
        return found[name]

    return attribute


def _none(name: str) -> Any:
    raise AttributeError(name)
