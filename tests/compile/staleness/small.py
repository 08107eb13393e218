"""Shared parts of the scenarios."""

import copy
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import ranvier as rv
from ranvier import nn, optim
from ranvier.nn import functional as F


def default_inputs(number):
    """x (4, 3), another at each call."""
    return (rv.tensor(np.random.default_rng(number).standard_normal((4, 3)).astype(np.float32)),)


def labelled(number):
    """x (4, 3) and labels from 0 to 2."""
    return (*default_inputs(number), rv.tensor(np.random.default_rng(number).integers(0, 3, 4)))


class Small:
    """A weight of three elements and its optimizer; `train` is one step with a factor in its loss."""

    def __init__(self, lr=0.05):
        self.w = nn.Parameter(rv.randn(3))
        self.optimizer = optim.SGD([self.w], lr=lr)

    def train(self, x, factor):
        self.optimizer.zero_grad()
        y = x * self.w * factor
        loss = (y * y).mean() + y.sum()
        loss.backward()
        self.optimizer.step()
        return loss, y.detach() * 1.0

    def loss(self, x):
        """A loss, which has a gradient where the caller wants it."""
        y = x * self.w
        loss = (y * y).sum()
        if not loss.requires_grad:
            return loss
        self.w.grad = None
        loss.backward()
        return loss * 2.0

    @property
    def watch(self):
        return [self.w, self.optimizer]


def network(*more, seed=0):
    rv.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), *more, nn.Linear(4, 3))


def networks(*seeds):
    return [network(seed=seed) for seed in seeds]


def descends(loss_of, optimizer, between=None):
    """A training step; between: what is done after backward."""

    def step(x):
        optimizer.zero_grad()
        loss = loss_of(x)
        loss.backward()
        if between is not None:
            between()
        optimizer.step()
        return loss

    return step


def squares(model):
    """The loss of a model without labels."""
    return lambda x: (model(x) ** 2).mean()


def classifies(model, optimizer, of=None):
    """A training step of x and labels; of: what holds the loss function."""

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) if of is None else of.loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


class Two:
    """Two parameters of different shapes, and their optimizer."""

    def __init__(self, kind=optim.SGD, groups=False, **settings):
        self.a, self.b = nn.Parameter(rv.randn(3)), nn.Parameter(rv.randn(2, 3))
        given = [{"params": [self.a]}, {"params": [self.b], "lr": 0.01}] if groups else [self.a, self.b]
        self.optimizer = kind(given, **{"lr": 0.05, **settings})

    def loss(self, x):
        return (x * self.a).sum() * 0.3 + (x @ self.b.T).tanh().sum()

    def step(self, x):
        self.optimizer.zero_grad()
        loss = self.loss(x)
        loss.backward()
        self.optimizer.step()
        return loss

    def accumulate(self, x, updates):
        loss = self.loss(x)
        loss.backward()
        if updates:
            self.optimizer.step()
            self.optimizer.zero_grad()
        return loss

    def accumulated(self, drops):
        """A step with the gradients of earlier calls; drops: it clears them in the end."""

        def step(x):
            loss = self.accumulate(x, False)
            self.optimizer.step()
            if drops:
                self.optimizer.zero_grad()
            return loss

        return step

    def without_a(self):
        """A step that computes no gradient of `a`, which has one."""
        self.a.grad = rv.ones(3)
        self.a.requires_grad_(False)

        def step(x):
            self.b.grad = None
            loss = (x @ self.b.T).tanh().sum()
            loss.backward()
            self.optimizer.step()
            return loss

        return step

    @property
    def groups(self):
        return self.optimizer.param_groups

    @property
    def state(self):
        return self.optimizer.state[self.a]

    @property
    def watch(self):
        return [self.a, self.b, self.optimizer]


class Own(nn.Module):
    """A model whose forward is a function of the result of its layer."""

    def __init__(self, function):
        super().__init__()
        self.layer, self._own = nn.Linear(3, 3), function

    def forward(self, x):
        return self._own(self.layer(x))


class Configured(nn.Module):
    """A model whose forward has a factor that `read` makes of its settings."""

    def __init__(self, config, read):
        super().__init__()
        self.layer, self.config, self._read = nn.Linear(3, 3), config, read

    def forward(self, x):
        return self.layer(x) * self._read(self.config)


def in_one_vector(model):
    """The vector that has all parameters of the model from now on."""
    vector, at = rv.cat([p.detach().reshape(-1) for p in model.parameters()]), 0
    for p in model.parameters():
        p.data = vector[at : at + p.numel()].view_as(p)
        at += p.numel()
    return vector


def in_memory_of(model, other):
    """A weight of another model, whose memory this one has from now on."""
    for p, its in zip(model.parameters(), other.parameters(), strict=True):
        p.data = its.data
    return other[0].weight.detach()


def sgd(model, lr=0.1, momentum=0.0):
    return optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def of_leaves(leaves):
    def step(x):
        for leaf in leaves:
            leaf.grad = None
        loss = (x * leaves[0] * leaves[-1]).sum()
        if any(leaf.requires_grad for leaf in leaves):
            loss.backward()
        return loss

    return step


def loss_of_two(x, a, b):
    return (x * a).sum() + (x * b.reshape(-1, 3)[0]).sum() ** 2 * 0.1


def shared_memory(a, b, n):
    if n == 1:
        a.data = b.data
    elif n == 2:
        a.data = b.data.clone() * 2.0
    else:
        a.data, b.data = b.data, a.data


class Reads(nn.Module):
    """A model with settings of many kinds; `forward` uses one of them."""

    shared = 1.0

    def __init__(self, use):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
        self.index, self.active, self.order, self.kind = 0, ["a"], ["a"], "tanh"
        self.named = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
        self.start, self.stop, self.count, self.skip, self.limit, self.calls = 0, 1, 1, False, 5, []
        self.options, self.table, self.cache = {"p": 0.5}, {"scale": 1.0}, {}
        self.activation, self.functions = F.relu, [F.relu]
        self.config = types.SimpleNamespace(factor=1.0)
        self._use, self.own, self.norm = use, OwnDropout(0.3), OwnNorm(3)
        self.epoch, self.own.epoch, self.own.count = 0, 0, 1

    def forward(self, x):
        return self._use(self, x)


class OwnDropout(nn.Dropout):
    pass


class OwnNorm(nn.BatchNorm1d):
    pass


class Ahead(optim.Optimizer):
    """An optimizer around another one, whose groups are a property."""

    def __init__(self, base):
        self.base, self.pull = base, 0.5
        self.slow = [p.detach().clone() for group in base.param_groups for p in group["params"]]

    @property
    def param_groups(self):
        return self.base.param_groups

    def zero_grad(self):
        self.base.zero_grad()

    def step(self):
        self.base.step()
        with rv.no_grad():
            for a, p in zip(self.slow, self.param_groups[0]["params"], strict=True):
                a.add_((p - a) * self.pull)
                p.copy_(a)


def own_step(self):
    with rv.no_grad():
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad * 0.5)


def add_group(two, n):
    extra = nn.Parameter(rv.ones(3) * n)
    extra.grad = rv.ones(3)
    two.optimizer.add_param_group({"params": [extra], "lr": 0.1})


def load_state(two, n):
    state = copy.deepcopy(two.optimizer.state_dict())
    for group in state["param_groups"]:
        group["lr"] = 0.1 * n
    for values in state["state"].values():
        for name in values:
            values[name] = np.asarray(values[name]) * 2
    two.optimizer.load_state_dict(state)


def graded(two, n):
    """No arguments; the caller computes the gradients."""
    rng = np.random.default_rng(n)
    two.a.grad = rv.tensor(rng.standard_normal(3).astype(np.float32))
    two.b.grad = None if n in (5, 6) else rv.tensor(rng.standard_normal((2, 3)).astype(np.float32))
    return ()


def layer_inputs(shape, number):
    rng = np.random.default_rng(number)
    if shape == "words":
        return (rv.tensor(rng.integers(0, 5, (4, 2))),)
    return (rv.tensor(rng.standard_normal(tuple(map(int, shape.split(",")))).astype(np.float32)),)


def layered(layer, w):
    """A training step of a layer and a weight."""
    optimizer = optim.SGD([w, *layer.parameters()], lr=0.02)

    def step(x):
        optimizer.zero_grad()
        y = layer(x * w) if x.is_floating_point() else layer(x) * w
        loss = (y * y * 0.5 + y).sum()
        loss.backward()
        optimizer.step()
        return loss, y.detach() * 1.0

    return step


# --- the caller's side of steps


def another_program():
    other = rv.compile(lambda x: x * 2.0)
    for _ in range(4):
        other(rv.ones(2))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.factor = nn.Linear(3, 3), 1.0

    def forward(self, x):
        return self.layer(x) * self.factor

    def score(self, x):
        return self(x).sum()


def in_both_modes(model, step, fast):
    def call(x, y):
        model.train()
        loss = step(x, y)
        model.eval()
        return loss, fast(x)

    return call


def at_once(fast, x):
    """Four threads call a step with different inputs; its results depend on nothing else."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(fast, [x * float(i + 1) for i in range(4)]))


def saved_and_loaded(model, optimizer, saved, n):
    if n == 3:
        saved.append(copy.deepcopy((dict(model.state_dict()), optimizer.state_dict())))
    if n in (7, 9):
        model.load_state_dict(saved[0][0])
        optimizer.load_state_dict(saved[0][1])


def doubled(kind):
    class Doubled(kind):
        def forward(self, x):
            return super().forward(x) * 2

    return Doubled()
