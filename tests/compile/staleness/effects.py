"""Steps that read or change what is in none of their variables, that keep results, or have side effects.

`scenario(make, change, *reads)` (scenario.py): a step reads what `make` has made, and `change` alters it
between two calls. Compiled, each call must show the bits of the same calls run eagerly (judge.py). A step may
also run eagerly, with a warning, only where the read is marked by `eager(...)`, as all of `given_up` and
`source` are. `own` makes a class with these attributes, `given` sets attributes (objects.py). `small.train(x,
factor)` (small.py) updates a weight by a loss that has this factor.
"""
# ruff: noqa: B905, NPY002, RUF015, RUF021, UP031

import collections
import contextlib
import contextvars
import copy
import ctypes
import decimal
import functools
import io
import itertools
import json
import logging
import operator
import random
import re
import struct
import sys
import tempfile
import threading
import types
import weakref
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, patch
from compile.staleness.objects import NUMBERS, Counter, Odd, Plain, Rich, given, own
from compile.staleness.scenario import TWICE, eager, puts, scenario, sets
from compile.staleness.small import Own, Small
from ranvier import nn

set_value, twice = sets("value"), functools.partial(scenario, ways=TWICE)
ODD_EVEN = (1, 2, 3, 4)


# --- kinds and functions that are given up: the step runs eagerly
def given_up(make, change, *reads, **more):
    scenario(make, change, *map(eager, reads), **more)


def restored(get, set_):
    """Makes a scenario's value of a setting of the process, which gets its value back."""
    return lambda v: (lambda before: patch.after(lambda: set_(before)) or before)(get())


def undivided(v):
    np.seterr(divide="ignore")
    patch.after(lambda: np.seterr(divide="warn"))
    return np.float64(0.0)


def divided(o):
    try:
        return 2.0 if np.float64(1.0) / o > 1 else 3.0
    except FloatingPointError:
        return 1.0


def in_file(v):
    path = Path(tempfile.mkdtemp()) / "value"
    path.write_text(f"[{v}]")
    return path


def loaded(o):
    with open(o) as file:
        return json.load(file)[0]


context, seterr = decimal.getcontext(), lambda before: np.seterr(**before)
given_up(restored(lambda: context.prec, lambda before: sets("prec")(context, before)),
    lambda o, v: sets("prec")(context, int(v)), lambda o: float(decimal.Decimal(1) / 3),
    lambda o: float(decimal.getcontext().prec))  # fmt: skip
given_up(lambda v: Plain(),
    lambda o, v: given(o, kept=[getattr(o, "kept", 0), weakref.ref(o, lambda gone: None)]),
    lambda o: 1.0 + weakref.getweakrefcount(o))  # fmt: skip
given_up(lambda v: np.ones(3), lambda o, v: o.setflags(write=v % 2 == 1),
    lambda o: 2.0 if o.flags.writeable else 1.0)  # fmt: skip
given_up(restored(np.geterr, seterr), lambda o, v: np.seterr(divide="ignore" if v % 2 else "warn"),
    lambda o: 2.0 if np.geterr()["divide"] == "warn" else 1.0)  # fmt: skip
given_up(restored(np.get_printoptions, lambda before: np.set_printoptions(**before)),
    lambda o, v: np.set_printoptions(precision=int(v)), lambda o: float(np.get_printoptions()["precision"]),
    lambda o: float(len(str(np.array([1.0]) / 3))))  # fmt: skip
scenario(undivided, lambda o, v: np.seterr(divide="raise" if v == 2.0 else "ignore"), divided)  # fmt: skip
for view in (dict.values, dict.items, dict.keys):
    given_up(lambda v, view=view: (lambda d: [d, view(d)])({"a": v}),
        lambda o, v: o[0].update({"b" * int(v): v}), lambda o: float(len(o[1])),
        lambda o: float(len(str(list(o[1])))))  # fmt: skip
given_up(lambda v: types.MappingProxyType({"a": [v]}), lambda o, v: puts(0)(o["a"], v), lambda o: o["a"][0])
given_up(lambda v: collections.deque([Plain(v)]), lambda o, v: set_value(o[0], v), lambda o: o[0].value)
given_up(lambda v: collections.deque([v]), lambda o, v: o.appendleft(v), lambda o: o[0],
    lambda o: o.__getitem__(0))  # fmt: skip
for kind in (set, frozenset):
    scenario(lambda v, kind=kind: kind([Plain(v)]), lambda o, v: set_value(next(iter(o)), v),
        lambda o: next(iter(o)).value)  # fmt: skip
given_up(lambda v: collections.OrderedDict(a=1.0, bb=2.0), lambda o, v: o.move_to_end(next(iter(o))),
    lambda o: float(len(next(iter(o)))))  # fmt: skip
given_up(lambda v: (lambda c: c.set(v) and c)(contextvars.ContextVar("variable")), lambda o, v: o.set(v),
    lambda o: [*itertools.starmap(o.get, [()])][0], lambda o: own(__call__=o.get)()(),
    lambda o: float(np.vectorize(o.get)(5)))  # fmt: skip
given_up(in_file, lambda o, v: o.write_text(f"[{v}]"), lambda o: float(o.read_text()[1:-1]), loaded)
given_up(lambda v: Plain(f"[{v}]"), lambda o, v: set_value(o, f"[{v}]"), lambda o: json.loads(o.value)[0])
given_up(restored(sys.getrecursionlimit, sys.setrecursionlimit),
    lambda o, v: sys.setrecursionlimit(o + 1000 * int(v)), lambda o: sys.getrecursionlimit() / 1000,
    lambda o: functools.partial(sys.getrecursionlimit)() / 1000)  # fmt: skip
given_up(lambda v: Plain(), lambda o, v: set_value(o, [o] * 50 * int(v)),
    lambda o: float(sys.getrefcount(o) > 120) + 1.0)  # fmt: skip
given_up(lambda v: patch(threading.current_thread(), "_name", "main"),
    lambda o, v: sets("name")(o, "x" * int(v)),
    lambda o: float(len(threading.current_thread().name)))  # fmt: skip
given_up(lambda v: bytearray([1] * 2000), lambda o, v: puts(1500)(o, int(v)), lambda o: float(o[1500]),
    lambda o: float(o.__getitem__(1500)))  # fmt: skip
given_up(lambda v: bytearray(struct.pack("f", v)), lambda o, v: puts(slice(None))(o, struct.pack("f", v)),
    lambda o: struct.unpack("f", o)[0])  # fmt: skip
given_up(ctypes.c_float, set_value, lambda o: o.value)
given_up(lambda v: np.zeros(1, [("a", "f4")]), puts("a"), lambda o: float(o["a"][0]) + 1.0,
    lambda o: float(o[0]["a"]) + 2.0)  # fmt: skip
given_up(np.array, lambda o, v: o.fill(v), lambda o: float(o), lambda o: o.__float__())
given_up(lambda v: np.ones(3), lambda o, v: o.fill(v), lambda o: o[1].item(), lambda o: o.tolist()[1],
    lambda o: 2.0 if (o > 2.5).any() else 3.0, lambda o: (lambda a, b, c: float(a + b))(*o),
    lambda o: float(o[1:].base[0]), lambda o: float(sum(a for a in o)), lambda o: o.__getitem__(0) * 1.0,
    lambda o, x: x * len(o) * o)  # fmt: skip
given_up(lambda v: np.array([[v], None], object), lambda o, v: puts(0)(o[0], v), lambda o: float(o[0][0]))
given_up(lambda v: np.ones(1 << 18), lambda o, v: o.fill(v), lambda o: float(o[7]))
scenario(Plain, set_value, lambda o: 2.0 if o.value.match("ab") else 3.0,
    values=[re.compile(t) for t in ("a", "b", "ab", "b")])  # fmt: skip
given_up(Plain, lambda o, v: setattr(o, f"more{v}", 1), lambda o: float(len(vars(o))),
    lambda o: float(len(dir(o))))  # fmt: skip
given_up(Rich, set_value, lambda o: Rich.get.__get__(o)())
given_up(lambda v: lambda a=v: a, lambda o, v: sets("__defaults__")(o, (v,)), lambda o: o.__defaults__[0])
scenario(lambda v: lambda: 1.0, lambda o, v: sets("__code__")(o, v.__code__),
    lambda o: o.__code__.co_consts[-1],
    values=(lambda: 1.0, lambda: 2.0, lambda: 3.0, lambda: 4.0))  # fmt: skip
scenario(lambda v: types.ModuleType("made"), lambda o, v: sets("__class__")(o, own(types.ModuleType, k=v)),
    lambda o: getattr(o, "k", 1.0))  # fmt: skip
given_up(lambda v: nn.Parameter(rv.ones(1)), lambda o, v: o.detach().add_(1.0), lambda o: 1.0 + o._version)
scenario(lambda v: Odd(0), set_value, lambda o: operator.itemgetter(o)([1.0, 2.0, 3.0, 4.0, 5.0]),
    values=ODD_EVEN)  # fmt: skip
given_up(lambda v: nn.Parameter(rv.ones(3)), lambda o, v: o.data.fill_((-1.0) ** v),
    lambda o: 2.0 if "-" in repr(o) else 3.0)  # fmt: skip
scenario(lambda v: patch(sys, "argv", ["a"]), lambda o, v: sys.argv.append("b"),
    lambda o: float(len(sys.argv)))  # fmt: skip
scenario(lambda v: [SimpleNamespace(a=1.0), SimpleNamespace(a=1.0)], lambda o, v: sets("b")(o[0], v),
    lambda o: 2.0 if o[0] == o[1] else 3.0)  # fmt: skip
scenario(lambda v: patch.after(lambda: rv.manual_seed(7)), lambda o, v: rv.manual_seed(int(v)),
    lambda o, x: x + rv.randn(4, 3) * 0.1, eager(lambda o: 1.0 + rv.initial_seed()))  # fmt: skip


# --- each call gives another number: what a step draws from, and how
def source(make, *reads):
    scenario(make, None, *map(eager, reads), ways=TWICE)


def summing(v):
    total = 0.0
    while True:
        total += yield total


def counting(v):
    """A function that counts its calls in a variable around it."""
    calls = 0

    def o():
        nonlocal calls
        calls += 1
        return float(calls)

    return o


def by_global(o):
    global G
    G += 1
    return G


def by_attribute(o):
    o.value = getattr(o, "value", 0.0) + 1
    return o.value


def by_item(o):
    o["calls"] = o["calls"] + 1
    return float(o["calls"])


def by_length(o):
    o.append(1.0)
    return float(len(o))


def patched(kind, name):
    """A layer whose class has a method that counts its calls."""

    def make(v):
        calls, before, layer = [], getattr(kind, name), nn.Linear(3, 3)
        patch(kind, name, lambda self, x: (calls.append(1), before(self, x) * len(calls))[1])
        return layer

    return make


def reseeded(o, x):
    rv.manual_seed(3)
    return x + rv.randn(4, 3) * 0.1


G = 0.0
for make in (
    lambda v: iter(NUMBERS),
    lambda v: itertools.cycle([1.0, 2.0, 3.0]),
    lambda v: map(float, range(1, 30)),
    lambda v: (n for n in NUMBERS),
    lambda v: Counter(),
):
    source(make, lambda o: next(o), lambda o: [*zip("a", o)][0][1])
source(lambda v: iter(NUMBERS), lambda o: next(o, 9.0), lambda o: o.__next__())
source(lambda v: (lambda made: next(made) and 0 or made)(summing(v)), lambda o: o.send(1.0))
source(lambda v: Counter(), lambda o: o(), lambda o: o.value, lambda o: float(len(o)), lambda o: o[0],
    lambda o: 2.0 if o() % 5 == 0 else 3.0)  # fmt: skip
source(counting, lambda o: o())
source(lambda v: globals().update(G=0.0), by_global)
for make in (lambda v: lambda: 1, lambda v: own(), lambda v: Plain(0.0)):
    source(make, by_attribute)
source(lambda v: collections.Counter(), by_item)
source(lambda v: list(NUMBERS), lambda o: o.pop(), by_length)
source(lambda v: None, lambda o: random.random(), lambda o: random.choice(NUMBERS),
    lambda o: float(np.random.rand()), lambda o, x: x[rv.randperm(4)])  # fmt: skip
source(patched(nn.Linear, "forward"), lambda o, x: o(x))
source(patched(nn.Module, "__call__"), lambda o, x: o(x))
source(lambda v: (lambda calls: functools.lru_cache(1)(lambda k: calls.append(k) or float(len(calls))))([]),
    lambda o: o(G) + o(-G - 1))  # fmt: skip
source(lambda v: None, lambda o, x: x * (2.0 if x.sum() > 0 else 3.0), lambda o, x: x * float(len(str(x))),
    reseeded, lambda o, x: x * float(f"{x.mean()}".strip("tensor()") or 0))  # fmt: skip
scenario(lambda v: rv.float64, None, lambda o, x: x.to(o) + rv.finfo(x.dtype).eps,
    lambda o, x: x if x.dtype == o else -x,
    lambda o, x: x * rv.ones(3, dtype=rv.promote_types(x.dtype, rv.int64)))  # fmt: skip
scenario(lambda v: None, None, lambda o: 2.0 if rv.memory_stats() else 1.0,
    lambda o, x: x + rv.randn(4, 3) * 0.1)  # fmt: skip


# --- side effects on a keeper, beside a training step or in a module that is replayed by itself
class Keeper:
    """Everything that side effects may reach: numbers, containers, texts, a logger, a class."""

    shared = None

    def __init__(self, value=None):
        self.calls = self.called = 0
        self.items, self.table, self.text, self.last = [], {}, io.StringIO(), None
        self.inner, self.logger = SimpleNamespace(last=None), logging.Logger("a")
        self.logger.addHandler(logging.StreamHandler(self.text))
        patch(sys, "stdout", self.text)
        patch(Keeper, "shared", None)

    @property
    def watch(self):
        text, last = self.text.getvalue(), self.last() if callable(self.last) else self.last
        return [self.calls, self.called, self.items, self.table, text, last, self.inner, Keeper.shared]

    def clear(self, value):
        self.called = 0
        self.items.clear()
        self.table.clear()


def beside(run, k, act):
    """In a training step. act: of the keeper, the input and the step's results."""
    small = Small()

    def step(x):
        results = small.train(x, 1.5)
        act(k, x, results)
        return results

    return Case(run.compile(step), lambda: [small.watch, k])


def beside_alone(run, k, act):
    """In a module that is replayed by itself, without gradients."""

    def step(x):
        results = x.sum(), x * 2.0
        act(k, x, results)
        return results

    return Case(run.alone(Own(step)), lambda: k)


def with_stack(k, x, r):
    with contextlib.ExitStack() as stack:
        stack.callback(setattr, k, "called", 1)


def appends_once(k, x, r):
    if not k.items:
        k.items.append(1)


def counts(k, x, r):
    k.calls += 1


def stores(k, x, r):
    k.called = 1


def stores_an_item(k, x, r):
    k.table["called"] = 1


def stores_a_slice(k, x, r):
    k.items[:] = [1]


def notes(k, x, r):
    r[0].note = 1


def keeps_input(k, x, r):
    k.last = x


effects = functools.partial(scenario, Keeper, None, ways=(beside, beside_alone))
effects(*map(eager, (
    counts, lambda k, x, r: k.items.append(1.0),
    lambda k, x, r: k.table.update(n=len(k.table) + 1), lambda k, x, r: k.text.write("step "),
    lambda k, x, r: print("step", file=k.text, flush=True), lambda k, x, r: print("step"),
    lambda k, x, r: sys.stdout.write("step "), lambda k, x, r: k.logger.info("step %d", 1),
    lambda k, x, r: k.items.append(float(r[0])), lambda k, x, r: k.items.append(str(r[0])),
    lambda k, x, r: k.items.append(f"{r[0]:.3f}"), lambda k, x, r: k.items.append("%s" % r[0]),
    lambda k, x, r: k.items.append(tuple(x.shape)), keeps_input,
    lambda k, x, r: k.items.append(r[1].tolist()),
    lambda k, x, r: k.items.append(r[0].detach().numpy().copy()),
    lambda k, x, r: k.items.append(bool(r[0] > 0)), notes,
    lambda k, x, r: random.random(), lambda k, x, r: k.items.append(tuple(x[x > 0].shape)),
    lambda k, x, r: k.items.append(0.0 in r[1]), lambda k, x, r: k.items.append(len([*x])),
    lambda k, x, r: k.items.append(copy.deepcopy(r[1].detach())),
    lambda k, x, r: k.items.append(np.asarray(r[1].detach()).copy()),
    lambda k, x, r: k.items.append(rv.equal(x, x * 1.0)),
    lambda k, x, r: k.items.append(bool(rv.allclose(x, x * 1.0))),
)))  # fmt: skip
# what a step stores and does not read; the caller takes it away
scenario(Keeper, Keeper.clear, *map(eager, (
    stores, stores_an_item, stores_a_slice, lambda k, x, r: setattr(k, "called", 1),
    lambda k, x, r: vars(k).update(called=1), lambda k, x, r: object.__setattr__(k, "called", 1),
    lambda k, x, r: k.__setattr__("called", 1), lambda k, x, r: functools.partial(setattr, k)("called", 1),
    lambda k, x, r: any(map(setattr, [k], ["called"], [1])), with_stack, appends_once,
)), ways=(beside, beside_alone), neutral=True)  # fmt: skip


# --- what outlives the step: where it is kept, and what
def as_last(k, t):
    k.last = t


def in_inner(k, t):
    k.inner.last = t


def in_class(k, t):
    Keeper.shared = t


def in_table(k, t):
    k.table["last"] = t


def in_tuple(k, t):
    k.last = (t, 1)


def in_closure(k, t):
    k.last = lambda: t


def weakly(k, t):
    k.last = weakref.ref(t)


KEEPS = (as_last, lambda k, t: k.items.append(t), in_inner, in_class, in_table, in_tuple, in_closure, weakly)
TENSORS = (
    lambda x, r: x, lambda x, r: r[0].detach(), lambda x, r: r[1] * 2.0, lambda x, r: x[0],
    lambda x, r: r[0], lambda x, r: r[1][0], lambda x, r: rv.randn(2),
)  # fmt: skip
for keep in KEEPS:
    for tensor in TENSORS if keep in KEEPS[:2] else TENSORS[:3]:
        scenario(Keeper, None, eager(lambda k, x, r, keep=keep, tensor=tensor: keep(k, tensor(x, r))),
            ways=(beside,))  # fmt: skip
