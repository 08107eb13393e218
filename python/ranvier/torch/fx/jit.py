"""torch.jit without TorchScript: scripted functions and modules run as Python.

So `script` gives a copy of a module of a class that derives from `ScriptModule`, and most other names here
have no effect. What compiles a program in this library is :func:`ranvier.compile`.
"""

from __future__ import annotations

import builtins
import copy
import functools
import itertools
import os
import typing
from collections.abc import Callable
from types import UnionType
from typing import Any, BinaryIO, NamedTuple, TypeAlias

import ranvier.nn as nn
from ranvier.nn import Module
from ranvier.settings import ThreadSettings
from ranvier.tensors.types import DeviceLike
from ranvier.torch import files
from ranvier.torch.devices.no_effect import NoEffect
from ranvier.torch.utils.futures import Future

File: TypeAlias = str | os.PathLike[str] | BinaryIO
_set = ThreadSettings(scripting=False)  # scripting: a scripted module runs


def is_scripting() -> bool:
    """True while a scripted module runs: detectors, for one, then return their losses, too."""
    return bool(_set.scripting)


def _as_script(forward: Callable[..., Any]) -> Callable[..., Any]:
    """The `forward` of a scripted module, in which `is_scripting` is true."""

    @functools.wraps(forward)
    def scripted(*args: Any, **settings: Any) -> Any:
        before = _set.scripting
        _set.scripting = True
        try:
            return forward(*args, **settings)
        finally:
            _set.scripting = before

    return scripted


class ScriptModule(nn.Module):
    """The base class of modules that `script` returns; their class derives from their own as well."""

    _scripted: Any = None  # the module's own class, which `script` sets in the class that it makes

    def save(self, f: File, **settings: Any) -> None:
        """Writes the whole module; see :func:`save`."""
        save(self, f)

    def __reduce_ex__(self, protocol: object) -> Any:
        plain = self._scripted.__new__(self._scripted)
        plain.__setstate__(dict(self.__dict__))
        return script, (plain,)


RecursiveScriptModule = ScriptModule


class Error(RuntimeError):
    """PyTorch's error of compiled programs, which callers catch."""


def script(obj: Any, *args: Any, **settings: Any) -> Any:
    """A copy of a module that shares its parameters and buffers and runs as Python. Any other object, such as
    a function, is returned unchanged; `script` is also a decorator.

    >>> import ranvier as rv
    >>> layer = rv.nn.Linear(1, 1)
    >>> rv.jit.script(layer).weight is layer.weight
    True
    >>> @rv.jit.script
    ... def double(x):
    ...     return 2 * x
    >>> double(rv.ones(2))
    tensor([2., 2.])
    """
    if not builtins.isinstance(obj, nn.Module) or builtins.isinstance(obj, ScriptModule):
        return obj
    shared_values = {id(x): x for x in itertools.chain(obj.parameters(), obj.buffers())}
    cls = type(obj)
    attributes = {"_scripted": cls, "__module__": cls.__module__, "forward": _as_script(cls.forward)}
    script_class: Any = type(cls.__name__, (ScriptModule, cls), attributes)
    scripted = script_class.__new__(script_class)
    copied: Any = copy.deepcopy(obj, shared_values)  # the memo: these values are not copied
    scripted.__setstate__(dict(copied.__getstate__()))
    return scripted


def save(m: Module, f: File, _extra_files: dict[str, bytes] | None = None) -> None:
    """Writes a scripted module whole, for :func:`load`. There is no TorchScript: PyTorch does not read it."""
    files.save(m, f)


def load(
    f: File,
    map_location: DeviceLike | None = None,
    _extra_files: dict[str, bytes] | None = None,
    **settings: Any,
) -> Any:
    """The module in a file of :func:`save`.

    The file's pickle may call any function: load trusted files only.
    """
    return files.load(f, map_location, weights_only=False)


class Attribute(NamedTuple):
    """A value and its type."""

    value: Any
    type: Any


def isinstance(obj: Any, target_type: Any) -> bool:  # target_type: a class, `list[int]`, a union, None, Any
    """True if an object is of a type, and so are the elements of containers in it.

    >>> isinstance([1], list[int]), isinstance({"a": 1}, dict[str, float]), isinstance(None, int | None)
    (True, False, True)
    """
    if target_type is Any:
        return True
    if target_type is None:
        return obj is None
    if type(target_type) is tuple:
        return any(isinstance(obj, one) for one in target_type)
    container = typing.get_origin(target_type)  # list of `list[int]`, None of `int`
    inner = typing.get_args(target_type)
    if container in (typing.Union, UnionType):
        return any(isinstance(obj, one) for one in inner)
    if not builtins.isinstance(obj, container or target_type):
        return False
    if container is tuple and inner[-1:] != (...,):
        return len(obj) == len(inner) and all(map(isinstance, obj, inner))
    if container is dict:
        key_type, value_type = inner
        if not all(isinstance(key, key_type) for key in obj):
            return False
        return all(isinstance(value, value_type) for value in obj.values())
    if container in (list, tuple):
        return all(isinstance(x, inner[0]) for x in obj)
    return True


def fork(func: Callable[..., Any], *args: Any, **settings: Any) -> Future:
    """A future with the result of the call, which runs at once."""
    future: Future = Future()
    future.set_result(func(*args, **settings))
    return future


def wait(future: Future) -> Any:
    return future.wait()


optimized_execution = fuser = strict_fusion = NoEffect


def set_fusion_strategy(strategy: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Does nothing, since nothing is fused. Returns the earlier strategy: none."""
    return []


def script_method(obj: Any, *args: Any, **settings: Any) -> Any:
    """The function or class itself, as decorator too: it runs as Python."""
    return obj


export = unused = script_method


def ignore(drop: Callable[..., Any] | bool = False, **settings: Any) -> Any:
    """The function itself, as ``@ignore`` and ``@ignore()``."""
    if callable(drop):
        return drop
    return script_method


def is_tracing() -> bool:
    """False: no call is traced."""
    return False


def trace(*args: Any, **settings: Any) -> Any:
    """Raises RuntimeError: see ranvier.compile."""
    raise RuntimeError("[jit.trace] expected ranvier.compile, which captures a model's calls")
