"""Which C functions a compiled step may call: those whose result follows from their arguments alone.

Python functions are not listed: what they read is guarded, and the C functions that they call are looked up
here.
"""

from __future__ import annotations

import collections
import datetime
import re
import types
import weakref
from typing import Any

import numpy as np

# Functions of these modules, and classes of theirs, are pure; of NumPy all but its random numbers and files.
_MODULES = frozenset(
    {
        "math", "cmath", "operator", "_operator", "_functools", "functools", "_collections", "collections",
        "_abc", "_bisect", "_heapq", "_sre", "_string", "_struct", "_weakref", "types", "typing", "_typing",
        "itertools", "unicodedata", "copyreg", "_contextlib", "ranvier._core", "_thread",
    }
)  # fmt: skip
_NUMPY_STATE = frozenset({"fromfile", "tofile", "seterrobj", "_load_from_filelike", "empty", "empty_like"})
_SETTINGS = frozenset(  # of the core
    {"set_num_threads", "set_winograd", "set_flush_denormal", "set_isa", "empty_cache"}
)

# Built-in functions that act on the world, read it, or run code that is not seen.
_REFUSED = frozenset(
    [
        "print",
        "input",
        "open",
        "exec",
        "eval",
        "compile",
        "__import__",
        "breakpoint",
        "globals",
        "locals",
        "id",
    ]
)

# Methods of these are pure, or change an object that the guards compare.
_TYPES: tuple[type, ...] = (
    str, bytes, bytearray, memoryview, int, float, complex, slice, range, list, tuple, dict, set, frozenset,
    type(None), property, BaseException, collections.deque, re.Pattern, re.Match, weakref.ref, np.generic,
    np.dtype, np.ufunc, types.MappingProxyType, types.FunctionType, types.MethodType, types.GeneratorType,
    types.SimpleNamespace, types.CoroutineType, datetime.timedelta, super,
    type(collections.OrderedDict().keys()), type({}.keys()), type({}.items()),
    type({}.values()), type(iter(())), type(iter([])), type(iter({})),
)  # fmt: skip
_LOCKS = ("lock", "RLock", "_RLock")
_OF_LOCKS = frozenset(
    {"acquire", "release", "__enter__", "__exit__", "_is_owned", "_acquire_restore", "_release_save"}
)
_OF_THREADS = frozenset(
    {"get_ident", "get_native_id", "start_new_thread", "start_joinable_thread", "interrupt_main"}
)
_REFERENCES = frozenset({"getweakrefcount", "getweakrefs"})


def is_stateful(x: Any) -> bool:
    """Whether guards cannot compare x: an iterator, a weak reference, a foreign function, a cache."""
    kind = type(x)
    if isinstance(getattr(kind, "__next__", None), types.WrapperDescriptorType):  # an iterator made in C
        return True
    if issubclass(kind, (weakref.ref, types.CoroutineType, types.AsyncGeneratorType)):
        return True
    if issubclass(kind, weakref.ProxyTypes) or kind.__module__.startswith("numpy.random"):
        return True
    if kind.__module__ in ("itertools", "ctypes", "_ctypes", "mmap"):
        return True
    return kind.__name__ == "_lru_cache_wrapper"


def refusal(function: Any) -> str:
    """Why a C function may not be called in a compiled step; "" where it may."""
    name = getattr(function, "__name__", repr(function))
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or ""
    if owner is None or isinstance(owner, types.ModuleType):
        where = module or getattr(owner, "__name__", "")
        return _of_module(where, name)
    if isinstance(owner, type):
        where = owner.__module__
        if where in ("builtins", "numpy") or where in _MODULES or "ranvier" in where.split(".")[0]:
            return ""
        return "" if name in ("__new__", "__init_subclass__", "mro") else f"{where}.{owner.__name__}.{name}"
    if isinstance(owner, np.ndarray):
        return "" if name not in _NUMPY_STATE else f"numpy.ndarray.{name}"
    kind = type(owner)
    if kind.__name__ in _LOCKS and kind.__module__ == "_thread":
        return "" if name in _OF_LOCKS else f"{kind.__name__}.{name}"
    if isinstance(owner, _TYPES) or kind.__module__ == "ranvier._core":
        return ""
    if kind.__module__ in ("itertools", "functools", "collections", "ranvier.autograd.tensor"):
        return ""
    if name in _OF_OBJECT:
        return ""
    of_numpy = module.startswith("numpy") and not module.startswith("numpy.random")
    if of_numpy and "random" not in kind.__module__:
        return ""
    return f"{kind.__module__}.{kind.__qualname__}.{name}"


_OF_OBJECT = frozenset(name for name in dir(object)) | {"__getstate__", "__reduce_ex__"}


def _of_module(module: str, name: str) -> str:
    if module == "builtins":
        return name if name in _REFUSED else ""
    if module == "ranvier._core":
        return f"ranvier.{name}" if name in _SETTINGS else ""
    if (module == "_thread" and name in _OF_THREADS) or name in _REFERENCES:
        return f"{module}.{name}"
    if module in _MODULES:
        return ""
    if module.split(".")[0] == "numpy" and "random" not in module:
        return f"{module}.{name}" if name in _NUMPY_STATE else ""
    return f"{module}.{name}" if module else name
