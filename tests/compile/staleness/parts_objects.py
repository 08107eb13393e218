"""Classes and iterators that the texts of rows name, after `parts.py`: see there."""

import abc
import collections
import ctypes
import functools
import threading
import types
import typing

NUMBERS = [1.0, 2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0, 29.0, 31.0, 37.0, 41.0, 43.0, 47.0]


class Plain:
    def __init__(self, value=None):
        self.value = value


class Rich(Plain):
    def get(self):
        return self.value

    def times(self, factor):
        return self.value * factor

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


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value):
        self.value = value


class Empty:
    __slots__ = ("gain",)


class Base:
    factor = 1.0

    def call(self, value):
        return value * self.factor

    @staticmethod
    def static(value):
        return value * 1.0

    @classmethod
    def of_class(cls, value=1.0):
        return value * cls.factor

    def of_type(self):
        return type(self).value

    def __call__(self, value):
        return value * 1.0


class Derived(Base):
    pass


class Second:
    value = 2.0


class First:
    value = 1.0


class Heir(First):
    pass


class Super(Rich):
    def get(self):
        return super().get()


class Meta(type):
    @property
    def value(cls):
        return cls.hidden


class OfMeta(metaclass=Meta):
    hidden = None


class Computed:
    def __init__(self, value):
        self.hidden = value

    @property
    def value(self):
        return self.hidden


class Cached:
    @functools.cached_property
    def value(self):
        return self.source


class Fallen:
    def __init__(self, value):
        self.values = {"value": value}

    def __getattr__(self, name):
        return self.__dict__["values"][name]


class Fallback:
    def __getattr__(self, name):
        return {"gain": 1.0}[name]


class FallbackAfterSlot(Fallback):
    __slots__ = ("gain",)


class Hidden:
    def __getattribute__(self, name):
        return object.__getattribute__(self, "hidden_" + name)


class Descriptor:
    def __init__(self, value):
        self.kept = value

    def __get__(self, owner, kind=None):
        return self.kept


class DataDescriptor(Descriptor):
    def __set__(self, owner, value):
        raise AttributeError


class OddList(list):
    def __getitem__(self, i):
        return self.hidden


class OddItem:
    def __getitem__(self, i):
        return self.hidden


class AttributeDict(dict):
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        self[name] = value


class Tree:
    """Nested settings by attribute or item, over a dict of dicts."""

    def __init__(self, content):
        self._content = content

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name):
        value = self._content[name]
        return Tree(value) if isinstance(value, dict) else value


class Options(collections.abc.Mapping):
    def __init__(self, **content):
        self._content = content

    def __getitem__(self, name):
        return self._content[name]

    def __iter__(self):
        return iter(self._content)

    def __len__(self):
        return len(self._content)


class Singleton:
    _one = None
    value = 1.0

    def __new__(cls):
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one


class Borg:
    _shared: typing.ClassVar[dict] = {"value": 1.0}

    def __init__(self):
        self.__dict__ = self._shared


class Struct(ctypes.Structure):
    _fields_ = (("value", ctypes.c_float),)


class OfThread(threading.local):
    value = 1.0


class Index:
    at = 0

    def __index__(self):
        return self.at


class OfSuper(Base):
    def kept(self):
        return super()

    def f(self, items):
        return items[0]


class CountedModule(types.ModuleType):
    @property
    def k(self):
        return 2.0


class Maker:
    factor = 2.0

    def __init__(self, more=0.0):
        self.value = self.factor + more


class Abstract(abc.ABC):  # noqa: B024
    pass


# --- iterators and counters


def forever():
    while True:
        yield from NUMBERS


def summing():
    total = 0.0
    while True:
        total += yield total


def started(iterator):
    next(iterator)
    return iterator


def first(iterator):
    for value in iterator:
        return value
    return 0.0


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


class Wheel:
    value = Counter()
