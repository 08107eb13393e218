"""torch.jit without TorchScript: scripted functions and modules run as Python. See
:func:`ranvier.compile`."""

from __future__ import annotations

import copy
import functools
import importlib
import itertools
import typing
from collections.abc import Callable
from types import UnionType
from typing import Any, NamedTuple

import ranvier.nn as nn
from ranvier.nn import Module
from ranvier.settings import ThreadSettings
from ranvier.torch import files
from ranvier.torch.devices.no_effect import NoEffect
from ranvier.torch.utils.futures import Future

_set = ThreadSettings(scripting=False)


def is_scripting() -> bool:
    """True while a scripted module runs: detectors, for one, then return their losses, too."""
    return bool(_set.scripting)


def _as_script(forward: Callable[..., Any]) -> Callable[..., Any]:
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

    _scripted: Any = None  # the module's own class

    def save(self, f: Any, **settings: Any) -> None:
        """Writes the whole module; see :func:`save`."""
        save(self, f)

    def __reduce_ex__(self, protocol: Any) -> Any:
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
    if not _is(obj, nn.Module) or _is(obj, ScriptModule):
        return obj
    kept = {id(x): x for x in itertools.chain(obj.parameters(), obj.buffers())}
    cls = type(obj)
    own = {"_scripted": cls, "__module__": cls.__module__, "forward": _as_script(cls.forward)}
    kind: Any = type(cls.__name__, (ScriptModule, cls), own)
    made = kind.__new__(kind)
    made.__setstate__(dict(copy.deepcopy(obj, kept).__getstate__()))
    return made


def save(m: Module, f: Any, _extra_files: Any = None) -> None:
    """Writes a scripted module whole, for :func:`load`. There is no TorchScript: PyTorch does not read it."""
    files.save(m, f)


def load(f: Any, map_location: Any = None, _extra_files: Any = None, **settings: Any) -> Any:
    """The module in a file of :func:`save`.

    The file's pickle may call any function: load trusted files only.
    """
    return files.load(f, map_location, weights_only=False)


_is = importlib.import_module("builtins").isinstance


class Attribute(NamedTuple):
    """A value and its type."""

    value: Any
    type: Any


def isinstance(obj: Any, target_type: Any) -> bool:
    """True if an object is of a type, and so are the elements of containers in it.

    >>> isinstance([1], list[int]), isinstance({"a": 1}, dict[str, float]), isinstance(None, int | None)
    (True, False, True)
    """
    inner, kind = typing.get_args(target_type), typing.get_origin(target_type)
    if type(target_type) is tuple or kind in (typing.Union, UnionType):
        return any(isinstance(obj, one) for one in inner or target_type)
    if target_type is Any or target_type is None:
        return target_type is Any or obj is None
    if not _is(obj, kind or target_type):
        return False
    if kind is tuple and inner[-1:] != (...,):
        return len(obj) == len(inner) and all(map(isinstance, obj, inner))
    if kind is dict:
        return all(isinstance(k, inner[0]) and isinstance(v, inner[1]) for k, v in obj.items())
    return kind not in (list, tuple) or all(isinstance(x, inner[0]) for x in obj)


def fork(func: Callable[..., Any], *args: Any, **settings: Any) -> Future:
    """A future with the result of the call, which runs at once."""
    future: Future = Future()
    future.set_result(func(*args, **settings))
    return future


def wait(future: Future) -> Any:
    return future.wait()


optimized_execution = fuser = strict_fusion = NoEffect


def set_fusion_strategy(strategy: Any) -> list[Any]:
    """Does nothing, since nothing is fused. Returns the earlier strategy: none."""
    return []


def script_method(obj: Any, *args: Any, **settings: Any) -> Any:
    """The function or class itself, as decorator too: it runs as Python."""
    return obj


export = unused = script_method


def ignore(drop: Any = False, **settings: Any) -> Any:
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
