"""The containers, functions and classes that a captured step may use.

CONTAINERS are compared item by item. FUNCTIONS, MODULES and TYPES are made in C, and their results follow
from their arguments alone. A step that uses others runs eagerly; `equality.py` has the values that are
compared whole.
"""

from __future__ import annotations

import bisect
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
from ranvier.compile.equality import pairs_of
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.tensor import Tensor

MOST = 1024  # items of a container


class GuardKind:
    """The kinds of guards, in the order of `GuardKind` in cpp/bindings/replay/guards.h."""

    ITEMS, SLOT, ATTRIBUTE, CELL, LIST, DICT, TYPE, NAMES, FUNCTION, GRADIENT, CALL = range(11)


# Class -> (its guard, or None where it never changes; what it compares and leads to, as a function).
CONTAINERS: dict[type, tuple[int | None, Callable[[Any], tuple[Any, ...]]]] = {
    list: (GuardKind.LIST, tuple),
    dict: (GuardKind.DICT, pairs_of),
    tuple: (None, tuple),
    frozenset: (None, tuple),
    property: (None, lambda x: (x.fget, x.fset, x.fdel)),
    staticmethod: (None, lambda x: (x.__func__,)),
    classmethod: (None, lambda x: (x.__func__,)),
    operator.itemgetter: (None, lambda x: x.__reduce__()[1]),
    functools.partial: (None, lambda x: (x.func, x.args, x.keywords)),
    type(os.environ): (None, lambda x: (x._data,)),
}

# Modules made in C all of whose functions are pure, and the pure functions of others.
MODULES = frozenset(
    {"math", "cmath", "_operator", "_functools", "_bisect", "_heapq", "_struct", "_collections", "_abc",
     "itertools"}
)  # fmt: skip
# Not hash: that of a Tensor is its place, by which a call with another one differs.
_BUILTINS = """
__build_class__ abs all any ascii bin callable chr divmod hex isinstance issubclass iter len max min next
oct ord pow repr round sorted sum
"""
# NumPy's functions of arguments alone: objects of one class, whether made in C or in Python.
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
# The names that Python itself looks up in a class.
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
# Names with two underscores that code may not have: they look into Python's own objects.
HIDDEN = frozenset(f"__{name}__" for name in _HIDDEN.split())

# Attributes of a Tensor that a step cannot read: its own memory, or how often it was changed.
STATE_OF_TENSORS = frozenset({"_version", "_array", "_cell", "_view", "_grad_fn", "_grad", "_requires_grad"})

# Functions and classes that call what they are given, which no event tells; the second where it is a `key`.
_ITERATORS = ("accumulate", "starmap", "takewhile", "dropwhile", "filterfalse", "groupby")
TAKES_FUNCTIONS = frozenset(
    [map, filter, functools.reduce, functools.partial, functools.cmp_to_key, collections.defaultdict]
    + [types.MethodType, staticmethod, classmethod, np.vectorize, getattr(operator, "call", map)]
    + [x for name, x in vars(itertools).items() if name in _ITERATORS]
)
TAKES_A_KEY = frozenset([min, max, sorted, list.sort, *filter(callable, vars(bisect).values())])

# The classes of wrappers of a function, method or attribute, in `__wrapped__` (public_function.cpp).
PUBLIC = (_core.PublicFunction, _core.PublicMethod, _core.PublicAttribute)


def is_listed(function: Any) -> bool:
    """True if the result of a function made in C follows from its arguments and its owner alone."""
    owner, name = getattr(function, "__self__", None), function.__name__
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
    makers = [b for b in kind.__mro__ if type(vars(b).get(name)) is not types.FunctionType]
    makers = [b for b in makers if name in vars(b)]  # what a class of the program has overridden
    if isinstance(owner, type) and not makers:
        makers = [type]
    return bool(makers) and is_listed_type(makers[0])


def _is_kernel(name: str) -> bool:
    import ranvier.kernels as kernels  # not needed by most programs

    return name in vars(kernels)["__all__"]


def is_listed_type(kind: type) -> bool:
    """True if instances of a class made in C hold no state but what was given to them."""
    of_python = kind.__module__ in ("builtins", "numpy")
    return kind in TYPES or (of_python and issubclass(kind, (BaseException, np.generic)))


def is_numpy_function(x: Any) -> bool:
    """True if x is a function of NumPy, or a ufunc, whose result follows from its arguments alone."""
    name = getattr(x, "__name__", "")
    if isinstance(x, np.ufunc):
        return getattr(np, name, None) is x
    return str(getattr(x, "__module__", "")).split(".")[0] == "numpy" and name in NUMPY_FUNCTIONS


def functions_of(value: Any) -> list[Any]:
    """The Python functions that an attribute of a class calls."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, property):
        return [f for f in (value.fget, value.fset, value.fdel) if type(f) is types.FunctionType]
    if isinstance(value, functools.cached_property):
        return [value.func]
    return [value] if type(value) is types.FunctionType else []
