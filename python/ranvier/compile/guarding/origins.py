"""The table of the origins of code (the user's, the library's ...), and of what a step may do with it.

`TracedCode` (`traced_code.py`) uses it for each function that a recorded step enters. Only the user's own
code is read for names. The library's classes declare what a step may depend on (`library_guards.py`). For
Python's and NumPy's code, this file lists the functions whose results depend on their arguments alone.
"""

from __future__ import annotations

import builtins
import os
import sys
import types
from weakref import WeakKeyDictionary

import numpy as np

from ranvier.observe import package
from ranvier.tensors.tensor import Tensor

PACKAGE = package()
_PYTHON = os.path.dirname(os.__file__) + os.sep
_NUMPY = os.path.dirname(np.__file__) + os.sep
# Python's own modules whose functions depend on their arguments alone.
_PURE = """
_collections_abc _weakrefset abc bisect collections/__init__ collections/abc contextlib copy copyreg
dataclasses enum fractions functools heapq numbers operator re/__init__ re/_compiler re/_parser re reprlib
statistics string types typing weakref
"""
_PURE_FILES = {_PYTHON + name.replace("/", os.sep) + ".py" for name in _PURE.split()}
_PURE_FILES |= {"<frozen _collections_abc>", "<frozen abc>"}
# How the paths of NumPy's modules in Python begin whose functions depend on their arguments alone, except the
# files in _OF_SETTINGS, which depend on NumPy's settings.
_PURE_NUMPY = tuple(_NUMPY + part for part in ("_core", "core", "lib", "linalg", "__init__.py"))
_OF_SETTINGS = ("_ufunc_config.py", "arrayprint.py", "printoptions.py", "_npyio_impl.py", "_format_impl.py")


# Origins of code. USER: the user's, or an installed package's; LIBRARY: this library's; IMPORT: that of an
# import, which is no part of the step; PURE: Python's modules in `_PURE`; PYTHON: all others of Python and
# NumPy; NUMPY: functions of NumPy that depend on their arguments alone; NUMPY_SETTINGS: those of its
# settings.
USER, LIBRARY, IMPORT, PURE, PYTHON, NUMPY, NUMPY_SETTINGS = range(7)


def origin_of(file: str, module: str = "") -> int:
    """The origin of the code in a file. module: `__name__` in the globals of the code, by which generated
    code (of named tuples and dataclasses), which has no file, is recognized."""
    if file.startswith(PACKAGE) or (file == "<string>" and module.startswith(("ranvier.", "namedtuple_"))):
        return LIBRARY
    if file in _PURE_FILES:
        return PURE
    if file.startswith(_NUMPY):
        if not file.startswith(_PURE_NUMPY):
            return PYTHON
        if file.endswith(_OF_SETTINGS):
            return NUMPY_SETTINGS
        return NUMPY
    if file.startswith("<frozen "):
        if file.startswith("<frozen importlib"):
            return IMPORT
        return PYTHON
    if file.startswith(_PYTHON) and "-packages" not in file:
        return PYTHON
    return USER


# Actions for code that a step enters. READ: note its names, from which the guards are made. RAN: note that
# it ran, so that the functions with this code are compared. LOOKS: note also that it looks at the code of
# functions. CALLED: note that it was called; if the walk reaches its function, the step is denied. IGNORED:
# note neither it nor the code that it calls. NOTHING: note nothing.
READ, RAN, LOOKS, CALLED, IGNORED, NOTHING = range(6)

# A call by one of Python's pure functions counts as a call by the user's code, which passes it functions.
_USER = {USER}
_NOT_READ = {USER, PURE}
# Methods of the library that read all of an object's settings.
_SHOW_ALL = frozenset({"__repr__", "__str__", "__format__", "__getstate__", "__reduce__", "__reduce_ex__"})
# dataclasses.asdict and astuple read attributes that the user's code does not name;
# string.Formatter.get_field looks up names from a text.
_AS_DATA = frozenset({"asdict", "astuple"})
_LOOKS_UP = frozenset({"get_field"})
# Methods of `os.environ` that a step may call, since guards compare its contents.
_ENVIRONMENT = frozenset({"__getitem__", "encode", "decode", "check_str"})
_OF_CODE = frozenset({"signature", "parameters"})
# Rows: origin, module ("": any), names of functions (None: all), origins of callers whose call of such a
# function makes the step eager, action. The first row that fits counts.
_RULES: tuple[tuple[int, str, frozenset[str] | None, set[int], int], ...] = (
    (LIBRARY, "", _SHOW_ALL, {*range(7)} - {LIBRARY}, NOTHING),
    (LIBRARY, "", None, set(), RAN),
    (IMPORT, "", None, set(), IGNORED),
    (PURE, "", _LOOKS_UP, {*range(7)}, RAN),
    (PURE, "", _AS_DATA, _USER, RAN),
    (PURE, "", None, set(), RAN),
    (PYTHON, "os", _ENVIRONMENT, set(), RAN),
    (PYTHON, "inspect", _OF_CODE, set(), LOOKS),
    (PYTHON, "", None, _NOT_READ, CALLED),
    (NUMPY_SETTINGS, "", None, _NOT_READ, NOTHING),
    (NUMPY, "", None, set(), NOTHING),
    (USER, "", None, set(), READ),
)


def rule_of(origin: int, module: str, name: str) -> tuple[set[int], int]:
    """The origins of callers whose call of a function makes the step eager, and the action for its code."""
    return next(
        (refused_from, noted)
        for whose, of, names, refused_from, noted in _RULES
        if whose == origin and of in ("", module) and (names is None or name in names)
    )


# --- classes
_IN_C = (
    types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType,
    types.BuiltinFunctionType,
)  # fmt: skip


def is_of_library(kind: type) -> bool:
    return kind.__module__.startswith("ranvier.")


def is_python_class(kind: type) -> bool:
    """True if a class is made by Python code: it has no function of its own that is made in C.

    Tensor and the classes of `nn/module.py` count as such, although some of their methods are in the core.
    """
    answer = _python_classes.get(kind)
    if answer is None:
        answer = _has_no_function_in_c(kind)
        _python_classes[kind] = answer
    return answer


# The answers of `is_python_class`, which no class changes later.
_python_classes: WeakKeyDictionary[type, bool] = WeakKeyDictionary()


def _has_no_function_in_c(kind: type) -> bool:
    if kind is object or getattr(builtins, kind.__name__, None) is kind:
        return False
    if kind is Tensor or kind.__module__ == "ranvier.nn.module":
        return True
    for value in vars(kind).values():
        if type(value) in _IN_C:
            if kind in (getattr(value, "__objclass__", 0), getattr(value, "__self__", 0)):
                return False
        elif type(value).__name__ in ("instancemethod", "cython_function_or_method"):
            return False
    return True


def is_read(kind: type) -> bool:
    """True if a class is in a file of the user's, so that its code is read for names."""
    return origin_of(getattr(sys.modules.get(kind.__module__), "__file__", None) or "") is USER
