"""Decides how two values are compared: by value, or by identity.

Signatures of calls and guards use it. The core has the same rules
(`same_value` in cpp/bindings/replay/guards.cpp): numbers are compared by their bits, so that 0.0 and -0.0
differ and NaN is equal to itself.
"""

from __future__ import annotations

import collections
import datetime
import itertools
import re
import types
from typing import Any

# Classes whose objects are compared by value.
BY_VALUE = frozenset({type(None), bool, int, float, str, bytes, type(...), type(NotImplemented)})
# Classes whose objects lead to no other value that a guard would need. Those besides BY_VALUE never change,
# so they are compared by value or by identity.
PLAIN = BY_VALUE | {
    complex, range, types.CodeType, datetime.timedelta, datetime.date, datetime.time, datetime.datetime,
    re.Pattern, type(vars(collections.namedtuple("_", "x"))["x"]),
}  # fmt: skip


def pairs_of(x: Any) -> tuple[Any, ...]:
    """The items of a dict: key, value, key, value ..."""
    return tuple(itertools.chain.from_iterable(x.items()))


def stored_pairs(x: dict[Any, Any]) -> tuple[Any, ...]:
    """The same of an OrderedDict, as a dict has them: in the order in which they were entered."""
    return tuple(itertools.chain.from_iterable(dict.items(x)))
