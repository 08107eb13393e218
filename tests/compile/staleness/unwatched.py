"""Steps that read what is in none of their variables, or what gives another number each time it is asked.

`scenario(make, change, *reads)` (scenario.py): a step reads what `make` has made, and `change` alters it
between two calls. Compiled, each call must show the bits of the same calls run eagerly (judge.py). A step may
also run eagerly, with a warning, only where the read is marked by `eager(...)`, as all of `given_up` and
`source` are. From objects.py: `Plain(v)` and `Rich(v)` have v in their attribute `value`, `own` makes a class
with these attributes, `Counter` gives a new number in each way in which it is asked, `Odd` has special
methods that all use its number, and `NUMBERS` are squares.
"""
# ruff: noqa: B905, NPY002, RUF015

import collections
import contextvars
import ctypes
import decimal
import functools
import itertools
import json
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
from compile.staleness.judge import patch
from compile.staleness.objects import NUMBERS, Counter, Odd, Plain, Rich, own
from compile.staleness.scenario import TWICE, eager, puts, scenario, sets
from ranvier import nn

set_value = sets("value")


# --- given up: a step that reads these may run eagerly
def given_up(make, change, *reads):
    """Scenarios of reads that are all marked by `eager`."""
    scenario(make, change, *map(eager, reads))


def restored(get, set_):
    """Makes a setting of the process the object, and sets it back after the run."""

    def make(v):
        before = get()
        patch.after(lambda: set_(before))
        return before

    return make


def in_file(v):
    path = Path(tempfile.mkdtemp()) / "value"
    path.write_text(f"[{v}]")
    return path


def loaded(o):
    with open(o) as file:
        return json.load(file)[0]


def refers_weakly(o, v):
    """One more weak reference to o."""
    o.kept = [getattr(o, "kept", 0), weakref.ref(o, lambda gone: None)]


def viewed(view):
    """Makes a dict and a view of it."""

    def make(v):
        table = {"a": v}
        return [table, view(table)]

    return make


def context_variable(v):
    variable = contextvars.ContextVar("variable")
    variable.set(v)
    return variable


def of_three(a, b, c):
    """For a step that unpacks an array as arguments."""
    return float(a + b)


context = decimal.getcontext()
given_up(
    restored(lambda: context.prec, lambda before: sets("prec")(context, before)),
    lambda o, v: sets("prec")(context, int(v)),
    lambda o: float(decimal.Decimal(1) / 3),
    lambda o: float(decimal.getcontext().prec),
)
given_up(lambda v: Plain(), refers_weakly, lambda o: 1.0 + weakref.getweakrefcount(o))
given_up(
    lambda v: np.ones(3),
    lambda o, v: o.setflags(write=v % 2 == 1),
    lambda o: 2.0 if o.flags.writeable else 1.0,
)
given_up(
    restored(np.geterr, lambda before: np.seterr(**before)),
    lambda o, v: np.seterr(divide="ignore" if v % 2 else "warn"),
    lambda o: 2.0 if np.geterr()["divide"] == "warn" else 1.0,
)
given_up(
    restored(np.get_printoptions, lambda before: np.set_printoptions(**before)),
    lambda o, v: np.set_printoptions(precision=int(v)),
    lambda o: float(np.get_printoptions()["precision"]),
    lambda o: float(len(str(np.array([1.0]) / 3))),
)
for view in (dict.values, dict.items, dict.keys):
    given_up(
        viewed(view),
        lambda o, v: o[0].update({"b" * int(v): v}),
        lambda o: float(len(o[1])),
        lambda o: float(len(str(list(o[1])))),
    )
given_up(lambda v: types.MappingProxyType({"a": [v]}), lambda o, v: puts(0)(o["a"], v), lambda o: o["a"][0])
given_up(lambda v: collections.deque([Plain(v)]), lambda o, v: set_value(o[0], v), lambda o: o[0].value)
given_up(
    lambda v: collections.deque([v]), lambda o, v: o.appendleft(v), lambda o: o[0], lambda o: o.__getitem__(0)
)
given_up(
    lambda v: collections.OrderedDict(a=1.0, bb=2.0),
    lambda o, v: o.move_to_end(next(iter(o))),
    lambda o: float(len(next(iter(o)))),
)
# the method `get` of the variable is called by others: by itertools, as __call__ of an object, by NumPy
given_up(
    context_variable,
    lambda o, v: o.set(v),
    lambda o: [*itertools.starmap(o.get, [()])][0],
    lambda o: own(__call__=o.get)()(),
    lambda o: float(np.vectorize(o.get)(5)),
)
given_up(in_file, lambda o, v: o.write_text(f"[{v}]"), lambda o: float(o.read_text()[1:-1]), loaded)
given_up(lambda v: Plain(f"[{v}]"), lambda o, v: set_value(o, f"[{v}]"), lambda o: json.loads(o.value)[0])
given_up(
    restored(sys.getrecursionlimit, sys.setrecursionlimit),
    lambda o, v: sys.setrecursionlimit(o + 1000 * int(v)),
    lambda o: sys.getrecursionlimit() / 1000,
    lambda o: functools.partial(sys.getrecursionlimit)() / 1000,
)
given_up(
    lambda v: Plain(),
    lambda o, v: set_value(o, [o] * 50 * int(v)),
    lambda o: float(sys.getrefcount(o) > 120) + 1.0,
)
given_up(
    lambda v: patch(threading.current_thread(), "_name", "main"),
    lambda o, v: sets("name")(o, "x" * int(v)),
    lambda o: float(len(threading.current_thread().name)),
)
given_up(
    lambda v: bytearray([1] * 2000),
    lambda o, v: puts(1500)(o, int(v)),
    lambda o: float(o[1500]),
    lambda o: float(o.__getitem__(1500)),
)
given_up(
    lambda v: bytearray(struct.pack("f", v)),
    lambda o, v: puts(slice(None))(o, struct.pack("f", v)),
    lambda o: struct.unpack("f", o)[0],
)
given_up(ctypes.c_float, set_value, lambda o: o.value)
given_up(
    lambda v: np.zeros(1, [("a", "f4")]),
    puts("a"),
    lambda o: float(o["a"][0]) + 1.0,
    lambda o: float(o[0]["a"]) + 2.0,
)
given_up(np.array, lambda o, v: o.fill(v), lambda o: float(o), lambda o: o.__float__())
given_up(
    lambda v: np.ones(3),
    lambda o, v: o.fill(v),
    lambda o: o[1].item(),
    lambda o: o.tolist()[1],
    lambda o: 2.0 if (o > 2.5).any() else 3.0,
    lambda o: of_three(*o),
    lambda o: float(o[1:].base[0]),
    lambda o: float(sum(a for a in o)),
    lambda o: o.__getitem__(0) * 1.0,
    lambda o, x: x * len(o) * o,
)
given_up(lambda v: np.array([[v], None], object), lambda o, v: puts(0)(o[0], v), lambda o: float(o[0][0]))
given_up(lambda v: np.ones(1 << 18), lambda o, v: o.fill(v), lambda o: float(o[7]))
given_up(
    Plain, lambda o, v: setattr(o, f"more{v}", 1), lambda o: float(len(vars(o))), lambda o: float(len(dir(o)))
)
given_up(Rich, set_value, lambda o: Rich.get.__get__(o)())
given_up(lambda v: lambda a=v: a, lambda o, v: sets("__defaults__")(o, (v,)), lambda o: o.__defaults__[0])
given_up(lambda v: nn.Parameter(rv.ones(1)), lambda o, v: o.detach().add_(1.0), lambda o: 1.0 + o._version)
given_up(
    lambda v: nn.Parameter(rv.ones(3)),
    lambda o, v: o.data.fill_((-1.0) ** v),
    lambda o: 2.0 if "-" in repr(o) else 3.0,
)


# --- captured: a step that reads these must be replayed, where `eager` does not mark the read
def undivided(v):
    np.seterr(divide="ignore")
    patch.after(lambda: np.seterr(divide="warn"))
    return np.float64(0.0)


def divided(o):
    try:
        return 2.0 if np.float64(1.0) / o > 1 else 3.0
    except FloatingPointError:
        return 1.0


scenario(undivided, lambda o, v: np.seterr(divide="raise" if v == 2.0 else "ignore"), divided)
for kind in (set, frozenset):
    scenario(
        lambda v, kind=kind: kind([Plain(v)]),
        lambda o, v: set_value(next(iter(o)), v),
        lambda o: next(iter(o)).value,
    )
scenario(
    Plain,
    set_value,
    lambda o: 2.0 if o.value.match("ab") else 3.0,
    values=[re.compile(t) for t in ("a", "b", "ab", "b")],
)
scenario(
    lambda v: lambda: 1.0,
    lambda o, v: sets("__code__")(o, v.__code__),
    lambda o: o.__code__.co_consts[-1],
    values=(lambda: 1.0, lambda: 2.0, lambda: 3.0, lambda: 4.0),
)
scenario(
    lambda v: types.ModuleType("made"),
    lambda o, v: sets("__class__")(o, own(types.ModuleType, k=v)),
    lambda o: getattr(o, "k", 1.0),
)
scenario(
    lambda v: Odd(0),
    set_value,
    lambda o: operator.itemgetter(o)([1.0, 2.0, 3.0, 4.0, 5.0]),
    values=(1, 2, 3, 4),
)
scenario(
    lambda v: patch(sys, "argv", ["a"]), lambda o, v: sys.argv.append("b"), lambda o: float(len(sys.argv))
)
scenario(
    lambda v: [SimpleNamespace(a=1.0), SimpleNamespace(a=1.0)],
    lambda o, v: sets("b")(o[0], v),
    lambda o: 2.0 if o[0] == o[1] else 3.0,
)
scenario(
    lambda v: patch.after(lambda: rv.manual_seed(7)),
    lambda o, v: rv.manual_seed(int(v)),
    lambda o, x: x + rv.randn(4, 3) * 0.1,
    eager(lambda o: 1.0 + rv.initial_seed()),
)
scenario(
    lambda v: rv.float64,
    None,
    lambda o, x: x.to(o) + rv.finfo(x.dtype).eps,
    lambda o, x: x if x.dtype == o else -x,
    lambda o, x: x * rv.ones(3, dtype=rv.promote_types(x.dtype, rv.int64)),
)
scenario(
    lambda v: None, None, lambda o: 2.0 if rv.memory_stats() else 1.0, lambda o, x: x + rv.randn(4, 3) * 0.1
)


# --- given up: each read gives another number, without a change between the calls
def source(make, *reads):
    """make: makes what gives the numbers."""
    scenario(make, None, *map(eager, reads), ways=TWICE)


def sums():
    total = 0.0
    while True:
        total += yield total


def summing(v):
    """A generator that waits for a number, and gives the sum of those that it was sent."""
    generator = sums()
    next(generator)
    return generator


def counting(v):
    """A function that counts its calls in a variable around it."""
    calls = 0

    def o():
        nonlocal calls
        calls += 1
        return float(calls)

    return o


def counting_misses(v):
    """A function that remembers one result, and counts its calls with another key than before."""
    calls = []

    @functools.lru_cache(1)
    def o(key):
        calls.append(key)
        return float(len(calls))

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

        def counted(self, x):
            calls.append(1)
            return before(self, x) * len(calls)

        patch(kind, name, counted)
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
source(summing, lambda o: o.send(1.0))
source(
    lambda v: Counter(),
    lambda o: o(),
    lambda o: o.value,
    lambda o: float(len(o)),
    lambda o: o[0],
    lambda o: 2.0 if o() % 5 == 0 else 3.0,
)
source(counting, lambda o: o())
source(lambda v: globals().update(G=0.0), by_global)
for make in (lambda v: lambda: 1, lambda v: own(), lambda v: Plain(0.0)):
    source(make, by_attribute)
source(lambda v: collections.Counter(), by_item)
source(lambda v: list(NUMBERS), lambda o: o.pop(), by_length)
source(
    lambda v: None,
    lambda o: random.random(),
    lambda o: random.choice(NUMBERS),
    lambda o: float(np.random.rand()),
    lambda o, x: x[rv.randperm(4)],
)
source(patched(nn.Linear, "forward"), lambda o, x: o(x))
source(patched(nn.Module, "__call__"), lambda o, x: o(x))
source(counting_misses, lambda o: o(G) + o(-G - 1))  # two keys, of which one is remembered
# numbers and texts of the step's tensors, and a seed that is set in each call
source(
    lambda v: None,
    lambda o, x: x * (2.0 if x.sum() > 0 else 3.0),
    lambda o, x: x * float(len(str(x))),
    reseeded,
    lambda o, x: x * float(f"{x.mean()}".strip("tensor()") or 0),
)
