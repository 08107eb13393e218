"""Decides how two values are compared: by value, by identity, item by item, or not at all.

Used by signatures, guards and the forms of steps. The core has the same rules (`same_value` in
cpp/bindings/replay/guards.cpp): numbers by their bits, so that 0.0 and -0.0 differ and NaN is equal to
itself.
"""

from __future__ import annotations

import collections
import datetime
import itertools
import re
import types
from struct import pack
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.tensors.dtypes import dtype as DType

# Equal by value.
BY_VALUE = frozenset({type(None), bool, int, float, str, bytes, type(...), type(NotImplemented)})
# Nothing follows them: equal by value, or by identity where they never change.
PLAIN = BY_VALUE | {
    complex, range, types.CodeType, datetime.timedelta, datetime.date, datetime.time, datetime.datetime,
    re.Pattern, type(vars(collections.namedtuple("_", "x"))["x"]),
}  # fmt: skip
# The same in all steps that have them.
_THEMSELVES = (type, types.ModuleType, _core.PublicFunction, np.ufunc, np.dtype, DType)
# Not equal to anything that another step has.
_UNKNOWN = (*(PLAIN - BY_VALUE), np.generic, types.FunctionType, types.BuiltinFunctionType, property)


def pairs_of(x: Any) -> tuple[Any, ...]:
    """The items of a dict: key, value, key, value ..."""
    return tuple(itertools.chain.from_iterable(x.items()))


def canonical(x: Any, numbers: dict[int, int], objects: list[Any]) -> list[Any]:
    """A value as a list that is equal for equal values, also of other steps.

    An object of a step is a number in it. numbers: of those met so far, by id; objects: by number; both grow.
    Raises ValueError where it is not known what is equal.
    """
    parts: list[Any] = []
    stack = [x]
    while stack:
        x = stack.pop()
        kind = type(x)
        if kind in BY_VALUE:
            parts += kind, pack("d", x) if kind is float else x
        elif kind is tuple:
            parts += kind, len(x)
            stack += x
        elif kind is types.MethodType:
            parts.append(kind)
            stack += x.__func__, x.__self__
        elif (
            isinstance(x, _THEMSELVES)
            or (kind is types.FunctionType and x.__closure__ is None)
            or (kind is types.BuiltinFunctionType and type(x.__self__) is types.ModuleType)
        ):
            parts += "the same", x
        elif isinstance(x, _UNKNOWN):
            raise ValueError
        else:
            parts += "object", numbers.setdefault(id(x), len(objects))
            if parts[-1] == len(objects):  # met for the first time
                objects.append(x)
    return parts
