"""Functions, methods, classes and modules that are rebound or patched, or get new code or defaults.

`scenario(make, change, *reads)` (scenario.py): a step reads what `make` has made, and `change` alters it
between two calls. Compiled, each call must show the bits of the same calls run eagerly (judge.py). A step may
also run eagerly, with a warning, only where the read is marked by `eager(...)`. `both_ways` makes two
scenarios of each read: in a training step (`trained`), and in a module called without gradients (`alone`).

From objects.py: `once(value)` is value * 1.0, and `scaled(value, factor=2.0)` is value * factor. `Plain(v)`
has v in its attribute `value`; so has `Rich(v)`, whose method `get` returns it, as a call of the object does.
`own(base, **attributes)` makes a class with these attributes, `given` sets attributes.
"""

import abc
import builtins
import collections
import copy
import enum
import functools
import importlib
import math
import re
import string
import sys
import types
import typing
from types import SimpleNamespace

import numpy as np
import ranvier as rv
import ranvier.nn.functional as F
from compile.staleness.judge import patch
from compile.staleness.objects import Plain, Rich, given, imported, module, once, own, scaled
from compile.staleness.scenario import TWICE, alone, eager, puts, scenario, sets
from ranvier import nn, ops

CHOICE = None  # a global variable that steps read; `choose` sets it
FUNCTIONS = (once, lambda value: value * 2.0, lambda value: value * 3.0, once)
set_value, both_ways = sets("value"), functools.partial(scenario, ways=TWICE)


def choose(v):
    """Sets the global variable CHOICE. As a `make` it gives None: the step reads CHOICE, not an object."""
    globals().update(CHOICE=v)


def sets_on_class(name, becomes, class_of=type):
    """A change: class_of(o), else the class of o, gets becomes(v) as its attribute of this name."""
    return lambda o, v: setattr(class_of(o), name, becomes(v))


# --- functions
def with_defaults(v):
    def o(value, *, factor=2.0, factors=[2.0]):  # noqa: B006
        return value * factor * factors[-1]

    return o


def closure(factor):
    return lambda value: value * factor


def late_variable(v):
    """A function that reads a variable which has no value at first, and one that gives it one."""

    def read():
        try:
            return factor
        except NameError:
            return 1.0

    def bind(value):
        nonlocal factor
        factor = value

    if False:
        factor = 0.0
    return SimpleNamespace(read=read, bind=bind)


def copied(function):
    """A new function of the same code."""
    return types.FunctionType(function.__code__, globals(), "copied", function.__defaults__)


def cached(v):
    choose(v)
    return functools.lru_cache(lambda key: CHOICE)


def of_namespace(v):
    """A function whose built-in names are those of a dict."""
    space = {"__builtins__": {"rate": v}}
    exec("def o(): return rate", space)
    return space["o"]


def partial_with_rate(v):
    """partial(scaled, factor=2.0) that also has an attribute `rate`."""
    return given(functools.partial(scaled, factor=2.0), rate=v)


def reads_choice(kind):
    """Makes a property, a static method or a class method of a function that reads CHOICE."""

    def make(v):
        choose(v)
        return kind(lambda *_: CHOICE)

    return make


both_ways(choose, lambda o, v: choose(v), lambda o: CHOICE(1.5), values=FUNCTIONS)
both_ways(copied, lambda o, v: sets("__code__")(o, v.__code__), lambda o: o(1.5), values=FUNCTIONS)
both_ways(lambda v: copied(scaled), lambda o, v: sets("__defaults__")(o, (v,)), lambda o: o(1.5))
both_ways(
    with_defaults, lambda o, v: sets("__kwdefaults__")(o, {"factor": v, "factors": [2.0]}), lambda o: o(1.5)
)
both_ways(closure, lambda o, v: sets("cell_contents")(o.__closure__[0], v), lambda o: o(1.5))
both_ways(late_variable, lambda o, v: o.bind(v), lambda o: o.read())
both_ways(
    lambda v: [once],
    puts(0),
    lambda o: o[0](1.5),
    lambda o: functools.reduce(lambda a, f: f(a), o, 2.0),
    values=FUNCTIONS,
)
both_ways(of_namespace, lambda o, v: puts("rate")(o.__builtins__, v), eager(lambda o: o()))
both_ways(cached, lambda o, v: (choose(v), o.cache_clear()), eager(lambda o: o("key")))
both_ways(
    lambda v: functools.singledispatch(lambda value: 1.0),
    lambda o, v: o.register(float, lambda value: v),
    eager(lambda o: o(1.5)),
)
# a partial's __setstate__ gets (function, arguments, keywords, attributes): new attributes, then the old ones
both_ways(
    partial_with_rate,
    lambda o, v: o.__setstate__((scaled, (), {"factor": v}, {"rate": v})),
    lambda o: o(1.5),
    lambda o: o.rate,
)
both_ways(
    partial_with_rate, lambda o, v: o.__setstate__((scaled, (), {"factor": v}, vars(o))), lambda o: o(1.5)
)
both_ways(lambda v: functools.partial(Rich.get, Rich(v)), lambda o, v: set_value(o.args[0], v), lambda o: o())
both_ways(reads_choice(property), lambda o, v: choose(v), lambda o: o.fget(None))
both_ways(reads_choice(staticmethod), lambda o, v: choose(v), lambda o: o())
both_ways(reads_choice(classmethod), lambda o, v: choose(v), lambda o: o.__func__(None))


# --- names of modules and built-in ones
def hides_abs(v):
    """Hides the built-in abs by a global variable. There is no object."""
    patch.item(globals(), "abs", v)


def changes_abs(o, v):
    """Sets this variable; None: deletes it, and the step finds the built-in function again."""
    if v is None:
        del globals()["abs"]
    else:
        globals()["abs"] = v


both_ways(
    lambda v: 2.5,
    lambda o, v: patch(builtins, "pow", v),
    lambda o: pow(o, 1.5),
    values=(pow, min, max, math.atan2),
)
both_ways(
    lambda v: None,
    lambda o, v: patch.item(globals(), "max", v),
    lambda o: max([1.0, 2.5]),
    values=(max, min, sum, len),
)
both_ways(
    hides_abs, changes_abs, lambda o: abs(-1.5), values=(lambda v: 3.0, None, lambda v: 4.0, lambda v: 5.0)
)
both_ways(
    lambda v: module("tools", "FACTOR = 2.0\ndef call(value): return value * FACTOR"),
    sets("FACTOR"),
    lambda o: o.call(1.5),
)
both_ways(
    lambda v: imported("staleness_a", value=v),
    set_value,
    eager(lambda o: importlib.import_module("staleness_" + "aa"[:1]).value),
    eager(lambda o: sys.modules["staleness_" + "aa"[:1]].value),
)
leaky, of_layer = ops.leaky_relu, importlib.import_module("ranvier.nn.linear")
both_ways(
    lambda v: nn.LeakyReLU(0.1),
    lambda o, v: patch(F, "leaky_relu", lambda x, *_, **__: leaky(x, 0.1 * v)),
    lambda o, x: o(x),
)
both_ways(
    lambda v: nn.Linear(3, 3),
    lambda o, v: patch(of_layer, "F", SimpleNamespace(linear=lambda *args: ops.linear(*args) * v)),
    eager(lambda o, x: o(x)),
)
both_ways(
    lambda v: nn.Linear(3, 3),
    lambda o, v: patch(F, "linear", lambda *args: ops.linear(*args) * v),
    lambda o, x: o(x),
)
both_ways(
    lambda v: nn.L1Loss(),
    lambda o, v: patch(F, "l1_loss", lambda x, y, reduction: ops.l1(x, y) * v),
    lambda o, x: o(x, x + 1.0),
)
both_ways(
    lambda v: nn.PixelShuffle(1),
    lambda o, v: patch(F, "pixel_shuffle", lambda x, *_: x * v),
    lambda o, x: o(x.reshape(1, 1, 1, -1)).reshape(x.shape),
)


# --- classes that a step makes, and what it makes of them
def made_class(o):
    class Local:
        factor = o.value

    return Local.factor


def made_function(o):
    def local(factor=o.value):
        return factor + o.value

    return local()


class Maker:
    factor = 2.0

    def __init__(self, more=0.0):
        self.value = self.factor + more


both_ways(
    Plain,
    set_value,
    lambda o: float(np.sqrt(o.value)),
    made_function,
    eager(made_class, alone),
    eager(lambda o: Maker(o.value).value, alone),
)
both_ways(lambda v: own(Maker), sets("factor"), eager(lambda o: o().value, alone))
both_ways(
    lambda v: own(Maker),
    lambda o, v: sets("__init__")(o, lambda self: set_value(self, v)),
    eager(lambda o: o().value),
)


# --- methods and attributes of classes: of an instance, its class or the base of that
class Base:
    factor, call = 1.0, lambda self, value: value * self.factor
    static = staticmethod(lambda value: value)
    of_class = classmethod(lambda cls, value=1.0: value * cls.factor)
    kept, __call__ = lambda self: super(), lambda self, value: value * 1.0


def instance(v):
    """Of a class whose base's base is Base."""
    return own(own(Base))()


for name, becomes, read in (  # what this attribute of the class or of its base becomes, and how it is read
    ("call", lambda v: lambda self, value: value * v, lambda o: o.call(1.5)),
    ("static", lambda v: staticmethod(lambda value: value * v), lambda o: o.static(1.5)),
    ("of_class", lambda v: classmethod(lambda cls, value: value * v), lambda o: o.of_class(1.5)),
    ("__call__", lambda v: lambda self, value: value * v, lambda o: o(1.5)),
    ("factor", lambda v: v, lambda o: o.call(1.5)),
    ("factor", lambda v: property(lambda self: v), lambda o: o.call(1.5)),
):
    both_ways(instance, sets_on_class(name, becomes), read)
    both_ways(instance, sets_on_class(name, becomes, lambda o: type(o).__base__), read)
both_ways(instance, lambda o, v: sets("call")(o, lambda value: value * v), lambda o: o.call(1.5))
both_ways(
    instance,
    lambda o, v: sets("call")(o, types.MethodType(lambda self, value: value * v, o)),
    lambda o: o.call(1.5),
)
both_ways(lambda v: instance(v).call, lambda o, v: sets("factor")(o.__self__, v), lambda o: o(1.5))
both_ways(lambda v: Plain(Rich(v)), lambda o, v: set_value(o, Rich(v)), lambda o: o.value())
First, Second = own(value=1.0), own(value=2.0)
both_ways(
    lambda v: own(v)(),
    lambda o, v: sets("__bases__")(type(o), (v,)),
    lambda o: o.value,
    lambda o: 1.0 + isinstance(o, Second),
    lambda o: 1.0 + issubclass(type(o), Second),
    values=(First, Second, First, Second),
)
Empty, Other = own(__slots__=()), own(__slots__=())  # which differ in nothing else
both_ways(
    lambda v: own(v)(),
    lambda o, v: sets("__bases__")(type(o), (v,)),
    lambda o: 1.0 + isinstance(o, Other),
    values=(Empty, Other, Empty, Other),
)
for name, becomes, read in (  # what this attribute of the class becomes, and how it is read
    ("value", lambda v: property(lambda self: v), lambda o: o.value),
    ("__getattr__", lambda v: lambda self, name: v, lambda o: getattr(o, "more", 1.0)),
    ("__getattribute__", lambda v: lambda self, name: v, eager(lambda o: o.value)),
    ("__bool__", lambda v: lambda self: v % 2 == 0, lambda o: 2.0 if o else 3.0),
    ("__len__", lambda v: lambda self: int(v % 2), lambda o: 2.0 if o else 3.0),
    ("__eq__", lambda v: lambda self, other: v % 2 == 0, lambda o: 2.0 if o == 1 else 3.0),
):
    both_ways(lambda v: own(Plain)(v), sets_on_class(name, becomes), read)


# --- special methods that a class gets later
def remainder(o):
    k = o()
    k %= 1
    return k


def deleted(o):
    k = o()
    k.value = 2.0
    del k.value
    return k.value


def before(**attributes):
    """Makes a class whose base has these attributes, before it gets its method."""
    return lambda v: own(own(**attributes))


for make, name, becomes, read in (  # for the new method: its name, what it is, how a step uses it
    (before(__float__=lambda s: 2.5), "__floor__", lambda v: lambda s: 4 + int(v), lambda o: math.floor(o())),
    (before(value=1.0), "__copy__", lambda v: lambda s: Plain(v), lambda o: copy.copy(o()).value),
    (before(value=1.0), "__deepcopy__", lambda v: lambda *_: Plain(v), lambda o: copy.deepcopy(o()).value),
    (before(__mod__=lambda *_: 2.0), "__imod__", lambda v: lambda *_: 4.0 + v, remainder),
    (
        before(__rshift__=lambda *_: 2.0),
        "__rrshift__",
        lambda v: lambda *_: 4.0 + v,
        lambda o: o.__base__() >> o(),
    ),
    (
        before(__iter__=lambda s: iter([2])),
        "__bytes__",
        lambda v: lambda s: bytes([4 + int(v)]),
        lambda o: float(bytes(o())[0]),
    ),
    (before(value=1.0), "__delattr__", lambda v: lambda *_: None, deleted),
):
    # not both ways: a module that is called without gradients is not replayed if it makes such objects
    scenario(make, sets_on_class(name, becomes, class_of=lambda o: o), read)


# --- methods that call those of the bases by super()
def family(v):
    """An instance of a class whose methods, class methods and properties call those of its bases."""

    class Top:
        gain, method = 2.0, lambda self: self.gain
        of_class, value = classmethod(lambda cls: cls.gain), property(lambda self: self.gain)

    class Last(own(Top), own(Top)):
        gain = 3.0

        def method(self):
            return super().method() * super().gain

        @classmethod
        def of_class(cls):
            return super().of_class() + 1

        @property
        def value(self):
            return super().value * super().gain

    return Last()


for base in (1, 2, 3):  # in the order in which methods are looked up: the two bases of Last, then Top
    for name, becomes in (
        ("method", lambda v: lambda self: 4.0 + v),
        ("of_class", lambda v: classmethod(lambda cls: 4.0 + v)),
        ("value", lambda v: property(lambda self: 4.0 + v)),
    ):
        both_ways(
            family,
            sets_on_class(name, becomes, lambda o, base=base: type(o).__mro__[base]),
            lambda o: o.method() + o.of_class() + o.value,
        )


# --- what Python itself keeps of classes
def of_registered(v):
    return SimpleNamespace(own=own(), kind=abc.ABCMeta("M", (), {}))


def is_instance(o):
    match o.own():
        case o.kind():
            return 2.0
    return 1.0


def by_value(o):
    try:
        return o(5.0).value
    except ValueError:
        return 3.0


@typing.runtime_checkable
class HasMore(typing.Protocol):
    more: float


def rates(v):
    return enum.Enum("Rate", {"LOW": 1.0, "HIGH": 2.0})


both_ways(
    of_registered,
    lambda o, v: o.kind.register(o.own),
    is_instance,
    lambda o: 2.0 if isinstance(o.own(), o.kind) else 1.0,
)
both_ways(Plain, lambda o, v: vars(o).update(more=1), eager(lambda o: 2.0 if isinstance(o, HasMore) else 3.0))
both_ways(
    lambda v: collections.namedtuple("Pair", "a b", defaults=(1.0, v)),
    lambda o, v: sets("__defaults__")(o.__new__, (1.0, v)),
    lambda o: o().b,
)
both_ways(
    rates, lambda o, v: puts("LOW")(o._member_map_, o.HIGH if v == 2.0 else o(1.0)), lambda o: o["LOW"].value
)
both_ways(
    rates,
    lambda o, v: puts(1.0)(o._value2member_map_, o.HIGH if v == 2.0 else o["LOW"]),
    lambda o: o(1.0).value,
)
both_ways(
    rates,
    lambda o, v: sets("_missing_")(o, classmethod(lambda kind, value: kind.LOW if v == 2.0 else kind.HIGH)),
    by_value,
)
both_ways(
    lambda v: own(__annotations__={}),
    lambda o, v: puts(f"v{v}")(o.__annotations__, int),
    eager(lambda o: 1.0 + len(typing.get_type_hints(o))),
)
both_ways(
    lambda v: copied(once),
    lambda o, v: (sets("__name__")(o, v), sets("__doc__")(o, v)),
    lambda o: float(len(o.__name__)),
    lambda o: float(len(o.__doc__ or "")),
    values=("a", "aa", "aaa", "aaaa"),
)


# --- settings of layers that are attributes of their classes
def of_class(kind, name):
    """Makes a layer whose class has its setting; the layer itself has none."""

    def make(v):
        layer = own(kind, **{name: 0.1 * v})()
        vars(layer).pop(name, None)
        return layer

    return make


def is_filled(o):
    """2.0 if the template finds the name `a` in its text "$a", else 1.0."""
    return 1.0 + (o.safe_substitute(a="") == "")


def sets_first_letters(o, first):
    """The class of the template finds only names that begin with these letters, by another pattern."""
    type(o).pattern = re.compile(string.Template.pattern.pattern.replace("[_a-z]", first))


both_ways(
    of_class(nn.LeakyReLU, "negative_slope"),
    sets_on_class("negative_slope", lambda v: 0.1 * v),
    lambda o, x: o(x),
)
both_ways(
    of_class(nn.HuberLoss, "delta"),
    sets_on_class("delta", lambda v: 0.1 * v),
    lambda o, x: x * o(x, rv.zeros(4, 3)),
)
slope = property(lambda self: CHOICE, lambda self, value: choose(value))
both_ways(
    lambda v: own(nn.LeakyReLU, negative_slope=slope)(), lambda o, v: choose(0.1 * v), lambda o, x: o(x)
)
both_ways(
    lambda v: nn.LeakyReLU(0.1),
    sets("__class__"),
    lambda o, x: o(x),
    values=(nn.LeakyReLU, nn.ReLU, nn.LeakyReLU, nn.ReLU),
)
both_ways(
    lambda v: own(string.Template)("$a"), sets_first_letters, is_filled, values=("[_a-z]", "z", "[_a-z]", "z")
)
# --- what is not read: its change has no effect, and replays after it run no Python (test_staleness.py)
scenario(
    lambda v: given(Plain(once), other=v),
    sets("other"),
    lambda o: o.value(1.5),
    values=FUNCTIONS,
    neutral=True,
)
