"""Steps that compute from a value: four values each, of which neighbours may compare equal.

The value is an attribute that is replaced, the content of a container that stays the same, or an argument.
`used(four, *uses)` makes a scenario (scenario.py) for each use: between calls the first value is replaced by
the second, third and fourth, and each compiled call must show the bits of the same call run eagerly. A step
may also run eagerly, with a warning, only where its use is marked by `eager(...)`. `own` makes a class with
these attributes, `given` sets attributes (objects.py). `small.train(x, factor)` (small.py) updates a weight
by a loss that has this factor.
"""
# ruff: noqa: B023, C417, SIM300, UP031

import collections
import decimal
import fractions
import functools
import heapq
import itertools
import json
import math
import operator
import statistics

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, default_inputs
from compile.staleness.objects import (
    NAN,
    Always,
    Bits,
    Color,
    Level,
    Never,
    Number,
    Odd,
    Pair,
    Plain,
    Raises,
    Rich,
    Slotted,
    Text,
    given,
    innermost,
    kinds,
    looped,
    own,
    signs,
)
from compile.staleness.scenario import eager, scenario, sets, takes_input, whole
from compile.staleness.small import Small
from ranvier.nn import functional as F

FOUR = (1.0, 2.0, 3.0, 1.0)
Derived = own(Plain)


def held(run, o, use):
    """The value is an attribute of an object."""
    small = Small()
    if takes_input(use):
        return Case(run.compile(lambda x: small.train(use(o.value, x), 1.5)), lambda: small.watch)
    return Case(run.compile(lambda x: small.train(x, use(o.value))), lambda: small.watch)


def passed(run, o, use):
    """The value is an argument of the step."""
    small = Small()
    step = run.compile(lambda x, v: small.train(x, use(v)))
    return Case(step, lambda: small.watch, lambda n: (*default_inputs(n), o.value))


def used(four, *uses):
    """Steps that compute from a value: one of four."""
    scenario(Plain, sets("value"), *uses, values=four, ways=(held, passed))


def filled(o, content):
    """The container gets this content."""
    o.value.clear()
    (o.value.extend if isinstance(o.value, list) else o.value.update)(content)


def refilled(four, *uses):
    """Steps that compute from a container that stays the same object."""
    scenario(lambda v: Plain(type(v)(v)), filled, *uses, values=four, ways=(held,))


def contained(four, *uses):
    used(four, *uses)
    refilled(four, *uses)


# --- values
used((1, 3, 2, 4), lambda v: 1.0 if v > 2 else 3.0, lambda v: math.sqrt(v) if v > 2 else float(v), looped)
used((1, 3, 2, 4), lambda v: float("%d" % v), lambda v: {1: 1.0, 2: 5.0, 3: 7.0}.get(v, 9.0))
used((1, 3, 2, 4), lambda v: sum([1.0 for _ in range(v)], 0.0), lambda v: (lambda v: v)(v) + v)
used((True, False, True, False), lambda v: 2.0 if v else 0.5)
used((None, 1.0, None, 2.0), lambda v: 1.5 if v is None else v)
used((1, True, 1.0, True), kinds, lambda v: 1.0 if isinstance(v, bool) else 3.0)
used((1, len, 2, abs), lambda v: 1.0 if callable(v) else 3.0)
used((1.0, 2.0, 1.5, 1.0), lambda v: v, lambda v: float(f"{v:.1f}"), lambda v: pow(v, 2))
used((1.0, 2.0, 1.5, 1.0), lambda v: float(round(v, 1)), lambda v: max(v, 1.7))
used((1.0, NAN, 2.0, NAN), lambda v: v)
used((0.0, -0.0, 0.0, -0.0), signs)
used((0j, complex(0.0, -0.0), complex(-0.0, 0.0), 0j), lambda v: signs([v.real, v.imag]))
used((1j, 2j, 1 + 1j, 1j), lambda v: v.real + 2 * v.imag)
used((10**20, 10**20 + 10**6, 10**20, 3), lambda v: float(v % 10**9) / 1e6 + 1.0)
used(("sum", "mean", "sum", "none"), lambda v: float(len(v)), lambda v: 1.0 if v == "sum" else 3.0)
used(("sum", "mean", "sum", "none"), lambda v: 1.0 if v.startswith("s") else 3.0)
used(("a", "A", "a", "b"), lambda v: float(v == "a") + 1.0)
used(["a" * 700 + c + "a" * 300 for c in "bcdb"], lambda v: float(ord(v[700])) / 50)
used((b"a", b"b", b"ab", b"a"), lambda v: float(sum(v)) / 99)
used((range(0, 3, 2), range(0, 4, 2), range(0, 1, 1), range(0, 1, 2)), lambda v: float(v.stop + v.step))
used((range(0), range(2, 2), range(0), range(2, 2)), lambda v: float(v.stop))
used((int, float, int, str), lambda v: 1.0 if v is int else 2.0)
used((..., None, ..., 1.0), lambda v: 1.0 if v is ... else 2.0)
used((rv.float32, rv.float64, rv.float32, rv.float64), lambda v: 2.0 if v == rv.float64 else 1.0)
used((abs, float, lambda a: a * 3, abs), lambda v: v(1.5))
used([(lambda f: lambda: f)(f) for f in FOUR], lambda v: v())
used([Always(f).get for f in FOUR], lambda v: v())
used((Color.RED, Color.GREEN) * 2, lambda v: 1.0 if v is Color.RED else 3.0, lambda v: float(v.value))
used((1, Level.ONE, 1, Level.TWO), lambda v: kinds(v) + float(v))
used((Bits.A, Bits.B, Bits(3), Bits.B), lambda v: 1.0 if Bits.A in v else 3.0)
used(("a", Text("a"), "a", Text("a")), lambda v: getattr(v, "extra", 1.0))
used((1.0, Number(1.0), 1.0, Number(1.0)), lambda v: getattr(v, "extra", 1.0))
used([*map(np.float32, (1, 2, 3, 1))], lambda v: float(v) + 0.5, lambda v: v, lambda v: v.item())
used([*map(np.int64, (1, 2, 3, 1))], lambda v: sum([1.0 for _ in range(v)], 0.0))
used((1.0, np.float64(1.0), np.float32(1.0), 1.0), kinds)
used((1, np.int64(1), True, 1), kinds)
used((np.True_, np.False_, np.True_, np.False_), lambda v: 1.0 if v else 3.0)
used([*map(np.float64, (0.0, -0.0, 0.0, -0.0))], lambda v: v, signs)
used((np.float32(1), np.float64(1), np.float16(1), np.float32(1)), lambda v: float(v.itemsize))
used([*map(np.dtype, ("f4", "f8", "f2", "f4"))], lambda v: float(v.itemsize))
used(((1, 0), (True, 0), (1.0, 0), (1, False)), kinds)
used(((0.0,), (-0.0,), (0.0,), (-0.0,)), signs)
used(((1.0, 2.0), (1.0, 3.0), (2.0,), (1.0, 2.0)), lambda v: float(sum(v)) + len(v))
used(((1, 2), Pair(1, 2), (1, 2), Pair(1, 2)), lambda v: 2.0 if hasattr(v, "_fields") else 1.0)
used([Pair(n, 0) for n in (1, 2, 3, 1)], lambda v: float(v.first + len(v)))
used([fractions.Fraction(n, 3) for n in (1, 2, 4, 5)], lambda v: float(v))
used([*map(decimal.Decimal, ("1.0", "1.00", "1.0", "1"))], eager(lambda v: float(len(str(v)))))
used((slice(0, 1, 1), slice(0, 1, 2), slice(0, 3, 1), slice(0, 1, 3)), eager(lambda v: float(v.step)))
used((b"a", bytearray(b"a"), b"a", bytearray(b"a")), eager(lambda v: 2.0 if type(v) is bytes else 1.0))
used([frozenset({one}) for one in (1, True, 1.0, 1)], kinds)
used([*map(frozenset, ({1}, {1, 2}, (), {2}))], lambda v: 1.0 if 2 in v else 3.0, lambda v: float(len(v)))
# --- objects
used((Plain(), Derived(), Plain(), Derived()), lambda v: 1.0 if isinstance(v, Derived) else 3.0)
used((Plain(), Derived(), Plain(), Derived()), lambda v: 2.0 if type(v) is Plain else 1.0)
used([given(Plain(n), more=n) if n % 2 else Plain(n) for n in range(4)], lambda v: getattr(v, "more", 3.0))
for kind in (Always, Never, Raises, Slotted, own(Rich, __class__=property(lambda self: list))):
    used([*map(kind, FOUR)], lambda v: v.value)
used([functools.reduce(lambda v, _: [v], range(200), f) for f in FOUR], innermost)
used([[[{"a": (one,)}]] for one in (1, True, 1.0, 1)], lambda v: kinds(v[0][0]["a"]))
# --- containers, also filled anew in place
contained(([1], [True], [1.0], [1]), kinds)
contained(({1: 0}, {True: 0}, {1.0: 0}, {1: 0}), kinds)
contained(({"a": 1}, {"a": True}, {"a": 1.0}, {"a": 1}), kinds)
contained(([0.0], [-0.0], [0.0], [-0.0]), signs)
contained(({"a": 0.0}, {"a": -0.0}, {"a": 0.0}, {"a": -0.0}), signs)
contained(([1.0], [NAN], [NAN, NAN], [1.0]), lambda v: float(len(v)) if v[0] == v[0] else 5.0)
contained([{1: 0, 2: 0}, {2: 0, 1: 0}] * 2, lambda v: float(next(iter(v))))
contained([{"a": {1: 0, 2: 0}}, {"a": {2: 0, 1: 0}}] * 2, lambda v: float(next(iter(v["a"]))))
for kind in (Always, Never, Raises):
    contained([[kind(f)] for f in FOUR], lambda v: v[0].value)
contained([{"a": Always(f)} for f in FOUR], lambda v: v["a"].value)
contained([[0.0] * 700 + [f] + [0.0] * 300 for f in FOUR], eager(lambda v: float(v[700]), passed))
contained(
    ([1], [1, 2], [], [1]), lambda v: float(len(v)), lambda v: 1.0 if v else 3.0, lambda v: float(sum(v))
)
contained(([1], [1, 2], [], [1]), lambda v: 1.0 if 2 in v else 3.0, lambda v: (lambda *a: 1.0 + len(a))(*v))
contained(
    ([1], [4, 2], [3], [1]), lambda v: float(max(v)), lambda v: float(sorted(v)[0]), lambda v: v[-1] * 1.0
)
contained(([0], [0, 1], [], [1]), lambda v: 1.0 + any(v), lambda v: 1.0 + all(v))
contained((["a"], ["a", "b"], ["ccc"], []), lambda v: float(len(",".join(v))))
contained(([[1]], [[2]], [[3, 4]], [[1]]), lambda v: float(v[0][0]))
contained(({1: 1}, {1: 1, 2: 2}, {}, {2: 1}), lambda v: float(len(v)), lambda v: 1.0 if 2 in v else 3.0)
contained(({1: 1}, {1: 1, 2: 2}, {}, {2: 1}), lambda v: sum(v.values()) + 1.0)
contained([[np.ones(3), f] for f in FOUR], eager(lambda v: float(v[1]), held))
contained(({1}, {True}, {1.0}, {2}), lambda v: kinds(v) if 2 not in v else 9.0)
contained(({1}, {1, 2}, set(), {3}), lambda v: float(len(v)), lambda v: 1.0 if 2 in v else 3.0)
contained(({1}, {1, 2}, set(), {3}), lambda v: float(len(v.union({1, 2}))))
# --- a list that stays the same object, among the arguments of functions
refilled(([4, 3], [12, 1], [6, 2, 1], [4, 3]), lambda v, x: x.reshape(v)[0].mean() * x)
refilled(([0, 0], [1, 0], [1, 2], [0, 0]), lambda v, x: x * F.pad(x, v).mean())
refilled(([0], [1], [0, 1], [0]), lambda v, x: x * x[:, v].sum(), lambda v, x: x * x.flip(v))
refilled(([1, 3], [2, 2], [3, 1], [1, 3]), lambda v, x: x * rv.split(x, v)[0].sum())
refilled(
    ([1.0], [2.0], [3.0, 4.0], [1.0]),
    lambda v, x: x * rv.full((3,), v[0]),
    lambda v, x: x * rv.cat([x * a for a in v]).sum(),
    lambda v, x: functools.reduce(lambda y, a: y * a, v, x),
    lambda v, x: x * rv.tensor(v).sum(),
    lambda v, x: x * float(np.sum(v)),
    lambda v, x: x * rv.constant(np.array(v, np.float32)).sum(),
    lambda v, x: x * v.copy()[-1],
    lambda v, x: x * sum(map(lambda a: a * 2, v)),
    lambda v, x: x * sum(itertools.chain(v, v)),
    lambda v, x: x * heapq.nlargest(1, v)[0],
    lambda v, x: x * math.prod(v),
    lambda v, x: x * functools.reduce(operator.mul, v),
    lambda v, x: x * statistics.mean(v),
    lambda v, x: x * max(v, key=lambda a: -a),
)
refilled(([("a", 1.0)], [("a", 2.0)], [("a", 3.0)], [("a", 1.0)]), lambda v, x: x * dict(v)["a"])
refilled((["1", "5"], ["2", "5"], ["3", "5"], ["1", "5"]), eager(lambda v, x: x * float("{}.{}".format(*v))))
refilled(
    ([1], [1, 2], [], [1]),
    lambda v, x: x * len(v * 2),
    lambda v, x: x * (2.0 if v == [1] else 3.0),
    lambda v, x: x * len(repr(v)),
    lambda v, x: x * len(dict.fromkeys(v)),
    lambda v, x: x * (1 + collections.Counter(v)[2]),
    eager(lambda v, x: x * len(json.dumps(v))),
)
# --- an object whose special methods all use its number
scenario(
    Odd,
    sets("value"),
    lambda v: 1.0 if v else 3.0,
    lambda v: float(len(v)),
    lambda v: sum(v),
    lambda v: 1.0 if 3 in v else 3.0,
    lambda v: 1.0 if v == 3 else 3.0,
    lambda v: float(v),
    lambda v: 1.0 if v != 3 else 3.0,
    lambda v: 1.0 if v < 3 else 3.0,
    lambda v: 1.0 if 3 > v else 3.0,
    lambda v: int(v) * 1.0,
    lambda v: sum([1.0 for _ in range(v)]),
    lambda v: v + 1.0,
    lambda v: 1.0 + v,
    lambda v: 2.0 * v,
    lambda v: -v * 1.0,
    lambda v: abs(v) * 1.0,
    lambda v: round(v) * 1.0,
    lambda v: float(len(str(v))),
    lambda v: v[0] * 1.0,
    lambda v: float(len(f"{v}")),
    lambda v: 1.0 if v in [3, 7] else 3.0,
    lambda v: 1.0 if sorted([v, Odd(3)])[0] is v else 3.0,
    eager(lambda v: float(hash(v) % 100)),
    values=(1, 3, 2, 4),
)


# --- a number that is a Tensor of one element, where Python or an op wants a number
def placed(x, key):
    x = x.clone()
    x[key] = 9.0
    return x


def numbered(*reads, values=(1, 2, 1, 2)):
    scenario(rv.tensor, lambda o, v: o.fill_(v), *map(eager, reads), ways=(whole,), values=values)


numbered(
    lambda n, x: x[n],
    lambda n, x: x[n:],
    lambda n, x: x[:n],
    lambda n, x: x[::n],
    lambda n, x: x[:, n],
    lambda n, x: x[n, 1:],
    lambda n, x: x[..., n],
    lambda n, x: x[n, None],
    lambda n, x: x[n, n],
    lambda n, x: x[[n, 0]],
    lambda n, x: x[[0, 1], n],
    lambda n, x: x[rv.tensor([0, 2]), n],
    lambda n, x: placed(x, n),
    lambda n, x: placed(x, (n, 0)),
    lambda n, x: placed(x, slice(n)),
    lambda n, x: placed(x, (rv.tensor([0, 2]), n)),
    lambda n, x: placed(x, [n, 0]),
)
numbered(
    lambda n, x: rv.zeros(n),
    lambda n, x: rv.zeros((n, 2)),
    lambda n, x: rv.ones(n),
    lambda n, x: rv.full((n,), 1.0),
    lambda n, x: rv.full((2,), n),
    lambda n, x: rv.full_like(x, n),
    lambda n, x: rv.arange(n),
    lambda n, x: rv.arange(0, 9, n),
    lambda n, x: rv.linspace(0, n, 3),
    lambda n, x: rv.linspace(0, 1, n),
    lambda n, x: rv.eye(3, n),
    lambda n, x: rv.randn(n),
    lambda n, x: rv.rand((n, 2)),
    lambda n, x: rv.randint(n, (5,)),
    lambda n, x: rv.randint(0, 9, (n,)),
    lambda n, x: rv.randperm(n),
    lambda n, x: rv.tensor([n, 2]),
    lambda n, x: rv.tensor(n),
    lambda n, x: rv.as_tensor([n]),
    lambda n, x: rv.Tensor([n, 2]),
    values=(2, 3, 2, 3),
)
numbered(
    lambda n, x: x * range(9)[n],
    lambda n, x: x * [1.0, 2.0, 3.0][n],
    lambda n, x: x * int(n),
    lambda n, x: sum([x for _ in range(n)]),
    lambda n, x: x * float(n),
    lambda n, x: x * n.tolist(),
    lambda n, x: x if n > 1 else -x,
    lambda n, x: x * {1: 2.0, 2: 3.0}[int(n)],
    lambda n, x: x * math.sqrt(n),
    lambda n, x: x * operator.index(n),
    lambda n, x: x * float(f"{n:d}"),
    lambda n, x: x * max(1.5, n),
    lambda n, x: x * (3 in n.reshape(1) + 1),
    lambda n, x: x * math.floor(n),
    lambda n, x: x * x.size(n - 1),
    lambda n, x: x * complex(n).real,
    lambda n, x: x * any([n - 1, 0]),
    lambda n, x: x * "ab".find("abc"[n]),
    lambda n, x: x * len(bytes(n)),
    lambda n, x: x * n.numpy(),
    lambda n, x: x * n**2,
    lambda n, x: x**n,
    lambda n, x: x * -n,
    lambda n, x: x * (n > 1),
    lambda n, x: rv.tensor([1, 2]) << n,
    lambda n, x: rv.tensordot(x[:3], x[:3], n),
    lambda n, x: x.masked_fill(x > 0, n),
    lambda n, x: rv.where(x > 0, n, x),
    lambda n, x: x.clone().fill_(n),
)
