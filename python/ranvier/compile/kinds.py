"""What a captured step may read: one row for each kind of value, with its guard.

A value of any other kind cannot be compared, so that the step runs eagerly. The rows are tables: PLAIN
(compared by value), CONTAINERS (compared item by item), FUNCTIONS, MODULES and TYPES (functions and classes
made in C whose results follow from their arguments alone). `walk.py` follows what the rows name.
"""

from __future__ import annotations

import builtins
import collections
import datetime
import functools
import itertools
import operator
import os
import re
import sys
import types
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.recording import package

MOST = 1024  # items of a container
LARGEST = 1 << 20  # bytes of an array


class Kind:
    """Of guards, in the order of `GuardKind` in cpp/bindings/guards.h."""

    ITEMS, SLOT, ATTRIBUTE, CELL, LIST, DICT, TYPE, NAMES, FUNCTION, ARRAY, GRADIENT, CALL = range(12)


# Compared by value, or by identity where they never change.
PLAIN = frozenset(
    {
        type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range,
        types.CodeType, datetime.timedelta, datetime.date, datetime.time, datetime.datetime, re.Pattern,
        type(vars(collections.namedtuple("_", "x"))["x"]),
    }
)  # fmt: skip
FOLLOWED_NO_FURTHER = PLAIN - {str}  # a text may be the name of a setting


def pairs_of(x: Any) -> tuple[Any, ...]:
    items = dict.items(x) if isinstance(x, dict) else x.items()  # not in the order of an OrderedDict
    return tuple(itertools.chain.from_iterable(items))


def _parts_of_partial(x: functools.partial[Any]) -> tuple[Any, ...]:
    return x.func, x.args, tuple(x.keywords.items()), tuple(vars(x).items())


def _in_order(x: Any) -> tuple[Any, ...]:
    return tuple(itertools.chain.from_iterable(collections.OrderedDict.items(x)))


def _with_factory(x: Any) -> tuple[Any, ...]:
    return x.default_factory, *pairs_of(x)


# Kind -> (the guard, what it compares (a function of the value; None: nothing, since it never changes), what
# it leads to).
Row = tuple[int, Callable[[Any], Any] | None, Callable[[Any], Any]]
CONTAINERS: dict[type, Row] = {
    list: (Kind.LIST, tuple, tuple),
    dict: (Kind.DICT, pairs_of, pairs_of),
    collections.OrderedDict: (Kind.CALL, _in_order, pairs_of),
    collections.defaultdict: (Kind.CALL, _with_factory, _with_factory),
    tuple: (Kind.LIST, None, tuple),
    frozenset: (Kind.LIST, None, tuple),
    set: (Kind.CALL, tuple, tuple),
    collections.deque: (Kind.CALL, tuple, tuple),
    types.MappingProxyType: (Kind.CALL, pairs_of, pairs_of),
    bytearray: (Kind.CALL, bytes, lambda x: ()),
    array: (Kind.CALL, lambda x: x.tobytes(), lambda x: ()),
    slice: (Kind.LIST, None, lambda x: (x.start, x.stop, x.step)),
    functools.partial: (Kind.CALL, _parts_of_partial, _parts_of_partial),
    property: (Kind.LIST, None, lambda x: (x.fget, x.fset, x.fdel)),
    staticmethod: (Kind.LIST, None, lambda x: (x.__func__,)),
    classmethod: (Kind.LIST, None, lambda x: (x.__func__,)),
    operator.itemgetter: (Kind.LIST, None, lambda x: x.__reduce__()[1]),
    type({}.keys()): (Kind.LIST, None, lambda x: (x.mapping,)),
    type({}.values()): (Kind.LIST, None, lambda x: (x.mapping,)),
    type({}.items()): (Kind.LIST, None, lambda x: (x.mapping,)),
}

# Modules made in C all of whose functions are pure, and the pure functions of others.
MODULES = frozenset(
    {
        "math", "cmath", "_operator", "_functools", "_bisect", "_heapq", "_struct", "_string", "unicodedata",
        "_collections", "_abc", "itertools",
    }
)  # fmt: skip
_BUILTINS = """
__build_class__ abs all any ascii bin callable chr delattr dir divmod format getattr hasattr hash hex
isinstance issubclass iter len max min next oct ord pow repr round setattr sorted sum vars
"""
_OF_NUMPY = """
arange array asarray ascontiguousarray can_cast concatenate copyto dot fromiter inner lexsort
min_scalar_type promote_types result_type vdot where zeros
"""
FUNCTIONS: dict[str, frozenset[str]] = {
    "builtins": frozenset(_BUILTINS.split()),
    "numpy": frozenset(_OF_NUMPY.split()),
    "sys": frozenset({"exc_info", "intern"}),
}
# NumPy's functions of arguments alone, as np.prod: objects of one class, whether made in C or in Python.
_FUNCTIONS_OF_NUMPY = """
all allclose amax amin any append arange argmax argmin argsort around array array_equal array_split
asarray asanyarray ascontiguousarray astype atleast_1d atleast_2d atleast_3d average bincount broadcast_arrays
broadcast_to clip column_stack concatenate copy cov cross cumprod cumsum delete det diag diagonal diff
digitize dot einsum expand_dims eye flip full full_like histogram hstack identity insert interp inv
isclose isscalar iterable kron linspace logspace matmul matrix_rank max mean median meshgrid min
moveaxis nan_to_num nanmax nanmean nanmin nansum ndim nonzero norm ones ones_like outer percentile pinv
prod quantile ravel repeat reshape roll round searchsorted shape sign sinc size solve sort split squeeze
stack std sum svd swapaxes take tensordot tile trace transpose trapezoid tri tril triu unique vander var
vdot vstack where zeros zeros_like
"""
_NUMPY = frozenset(_FUNCTIONS_OF_NUMPY.split())

_ITERATED: tuple[Any, ...] = ([], (), {}, set(), "", b"", range(0), {}.values(), {}.items())
TYPES: frozenset[Any] = frozenset(
    {
        object, type, str, bytes, bytearray, bool, int, float, complex, list, tuple, dict, set, frozenset,
        range, slice,
        type(None), property, staticmethod, classmethod, super, enumerate, zip, map, filter, reversed,
        BaseException, collections.deque, collections.OrderedDict, collections.defaultdict, functools.partial,
        operator.itemgetter, datetime.timedelta, datetime.date,
        datetime.time, datetime.datetime,
        re.Pattern, re.Match,
        _core._GradBlock,
        np.ndarray, np.generic, np.dtype, np.ufunc, np.nditer, np.broadcast, types.MappingProxyType,
        types.FunctionType, types.MethodType, types.BuiltinFunctionType, types.GeneratorType,
        types.SimpleNamespace, types.ModuleType, types.CodeType, types.CellType, types.GenericAlias,
        types.UnionType, type({}.keys()), type({}.values()), type({}.items()), array,
        *map(type, map(iter, _ITERATED)),
        type(reversed([])),
        *(x for x in vars(itertools).values() if isinstance(x, type)),
    }
)  # fmt: skip
_NOT_PURE = frozenset({"tofile", "dump", "now", "utcnow", "today", "fromtimestamp", "astimezone"})

# What Python itself looks up in a class: these names code may have, too ...
_NAMED = """
call getattr getattribute setattr bool len eq ne lt le gt ge hash contains iter next reversed get set
getitem setitem missing index int float complex neg pos abs invert round enter exit str repr format
array array_ufunc instancecheck add radd iadd sub rsub isub mul rmul imul truediv rtruediv itruediv
floordiv rfloordiv mod rmod pow rpow ipow matmul rmatmul and rand or ror xor rxor init new
"""
# ... and these it may not: they look into Python's own objects, or no code has them.
_NOT_NAMED = """
delattr delete delitem length_hint set_name class_getitem mro_entries prepare trunc floor ceil aenter aexit
aiter anext await bytes fspath dir sizeof del copy deepcopy replace reduce reduce_ex getstate setstate
getnewargs getnewargs_ex buffer array_function array_priority array_interface array_struct dlpack
subclasscheck subclasshook ifloordiv imod divmod rdivmod imatmul lshift rlshift ilshift rshift rrshift
irshift iand ior ixor
"""
SPECIAL = frozenset(f"__{name}__" for name in (_NAMED + _NOT_NAMED).split())
# Names with two underscores that code may have; any other looks into Python's own objects.
_PUBLIC = """
__class__ __name__ __qualname__ __module__ __doc__ __dict__ __init_subclass__ __post_init__ __all__
__version__ __file__ __match_args__ __classcell__ __slots__ __bases__ __mro__ __main__
__wrapped__ __func__ __self__ __future__ __builtins__ __cause__ __context__ __members__
"""
DUNDER = frozenset(f"__{name}__" for name in _NAMED.split()) | frozenset(_PUBLIC.split())

# Functions that call what they are given, which no event tells.
TAKES_FUNCTIONS = frozenset(
    {map, filter, functools.partial, functools.reduce, collections.defaultdict, np.vectorize}
) | {
    x for name, x in vars(itertools).items() if name in ("accumulate", "starmap", "takewhile", "dropwhile",
                                                         "filterfalse", "groupby")
}  # fmt: skip

HOLDS_FUNCTIONS = TAKES_FUNCTIONS | {property, staticmethod, classmethod}  # among CONTAINERS

# Python's own modules whose functions depend on their arguments alone: their code is not read.
PACKAGE = package()
_LIBRARY = os.path.dirname(os.__file__) + os.sep
NUMPY = os.path.dirname(np.__file__) + os.sep
PURE_FILES = frozenset({"<frozen _collections_abc>", "<frozen abc>"}) | frozenset(
    _LIBRARY + name.replace("/", os.sep)
    for name in (
        "_collections_abc.py", "_weakrefset.py", "abc.py", "bisect.py", "collections/__init__.py",
        "collections/abc.py", "contextlib.py", "copy.py", "copyreg.py", "dataclasses.py", "enum.py",
        "fractions.py", "functools.py", "heapq.py", "keyword.py", "numbers.py", "operator.py",
        "re/__init__.py",
        "re.py", "re/_compiler.py", "re/_parser.py", "re/_constants.py",
        "sre_compile.py", "sre_parse.py", "reprlib.py", "statistics.py", "string.py", "struct.py",
        "types.py", "typing.py", "weakref.py",
    )
)  # fmt: skip


def is_listed(function: Any) -> bool:
    """Whether the result of a function made in C follows from its arguments and its owner alone."""
    owner, name = getattr(function, "__self__", None), function.__name__
    if name in _NOT_PURE:
        return False
    if hasattr(function, "__objclass__"):  # of a class, not bound
        return is_listed_type(function.__objclass__)
    if owner is None or isinstance(owner, types.ModuleType):
        module = function.__module__ or getattr(owner, "__name__", "")
        if module == "ranvier._core":
            return _is_kernel(name)
        return module in MODULES or name in FUNCTIONS.get(module, ())
    kind = owner if isinstance(owner, type) else type(owner)
    makers = [base for base in kind.__mro__ if name in vars(base)]
    if isinstance(owner, type) and not makers:
        makers = [type]
    return bool(makers) and is_listed_type(makers[0])


def _is_kernel(name: str) -> bool:
    import ranvier.kernels as kernels  # not needed by most programs

    return name in vars(kernels)["__all__"]


def is_listed_type(kind: type) -> bool:
    """Whether instances of a class made in C hold no state but what was given to them."""
    return kind in TYPES or any(
        issubclass(kind, base) and kind.__module__ in ("builtins", "numpy")
        for base in (BaseException, np.generic)
    )


def is_numpy_function(x: Any) -> bool:
    """Whether x is a function of NumPy, or a ufunc, whose result follows from its arguments alone."""
    name = getattr(x, "__name__", "")
    if isinstance(x, np.ufunc):
        return getattr(np, name, None) is x
    return str(getattr(x, "__module__", "")).split(".")[0] == "numpy" and name in _NUMPY


_IN_C = (
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType,
    types.BuiltinFunctionType,
)  # fmt: skip


def is_python_class(kind: type) -> bool:
    """Whether a class is made by Python code: it has no function of its own that is made in C."""
    if kind is object or getattr(builtins, kind.__name__, None) is kind:
        return False
    for value in vars(kind).values():
        if type(value) in _IN_C and kind in (
            getattr(value, "__objclass__", 0),
            getattr(value, "__self__", 0),
        ):
            return False
        if type(value).__name__ in ("instancemethod", "cython_function_or_method"):
            return False
    return True


def functions_of(value: Any) -> list[Any]:
    """The Python functions that an attribute of a class calls."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, property):
        return [f for f in (value.fget, value.fset, value.fdel) if type(f) is types.FunctionType]
    if isinstance(value, functools.cached_property):
        return [value.func]
    return [value] if type(value) is types.FunctionType else []


# --- whose code it is
def decorates(code: types.CodeType) -> bool:
    """Whether it may be a decorator's, of the library or Python: it leads to what it decorates."""
    return code.co_filename.startswith(PACKAGE) or code.co_filename in PURE_FILES


def file_of(kind: type) -> str:
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""


def is_pythons(file: str) -> bool:
    """Whether the file is Python's own, not one of an installed package."""
    return file.startswith("<frozen ") or (file.startswith(_LIBRARY) and "-packages" not in file)


def is_read(file: str) -> bool:
    """Whether code of this file is read: all but that of the library, NumPy and Python itself."""
    return not (is_pythons(file) or file.startswith((PACKAGE, NUMPY)))
