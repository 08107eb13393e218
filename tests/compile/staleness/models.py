"""Models in training steps, in a Trainer and without gradients: layers, parameters, memory, hooks.

`changed(make, *changes)` (scenario.py): `make` makes a model, which is used in each of several ways, and a
change alters it between two calls. Compiled, each call must show the bits of the same calls run eagerly
(judge.py). A step may also run eagerly, with a warning, only where `eager(...)` marks it. A change `lambda s,
n` gets what was made and the number of the change, 1 to 3. `own` makes a class with these attributes, `given`
sets attributes (objects.py).
"""
# ruff: noqa: B023

import copy
import functools
import gc
from types import SimpleNamespace

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, patch
from compile.staleness.objects import Plain, given, own
from compile.staleness.scenario import changed, eager, empty, puts, scenario, sets
from compile.staleness.small import (
    Reads,
    classifies,
    descends,
    fitted,
    in_memory_of,
    in_one_vector,
    labelled,
    network,
    networks,
    node_of,
    sgd,
    squares,
    trainer,
    used,
)
from ranvier import distributions, nn, optim
from ranvier.nn import functional as F


# --- where a classifier `m` with its optimizer `o` is used: in a step, in a Trainer `t`, or for predictions
def classifier(*middle, optimizer=None):
    """A function that makes one, with these layers in the middle."""

    def make(v):
        m = network(*[kind() for kind in middle])
        o = optimizer(m.parameters()) if optimizer else optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
        return SimpleNamespace(m=m, o=o, t=SimpleNamespace(loss=nn.CrossEntropyLoss()), settings={})

    return make


def in_step(run, s, _):
    return Case(run.compile(classifies(s.m, s.o, s.t)), lambda: [s.m, s.o], labelled)


def in_fit(by):
    """In a fit of four epochs; by: what makes the changes."""

    def way(run, s, _):
        s.t = trainer(run.compiled, s.m, s.o, **s.settings)
        return Case(lambda: fitted(s.t, by, run.change), lambda: [s.m, s.o], empty, calls=1)

    way.__name__ = f"fit_by_{by}"
    return way


def in_calls(kind):
    """In calls of a Trainer."""

    def way(run, s, _):
        s.t = trainer(run.compiled, s.m, s.o)
        return Case(lambda number: used(s.t, kind, number), lambda: [s.m, s.o], lambda n: (n,))

    way.__name__ = kind
    return way


def predicted(run, s, _):
    return Case(rv.no_grad()(run.compile(s.m.eval())), lambda: s.m)


def predicted_alone(run, s, _):
    return Case(run.alone(s.m.eval()), lambda: s.m)


FITS = tuple(map(in_fit, ("callback", "epochs", "data")))
FIT, EVALUATE, PREDICT, IN_TURN = map(in_calls, ("fit", "evaluate", "predict", "all_in_turn"))
TRAINED, PREDICTED = (in_step, *FITS), (predicted, predicted_alone)
ALL = (*TRAINED, FIT, EVALUATE, PREDICT, IN_TURN, *PREDICTED)


changed = functools.partial(changed, ways=ALL)


def inserts(s, n):
    if n == 1:
        del s.m[1]
    else:
        s.m.insert(1, (nn.ReLU(), nn.SiLU())[n - 2])


def without_bias(s, n):
    s.m[0].bias = None if n == 1 else nn.Parameter(rv.ones(4) * n)


def patched(kind, name):
    def change(s, n):
        before = getattr(kind, name)
        patch(kind, name, lambda self, x, *more: before(self, x, *more) * (1.0 + n))

    return change


def weight(s):
    return s.m[0].weight


RELU_LIKE = (nn.ReLU, nn.Sigmoid, nn.Tanh)
changed(
    classifier(nn.Identity),
    lambda s, n: s.m.append(nn.Linear(3, 3)),
    lambda s, n: s.m.insert(2, nn.Linear(4, 4)),
    inserts,
    lambda s, n: puts(1)(s.m, RELU_LIKE[n - 1]()),
    lambda s, n: puts(3)(s.m, nn.Linear(4, 3)),
    lambda s, n: s.m.extend([nn.Tanh(), nn.Linear(3, 3)]),
    lambda s, n: setattr(s.m, "1", RELU_LIKE[n - 1]()),
    lambda s, n: sets("data")(weight(s), rv.full((4, 3), 0.1 * n)),
    lambda s, n: weight(s).data.mul_(1.0 + n),
    lambda s, n: np.multiply(weight(s).data.numpy(), 1.0 + n, out=weight(s).data.numpy()),
    lambda s, n: sets("bias")(s.m[3], nn.Parameter(rv.full((3,), n * 1.0))),
    rv.no_grad()(lambda s, n: weight(s).copy_(rv.full((4, 3), 0.1 * n))),
    rv.no_grad()(lambda s, n: puts(0)(weight(s), 0.3 * n)),
    lambda s, n: weight(s).detach()[0].mul_(1.0 + n),
    lambda s, n: copy.copy(weight(s).detach()).mul_(1.0 + n),
    lambda s, n: descends(squares(s.m), sgd(s.m, 0.5))(rv.ones(4, 3)),
    lambda s, n: rv.compile(descends(squares(s.m), optim.Adam(s.m.parameters(), lr=0.1)))(rv.ones(4, 3)),
    lambda s, n: sets("weight")(s.m[3], nn.Parameter(weight(s).detach().T.clone())),
    lambda s, n: s.m.load_state_dict({name: w * (1.0 + n) for name, w in s.m.state_dict().items()}),
    lambda s, n: s.m[0].reset_parameters(),
    without_bias,
    lambda s, n: given(s.m[0], weight=nn.Parameter(rv.full((4, 3), 0.1 * n)), alias=weight(s)),
    *(eager(patched(kind, "forward"), predicted_alone) for kind in (nn.Linear, nn.Sequential)),
    *(eager(patched(kind, "__call__")) for kind in (nn.Linear, nn.Sequential, nn.Module)),
    eager(lambda s, n: sets("forward")(s.m[1], lambda x: x * (1.0 + n)), predicted_alone),
    eager(
        lambda s, n: sets("forward")(s.m, lambda x: type(s.m).forward(s.m, x) * (1.0 + n)), predicted_alone
    ),
)
changed(
    classifier(lambda: nn.BatchNorm1d(4)),
    lambda s, n: s.m[2].weight.data.fill_(n * 1.0),
    lambda s, n: puts(2)(s.m, nn.LayerNorm(4) if n % 2 else nn.BatchNorm1d(4)),
    lambda s, n: sets("eps")(s.m[2], 0.3 * n),
    lambda s, n: sets("running_mean")(s.m[2], rv.full((4,), n * 1.0)),
    lambda s, n: s.m[2].running_mean.add_(n * 1.0),
    lambda s, n: np.add(s.m[2].running_mean.numpy(), n, out=s.m[2].running_mean.numpy()),
    lambda s, n: sets("data")(s.m[2].running_mean, rv.full((4,), n * 1.0)),
)
changed(classifier(lambda: nn.LeakyReLU(0.1)), lambda s, n: sets("negative_slope")(s.m[2], 0.2 * n))


# parameters and buffers in memory that has another name, too, under which it is changed
def shared(share):
    def make(v):
        s = classifier(lambda: nn.BatchNorm1d(4))(v)
        return given(s, memory=share(s.m))

    return make


def of_tensor(m):
    memory = rv.randn(4, 3)
    m[0].weight = nn.Parameter(memory)
    return memory


def of_array(m):
    memory = np.zeros(4, np.float32)
    m[2].running_mean = rv.from_numpy(memory)
    return memory


for share in (in_one_vector, lambda m: in_memory_of(m, network(nn.BatchNorm1d(4))), of_tensor, of_array):
    scenario(shared(share), lambda s, v: s.memory.__iadd__(1.0), share, ways=PREDICTED)

# what training alone shows
SETTINGS = {
    "lr": (0.2, 0.1, 0.3),
    "momentum": (0.2, 0.0, 0.5),
    "weight_decay": (0.2, 0.4, 0.0),
    "nesterov": (True, False, True),
    "maximize": (True, False, True),
}
for name, values in SETTINGS.items():
    changed(
        classifier(nn.Identity),
        lambda s, n, name=name, values=values: puts(name)(s.o.param_groups[0], values[n - 1]),
        ways=TRAINED,
    )
changed(
    classifier(nn.Identity),
    lambda s, n: weight(s).requires_grad_(n % 2 == 0),
    lambda s, n: s.m[:-1].requires_grad_(n % 2 == 0),
    lambda s, n: (
        sets("weight")(s.m[0], nn.Parameter(rv.full((4, 3), 0.1 * n))),
        puts("params")(s.o.param_groups[0], list(s.m.parameters())),
    ),
    lambda s, n: s.o.state.clear(),
    lambda s, n: s.o.param_groups.clear(),
    lambda s, n: s.o.param_groups[0]["params"].pop(),
    lambda s, n: sets("label_smoothing")(s.t.loss, 0.1 * n),
    lambda s, n: sets("weight")(s.t.loss, rv.tensor([1.0 + n, 1.0, 1.0])),
    lambda s, n: sets("ignore_index")(s.t.loss, n % 3),
    lambda s, n: s.o.load_state_dict(optim.SGD(s.m.parameters(), lr=0.3, momentum=0.1 * n).state_dict()),
    lambda s, n: sets("forward")(s.t.loss, lambda output, y: F.cross_entropy(output, y) * (1.0 + n)),
    ways=TRAINED,
)
changed(
    classifier(lambda: nn.Dropout(0.5)), lambda s, n: sets("p")(s.m[2], 0.0 if n % 2 else 0.3), ways=TRAINED
)
changed(
    classifier(lambda: nn.BatchNorm1d(4)),
    lambda s, n: sets("momentum")(s.m[2], 0.2 * n),
    lambda s, n: s.m[2].reset_running_stats(),
    ways=TRAINED,
)
changed(
    classifier(lambda: nn.BatchNorm1d(4)),
    lambda s, n: s.m[2].train(n % 2 == 0),
    lambda s, n: s.m.train(n % 2 == 0),
    ways=(in_step,),
)
changed(
    classifier(nn.Identity, optimizer=functools.partial(optim.Adam, lr=0.05)),
    lambda s, n: s.o.param_groups[0].update(betas=(0.3 * n, 0.9)),
    lambda s, n: s.o.state.clear(),
    lambda s, n: [state["exp_avg"].fill_(0) for state in s.o.state.values()],
    ways=TRAINED,
)
changed(
    classifier(nn.Identity),
    lambda s, n: sets("optimizer")(s.t, optim.Adam(s.m.parameters(), lr=0.01 * n)),
    lambda s, n: sets("clip_grad_norm")(s.t, 0.01 * n),
    lambda s, n: sets("clip_grad_value")(s.t, 0.01 * n),
    lambda s, n: sets("accumulate")(s.t, 1 + n % 2),
    lambda s, n: sets("model")(s.t, nn.Sequential(*s.m, nn.Tanh())),
    ways=(FIT, IN_TURN),
)
for more in ({"accumulate": 2}, {"clip_grad_norm": 0.1}, {"l1": 0.01, "l2": 0.01}, {"metrics": ["accuracy"]}):
    changed(
        lambda v, more=more: given(classifier(lambda: nn.Dropout(0.5))(v), settings=more),
        lambda s, n: s.o.param_groups[0].update(lr=0.2 / n),
        lambda s, n: sets("p")(s.m[2], 0.1 * n),
        lambda s, n: s.m[0].requires_grad_(n % 2 == 0),
        lambda s, n: puts(1)(s.m, RELU_LIKE[n - 1]()),
        ways=FITS,
    )
changed(
    classifier(nn.Identity),
    lambda s, n: gc.collect(),
    lambda s, n: s.m.state_dict(),
    lambda s, n: copy.deepcopy(s.m),
    lambda s, n: s.m(rv.ones(2, 3)).sum().backward(),
    lambda s, n: s.m.eval().train(),
    ways=TRAINED,
    neutral=True,
)

# --- hooks with a factor: added between calls, removed, or one whose factor changes or counts its calls
HOOKS = (
    lambda m, f: m[0].register_forward_hook(lambda mod, args, y: y * f()),
    lambda m, f: m.register_forward_hook(lambda mod, args, y: y * f()),
    lambda m, f: m[0].weight.register_hook(lambda g: g * f()),
    lambda m, f: m[0].register_forward_pre_hook(lambda mod, args: (args[0] * f(),)),
    lambda m, f: m[3].register_full_backward_hook(lambda mod, gi, go: (gi[0] * f(), *gi[1:])),
    lambda m, f: m[3].register_full_backward_pre_hook(lambda mod, go: (go[0] * f(),)),
    lambda m, f: m[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(f())),
    lambda m, f: node_of(m[0].weight).register_prehook(lambda gradients: (gradients[0] * f(),)),
    lambda m, f: node_of(m[0].weight).register_hook(lambda gi, go: (m[0].weight.grad.mul_(f()), None)[1]),
)
for hook in HOOKS:
    simple = classifier(nn.Identity)

    def hooked(v, hook=hook):
        """With two of them, whose factor is an attribute."""
        s = given(simple(v), factor=v, seen=[])
        s.handles = [hook(s.m, lambda: s.factor) for _ in range(2)]
        return s

    def counting(v, hook=hook):
        s = given(simple(v), seen=[])
        hook(s.m, lambda: s.seen.append(1) or float(len(s.seen)))
        return s

    def after_another(v, hook=hook):
        """A hook was there and is removed: the tables are empty, but exist."""
        s = simple(v)
        hook(s.m, lambda: 1.0).remove()
        return s

    changed(simple, lambda s, n, hook=hook: hook(s.m, lambda: 1.0 + n), ways=TRAINED)
    changed(after_another, lambda s, n, hook=hook: hook(s.m, lambda: 1.0 + n), ways=TRAINED)
    scenario(
        hooked,
        lambda s, v: s.handles.pop().remove() if s.handles else hook(s.m, lambda: 3.0),
        hook,
        ways=(in_step,),
    )
    scenario(hooked, sets("factor"), hook, ways=(in_step,))
    scenario(counting, None, eager(hook), ways=(in_step,))


# --- models and tensors outside of modules that another one replaces
def two_trained(run, o, read):
    return Case(run.compile(lambda x, y: classifies(*read(o))(x, y)), lambda: PAIRS, labelled)


def two_predicted(run, o, read):
    return Case(rv.no_grad()(run.compile(lambda x: read(o)[0](x) * 1.0)), lambda: PAIRS)


def renewed(v):
    """Two models and their optimizers."""
    PAIRS[:] = [(m, sgd(m)) for m in networks(1, 2)]


PAIRS, CURRENT = [], None
scenario(
    lambda v: renewed(v) or Plain(PAIRS[0]),
    lambda o, v: sets("value")(o, PAIRS[v]),
    lambda o: o.value,
    values=(0, 1, 0, 1),
    ways=(two_trained, two_predicted),
)
scenario(
    lambda v: renewed(v) or globals().update(CURRENT=PAIRS[0]),
    lambda o, v: globals().update(CURRENT=PAIRS[v]),
    lambda o: CURRENT,
    values=(0, 1, 0, 1),
    ways=(two_trained, two_predicted),
)


# --- models that are used in other ways than by calling them
def layers_by(o, x):
    for layer in o.m.children():
        x = layer(x)
    return x


def linear_ones(o, x):
    for layer in [layer for layer in o.m.modules() if isinstance(layer, nn.Linear)]:
        x = layer(x)
    return x


def used_otherwise(run, o, read):
    step = descends(lambda x: (read(o, x) ** 2).mean() + (o.m[2].weight ** 2).sum(), o.o)
    return Case(run.compile(step), lambda: [o.m, o.o])


def of_three(v):
    m = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    return SimpleNamespace(m=m, o=sgd(m))


def replaces_first(o, v):
    o.m[0] = o.m[0].requires_grad_(False) if v == 3.0 else nn.Linear(3, 3)


scenario(
    of_three,
    replaces_first,
    lambda o, x: x @ o.m[0].weight,
    lambda o, x: F.linear(x, o.m[0].weight, o.m[0].bias),
    lambda o, x: o.m[0].forward(x),
    lambda o, x: o.m.forward(x),
    lambda o, x: x @ o.m.get_parameter("0.weight"),
    lambda o, x: o.m.get_submodule("0")(x),
    lambda o, x: sum((p * p).sum() for p in o.m.parameters()) * x.mean(),
    lambda o, x: x @ dict(o.m.named_parameters())["0.weight"],
    lambda o, x: x @ next(iter(o.m.parameters())),
    layers_by,
    linear_ones,
    lambda o, x: o.m[:1](x),
    lambda o, x: o.m[-1](o.m[0](x)),
    lambda o, x: nn.Linear.forward(o.m[0], x),
    lambda o, x: x[:, :2] @ o.m[0].weight[:2],
    lambda o, x: o.m(x) * (o.m.state_dict()["0.weight"] ** 2).sum(),
    eager(lambda o, x: vars(o.m)["0"](x) if "0" in vars(o.m) else o.m[0](x)),
    ways=(used_otherwise,),
)


def by_layers(o, x):
    for layer in o:
        x = layer(x).tanh()
    return x


for kind in (list, nn.ModuleList):
    scenario(
        lambda v, kind=kind: kind([nn.Linear(3, 3), nn.Linear(3, 3)]),
        lambda o, v: o.append(nn.Linear(3, 3)) if v < 4 else o.pop(0),
        by_layers,
    )


# --- a model of the user, whose forward reads settings of many kinds
def reads_in_step(run, m, read):
    return Case(run.compile(descends(squares(m), sgd(m, 0.05))), lambda: m)


def reads_alone(run, m, read):
    return Case(run.alone(m), lambda: m)


def reads_in_fit(run, m, read):
    t = trainer(run.compiled, m, optimizer := sgd(m))
    return Case(lambda: fitted(t, "data", run.change), lambda: [m, optimizer], empty, calls=1)


def reads(change, read, *ways, neutral=False):
    """change: of the model and the number of the change; ways: where it may run eagerly."""
    given_ways = (reads_in_step,) if neutral else (reads_in_step, reads_alone, reads_in_fit)
    scenario(
        lambda v: Reads(read),
        lambda m, v: change(m, int(v) - 1),
        eager(read, *ways) if ways else read,
        ways=given_ways,
        neutral=neutral,
    )


def slices(m, x):
    for layer in m.layers[m.start : m.stop]:
        x = layer(x)
    return x


def named(m, x):
    for name in m.order:
        x = m.named[name](x)
    return x


def cached(m, x):
    m.cache or m.cache.update({4: rv.ones(1, 1) * m.table["scale"]})
    return m.layers[0](x) * m.cache[4]


def late(m, x):
    try:
        return m.layers[0](x) * m.late
    except AttributeError:
        return m.layers[1](x)


reads(lambda m, n: sets("index")(m, n % 3), lambda m, x: m.layers[m.index](x))
reads(lambda m, n: sets("stop")(m, n % 3 + 1), slices)
reads(lambda m, n: m.order.append("b") if n < 3 else m.order.reverse(), named)
reads(
    lambda m, n: sets("kind")(m, ("relu", "sigmoid", "exp")[n - 1]),
    lambda m, x: getattr(rv, m.kind)(m.layers[0](x)),
    reads_in_fit,
)
reads(lambda m, n: sets("count")(m, n + 1), lambda m, x: m.layers[0](x) * (lambda o: o.count)(m))
reads(lambda m, n: sets("count")(m, n + 1), lambda m, x: m.layers[0](x) * m.__dict__["count"], reads_in_fit)
reads(lambda m, n: (m.table.update(scale=1.0 + n), m.cache.clear()), cached, reads_in_step, reads_in_fit)
reads(
    lambda m, n: sets("late")(m, 1.0 + n), lambda m, x: m.layers[0](x) * getattr(m, "late", 1.0), reads_in_fit
)
reads(lambda m, n: sets("late")(m, 1.0 + n), late)
reads(
    lambda m, n: vars(m).pop("index", None),
    lambda m, x: m.layers[0](x) * (1.0 if hasattr(m, "index") else 2.0),
    reads_in_fit,
)
reads(
    lambda m, n: setattr(m, f"more{n}", nn.Identity()), lambda m, x: m.layers[0](x) * len(list(m.children()))
)
reads(
    lambda m, n: setattr(m, f"w{n}", nn.Parameter(rv.ones(1))),
    lambda m, x: m.layers[0](x) * len(list(m.parameters())),
)
reads(lambda m, n: sets("forward")(m, lambda x: m.layers[n - 1](x)), lambda m, x: m.layers[0](x), reads_alone)
reads(lambda m, n: sets("p")(m.own, 0.2 * n), lambda m, x: m.own(m.layers[0](x)))
reads(lambda m, n: sets("eps")(m.norm, 0.1 * n), lambda m, x: m.norm(m.layers[0](x)))
reads(lambda m, n: given(m, epoch=n, limit=n), lambda m, x: m.layers[0](x), neutral=True)
for part in (lambda m: m, lambda m: m.layers[1], lambda m: m.own):
    scenario(
        lambda v, part=part: Reads(lambda m, x: m.layers[0](x) * (2.0 if part(m).training else 1.0)),
        lambda m, v, part=part: part(m).train(v == 3.0),
        part,
        ways=(reads_in_step,),
    )


# --- what a step reads from objects of the library
def named_weights(o):
    return float(len([name for name, _ in o.named_parameters() if "weight" in name]))


BOOLS = (True, False, True, False)
scenario(
    lambda v: nn.Linear(1, 1), lambda o, v: o.train(v), lambda o: 2.0 if o.training else 3.0, values=BOOLS
)
scenario(
    lambda v: nn.Parameter(rv.ones(1)),
    lambda o, v: o.requires_grad_(v),
    lambda o: 2.0 if o.requires_grad else 3.0,
    values=BOOLS,
)
scenario(
    lambda v: nn.Parameter(rv.ones(1)),
    sets("grad"),
    lambda o: 2.0 if o.grad is None else 3.0,
    values=(None, rv.ones(1), None, rv.ones(1)),
)
scenario(lambda v: rv.ones(1), lambda o, v: sets("data")(o, rv.ones(int(v))), lambda o: float(o.shape[0]))
scenario(
    lambda v: own(rv.Tensor, gain=v)(rv.ones(3)),
    lambda o, v: sets("__class__")(o, own(rv.Tensor, gain=v)),
    lambda o: o.gain,
)
scenario(
    lambda v: nn.Sequential(nn.Linear(1, 1)),
    lambda o, v: o.append(nn.Linear(1, 1)),
    named_weights,
    lambda o: float(sum(p.numel() for p in o.parameters())),
    lambda o: 1.0 + len(o),
    eager(lambda o: len(repr(o)) / 10),
)
scenario(
    lambda v: distributions.Normal(rv.zeros(1), rv.ones(1), validate_args=False),
    lambda o, v: sets("loc")(o, rv.ones(1) * v),
    lambda o, x: x * o.log_prob(rv.ones(1)).exp(),
)
