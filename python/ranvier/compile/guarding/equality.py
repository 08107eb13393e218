"""Decides how two values are compared: by value, by identity, item by item, or not at all.

Signatures of calls, guards and the forms of steps (`shared_programs.py`) use it. The core has the same rules
(`same_value` in cpp/bindings/replay/guards.cpp): numbers are compared by their bits, so that 0.0 and -0.0
differ and NaN is equal to itself.
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

# Classes whose objects are compared by value.
BY_VALUE = frozenset({type(None), bool, int, float, str, bytes, type(...), type(NotImplemented)})
# Classes whose objects lead to no other value that a guard would need. Those besides BY_VALUE never change,
# so they are compared by value or by identity.
PLAIN = BY_VALUE | {
    complex, range, types.CodeType, datetime.timedelta, datetime.date, datetime.time, datetime.datetime,
    re.Pattern, type(vars(collections.namedtuple("_", "x"))["x"]),
}  # fmt: skip
# Objects of these classes are shared by steps: two steps have the same value only if it is the same object.
_THEMSELVES = (type, types.ModuleType, _core.PublicFunction, np.ufunc, np.dtype, DType)
# It is not known when objects of these classes are equal in two steps, so `canonical` refuses them.
_UNKNOWN = (*(PLAIN - BY_VALUE), np.generic, types.FunctionType, types.BuiltinFunctionType, property)


def pairs_of(x: Any) -> tuple[Any, ...]:
    """The items of a dict: key, value, key, value ..."""
    return tuple(itertools.chain.from_iterable(x.items()))


def canonical(x: Any, numbers: dict[int, int], objects: list[Any]) -> list[Any]:
    """A value as a flat list, such that two steps have equal lists where their values are equal.

    An object that belongs to one step (a Tensor, a layer ...) is replaced by a number: the order in which the
    objects are met. numbers: from the id of each object met so far to its number. objects: the objects by
    number. Both grow. Raises ValueError for a value of which it is not known what is equal to it.
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
