"""Compiled methods, models and functions, within others and in threads; steps that keep something for the
next call, and what the caller does between calls.

`scenario(make, change, *reads)` (scenario.py): a step reads what `make` has made, and `change` alters it
between two calls. Compiled, each call must show the bits of the same calls run eagerly (judge.py). A step may
also run eagerly, with a warning, only where the read is marked by `eager(...)`. `own` makes a class with
these attributes, `given` sets attributes (objects.py).
"""

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import ranvier as rv
from compile.staleness.judge import Case
from compile.staleness.objects import in_a_thread, once, own
from compile.staleness.scenario import eager, puts, scenario, sets, whole
from compile.staleness.small import Net, Small, classifies, descends, labelled, network, sgd
from ranvier import nn, optim


# --- compiled methods, models and functions, within others and in threads
def compiled(run, o, use):
    """use: makes the step of the Run and a Small, whose number `f` changes."""
    return Case(use(run, o), lambda: o)


class Learner(Small):
    """A step that is a method, and an object that can be called."""

    def __init__(self, v=1.0):
        super().__init__()
        self.f = v

    def step(self, x):
        return self.train(x, self.f)

    __call__ = step


def by_method(run, o):
    """A compiled method of a class, called on two objects."""
    kind = own(Learner, step=run.compile(Learner.step))
    o.__class__ = kind
    other = kind(2)
    return lambda x: (o.step(x), other.step(x))


def by_bound_method(run, o):
    o.step = run.compile(o.step)
    return lambda x: o.step(x)


def by_static_method(run, o):
    holder = own(
        step=staticmethod(run.compile(o.step)), of_class=classmethod(run.compile(lambda kind, x: x * o.f))
    )
    return lambda x: (holder().step(x), holder.of_class(x))


def within(run, o):
    inner = run.compile(lambda x: x * o.f)
    outer = run.compile(lambda x: o.train(inner(x), 1.5))
    return lambda x: (inner(x), outer(inner(x)), outer(x), o.step(x))


def two_of_one(run, o):
    step = lambda x: o.train(x, o.f)  # noqa: E731
    a, b = run.compile(step), run.compile(step)
    calls = itertools.cycle([a, b, step])
    return lambda x: next(calls)(x)


def made_anew(run, o):
    return lambda x: [run.compile(lambda x: o.train(x, o.f))(x) for _ in range(2)]


def in_modes(run, o):
    fast = run.compile(o.loss)
    return lambda x: [fast(x) if o.f % 2 else rv.no_grad()(fast)(x), o.f]


def grad_mode_set(run, o):
    step = lambda x: x * o.w * o.f  # noqa: E731
    a, b = rv.no_grad()(run.compile(step)), run.compile(rv.no_grad()(step))
    return lambda x: (a(x), b(x), o.train(x, 1.0))


def recursive(run, o):
    step = run.compile(lambda x, d=0: o.train(x, 1.5) if d >= o.f else step(x * 0.5, d + 1))
    return lambda x: step(x)


def in_threads(run, o):
    """Four threads at once, and another one; the results depend on nothing else."""
    model = network(seed=3).eval()
    fast = run.compile(rv.no_grad()(lambda x: model(x) * o.f))

    def at_once(x):
        with ThreadPoolExecutor(4) as pool:
            return [*pool.map(fast, [x * float(i + 1) for i in range(4)]), in_a_thread(fast, x)]

    return at_once


def of_partial(run, o):
    step = run.compile(functools.partial(lambda f, x: o.train(x, f), 1.5))
    return lambda x: (o.optimizer.param_groups[0].update(lr=0.01 * o.f), step(x))[1]


scenario(
    Learner,
    sets("f"),
    by_method,
    by_bound_method,
    by_static_method,
    within,
    two_of_one,
    made_anew,
    in_modes,
    grad_mode_set,
    recursive,
    in_threads,
    of_partial,
    lambda run, o: run.compile(o),
    ways=(compiled,),
)
scenario(
    lambda v: Learner(v),
    lambda o, v: in_a_thread(setattr, o, "f", v),
    lambda run, o: run.compile(o.step),
    ways=(compiled,),
)
scenario(
    lambda v: Net(),
    sets("factor"),
    lambda run, o: run.compile(o.eval()),
    lambda run, o: rv.no_grad()(run.compile(o.score)),
    eager(lambda run, o: run.compile(o.score)),
    ways=(compiled,),
)


scenario(
    lambda v: network(nn.Dropout(0.4), nn.BatchNorm1d(4)),
    lambda o, v: sets("p")(o[2], 0.1 * v),
    lambda run, o: rv.no_grad()(run.compile(o.train())),
    ways=(compiled,),
)


class AsksForGradients(nn.Linear):
    def forward(self, x):
        return super().forward(x) * (2 if self.weight.requires_grad else 3) * (1 + self.bias.is_leaf)


scenario(
    lambda v: AsksForGradients(3, 2).eval(),
    lambda o, v: o.requires_grad_(v % 2 == 1),
    lambda run, o: run.compile(o),
    ways=(compiled,),
)


def labels(run, o, use):
    return Case(use(run, o), lambda: o, labelled)


def in_both_modes(run, o):
    """A training step and predictions of one model, in turn."""
    fast, step = run.compile(o), run.compile(classifies(o, sgd(o)))

    def call(x, y):
        o.train()
        found = step(x, y)
        o.eval()
        return found, fast(x)

    return call


def drops_out(v):
    return network(nn.Dropout(0.4))


scenario(
    drops_out,
    lambda o, v: o.train(v == 3.0),
    lambda run, o: run.compile(classifies(run.compile(o), sgd(o))),
    ways=(labels,),
)
scenario(drops_out, lambda o, v: sets("p")(o[2], 0.1 * v), in_both_modes, ways=(labels,))
scenario(
    lambda v: network(nn.BatchNorm1d(4)),
    lambda o, v: sets("eps")(o[2], 0.3 * v),
    eager(lambda run, o: classifies(run.compile(o), sgd(o))),
    ways=(labels,),
)


# --- what the step keeps for the next call, or changes of what the caller sees
class Kept(Learner):
    """A step's lasting things: networks, tables, flags and a running total."""

    def __init__(self, v):
        super().__init__(v)
        self.net, self.table, self.flags, self.hidden, self.calls = nn.Linear(3, 3), {}, [False], None, 0
        self.net.register_buffer("mean", rv.zeros(3))
        self.target, self.drop, self.total = nn.Linear(3, 3), nn.Sequential(nn.Dropout(0.5)), rv.zeros(3)

    @property
    def watch(self):
        networks = [self.net, self.target, self.drop]
        return [self.w, self.optimizer, networks, self.total, [*self.table], self.calls]


def first_time(o, x):
    if len(x) not in o.table:
        o.table[len(x)] = rv.ones(len(x), 1) * 2.0
    return o.train(x * o.table[len(x)], o.f)


def follows(o, x):
    loss = descends(lambda x: ((o.net(x) - o.target(x).detach()) ** 2).mean(), sgd(o.net))(x)
    o.target.weight.data.mul_(0.9).add_(o.net.weight.detach() * 0.1 * o.f)
    return loss


def average(o, x):
    with rv.no_grad():
        o.total.mul_(0.9).add_(x.mean(0) * 0.1 * o.f)
    return o.train(x - o.total, 1.5)


def frozen(o, x):
    o.net.weight.requires_grad_(o.f == 3.0)
    o.net.zero_grad()
    loss = o.net(x).sum()
    loss.backward()
    return loss


def in_training(o, x):
    o.drop.train(o.f == 3.0)
    return o.drop(x) * 1.0


def recorded_in_part(o, x):
    with rv.set_grad_enabled(o.f == 3.0):
        y = (o.w**2).sum()
    o.w.grad = None
    loss = (x * o.w).sum() + y
    loss.backward()
    return loss


def with_hook(o, x):
    handle = o.net.register_forward_hook(lambda m, a, y: y * o.f)
    y = o.net(x).sum()
    handle.remove()
    return y


def sets_gradient(o, x):
    o.w.grad = x.mean(0) * o.f
    return o.w.sum()


def reads_sometimes(o, x):
    found, y = o.train(x, 1.5)
    return y * (found.item() if o.f == 3.0 else 1.0)


def remembers(o, x):
    y = o.net(x) if o.hidden is None else o.net(x) + o.hidden
    o.hidden = y.detach()
    return y.detach()


def renews_buffer(o, x):
    o.net.mean = o.net.mean * 0.9 + x.mean(0) * 0.1
    return x - o.net.mean


def counts(o, x):
    o.calls += 1
    return o.net(x).detach() * (2.0 if o.calls > 5 else 1.0)


scenario(
    Kept,
    sets("f"),
    first_time,
    follows,
    average,
    frozen,
    in_training,
    recorded_in_part,
    lambda o, x: rv.autograd.grad((x * o.w * o.w * o.f).sum(), [o.w]),
    ways=(whole,),
)
scenario(Kept, sets("f"), *map(eager, (with_hook, sets_gradient, reads_sometimes)), ways=(whole,))
scenario(Kept, None, *map(eager, (remembers, renews_buffer, counts)), ways=(whole,))


def fed_back(run, o, read):
    """Each call gets the result of the one before."""
    small = Small()
    return Case(
        run.compile(lambda x: small.train(x, 1.5)[1] * 0.5),
        lambda: small.watch,
        lambda n: (o[0],),
        lambda n, result: puts(0)(o, result.detach()),
    )


scenario(lambda v: [rv.ones(4, 3)], None, once, ways=(fed_back,))


# --- the code of the step itself
def step_itself(run, o, read):
    return Case(run.compile(o.step), lambda: o.watch)


def own_step(v):
    o = Learner(v)
    o.step = lambda x, f=1.0: o.train(x, f)
    return o


scenario(own_step, lambda o, v: sets("__defaults__")(o.step, (v,)), once, ways=(step_itself,))
scenario(
    own_step,
    lambda o, v: sets("__code__")(o.step, (lambda x, f: o.train(x, f * 2)).__code__),
    once,
    ways=(step_itself,),
    values=(1, 2, 3, 4),
)


# --- what the caller does after each call
def act_in_turn(run, o, act):
    small = Small()
    step = run.compile(lambda x: small.train(x * o.tensor * o.table["a"][1], o.call(o.value)))
    return Case(step, lambda: small.watch, each=lambda n, result: act(o, n))


def turning(v):
    return SimpleNamespace(value=v, tensor=rv.ones(3), call=abs, table={"a": [1.0, 2.0]})


scenario(
    turning,
    None,
    lambda o, n: sets("value")(o, 1.0 + n % 5),
    lambda o, n: sets("value")(o, 1.0 + n % 2),
    lambda o, n: sets("tensor")(o, rv.full((3,), n * 1.0)),
    lambda o, n: sets("call")(o, lambda value: value * n),
    lambda o, n: sets("table")(o, {"a": [1.0, 2.0]}),
    ways=(act_in_turn,),
)


def trained_in_turn(run, s, act):
    return Case(run.compile(classifies(s.m, s.o)), lambda: [s.m, s.o], labelled, lambda n, result: act(s, n))


def dropping(v):
    m = network(nn.Dropout(0.5), nn.BatchNorm1d(4))
    return SimpleNamespace(m=m, o=optim.Adam(m.parameters(), lr=0.05), saved=None)


def saved_and_loaded(s, n):
    if n == 3:
        s.saved = {name: w.clone() for name, w in s.m.state_dict().items()}, s.o.state_dict()
    if n in (7, 9):
        s.m.load_state_dict(s.saved[0])
        s.o.load_state_dict(s.saved[1])


scenario(
    dropping,
    None,
    lambda s, n: s.m.train(n % 2 == 0),
    lambda s, n: rv.manual_seed(n),
    lambda s, n: rv.randn(n),
    saved_and_loaded,
    ways=(trained_in_turn,),
)


# --- state of the library that does not matter
def another_program():
    other = rv.compile(lambda x: x * 2.0)
    for _ in range(4):
        other(rv.ones(2))


for act in (
    lambda v: rv.set_num_threads(int(v) % 2 + 1),
    lambda v: rv.set_rng_state(rv.get_rng_state()),
    lambda v: rv.empty_cache(),
    lambda v: another_program(),
    lambda v: rv.set_winograd(v % 2 == 0),
):
    scenario(
        drops_out,
        lambda o, v, act=act: act(v),
        lambda run, o: run.compile(classifies(o, sgd(o, 0.1, 0.5))),
        ways=(labels,),
        neutral=True,
    )
scenario(
    lambda v: nn.Conv2d(32, 32, 3, padding=1),
    lambda o, v: rv.set_winograd(v % 2 == 0),
    lambda run, o: run.compile(lambda x, y: o(x.sum() * rv.ones(2, 32, 28, 28)).detach()),
    ways=(labels,),
)
