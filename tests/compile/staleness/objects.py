"""Objects with special ways to hold or to give a value, for scenarios (scenario.py),
and functions that make a number of a value, so that a step can read it."""

import collections
import dataclasses
import enum
import functools
import sys
import threading
import types
from types import SimpleNamespace

from compile.staleness.judge import patch

NAN = float("nan")
NUMBERS = [float(n * n) for n in range(1, 17)]
Pair = collections.namedtuple("Pair", "first value")
Color, Level = enum.Enum("Color", "RED GREEN"), enum.IntEnum("Level", "ONE TWO")
Bits = enum.Flag("Bits", "A B")
Text, Number = type("Text", (str,), {"extra": 2.0}), type("Number", (float,), {"extra": 2.0})
Row, Bag = type("Row", (tuple,), {}), type("Bag", (dict,), {})


class Plain:
    def __init__(self, value=None):
        self.value = value


class Rich(Plain):
    """An object with methods and special methods that give its value."""

    def get(self):
        return self.value

    def __call__(self):
        return self.value

    def __enter__(self):
        return self.value

    def __exit__(self, *_):
        pass

    def __lt__(self, other):
        return self.value < other.value

    def __str__(self):
        return str(self.value)


class SubRich(Rich):
    def get(self):
        return super().get()


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


@dataclasses.dataclass
class Settings:
    value: object = None
    more: list = dataclasses.field(default_factory=lambda: [1.0, 2.0])


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: object = None


@dataclasses.dataclass(slots=True)
class SlottedSettings:
    value: float = 1.0


class Descriptor:
    def __init__(self, value):
        self.kept = value

    def __get__(self, owner, kind=None):
        return self.kept


class OddList(list):
    def __getitem__(self, i):
        return self.hidden


class Always(Rich):
    __eq__, __hash__ = lambda self, other: True, lambda self: 1


class Never(Rich):
    __eq__, __hash__ = lambda self, other: False, lambda self: 1


class Raises(Rich):
    def __eq__(self, other):
        raise RuntimeError("not to be compared")


class Odd(Plain):
    """An object whose special methods all use its number."""

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


class Renamed(Plain):
    """An attribute has another name, too."""

    names = {"size": "value"}  # noqa: RUF012

    def __getattribute__(self, name):
        names = super().__getattribute__("names")
        return super().__getattribute__(names.get(name, name))


class Counter:
    """Gives a new number in each way in which it is asked."""

    def __init__(self):
        self.calls = 0

    def __call__(self, *_):
        self.calls += 1
        return float(self.calls)

    def __iter__(self):
        return self

    def __len__(self):
        return int(self())

    __get__ = __getitem__ = __next__ = __call__
    value = property(__call__)


@dataclasses.dataclass
class Output(collections.OrderedDict):
    """A dict whose items are attributes, too, as libraries return them."""

    y: object = None
    more: object = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if self.__dict__.get(field.name) is not None:
                self[field.name] = getattr(self, field.name)


class Doubled(collections.namedtuple("Doubled", "first second")):
    def __new__(cls, x):
        return super().__new__(cls, x, 3.0)


def own(base=object, **attributes):
    """A new class with this base and these attributes."""
    return type("Own", (base,), attributes)


def given(x, **attributes):
    """x, after it got these attributes."""
    for name, value in attributes.items():
        setattr(x, name, value)
    return x


# --- modules and functions
def module(name="config", text="", **values):
    """A module of this source and these values."""
    made = types.ModuleType(name)
    vars(made).update(values)
    exec(text, vars(made))
    return made


def imported(name="staleness_config", **values):
    """A module that can be imported."""
    patch.item(sys.modules, name, module(name, **values))
    return sys.modules[name]


def variable(value):
    """A variable: a function that reads it, and one that sets it."""

    def get():
        return value

    def put(new):
        nonlocal value
        value = new

    return SimpleNamespace(get=get, put=put)


def once(value):
    return value * 1.0


def scaled(value, factor=2.0):
    return value * factor


def wrapping(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapped


def in_a_thread(function, *args):
    found = []
    thread = threading.Thread(target=lambda: found.append(function(*args)))
    thread.start()
    thread.join()
    return found[0]


# --- numbers from values
def looped(n):
    """By most statements of Python that decide what runs."""
    total = 0.0 if n <= 1 else looped(n - 1)
    while total < n:
        total += 1.0
        try:
            if total > 2:
                raise ValueError
        except ValueError:
            break
        finally:
            total += 0.5
    else:
        total -= 0.25
    return total


def innermost(v):
    while isinstance(v, list):
        v = v[0]
    return v


def kinds(v):
    """A number for the type of a value, or of what is in it."""
    names = ["bool", "int", "float", "str", "float64", "float32", "int64", "Level"]
    v = [*v, *v.values()] if isinstance(v, dict) else v
    items = sorted(v, key=repr) if isinstance(v, (set, frozenset)) else v
    items = list(items) if isinstance(items, (list, tuple)) else [items]
    return 1.0 + sum((k + 1) * names.index(type(item).__name__) for k, item in enumerate(items))


def signs(v):
    """A number for the signs of the zeros in a value."""
    items = list(v.values()) if isinstance(v, dict) else list(v) if isinstance(v, (list, tuple)) else [v]
    return 1.0 + sum((k + 1) * (str(item).startswith("-")) for k, item in enumerate(items))
