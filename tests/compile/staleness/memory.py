"""Tensors and arrays that a step reads or changes: their memory, its other names, and what replaces them.

`changed(make, *changes)` and `scenario(make, change, *reads)` (scenario.py): a step reads what `make` has
made, and a change alters it between two calls. Compiled, each call must show the bits of the same calls run
eagerly (judge.py). A step may also run eagerly, with a warning, only where `eager(...)` marks it. `own` makes
a class with these attributes, `given` sets attributes (objects.py).
"""

import dataclasses
from types import SimpleNamespace

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case
from compile.staleness.objects import Plain, given
from compile.staleness.scenario import changed, eager, puts, scenario, sets, trained
from compile.staleness.small import descends, node_of, of_leaves
from ranvier import nn, optim


def leaves(run, o, change):
    return Case(run.compile(of_leaves(o)), lambda: o)


def full(n, shape=(3,), **more):
    return rv.full(shape, 1.0 + n, **more)


def detached(o, n):
    o[0].detach_() if n == 1 else o[1].data.mul_(2.0)


changed(
    lambda v: [rv.ones(3).requires_grad_(), rv.full((3,), 0.5).requires_grad_()],
    lambda o, n: sets("data")(o[0], full(n)),
    lambda o, n: o[0].data.mul_(1.0 + n),
    rv.no_grad()(lambda o, n: o[0].add_(n * 1.0)),
    lambda o, n: o.reverse(),
    lambda o, n: o[0].requires_grad_(n % 2 == 0),
    lambda o, n: puts(0)(o, full(n).requires_grad_()),
    lambda o, n: o[0].register_hook(lambda g: g * 2),
    lambda o, n: o.append(full(n).requires_grad_()),
    detached,
    lambda o, n: puts(0)(o, full(n, dtype=rv.float64).requires_grad_()),
    lambda o, n: sets("data")(o[0], full(n, (1,))),
    lambda o, n: puts(0)(o, full(n).requires_grad_() * 2.0 if n % 2 else rv.ones(3)),
    ways=(leaves,),
)


# --- hooks in a graph that was made before the step, which each call goes back through
def grown(v):
    """A leaf, what was made of it, and the parts of that."""
    leaf = rv.full((3,), 0.5).requires_grad_()
    middle = leaf * 2.0
    parts = (middle * middle).split(1)
    return SimpleNamespace(leaf=leaf, middle=middle, parts=parts, made=rv.cat(parts))


def through_graph(run, o, change):
    def step(x):
        o.leaf.grad = None
        loss = (x * o.made).sum()
        loss.backward(retain_graph=True)
        return loss.detach()

    return Case(run.compile(step), lambda: o.leaf)


changed(
    grown,
    lambda o, n: o.made.register_hook(lambda g: g * n),
    lambda o, n: o.middle.register_hook(lambda g: g * n),
    lambda o, n: o.leaf.register_hook(lambda g: g * n),
    lambda o, n: o.parts[0].register_hook(lambda g: g * (1.0 + n)),
    lambda o, n: o.made.grad_fn.register_prehook(lambda g: (g[0] * (1.0 + n),)),
    lambda o, n: o.middle.grad_fn.register_hook(lambda given, g: (given[0] * (1.0 + n), *given[1:])),
    lambda o, n: node_of(o.leaf).register_prehook(lambda g: (g[0] * (1.0 + n),)),
    ways=(through_graph,),
)


def multiplied(run, o, change):
    case = trained(run, o, lambda o, x: x * o.value)
    return dataclasses.replace(case, watch=lambda: o)


class Fixed(rv.Tensor):
    """A tensor whose product is another one."""

    __mul__, __rmul__ = None, lambda self, other: other * 0.5


changed(
    lambda v: Plain(rv.tensor([1.0, 2.0, 3.0])),
    lambda o, n: o.value.mul_(2.0),
    lambda o, n: puts(0)(o.value, 5.0 + n),
    lambda o, n: sets("value")(o, full(n)),
    lambda o, n: sets("data")(o.value, full(n)),
    lambda o, n: sets("value")(o, full(n, (4, 3))),
    lambda o, n: np.multiply(o.value.numpy(), 2.0, out=o.value.numpy()),
    lambda o, n: sets("value")(o, full(n, dtype=rv.float64)),
    lambda o, n: o.value.requires_grad_(n % 2 == 1),
    lambda o, n: sets("value")(o, rv.arange(6.0)[n : n + 3]),
    lambda o, n: sets("value")(o, Fixed(o.value)),
    lambda o, n: sets("__class__")(o.value, Fixed if n % 2 else rv.Tensor),
    ways=(multiplied,),
)
ARRAY_CHANGES = (
    lambda o, v: np.multiply(o.value, 2.0, out=o.value),
    lambda o, v: puts(0)(o.value, 3.0 + v),
    lambda o, v: sets("value")(o, np.arange(3, dtype=np.float32) + 10 * v),
)
ARRAY_READS = (
    lambda o, x: x * o.value,
    lambda o, x: x * rv.tensor(o.value),
    lambda o, x: x * rv.from_numpy(o.value),
    lambda o, x: x * rv.constant(o.value),
    lambda o: float(o.value[0]),
    lambda o: float(o.value.sum()),
    lambda o, x: x[:, o.value.astype(np.int64) % 3],
)
for change in ARRAY_CHANGES:
    scenario(lambda v: Plain(np.array([1.0, 2.0, 3.0], np.float32)), change, *map(eager, ARRAY_READS))


# memory of two names
def view_of_array(v):
    array = np.ones(6, np.float32)
    return given(Plain(), array=array, view=array[1:4], tensor=rv.from_numpy(array)[1:4])


def step_in_memory(run, o, make_step):
    return Case(run.compile(make_step(o)), lambda: [o.w, o.array])


def parameter_in_memory(v):
    array = np.ones(3, np.float32)
    return given(Plain(), array=array, w=nn.Parameter(rv.from_numpy(array)))


scenario(
    view_of_array,
    lambda o, v: o.array.__iadd__(1.0),
    eager(lambda o, x: x * o.view),
    lambda o, x: x * o.tensor,
)
scenario(
    parameter_in_memory,
    lambda o, v: o.array.__iadd__(1.0),
    lambda o: descends(lambda x: (x * o.w * o.w).sum(), optim.SGD([o.w], 0.0)),
    ways=(step_in_memory,),
)


def two_leaves(v):
    return [nn.Parameter(rv.ones(3)), nn.Parameter(rv.full((3, 3), 2.0))]


def loss_of_two(run, o, change):
    step = descends(
        lambda x: (x * o[0]).sum() + (x * o[1].reshape(-1, 3)[0]).sum() ** 2 * 0.1, optim.SGD([o[1]], 0.05)
    )
    return Case(run.compile(step), lambda: o)


changed(
    two_leaves,
    lambda o, n: sets("data")(o[0], o[1].data[n % 2]),
    lambda o, n: sets("data")(o[1], o[0].data.expand(3, 3).clone() * n),
    lambda o, n: sets("data")(o[1], o[0].data.reshape(1, 3)),
    ways=(loss_of_two,),
)


# --- tensors that the step changes, and the caller between two calls
def changing(run, o, act):
    """The step changes tensors by `act`, and the caller changes the weight after each call."""
    layer, total = nn.Linear(3, 3), rv.zeros(3)

    def step(x):
        act(layer.weight, total, x)
        return x.sum(), x * 2.0

    return Case(
        run.compile(step), lambda: [layer, total], each=lambda n, result: layer.weight.detach().mul_(1.5)
    )


scenario(
    lambda v: None,
    None,
    lambda w, t, x: t.mul_(0.5).add_(x.mean(0), alpha=0.5),
    lambda w, t, x: w.detach().mul_(0.5),
    eager(lambda w, t, x: t.copy_(x.mul_(0.5).mean(0))),
    eager(lambda w, t, x: nn.init.xavier_uniform_(w)),
    eager(lambda w, t, x: nn.init.eye_(w)),
    eager(lambda w, t, x: nn.init.orthogonal_(w)),
    ways=(changing,),
)
