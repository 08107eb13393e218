"""Where a value is, its kind, how a step reads it, and how it is changed between calls.

`scenario(make, change, *reads)` (scenario.py): a step reads what `make` has made, and `change` alters it
between two calls. Compiled, each call must show the bits of the same calls run eagerly (judge.py). A step may
also run eagerly, with a warning, only where the read is marked by `eager(...)`. `own` makes a class with
these attributes, `given` sets attributes (objects.py).
"""
# ruff: noqa: B009, C416, C417, F821, RUF015, SIM401, UP030, UP032

import argparse
import builtins
import collections
import contextlib
import contextvars
import copy
import dataclasses
import datetime
import functools
import inspect
import itertools
import logging
import operator
import os
import string
import sys
import threading
import types
import weakref
from types import SimpleNamespace

import ranvier as rv
from compile.staleness.judge import patch
from compile.staleness.objects import (
    NAN,
    Color,
    Descriptor,
    Frozen,
    OddList,
    Output,
    Pair,
    Plain,
    Renamed,
    Rich,
    Settings,
    Slotted,
    SubRich,
    given,
    imported,
    module,
    own,
    variable,
    wrapping,
)
from compile.staleness.scenario import (
    EVERYWHERE,
    TWICE,
    alone,
    argument,
    eager,
    keyword,
    loss,
    puts,
    scenario,
    sets,
)
from ranvier import nn, optim

INF, ERRORS = float("inf"), (KeyError, AttributeError)
set_value, set_item = sets("value"), puts("value")


def default(v):
    return given(lambda v=v: v, __kwdefaults__=None)


def only_keyword(v):
    def o(*, v=v):
        return v

    return o


def by_getattr(v):
    """A module whose `__getattr__` reads a dict."""
    o, d = module(), {"value": v}
    o.__getattr__ = lambda name: d[name]
    return given(o, items=d)


def import_whole(o):
    import staleness_config

    return staleness_config.value


def import_name(o):
    from staleness_config import value

    return value


# --- four values of each kind, in each place one after the other, and the number that a step makes of one
KINDS = [
    ((2.0, 3.0, 2.0, -1.5), lambda v: v),
    (("relu", "tanh", "gelu", "relu"), lambda v: {"relu": 1.0, "tanh": 2.0, "gelu": 3.0}[v]),
    ((2, 3, 1000, 2), lambda v: v),
    ((True, False, True, False), lambda v: 2.0 if v else 0.5),
    ((None, 2.0, None, 3.0), lambda v: 1.0 if v is None else v),
    ((0.0, -0.0, 0.0, -0.0), lambda v: v),
    ((1.0, NAN, 2.0, NAN), lambda v: v),
    ((1, True, 1.0, True), lambda v: {bool: 2.0, int: 3.0, float: 4.0}[type(v)] * v),
    ((10**40, 10**40 + 1, 10**12, 10**12 + 1), lambda v: v % 1000 + 1.0),
    ((1.0, 1.0 + 2**-20, INF, 1.0 - 2**-20), lambda v: v),
    ((1j, 1 + 1j, 2 + 1j, 1j), lambda v: v.real + 1.0),
    ((b"a", b"b", b"cc", b"a"), lambda v: float(v[0] - 90)),
    (((1.0, 2.0), (1.0, 3.0), (2.0,), (1.0, 2.0)), lambda v: float(sum(v))),
    ((abs, float, lambda z: 2 * z, abs), lambda v: v(1.5)),
    ((range(2), range(3), range(0, 6, 2), range(2)), lambda v: float(sum(v))),
]
PLACES = [  # for each place: how the value is put there, how it is replaced, how a step reads it
    (lambda v: globals().update(G=v), lambda o, v: globals().update(G=v), lambda o: G),
    (variable, lambda o, v: o.put(v), lambda o: o.get()),
    (default, lambda o, v: setattr(o, "__defaults__", (v,)), lambda o: o()),
    (only_keyword, lambda o, v: o.__kwdefaults__.update(v=v), lambda o: o()),
    (lambda v: module(value=v), set_value, lambda o: o.value),
    (lambda v: imported(value=v), set_value, import_whole),
    (lambda v: imported(value=v), set_value, import_name),
    (Plain, set_value, lambda o: o.value),
    (lambda v: {"value": v}, set_item, lambda o: o["value"]),
    (lambda v: [1.0, v, 2.0], puts(1), lambda o: o[1]),
]
for make, change, read in PLACES:
    for four, use in KINDS:
        scenario(make, change, lambda o, read=read, use=use: use(read(o)), values=four)
scenario(by_getattr, lambda o, v: o.items.update(value=v), eager(lambda o: o.value))

# --- containers and objects, also as an argument, as a keyword, in a model, in the loss of a Trainer, alone


def with_item(o):
    try:
        return o["missing"]
    except KeyError:
        return o["value"]


def matched_item(o):
    match o:
        case {"value": w}:
            return w


def matched_settings(o):
    match o:
        case Settings(w, _):
            return w


def last_yielded(o):
    def all_of():
        yield from o

    return list(all_of())[-1]


def entered(o):
    with o as w:
        return w


everywhere = functools.partial(scenario, ways=EVERYWHERE)
everywhere(
    Plain,
    set_value,
    lambda o: o.value,
    lambda o: copy.copy(o).value,
    lambda o: float(f"{o.value:.2f}"),
    lambda o: 1.0 if o.value < 2.5 else 0.5,
    lambda o: datetime.timedelta(seconds=o.value).total_seconds(),
    lambda o: float(string.Template("$a").substitute(a=o.value)),
    eager(lambda o: vars(o)["value"]),
    eager(lambda o: o.__dict__["value"]),
    eager(lambda o: sum(vars(o).values())),
    eager(lambda o: getattr(o, "value"), loss),
    eager(lambda o: getattr(o, "".join(("val", "ue"))), loss),
    eager(lambda o: operator.attrgetter("value")(o)),
    eager(lambda o: eval("o.value", {"o": o})),
    eager(lambda o: float("{0.value}".format(o))),
    eager(lambda o: sum(1.0 for _ in range(int(o.value))), alone),
    eager(lambda o: float(max([o, Plain(2.5)], key=lambda p: p.value).value), alone),
)
everywhere(
    Rich,
    set_value,
    lambda o: o.get(),
    lambda o: o(),
    lambda o: float(str(o)),
    lambda o: sum(map(Rich.get, [o])),
    entered,
    eager(lambda o: sorted([Rich(2.5), o])[0].value, alone),
    eager(lambda o: operator.methodcaller("get")(o)),
)
everywhere(lambda v: Rich(v).get, lambda o, v: set_value(o.__self__, v), lambda o: o())
everywhere(
    lambda v: {"value": v},
    set_item,
    lambda o: o["value"],
    lambda o: o.get("value", 9.0),
    lambda o: list(o.values())[0],
    with_item,
    matched_item,
    lambda o: [w for k, w in o.items() if k == "value"][0],
    lambda o: (lambda value: value)(**o),
    lambda o: operator.itemgetter("value")(o),
)
everywhere(
    lambda v: {"a": {"b": [{"value": v}]}},
    lambda o, v: o["a"]["b"][0].update(value=v),
    lambda o: o["a"]["b"][0]["value"],
)
everywhere(
    lambda v: [1.0, v],
    puts(1),
    lambda o: o[-1],
    lambda o: (lambda a, b: b)(*o),
    lambda o: [w for w in o][-1],
    lambda o: o[1:2][0],
    lambda o: functools.reduce(lambda a, b: b, o),
    eager(lambda o: tuple(w for w in o)[-1], alone),
    eager(last_yielded, alone),
)
everywhere(lambda v: [1.0], lambda o, v: o.append(v), lambda o: float(len(o)), lambda o: max(o))
everywhere(lambda v: ([v],), lambda o, v: puts(0)(o[0], v), lambda o: o[0][0])
everywhere(
    lambda v: (lambda o: o.append(o) or o)([v]), puts(0), eager(lambda o: o[1][1][0], argument, keyword)
)
everywhere(
    Settings,
    set_value,
    lambda o: o.value,
    eager(lambda o: dataclasses.asdict(o)["value"]),
    eager(lambda o: dataclasses.astuple(o)[0]),
    eager(lambda o: dataclasses.replace(o).value, alone),
    eager(matched_settings),
    eager(lambda o: 2.0 if o == Settings(1.0) else 3.0 + o.value, alone),
    eager(lambda o: float(repr(o)[15:18]), loss),
)
everywhere(Settings, lambda o, v: o.more.append(v), lambda o: o.value + sum(copy.deepcopy(o).more))
everywhere(
    lambda v: SimpleNamespace(inner=SimpleNamespace(value=v)),
    lambda o, v: set_value(o.inner, v),
    lambda o: o.inner.value,
)
everywhere(lambda v: Slotted([v]), lambda o, v: puts(0)(o.value, v), lambda o: o.value[0])
everywhere(
    lambda v: own(dict, __getattr__=dict.__getitem__)(rate=v),
    puts("rate"),
    lambda o: o.rate,
    lambda o: o["rate"],
)
everywhere(
    lambda v: argparse.Namespace(rate=v), sets("rate"), lambda o: o.rate, eager(lambda o: vars(o)["rate"])
)
everywhere(
    Plain,
    set_value,
    eager(lambda o: getattr(rv, o.value)(rv.ones(1)), loss),
    values=("exp", "log1p", "exp", "log1p"),
)
everywhere(lambda v: {1.0}, lambda o, v: o.add(v), eager(lambda o: float(len(o)), loss))
everywhere(
    lambda v: functools.partial(functools.partial(lambda a, b: a * b, 2.0), b=v),
    lambda o, v: o.keywords.update(b=v),
    eager(lambda o: o(), loss),
)
everywhere(lambda v: rv.full((1,), v), lambda o, v: o.fill_(v), lambda o: o)


# --- attributes of objects and classes, and what stands for them
twice = functools.partial(scenario, ways=TWICE)


def derived(v):
    """An instance of a class whose base has the value."""
    return own(own(value=v, of_class=classmethod(lambda cls: cls.value)))()


def base_of(o):
    return type(o).__base__


class Meta(type):
    value = property(lambda cls: cls.hidden)


twice(lambda v: Plain(Plain(v)), lambda o, v: set_value(o.value, v), lambda o: o.value.value)
twice(lambda v: own(Plain, hidden=property(lambda self: self.value))(v), set_value, lambda o: o.hidden)
twice(
    lambda v: own(value=property(lambda self: v))(),
    lambda o, v: set_value(type(o), property(lambda self: v)),
    lambda o: o.value,
)
twice(
    lambda v: own(Plain, __getattribute__=lambda self, name: object.__getattribute__(self, "value"))(v),
    set_value,
    eager(lambda o: o.other),
)
twice(
    lambda v: own(value=Descriptor(v))(),
    lambda o, v: sets("kept")(vars(type(o))["value"], v),
    lambda o: o.value,
)
twice(
    derived,
    lambda o, v: set_value(base_of(o), v),
    lambda o: o.value,
    lambda o: type(o).value,
    lambda o: o.of_class(),
)
twice(derived, lambda o, v: set_value(type(o), v), lambda o: o.value)
twice(derived, set_value, lambda o: o.value)
twice(derived, lambda o, v: sets("__class__")(o, own(type(o), value=v)), lambda o: o.value)
twice(SubRich, set_value, lambda o: o.get())
twice(lambda v: Meta("K", (), {"hidden": v}), sets("hidden"), lambda o: o.value)
twice(lambda v: own(type, gain=v)("K", (), {}), lambda o, v: sets("gain")(type(o), v), lambda o: o.gain)
twice(Frozen, lambda o, v: vars(o).update(value=v), lambda o: o.value)
twice(
    Frozen,
    lambda o, v: vars(o).update(value=v),
    eager(lambda o: sum(getattr(o, f.name) for f in dataclasses.fields(o)), alone),
)
twice(lambda v: Plain(Pair(0, v)), lambda o, v: set_value(o, Pair(0, v)), lambda o: o.value.value)
twice(
    lambda v: [1.0, Plain(Color.RED), {Color.RED: v}],
    lambda o, v: (o[2].update({Color.GREEN: v, Color.RED: v}), set_value(o[1], Color.GREEN)),
    lambda o: o[2][o[1].value],
)
twice(
    lambda v: [{"a": v}, Plain("a")],
    lambda o, v: (o[0].update(b=v, a=v), set_value(o[1], "b")),
    lambda o: o[0][o[1].value],
)
for kind in (collections.UserDict, collections.Counter, own(dict)):
    twice(lambda v, kind=kind: kind(value=v), set_item, lambda o: o["value"])
twice(lambda v: collections.defaultdict(float, value=v), set_item, eager(lambda o: o["value"]))
twice(lambda v: collections.ChainMap({}, {"value": v}), set_item, lambda o: o["value"])
twice(lambda v: given(OddList([1.0]), hidden=v), sets("hidden"), lambda o: o[0])
twice(lambda v: own(Plain, __getitem__=lambda self, i: self.value)(v), set_value, lambda o: o[0])
twice(lambda v: given(Plain(v), which="value"), set_value, lambda o: getattr(o, o.which))
twice(
    lambda v: functools.partial(lambda value: value, value=v),
    lambda o, v: o.keywords.update(value=v),
    lambda o: o(),
)
twice(lambda v: Plain(lambda: v), lambda o, v: set_value(o, lambda: v), lambda o: o.value())
twice(
    lambda v: given(Plain(v), call=None),
    set_value,
    lambda o: wrapping(lambda: o.value)(),
    lambda o: next(iter(map(lambda _: o.value, [0]))),
)
twice(
    lambda v: given(Plain(), __dict__={"value": v}), lambda o, v: vars(o).update(value=v), lambda o: o.value
)
twice(
    lambda v: given(Plain(), __dict__={"value": v}),
    lambda o, v: sets("__dict__")(o, {"value": v}),
    lambda o: o.value,
)
twice(
    lambda v: patch(builtins, "staleness_value", v),
    lambda o, v: setattr(builtins, "staleness_value", v),
    lambda o: staleness_value,
)
twice(lambda v: patch(sys, "staleness_value", v), sets("staleness_value"), lambda o: sys.staleness_value)
twice(
    lambda v: contextvars.ContextVar("variable", default=v), lambda o, v: o.set(v), eager(lambda o: o.get())
)
for kind in (threading.local, own(threading.local)):
    twice(lambda v, kind=kind: given(kind(), value=v), set_value, eager(lambda o: o.value))
twice(lambda v: {"value": v}.get, lambda o, v: o.__self__.update(value=v), lambda o: o("value"))
twice(
    lambda v: (lambda o: [o, weakref.ref(o)])(Plain(v)),
    lambda o, v: set_value(o[0], v),
    eager(lambda o: o[1]().value),
)
twice(
    lambda v: patch.item(os.environ, "STALENESS", str(v)),
    lambda o, v: puts("STALENESS")(o, str(v)),
    lambda o: float(os.environ["STALENESS"]),
    lambda o: float(os.environ.get("STALENESS", "")),
    eager(lambda o: float(os.getenv("STALENESS", ""))),
)
# 1024 items are compared, more are not
twice(lambda v: [v] * 1024, lambda o, v: puts(int(v))(o, v), lambda o: sum(o))
twice(lambda v: [v] * 1025, puts(1020), eager(lambda o: o[1020]))
twice(lambda v: dict.fromkeys(range(1024), v), puts(7), lambda o: o[7])
twice(lambda v: dict.fromkeys(range(1025), v), puts(7), eager(lambda o: o[7]))
twice(
    lambda v: SimpleNamespace(**{f"v{k}": v for k in range(100)}),
    lambda o, v: setattr(o, f"v{30 * int(v) - 30}", 5.0 + v),
    eager(lambda o: sum(getattr(o, f"v{k}") for k in range(100)) / 100, alone),
)
# a value that comes back, and a branch that another value opens
twice(
    lambda v: SimpleNamespace(a=False, b=2.0),
    lambda o, v: (sets("a")(o, v != 3.0), sets("b")(o, v)),
    lambda o: (o.a and o.b) or 1.0,
)
# attributes of objects of the library and of Python that its classes do not have
for holder in (
    lambda: own(float)(1.0),
    lambda: nn.Parameter(rv.ones(3)),
    lambda: rv.compile(lambda x: x * 1.0),
):
    twice(lambda v, holder=holder: given(holder(), gain=v), sets("gain"), lambda o: o.gain)
twice(lambda v: given(rv.Generator(), gain=v), sets("gain"), eager(lambda o: o.gain))
twice(lambda v: given(optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1), gain=v), sets("gain"), lambda o: o.gain)
for holder in (rv.relu, nn.Linear):
    twice(lambda v, holder=holder: patch(holder, "gain", v), sets("gain"), lambda o: o.gain)
twice(lambda v: nn.Parameter(rv.ones(3)), lambda o, v: sets("sum")(o, lambda: v), lambda o: o.sum() * 1.0)
twice(
    lambda v: patch(logging.getLogger("ranvier.staleness"), "disabled", v),
    sets("disabled"),
    lambda o: 2.0 if o.disabled else 3.0,
    values=(False, True, False, True),
)
# by names that are made at run time, or by functions in C
look = object.__getattribute__
twice(
    lambda v: Plain(given(Plain(v), path=["value", "value"], taken=getattr)),
    lambda o, v: set_value(o.value, v),
    lambda o: functools.reduce(getattr, ["value", "value"], o),
    lambda o: getattr.__call__(o.value, "value"),
    lambda o: functools.reduce(getattr, o.value.path, o),
    lambda o: types.MethodType(getattr, o.value)("value"),
    lambda o: functools.partial(getattr, o.value)("value"),
    lambda o: [*map(getattr, [o.value], ["value"])][0],
    lambda o: [*itertools.starmap(getattr, [(o.value, "value")])][0],
    eager(lambda o: look(o.value, "value")),
    eager(lambda o: functools.reduce(look, ["value", "value"], o)),
    eager(lambda o: o.value.taken(o.value, "value")),
    eager(lambda o: operator.methodcaller("__getattribute__", "value")(o.value)),
    eager(lambda o: float(string.Formatter().format("{0.value}", o.value))),
)
twice(
    lambda v: functools.partial(getattr, Plain(v)),
    lambda o, v: set_value(o.args[0], v),
    eager(lambda o: o("value")),
    eager(lambda o: functools.partial(o)("value")),
)
twice(lambda v: operator.attrgetter("value.value"), None, eager(lambda o: o(Plain(Plain(2.0)))))
twice(
    lambda v: {"a": {"b": v}},
    lambda o, v: puts("b")(o["a"], v),
    lambda o: functools.reduce(operator.getitem, ["a", "b"], o),
    lambda o: operator.itemgetter("b")(o["a"]),
)
twice(
    Renamed,
    set_value,
    lambda o: o.size,
    lambda o: getattr(o, "val" + "ue"),
    lambda o: getattr(o, f"si{'ze'}"),
)
twice(
    lambda v: given(Renamed(v), other=5.0),
    lambda o, v: (sets("names")(o, {"size": "other"}), sets("other")(o, v)),
    lambda o: o.size,
)
twice(
    Plain,
    lambda o, v: vars(o).update(gain=v),
    eager(lambda o: o.__dict__["gain"] if "gain" in o.__dict__ else 1.0),
)
twice(
    Plain,
    set_value,
    eager(lambda o: Output(y=o.value, more=1.0).y, alone),
    eager(lambda o: Output(y=1.0, more=o.value)["more"], alone),
)
twice(
    lambda v: own(call=v),
    sets("call"),
    lambda o: float(len(inspect.signature(o.call).parameters)),
    lambda o: float(o.call.__code__.co_argcount),
    values=(lambda self: 1, lambda self, value: 1, lambda self, a, b=1: 1, lambda self: 1),
)
# what is not read
scenario(
    lambda v: SimpleNamespace(a=v, b=v), sets("b"), lambda o: o.a, lambda o: 1.0 if o.a else o.b, neutral=True
)
scenario(lambda v: dict.fromkeys(range(10), v), puts(4), lambda o: o[3], neutral=True)
scenario(lambda v: given(nn.Parameter(rv.ones(3)), a=v, b=v), sets("b"), lambda o: o.a, neutral=True)


# --- what is deleted, and put back at the second change: the step raises meanwhile
def removed(make, gone, back, read):
    twice(
        make,
        lambda o, v: back(o, v) if v in (1.0, 3.0) else gone(o),
        read,
        values=(1.0, 2.0, 3.0, 4.0),
        raises=True,
    )


def rich_again(v):
    return own(Rich, get2=Rich.get)(v)


removed(Plain, lambda o: delattr(o, "value"), set_value, lambda o: o.value)
removed(lambda v: {"value": v}, lambda o: o.pop("value"), set_item, lambda o: o["value"])
removed(lambda v: [v], lambda o: o.clear(), lambda o, v: o.append(v), lambda o: o[0])
removed(
    lambda v: globals().update(G=v),
    lambda o: globals().pop("G"),
    lambda o, v: globals().update(G=v),
    lambda o: G,
)
removed(
    rich_again,
    lambda o: delattr(type(o), "get2"),
    lambda o, v: sets("get2")(type(o), Rich.get),
    lambda o: o.get2(),
)
removed(lambda v: module(value=v), lambda o: delattr(o, "value"), set_value, lambda o: o.value)
removed(
    lambda v: imported(value=v),
    lambda o: sys.modules.pop("staleness_config"),
    lambda o, v: (set_value(o, v), puts("staleness_config")(sys.modules, o)),
    eager(import_whole, alone),
)


# --- an attribute that does not exist at first
def caught(o):
    try:
        return o.gain
    except AttributeError:
        return 1.0


def caught_bare(o):
    try:
        return o.gain
    except:  # noqa: E722
        return 1.0


def caught_listed(o):
    try:
        return o.gain
    except ERRORS:
        return 1.0


def suppressed(o):
    with contextlib.suppress(AttributeError):
        return o.gain
    return 1.0


def later(o, v):
    if v == 3.0:
        del o.gain
    else:
        o.gain = v


missing = (caught, lambda o: getattr(o, "gain", 1.0))
twice(lambda v: own()(), later, *missing, caught_bare, caught_listed, suppressed)
twice(lambda v: own()(), later, lambda o: o.gain if hasattr(o, "gain") else 1.0)
twice(lambda v: own()(), later, lambda o: getattr(o, "".join(("ga", "in")), 1.0))
for holder in (
    *(
        own,
        SimpleNamespace,
        own(__slots__=("gain",)),
        lambda: module("staleness_settings"),
        lambda: lambda: 1,
    ),
    *(lambda: nn.Linear(1, 1), lambda: nn.Parameter(rv.ones(1))),
):
    twice(lambda v, holder=holder: holder(), later, *missing)
twice(lambda v: threading.local(), later, *map(eager, missing))
twice(lambda v: own(__getattr__=lambda self, name: 1.0)(), later, lambda o: o.gain)
