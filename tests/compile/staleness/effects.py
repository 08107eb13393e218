"""Side effects of steps on what outlives them, and results that are kept.

`scenario(make, change, *reads)` (scenario.py): here `make` is `Keeper`, and in place of functions that read
stand side effects, functions of the keeper k, the step's input x and its results r. Compiled, each call must
show the bits of the same calls run eagerly (judge.py). The step may also run eagerly, with a warning, only
where the side effect is marked by `eager(...)`, as all here are.
"""
# ruff: noqa: UP031

import contextlib
import copy
import functools
import io
import logging
import random
import sys
import weakref
from types import SimpleNamespace

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, patch
from compile.staleness.scenario import eager, scenario
from compile.staleness.small import Own, Small


# --- the keeper, and two ways: beside a training step, or in a module that is replayed by itself
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


def effects(*acts, change=None, **more):
    """Scenarios of side effects that may make the step run eagerly."""
    scenario(Keeper, change, *map(eager, acts), ways=(beside, beside_alone), **more)


# changes of objects that are no tensors: counts, containers, texts, logs, random numbers
effects(
    counts,
    lambda k, x, r: k.items.append(1.0),
    lambda k, x, r: k.table.update(n=len(k.table) + 1),
    lambda k, x, r: k.text.write("step "),
    lambda k, x, r: print("step", file=k.text, flush=True),
    lambda k, x, r: print("step"),
    lambda k, x, r: sys.stdout.write("step "),
    lambda k, x, r: k.logger.info("step %d", 1),
    lambda k, x, r: random.random(),
)
# numbers, texts, shapes and comparisons of tensors
effects(
    lambda k, x, r: k.items.append(float(r[0])),
    lambda k, x, r: k.items.append(str(r[0])),
    lambda k, x, r: k.items.append(f"{r[0]:.3f}"),
    lambda k, x, r: k.items.append("%s" % r[0]),
    lambda k, x, r: k.items.append(tuple(x.shape)),
    lambda k, x, r: k.items.append(tuple(x[x > 0].shape)),
    lambda k, x, r: k.items.append(r[1].tolist()),
    lambda k, x, r: k.items.append(len([*x])),
    lambda k, x, r: k.items.append(bool(r[0] > 0)),
    lambda k, x, r: k.items.append(0.0 in r[1]),
    lambda k, x, r: k.items.append(rv.equal(x, x * 1.0)),
    lambda k, x, r: k.items.append(bool(rv.allclose(x, x * 1.0))),
)
# tensors and copies of them; an attribute of a result
effects(
    keeps_input,
    notes,
    lambda k, x, r: k.items.append(r[0].detach().numpy().copy()),
    lambda k, x, r: k.items.append(np.asarray(r[1].detach()).copy()),
    lambda k, x, r: k.items.append(copy.deepcopy(r[1].detach())),
)
# what a step stores and does not read, and the caller takes away between calls: each call stores it again
effects(
    stores,
    stores_an_item,
    stores_a_slice,
    lambda k, x, r: setattr(k, "called", 1),
    lambda k, x, r: vars(k).update(called=1),
    lambda k, x, r: object.__setattr__(k, "called", 1),
    lambda k, x, r: k.__setattr__("called", 1),
    lambda k, x, r: functools.partial(setattr, k)("called", 1),
    lambda k, x, r: any(map(setattr, [k], ["called"], [1])),
    with_stack,
    appends_once,
    change=Keeper.clear,
    neutral=True,
)


# --- tensors that outlive the step: where they are kept (KEEPS), and which (TENSORS)
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
    lambda x, r: x,
    lambda x, r: r[0].detach(),
    lambda x, r: r[1] * 2.0,
    lambda x, r: x[0],
    lambda x, r: r[0],
    lambda x, r: r[1][0],
    lambda x, r: rv.randn(2),
)


def keeps(keep, tensor):
    return lambda k, x, r: keep(k, tensor(x, r))


for keep in KEEPS:
    for tensor in TENSORS if keep in KEEPS[:2] else TENSORS[:3]:  # all tensors in the first two places
        scenario(Keeper, None, eager(keeps(keep, tensor)), ways=(beside,))
