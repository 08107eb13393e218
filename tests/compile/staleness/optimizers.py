"""Optimizers: each setting of each class, groups, states, gradients, schedules.

`changed(make, *changes)` (scenario.py): `make` makes two parameters and their optimizer, and a change alters
them between two calls of a training step. Compiled, each call must show the bits of the same calls run
eagerly (judge.py). A step may also run eagerly, with a warning, only where `eager(...)` marks it. A change
`lambda t, n` gets what was made and the number of the change, 1 to 3. `own` makes a class with these
attributes, `given` sets attributes (objects.py).
"""
# ruff: noqa: B009, RUF015

import functools
import itertools
from types import SimpleNamespace

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, patch
from compile.staleness.objects import given, own
from compile.staleness.scenario import changed, eager, empty, puts, scenario, sets, whole
from compile.staleness.small import (
    Ahead,
    Small,
    Two,
    add_group,
    descends,
    fitted,
    load_state,
    network,
    own_step,
    sgd,
    squares,
    trainer,
)
from optim.problem import CASES
from ranvier import nn, optim
from ranvier.optim import hooks, lr_scheduler, swa_utils
from support.optimizers import KINDS

INF = float("inf")


def two(kind, **settings):
    return lambda v: Two(kind, **settings)


def steps(run, t, _):
    return Case(run.compile(lambda x: t.step(x)), lambda: t.watch)


changed = functools.partial(changed, ways=(steps,))


# --- each setting that is compared with PyTorch: from its default to this value, to another one and back
def another(value):
    """Another value of the same kind; for a number 0, by which a rule may need fewer states."""
    if isinstance(value, tuple):
        return (0.9 * value[0], *value[1:])
    return not value if isinstance(value, bool) else 0 * value


for kind, settings in CASES:
    for name, value in settings.items():
        if name == "initial_accumulator_value" or (name == "momentum" and "nesterov" in settings):
            continue  # it is read once; Nesterov's needs one from the beginning
        others = {key: own for key, own in settings.items() if key != name}
        scenario(
            two(KINDS[kind], **others),
            lambda t, v, name=name: puts(name)(t.groups[0], v),
            two,
            values=(None, value, another(value), value),
            ways=(steps,),
        )

# every rule, also of halves: the rate and a parameter change
for name, kind in KINDS.items():
    for settings in [settings for of, settings in CASES if of == name] or [{}]:
        changed(two(kind, **settings), lambda t, n: (puts("lr")(t.groups[0], 0.1 * n), t.a.data.mul_(0.9)))
    changed(two(kind, dtype=rv.bfloat16), lambda t, n: t.a.data.mul_(0.5))


# --- groups, parameters and states
def another_parameter(t, n):
    t.a = nn.Parameter(rv.ones(3) * n)
    t.groups[0]["params"][0] = t.a


def other_optimizer(t, n):
    t.optimizer = (optim.SGD, optim.AdamW, optim.RMSprop)[n - 1]([t.a, t.b], lr=0.03)


for make in (two(optim.Adam), two(optim.SGD, momentum=0.9), two(optim.RMSprop, centered=True)):
    changed(
        make,
        add_group,
        lambda t, n: puts(0)(t.groups, {**t.groups[0], "lr": 0.1 * n}),
        lambda t, n: t.groups.clear(),
        lambda t, n: t.optimizer.state.clear(),
        lambda t, n: sets("param_groups")(t.optimizer, [{**t.groups[0], "lr": 0.1 * n}]),
        lambda t, n: t.state.clear(),
        another_parameter,
        lambda t, n: t.optimizer.state.pop(t.a, None),
        lambda t, n: t.groups[0].update(params=[t.a] if n % 2 else [t.a, t.b]),
        load_state,
        lambda t, n: t.optimizer.step(),
        lambda t, n: t.optimizer.load_state_dict(type(t.optimizer)([t.a, t.b], lr=0.1 * n).state_dict()),
        other_optimizer,
        lambda t, n: sets("optimizer")(t, type(t.optimizer)([t.a, t.b], lr=0.05)),
        lambda t, n: t.groups[0].update(lr=np.float64(0.1 * n), weight_decay=0.1),
        lambda t, n: t.a.requires_grad_(n % 2 == 0),
    )
changed(
    two(optim.Adam, groups=True),
    lambda t, n: t.groups.pop() if n < 3 else None,
    lambda t, n: t.groups.reverse(),
    lambda t, n: t.groups[1].update(betas=(0.1 * n, 0.9)),
)
changed(
    two(optim.Adam),
    lambda t, n: t.state["exp_avg"].fill_(0),
    lambda t, n: t.state.update(exp_avg=np.full(3, 0.1 * n, np.float32)),
    lambda t, n: t.state["step"].fill_(0),
    lambda t, n: t.state.update(step=np.array(0.0)),
)
changed(
    two(optim.Adam),
    lambda t, n: t.optimizer.defaults.update(lr=0.1 * n),
    lambda t, n: t.optimizer.zero_grad(),
    neutral=True,
)


# --- hooks of steps: of one optimizer or of all, the first, after another one was removed, in a wrapped step
def with_factor(when, of_all):
    """A function that adds a hook, which scales the gradients before the step or a parameter after it."""

    def add(t, factor):
        def hook(optimizer, args, kwargs):
            with rv.no_grad():
                (t.a.grad if when == "before step" else t.a).mul_(factor)

        if not of_all:
            kinds = {"before step": t.optimizer.register_step_pre_hook}
            return kinds.get(when, t.optimizer.register_step_post_hook)(hook)
        handle = hooks.of_all(when, hook)
        patch.after(handle.remove)
        return handle

    return add


def wraps_step(t):
    step = t.optimizer.step
    t.optimizer.step = lambda *args: step(*args)


for when, of_all in itertools.product(("before step", "after step"), (False, True)):
    add = with_factor(when, of_all)

    def once_hooked(v, add=add):
        t = two(optim.SGD, momentum=0.5)(v)
        add(t, 1.0).remove()
        return t

    def with_two(v, add=add):
        t = two(optim.SGD, momentum=0.5)(v)
        return given(t, handles=[add(t, 0.5), add(t, 0.9)])

    def wrapped(v, add=add):
        t = two(optim.SGD, momentum=0.5)(v)
        add(t, 0.5)
        wraps_step(t)
        return t

    adds = lambda t, n, add=add: add(t, 0.1 * n)  # noqa: E731
    changed(two(optim.SGD, momentum=0.5), adds)
    changed(once_hooked, adds)
    changed(wrapped, adds)
    changed(with_two, lambda t, n, add=add: t.handles.pop().remove() if t.handles else add(t, 0.3))


# --- gradients that are added up over calls, that the step drops or does not compute
def carried(run, t, _):
    return Case(run.compile(t.accumulated(False)), lambda: t.watch)


def dropped(run, t, _):
    return Case(run.compile(t.accumulated(True)), lambda: t.watch)


def without_a(run, t, _):
    return Case(run.compile(t.without_a()), lambda: t.watch)


def zeroed(run, t, _):
    """zero_grad and backward, without a step."""

    def step(x):
        t.optimizer.zero_grad()
        loss = t.loss(x)
        loss.backward()
        return loss

    return Case(run.compile(step), lambda: t.watch)


def without_one(t, n):
    """Takes the parameters away, one after the other, and puts one back."""
    params = t.groups[0]["params"]
    params.pop() if n < 3 else params.append(t.a)


def updated(run, t, _):
    """The update alone, of gradients that were made outside the step."""

    def step(x):
        t.optimizer.step()
        return x * 2.0

    def gradients(number, result):
        for p in (t.a, t.b):
            p.grad = rv.full(p.shape, 0.1 * number)

    gradients(1, None)
    return Case(run.compile(step), lambda: t.watch, each=gradients)


def other_memory_of_state(t, n):
    for p in (t.a, t.b):
        for state in t.optimizer.state[p].values():
            state.data = state.data * 0.5


for kind in (optim.Adam, functools.partial(optim.SGD, momentum=0.5)):
    changed(
        two(kind),
        lambda t, n: sets("data")(t.a, t.a.data * 0.5),
        other_memory_of_state,
        lambda t, n: sets("grad")(t.a, None),
        without_one,
        ways=(updated,),
    )


def tuples(t, n):
    """A tuple in place of a list."""
    t.groups[0]["params"] = (t.a,) if n % 2 else (t.a, t.b)


def tuple_of_groups(t, n):
    t.optimizer.param_groups = ({"params": [t.a]},) * (n % 2)


changed(two(optim.SGD), without_one, tuples, tuple_of_groups, lambda t, n: t.groups.clear(), ways=(zeroed,))

GRADIENTS = (
    lambda t, n: t.optimizer.zero_grad(),
    lambda t, n: t.optimizer.zero_grad(set_to_none=False),
    lambda t, n: sets("grad")(t.a, None),
    lambda t, n: sets("grad")(t.a, rv.full((3,), n * 1.0)),
    lambda t, n: t.a.grad.zero_(),
    lambda t, n: sets("grad")(t.a, t.a.grad * 0.5),
    lambda t, n: nn.utils.clip_grad_norm_([t.a, t.b], 0.1),
    lambda t, n: sets("grad")(t.a, rv.from_numpy(np.ones(3, np.float32) * n)),
)
changed(two(optim.SGD, momentum=0.9), *GRADIENTS, ways=(carried, without_a))
changed(two(optim.SGD, momentum=0.9), lambda t, n: (t.a * 2).sum().backward(), ways=(carried, dropped))
changed(two(optim.SGD, momentum=0.9), lambda t, n: sets("grad")(t.a, rv.full((3,), n * 1.0)), ways=(dropped,))


# --- schedules, and what a step reads of optimizers and schedules
def in_fit(run, t, _):
    m = network(nn.Dropout(0.2))
    o = t.kind(m.parameters(), lr=0.1)
    t.schedule, fast = t.schedule_of(o), trainer(run.compiled, m, o)
    return Case(lambda: fitted(fast, "callback", run.change), lambda: [m, o], empty, calls=1)


def in_steps(run, t, _):
    t.two = Two(t.kind)
    t.schedule = t.schedule_of(t.two.optimizer)
    return Case(run.compile(lambda x: t.two.step(x)), lambda: t.two.watch)


for schedule_of in (
    lambda o: lr_scheduler.StepLR(o, 1, 0.5),
    lambda o: lr_scheduler.LambdaLR(o, lambda e: 1 / (e + 1)),
    lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 2, cycle_momentum=False),
    lambda o: lr_scheduler.OneCycleLR(o, 0.1, 20, cycle_momentum=False),
):
    for kind in (optim.SGD, optim.Adam):
        scenario(
            lambda v, kind=kind, of=schedule_of: SimpleNamespace(kind=kind, schedule_of=of),
            lambda t, v: t.schedule.step(),
            schedule_of,
            ways=(in_steps, in_fit),
        )


def reading(run, o, read):
    """In a training step of the optimizer that is read."""
    return Case(run.compile(lambda x: o.small.train(x, read(o))), lambda: o.small.watch)


def with_schedule(v):
    small = Small()
    return SimpleNamespace(small=small, o=small.optimizer, s=lr_scheduler.ExponentialLR(small.optimizer, 0.5))


def own_optimizer(v):
    small = Small()
    small.optimizer = own(optim.SGD)([small.w], lr=0.1)
    return SimpleNamespace(small=small, o=given(small.optimizer, gain=v))


scenario(
    with_schedule,
    lambda o, v: o.s.step(),
    lambda o: o.s.get_lr()[0],
    lambda o: o.s.get_last_lr()[0],
    lambda o: o.o.param_groups[0]["lr"],
    lambda o: sum(group["lr"] for group in o.o.param_groups),
    lambda o: getattr(o.o, "param_groups")[0]["lr"],
    lambda o: o.o.state_dict()["param_groups"][0]["lr"],
    lambda o: 1.0 + o.s.last_epoch,
    eager(lambda o: vars(o.o)["param_groups"][0]["lr"]),
    eager(lambda o: float(len(repr(o.o)))),
    eager(lambda o: float(len(f"{o.o}"))),
    ways=(reading,),
)
scenario(
    with_schedule,
    lambda o, v: o.o.param_groups[0].update(momentum=0.1 * (v % 2)),
    lambda o: 2.0 if o.o.param_groups[0]["momentum"] else 1.0,
    ways=(reading,),
)
scenario(
    with_schedule,
    lambda o, v: o.o.defaults.update(lr=v),
    lambda o: o.o.defaults["lr"],
    eager(lambda o: [d["lr"] for d in vars(o.o).values() if type(d) is dict and "lr" in d][0]),
    ways=(reading,),
)
scenario(own_optimizer, lambda o, v: sets("gain")(o.o, v), lambda o: o.o.gain, ways=(reading,))
scenario(own_optimizer, lambda o, v: sets("step")(type(o.o), own_step), lambda o: 1.5, ways=(reading,))
scenario(own_optimizer, lambda o, v: sets("step")(o.o, lambda: own_step(o.o)), lambda o: 1.5, ways=(reading,))
scenario(
    with_schedule,
    lambda o, v: patch(optim.SGD, "step", lambda self, closure=None: None),
    lambda o: 1.5,
    ways=(reading,),
)
scenario(with_schedule, lambda o, v: sets("zero_grad")(o.o, lambda: None), lambda o: 1.5, ways=(reading,))
for change, read in (
    (
        lambda o, v: o.add_param_group({"params": [nn.Parameter(rv.ones(1))]}),
        lambda o: float(len(o.param_groups)),
    ),
    (lambda o, v: o.state.update({v: {}}), lambda o: 1.0 + len(o.state)),
    (lambda o, v: sets("state")(o, dict.fromkeys(range(int(v)))), lambda o: 1.0 + len(o.state)),
    (lambda o, v: sets("param_groups")(o, [{"lr": v}]), lambda o: o.param_groups[0]["lr"]),
    (
        lambda o, v: sets("__class__")(o, optim.Adam if v % 2 == 0 else optim.SGD),
        lambda o: 2.0 if isinstance(o, optim.SGD) else 3.0,
    ),
):
    scenario(lambda v: optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1), change, read)


# --- whole steps, of two parameters, a line and a number `k` that changes
class Line:
    """A linear layer with several optimizers, an average and a schedule; k: the number that changes."""

    def __init__(self, v):
        self.line, self.two, self.k, self.seen = nn.Linear(3, 3), Two(momentum=0.5), v, rv.zeros(3)
        self.optimizer, self.average = sgd(self.line), swa_utils.AveragedModel(self.line)
        self.other = optim.LBFGS(self.line.parameters(), lr=0.1, max_iter=3)
        self.schedule, self.ahead = lr_scheduler.ExponentialLR(self.two.optimizer, 0.5), Ahead(self.optimizer)
        self.count, self.clipped = 0, [self.line.weight]

    @property
    def watch(self):
        return [self.line, self.two, self.optimizer, self.average, self.seen, self.count]

    def descend(self, x, between=None):
        return descends(squares(self.line), self.optimizer, between)(x)


def sets_rate(o, x):
    for group in o.two.groups:
        group["lr"] = 0.05 * o.k
    return o.two.step(x)


def adds_up(o, x):
    loss = o.two.step(x)
    o.seen.mul_(0.9).add_(o.two.a.detach() * o.k)
    return loss


def by_hand(o, x):
    loss = o.two.loss(x)
    o.two.a.grad = None
    loss.backward()
    rv.no_grad()(o.two.a.sub_)(o.two.a.grad * 0.01 * o.k)
    return loss.detach()


def counts(o, x):
    o.count += 1
    return o.two.accumulate(x, o.count % 2 == 0)


def averages(o, x):
    loss = o.descend(x)
    o.average.update_parameters(o.line)
    return loss


def gradients(o, x):
    o.other.zero_grad()
    loss = squares(o.line)(x)
    loss.backward()
    return loss


def schedules(o, x):
    loss = o.two.step(x)
    o.schedule.step()
    return loss


scenario(
    Line,
    sets("k"),
    sets_rate,
    adds_up,
    by_hand,
    lambda o, x: (o.two.step(x), o.descend(x) * o.k),
    *(
        lambda o, x, norm=norm: o.descend(
            x, lambda: nn.utils.clip_grad_norm_(o.line.parameters(), 0.1 * o.k, norm)
        )
        for norm in (1.0, 2.0, INF)
    ),
    ways=(whole,),
)
scenario(
    Line,
    lambda o, v: sets("pull")(o.ahead, 0.1 * v),
    lambda o, x: descends(squares(o.line), o.ahead)(x),
    ways=(whole,),
)
scenario(Line, None, averages, counts, eager(schedules), ways=(whole,))
scenario(
    Line,
    lambda o, v: o.clipped.append(o.line.bias) if v == 2.0 else o.clipped.pop(),
    lambda o, x: o.descend(x, lambda: nn.utils.clip_grad_value_(o.clipped, 0.01)),
    ways=(whole,),
)
scenario(
    Line,
    lambda o, v: o.other.param_groups[0].update(lr=0.1 * v),
    eager(lambda o, x: o.other.step(lambda: gradients(o, x))),
    ways=(whole,),
)
