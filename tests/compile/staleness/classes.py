"""Classes and iterators that rows name, after `names.py`: see there."""
# ruff: noqa: F821

import types
import typing


class Plain:
    def __init__(self, value=None):
        self.value = value


class Rich(Plain):
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

    def kept(self):
        return super()

    def __call__(self, value):
        return value * 1.0


class Derived(Base):
    def kept(self):
        return super()


Second, First = type("Second", (), {"value": 2.0}), type("First", (), {"value": 1.0})
Heir = type("Heir", (First,), {})


class Meta(type):
    value = property(lambda cls: cls.hidden)


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


class Renamed(Plain):
    """An attribute has another name, too."""

    names = {"size": "value"}  # noqa: RUF012

    def __getattribute__(self, name):
        names = super().__getattribute__("names")
        return super().__getattribute__(names.get(name, name))


class Maker:
    factor = 2.0

    def __init__(self, more=0.0):
        self.value = self.factor + more


@typing.runtime_checkable
class HasMore(typing.Protocol):
    more: float


def family():
    """Classes whose methods, class methods and properties call those of their bases."""

    class Top:
        gain = 2.0
        method = lambda self: self.gain  # noqa: E731
        of_class = classmethod(lambda cls: cls.gain)
        value = property(lambda self: self.gain)

    Middle, Other = type("Middle", (Top,), {}), type("Other", (Top,), {})

    class Last(Middle, Other):
        gain = 3.0

        def method(self):
            return super().method() * super().gain

        @classmethod
        def of_class(cls):
            return super().of_class() + 1

        @property
        def value(self):
            return super().value * super().gain

    return Top, Middle, Other, Last


# --- learners


class Learner(Small):
    """A step that is a method, and an object that can be called."""

    factor = 1.0

    def step(self, x):
        return self.train(x, self.factor)

    __call__ = step


def learner_of(decorate):
    return type("Decorated", (Learner,), {"step": decorate(Learner.step)})


class Constructed(Learner):
    def __init__(self, compile_step):
        super().__init__()
        self.step = compile_step(self.step)


# --- iterators and counters


def forever():
    while True:
        yield from NUMBERS


def summing():
    total = 0.0
    while True:
        total += yield total


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


class Keeper:
    shared = last = None

    def __init__(self):
        self.items, self.table, self.inner = [], {}, types.SimpleNamespace(last=None)


# --- values


Text, Number = type("Text", (str,), {"extra": 2.0}), type("Number", (float,), {"extra": 2.0})


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
