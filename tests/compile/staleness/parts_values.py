"""What the texts of `values.py` name, after `parts.py`: see there."""
# ruff: noqa: F405

import enum

from compile.staleness.parts import *  # noqa: F403
from compile.staleness.parts_objects import *  # noqa: F403

Level = enum.IntEnum("Level", "ONE TWO")
Bits = enum.Flag("Bits", "A B")
NAMES = ["bool", "int", "float", "str", "float64", "float32", "int64", "Level"]


class Text(str):
    extra = 2.0


class Number(float):
    extra = 2.0


class Always(Rich):
    __eq__, __hash__ = lambda self, other: True, lambda self: 1


class Never(Rich):
    __eq__, __hash__ = lambda self, other: False, lambda self: 1


class Raises(Rich):
    def __eq__(self, other):
        raise RuntimeError("not to be compared")


class Texts(Rich):
    __class__ = property(lambda self: list)


class Odd(Plain):
    __bool__, __len__ = lambda self: self.value > 1, lambda self: self.value
    __iter__, __contains__ = lambda self: iter([1.0] * self.value), lambda self, x: x == self.value
    __eq__, __hash__ = lambda self, other: self.value == other, lambda self: hash(self.value)
    __lt__, __call__ = lambda self, other: self.value < float(other), lambda self: self.value
    __float__, __neg__ = lambda self: float(self.value), lambda self: -self.value
    __int__ = __index__ = __round__ = __call__
    __add__ = __radd__ = lambda self, other: self.value + other
    __rmul__, __abs__ = lambda self, other: self.value * other, lambda self: abs(self.value)
    __str__ = __repr__ = lambda self: "x" * self.value
    __format__ = __getitem__ = lambda self, i: "x" * self.value if isinstance(i, str) else self.value


def noon(hours):
    """The same moment in each time zone."""
    zone = datetime.timezone(datetime.timedelta(hours=hours))
    return datetime.datetime(2020, 1, 1, 12 + hours, tzinfo=zone)


def counted(n):
    return sum([1.0 for _ in range(n)], 0.0)


def while_below(n):
    total = 0.0
    while total < n:
        total += 1.0
    return total


def recursion(n):
    return 1.0 if n <= 0 else 1.0 + recursion(n - 1)


def loop_with_else(values):
    for value in values:
        if value > 2:
            break
    else:
        return 5.0
    return 2.0


def tried(value):
    try:
        if value > 2:
            raise ValueError
        found = 1.0
    except ValueError:
        found = 2.0
    finally:
        found = value * 1.0
    return found


def tail(pair):
    a, *rest = pair
    return float(a + len(rest))


def innermost(v):
    while isinstance(v, list):
        v = v[0]
    return v


def nested(v):
    for _ in range(200):
        v = [v]
    return v


def kinds(v):
    """A number for the type of a value, or of what is in it."""
    if isinstance(v, dict):
        v = [*v, *v.values()]
    items = sorted(v, key=repr) if isinstance(v, (set, frozenset)) else v
    items = list(items) if isinstance(items, (list, tuple)) else [items]
    return 1.0 + sum((k + 1) * NAMES.index(type(item).__name__) for k, item in enumerate(items))


def signs(v):
    """A number for the signs of the zeros in a value."""
    items = list(v.values()) if isinstance(v, dict) else list(v) if isinstance(v, (list, tuple)) else [v]
    return 1.0 + sum((k + 1) * (str(item).startswith("-")) for k, item in enumerate(items))
