"""Properties of Python objects that decide how they are guarded: see `guards.py`."""

from __future__ import annotations

import functools
import os
import sys
import types
from typing import Any

import numpy as np

from ranvier.autograd.recording import package
from ranvier.nn import Module

# Methods that Python itself looks up. In a guard NotImplemented means that the class does not have one.
SPECIAL = frozenset(
    f"__{name}__"
    for names in (
        "call getattr getattribute setattr bool len eq ne lt le gt ge hash contains iter next reversed get",
        "set getitem setitem missing index int float complex neg pos abs invert round enter exit str repr",
        "format array array_ufunc instancecheck add radd iadd sub rsub isub mul rmul imul",
        "truediv rtruediv itruediv floordiv",
        "rfloordiv mod rmod pow rpow ipow matmul rmatmul and rand or ror xor rxor",
    )
    for name in names.split()
)

PLAIN = (
    type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented), range, slice,
    types.CodeType, np.generic, np.dtype, np.ufunc,
)  # fmt: skip


def is_our_own(value: Any, variables: dict[str, Any]) -> bool:
    if not str(variables.get("__name__", "")).startswith("ranvier."):
        return False
    name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    return (
        isinstance(name, str)
        and name.startswith("ranvier.")
        and (callable(value) or isinstance(value, types.ModuleType))
    )


def is_user(code: types.CodeType) -> bool:
    return not code.co_filename.startswith(package())


def attributes_of(x: Any) -> dict[str, Any] | None:
    try:
        own = object.__getattribute__(x, "__dict__")
    except AttributeError:
        return None
    return own if isinstance(own, dict) else None


def in_class(kind: type, name: str, missing: Any = None) -> Any:
    for base in kind.__mro__:
        if name in base.__dict__:
            return base.__dict__[name]
    return missing


def members_of(kind: type) -> dict[str, Any]:
    """What a class and its bases define, by name: `in_class` for many names."""
    members: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        members.update(vars(base))
    return members


def functions_of(value: Any) -> list[Any]:
    """The Python functions that an attribute of a class calls."""
    if isinstance(value, (staticmethod, classmethod)):
        value = value.__func__
    if isinstance(value, property):
        return [f for f in (value.fget, value.fset) if type(f) is types.FunctionType]
    if isinstance(value, functools.cached_property):
        return [value.func]
    return [value] if type(value) is types.FunctionType else []


def is_slot(member: Any) -> bool:
    """Whether an attribute of a class is a value that each instance holds."""
    return isinstance(member, (types.MemberDescriptorType, types.GetSetDescriptorType))


def slots_of(kind: type) -> set[str]:
    """The names of all values that instances hold outside a dict."""
    return {n for base in kind.__mro__ if not is_builtin(base) for n, v in vars(base).items() if is_slot(v)}


def is_users_module(x: types.ModuleType) -> bool:
    """Whether a module is the user's own, not one that is installed."""
    file = getattr(x, "__file__", None) or ""
    library = os.path.dirname(os.__file__) + os.sep
    built_in = not file and x.__name__.split(".")[0] in sys.builtin_module_names
    return not (built_in or file.startswith((package(), library)) or "-packages" in file)


def is_descriptor(value: Any) -> bool:
    return isinstance(
        value,
        (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType,
         types.MethodDescriptorType, types.ClassMethodDescriptorType, property),
    )  # fmt: skip


def is_builtin(kind: type) -> bool:
    return kind.__module__ in ("builtins", "abc", "typing", "numpy", "enum") or not kind.__flags__ & (1 << 9)


def is_plain_class(kind: type) -> bool:
    return not kind.__module__.startswith("ranvier") or issubclass(kind, Module)


def is_inner(x: Any) -> bool:
    """An object of the library's own that holds no settings of a step."""
    module = type(x).__module__
    return module.startswith("ranvier.") and not module.startswith(
        ("ranvier.nn", "ranvier.train", "ranvier.optim")
    )


def names_within(x: Any) -> set[str]:
    """The names that an attrgetter or methodcaller looks up."""
    parts = x.__reduce__()[1]
    return {name for part in parts if isinstance(part, str) for name in part.split(".")}


def pairs_of(x: Any) -> tuple[Any, ...]:
    items = dict.items(x) if isinstance(x, dict) else x.items()  # not in the order of an OrderedDict
    return tuple(part for pair in items for part in pair)


def with_article(name: str) -> str:
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"


def owner_in_words(text: str) -> str:
    return text.rpartition(".")[0] or "self"


def named_function(code: types.CodeType, variables: dict[str, Any]) -> types.FunctionType | None:
    """The function of this code that its module or class has under its name, or None."""
    found: Any = variables
    for name in getattr(code, "co_qualname", code.co_name).split("."):
        found = found.get(name) if isinstance(found, dict) else vars(found).get(name)
        if isinstance(found, property):
            parts = (found.fget, found.fset, found.fdel)
            found = next((f for f in parts if getattr(f, "__code__", None) is code), None)
        found = getattr(found, "__func__", found)  # of a static or class method
        if not isinstance(found, (type, types.FunctionType)):
            return None
    return found if isinstance(found, types.FunctionType) and found.__code__ is code else None
