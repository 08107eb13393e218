"""A compiled function ends with its owner: without references the step, its objects and programs are
gone, which weak references show.

A function of MADE makes one compiled thing, calls it until it is replayed, and returns the objects that have
to end. It uses what other tests define: KINDS makes a function, a method and a model; `Learner().step` is a
compiled training step, `Predicts().step` a compiled method of a module. `maker(function)()` gives a step of x
whose loss is a function of x @ w, and w; `drawn((4, 3))(0)` are the arguments of a call: a tensor (4, 3).
"""

import copy
import gc
import weakref

import pytest
import ranvier as rv
from compile.beside import drawn
from compile.test_host_calls import Softplus, maker
from compile.test_methods import Learner, Predicts
from compile.test_rests import KINDS
from ranvier import nn
from ranvier.compile.compiled_model import module_of
from support.strict import strict

X, ROWS = rv.arange(6.0), rv.ones(4, 3)


def called(step, *args):
    """The step, after five calls: a recording, checks and replays."""
    for _ in range(5):
        step(*args)
    return step


def function(kind):
    """Returns the function and the compiled one. Of a method, which lives only during a call, its object."""
    made = KINDS[kind]()
    return getattr(made, "__self__", made), called(rv.compile(made), X)


def methods(make):
    """An object with a compiled method `step`, and its copy, which has the same model and is called, too."""
    one = make()
    called(one.step, ROWS)
    assert len(one.step.programs) == 1
    other = copy.copy(one)
    other.step(ROWS)
    return one, other


def model():
    """A compiled model, its module, and its class: rv.compile makes one for each class of modules."""
    kind = type("Local", (nn.Linear,), {})
    made = called(rv.compile(kind(3, 2).eval()), ROWS)
    assert type(made).__qualname__ == kind.__qualname__
    return made, module_of(made), type(made)


def alone():
    """A module that nobody has compiled: after 16 calls without gradients it is replayed by itself."""
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    for _ in range(60):
        rv.no_grad()(module)(ROWS)
    return (module,)


def by_numpy():
    """The weight, the step and its program, where a replay calls a Function that computes by NumPy."""
    step, (weight,), _ = maker(lambda h: Softplus(2.0).apply(h))()
    fast = called(strict(step), *drawn((4, 3))(0))
    return weight, fast, fast.programs[0]


MADE = {
    **{f"a {kind}": lambda kind=kind: function(kind) for kind in KINDS},
    "methods": lambda: methods(Learner),
    "methods, in a cycle": lambda: methods(lambda: Learner(cycle=True)),  # it refers to itself
    "methods of a module": lambda: methods(Predicts),
    "a compiled model": model,
    "a module that is replayed by itself": alone,
    "a step with calls of NumPy": by_numpy,
}


@pytest.mark.usefixtures("replayed_soon")
@pytest.mark.parametrize("name", MADE)
def test_nothing_is_kept_alive(name):
    """Of six, one after the other: steps of the same code may share what is kept of them."""
    gone = [weakref.ref(x) for _ in range(6) for x in MADE[name]()]
    gc.collect()
    assert [reference() for reference in gone] == [None] * len(gone)
