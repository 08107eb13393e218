"""The lists of containers, C functions and C classes that a captured step may use.

CONTAINERS are compared item by item before each replay. FUNCTIONS, MODULES and TYPES are made in C, and their
results depend on their arguments alone, so that no guard is needed. A step that uses any other C function or
class runs eagerly. `equality.py` lists the plain values, which are compared whole.
"""

from __future__ import annotations

import collections
import datetime
import functools
import itertools
import operator
import os
import re
import types
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.compile.guarding.equality import pairs_of, stored_pairs
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.tensor import Tensor

MOST = 1024  # items of a container; a larger one takes too long to compare before each replay


class GuardKind:
    """The kinds of guards, by the core's numbers. cpp/bindings/replay/guards.h says what each requires."""

    ITEMS = _core._guard_kind("items")
    SLOT = _core._guard_kind("slot")
    ATTRIBUTE = _core._guard_kind("attribute")
    CELL = _core._guard_kind("cell")
    LIST = _core._guard_kind("list")
    DICT = _core._guard_kind("dict")
    TYPE = _core._guard_kind("type")
    NAMES = _core._guard_kind("names")
    FUNCTION = _core._guard_kind("function")
    GRADIENT = _core._guard_kind("gradient")
    CALL = _core._guard_kind("call")


# Class -> (kind of guard, or None for objects that never change; a function that gives the items of an
# object: the guard compares these items, and the walk follows each of them).
CONTAINERS: dict[type, tuple[int | None, Callable[[Any], tuple[Any, ...]]]] = {
    list: (GuardKind.LIST, tuple),
    dict: (GuardKind.DICT, pairs_of),
    collections.OrderedDict: (GuardKind.DICT, stored_pairs),
    tuple: (None, tuple),
    frozenset: (None, tuple),
    property: (None, lambda x: (x.fget, x.fset, x.fdel)),
    staticmethod: (None, lambda x: (x.__func__,)),
    classmethod: (None, lambda x: (x.__func__,)),
    operator.itemgetter: (None, lambda x: x.__reduce__()[1]),
    functools.partial: (None, lambda x: (x.func, x.args, x.keywords)),
    type(os.environ): (None, lambda x: (x._data,)),
}

# The class of what functools.lru_cache and functools.cache make of a function.
CACHED = type(functools.lru_cache(len))

# Modules made in C whose functions are all pure: their results depend on the arguments alone.
MODULES = frozenset(
    {"math", "cmath", "_operator", "_functools", "_bisect", "_heapq", "_struct", "_collections", "_abc",
     "itertools"}
)  # fmt: skip
# The pure functions among Python's built-in ones. `hash` is missing: the hash of a Tensor is its address, so
# that a call with another Tensor gives another result.
_BUILTINS = """
__build_class__ abs all any ascii bin callable chr divmod hex isinstance issubclass iter len max min next
oct ord pow repr round sorted sum
"""
# NumPy's pure functions, made in C or in Python.
_OF_NUMPY = """
all any arange argmax argmin array asarray ascontiguousarray ceil clip concatenate cumsum diff dot expand_dims
floor full isscalar linspace max mean median min ndim ones ones_like outer prod reshape round shape size sort
split squeeze stack std sum transpose var where zeros zeros_like
"""
NUMPY_FUNCTIONS = frozenset(_OF_NUMPY.split())
FUNCTIONS = {"builtins": frozenset(_BUILTINS.split()), "numpy": NUMPY_FUNCTIONS}
FUNCTIONS["sys"] = frozenset({"exc_info", "intern"})
_ITERATED: tuple[Any, ...] = ([], (), {}, set(), "", b"", range(0), {}.values(), {}.items(), {}.keys())
TYPES: frozenset[Any] = frozenset(
    {
        object, type, str, bytes, bool, int, float, complex, list, tuple, dict, set, frozenset, range, slice,
        type(None), property, staticmethod, classmethod, super, enumerate, zip, map, filter, reversed,
        BaseException, collections.deque, collections.OrderedDict, collections.defaultdict,
        operator.itemgetter, datetime.timedelta, datetime.date, datetime.time, datetime.datetime,
        functools.partial, re.Pattern, re.Match, _core._GradBlock, Tensor,
        np.ndarray, np.generic, np.dtype, DType, np.ufunc, types.MappingProxyType,
        types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.GeneratorType,
        types.SimpleNamespace, types.ModuleType, types.CellType, types.GenericAlias, types.UnionType,
        type(reversed([])),
        *map(type, _ITERATED), *map(type, map(iter, _ITERATED)),
        *(x for x in vars(itertools).values() if isinstance(x, type)),
    }
)  # fmt: skip
# Methods that depend on more than their owner, or look up a name that is made at run time (`str.format`).
NOT_PURE = frozenset(
    {"tofile", "dump", "now", "utcnow", "today", "fromtimestamp", "astimezone", "format", "format_map",
     "__getattribute__", "__setattr__", "__delattr__", "__subclasses__", "__format__", "__reduce_ex__"}
)  # fmt: skip

_ARITHMETIC = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and xor or"
_MORE = """
aenter aexit array array_function array_interface array_priority array_struct array_ufunc buffer bytes copy
deepcopy del delete dlpack enter exit fspath getattr length_hint missing next post_init set
"""
# The names that Python itself looks up in a class: for operators, `with`, `for`, copies ...
SPECIAL = frozenset(
    name
    for kind in (object, type, int, float, list, dict, set, str, bytes, types.FunctionType, BaseException)
    for name in dir(kind)
    if name.startswith("__") and name.endswith("__")
).union(
    [f"__{name}__" for name in _MORE.split()],
    [f"__{kind}{name}__" for name in _ARITHMETIC.split() for kind in ("", "r", "i")],
)
_HIDDEN = """
annotations builtins code closure defaults delattr dict dir getattribute getstate globals hash import
kwdefaults match_args reduce reduce_ex setstate sizeof subclasses text_signature type_params weakref
"""
# Names with two underscores that the code of a step may not contain: they look into Python's own objects.
HIDDEN = frozenset(f"__{name}__" for name in _HIDDEN.split())

# Attributes of a Tensor that a step cannot read: its own memory, or how often it was changed.
STATE_OF_TENSORS = frozenset({"_version", "_array", "_cell", "_view", "_grad_fn", "_grad", "_requires_grad"})

# Functions and classes that call a function which they get as an argument. Such a call comes from C, and only
# calls from Python code are seen (`traced_code.py`).
_ITERATORS = ("accumulate", "starmap", "takewhile", "dropwhile", "filterfalse", "groupby")
TAKES_FUNCTIONS = frozenset(
    [map, filter, functools.reduce, functools.partial, functools.cmp_to_key, collections.defaultdict]
    + [types.MethodType, staticmethod, classmethod, np.vectorize, getattr(operator, "call", map)]
    + [x for name, x in vars(itertools).items() if name in _ITERATORS]
)

# The core's classes that wrap a public function, method or attribute. `__wrapped__` is what they wrap
# (cpp/bindings/tape/public_function.cpp).
PUBLIC = (_core.PublicFunction, _core.PublicMethod, _core.PublicAttribute)


def is_listed(function: Callable[..., Any]) -> bool:
    """True if the result of a function made in C depends on its arguments and its `__self__` alone."""
    owner = getattr(function, "__self__", None)
    name = function.__name__
    if name in NOT_PURE:
        return False
    if hasattr(function, "__objclass__"):  # a method of a class that is not bound to an object
        return is_listed_type(function.__objclass__)
    if owner is None or isinstance(owner, types.ModuleType):
        module = function.__module__ or getattr(owner, "__name__", "")
        if module == "ranvier._core":
            return _is_kernel(name)
        return module in MODULES or name in FUNCTIONS.get(module, ())
    kind = owner if isinstance(owner, type) else type(owner)
    # The classes that define the method in C. A Python function of this name, in a class of the user's, has
    # overridden the method, and calls it by super().
    makers = [b for b in kind.__mro__ if type(vars(b).get(name)) is not types.FunctionType]
    makers = [b for b in makers if name in vars(b)]
    if isinstance(owner, type) and not makers:
        makers = [type]
    return bool(makers) and is_listed_type(makers[0])


def _is_kernel(name: str) -> bool:
    import ranvier.kernels as kernels  # loaded here, since most programs do not use it

    return name in vars(kernels)["__all__"]


def is_listed_type(kind: type) -> bool:
    """True if instances of a class made in C hold no state except what was given to them."""
    of_python = kind.__module__ in ("builtins", "numpy")
    return kind in TYPES or (of_python and issubclass(kind, (BaseException, np.generic)))


def is_numpy_function(x: object) -> bool:
    """True if x is a function of NumPy, or a ufunc, whose result depends on its arguments alone."""
    name = getattr(x, "__name__", "")
    if isinstance(x, np.ufunc):
        return getattr(np, name, None) is x
    return str(getattr(x, "__module__", "")).split(".")[0] == "numpy" and name in NUMPY_FUNCTIONS


def functions_of(value: object) -> list[Any]:
    """The Python functions that run when an attribute of a class is used. value: as ``vars(class)`` has
    it."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, property):
        return [f for f in (value.fget, value.fset, value.fdel) if type(f) is types.FunctionType]
    if isinstance(value, functools.cached_property):
        return [value.func]
    if type(value) is types.FunctionType:
        return [value]
    return []
