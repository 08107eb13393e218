"""Models, optimizers and training steps of the scenarios, and fits in which something changes.

What a class shows in `watch` is compared after each call of a compiled step with what eager calls have left.
"""

import copy
import types

import numpy as np
import ranvier as rv
from compile.staleness.judge import default_inputs, describe
from ranvier import nn, optim
from ranvier.nn import functional as F
from support.training import training


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

    def step(*inputs):
        optimizer.zero_grad()
        loss = loss_of(*inputs)
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
    if of is None:
        return training(model, optimizer)
    return descends(lambda x, y: of.loss(model(x), y), optimizer)


class Two:
    """Two parameters of different shapes, and their optimizer."""

    def __init__(self, kind=optim.SGD, groups=False, dtype=rv.float32, **settings):
        self.a, self.b = nn.Parameter(rv.randn(3).to(dtype)), nn.Parameter(rv.randn(2, 3).to(dtype))
        given = [{"params": [self.a]}, {"params": [self.b], "lr": 0.01}] if groups else [self.a, self.b]
        self.optimizer = kind(given, **{"lr": 0.05, **settings})

    def loss(self, x):
        x = x.to(self.a.dtype)
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


def node_of(leaf):
    """The node that adds to the gradient of a leaf."""
    return leaf.expand_as(leaf).grad_fn.next_functions[0][0]


def of_leaves(leaves):
    """A step whose loss has the first and the last of these leaves as factors."""

    def step(x):
        for leaf in leaves:
            leaf.grad = None
        loss = (x * leaves[0] * leaves[-1]).sum()
        if any(leaf.requires_grad for leaf in leaves):
            loss.backward()
        return loss

    return step


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
    """Loads its own state dict, with other numbers."""
    state = copy.deepcopy(two.optimizer.state_dict())
    for group in state["param_groups"]:
        group["lr"] = 0.1 * n
    for values in state["state"].values():
        for name in values:
            values[name] = np.asarray(values[name]) * 2
    two.optimizer.load_state_dict(state)


class Net(nn.Module):
    """A module whose attribute is a factor, and a method beside forward."""

    def __init__(self):
        super().__init__()
        self.layer, self.factor = nn.Linear(3, 3), 1.0

    def forward(self, x):
        return self.layer(x) * self.factor

    def score(self, x):
        return self(x).sum()


# --- fits, evaluations and predictions of a Trainer
RNG = np.random.default_rng(5)
X = RNG.standard_normal((40, 3)).astype(np.float32)
Y = RNG.integers(0, 3, 40)
Z = X[:, ::-1] * 0.5
BATCHES = (7, 11, 16)  # out of 20 in four epochs: the batches after which the changes come


class Watch(rv.Callback):
    """Records the state after each epoch; this alone does not make Trainer run epochs step by step."""

    def __init__(self):
        self.seen = []

    def on_epoch_end(self, epoch, logs):
        found = {}
        describe([dict(logs), self.trainer.model, self.trainer.optimizer], "", found, frozenset())
        self.seen.append({name: repr(value) for name, value in found.items()})


class ByCallback(rv.Callback):
    """Makes the changes after some batches, by a callback that sees each batch."""

    def __init__(self, change):
        self.change, self.batches = change, 0

    def on_batch_end(self, batch, logs):
        self.batches += 1
        if self.batches in BATCHES:
            self.change(BATCHES.index(self.batches) + 1)


class ByEpochs(rv.Callback):
    """Makes the changes before epochs; batches of an epoch may run in the core."""

    def __init__(self, change):
        self.change = change

    def on_epoch_begin(self, epoch):
        if epoch:
            self.change(epoch)


class Loader:
    """Batches, and the changes between them."""

    def __init__(self, y, change):
        self.y, self.change, self.batches = y, change, 0

    def __len__(self):
        return 5

    def __iter__(self):
        for start in range(0, 40, 8):
            if self.batches in BATCHES:
                self.change(BATCHES.index(self.batches) + 1)
            self.batches += 1
            yield X[start : start + 8], self.y[start : start + 8]


def trainer(compiled, model, optimizer, loss=None, **settings):
    return rv.Trainer(model, loss or nn.CrossEntropyLoss(), optimizer, compile=compiled, **settings)


def regression(compiled, read):
    """A fit whose loss function has a factor."""
    model = network()
    loss = lambda output, z: (F.mse_loss(output, z) * read()).sum()  # noqa: E731
    return trainer(compiled, model, optim.SGD(model.parameters(), lr=0.05, momentum=0.5), loss)


def fitted(t, by, change, y=Y):
    """The results of a fit of four epochs; by: the cause of the changes, "callback", "epochs" or "data"."""
    watch, x = Watch(), (X, y)
    callbacks = {"callback": [ByCallback(change)], "epochs": [ByEpochs(change)]}.get(by, [])
    data, more = ((Loader(y, change),), {}) if by == "data" else (x, {"batch_size": 8})
    t.fit(*data, epochs=4, validation_data=(X[:10], y[:10]), callbacks=[*callbacks, watch], **more)
    return watch.seen


def used(t, way, number):
    """One of many calls of a Trainer."""
    way = ("fit", "evaluate", "predict")[number % 3] if way == "all_in_turn" else way
    if way == "predict":
        return t.predict_proba(X[: 10 + number % 2])
    if way == "evaluate":
        return t.evaluate(X[:16], Y[:16], batch_size=8)
    return dict(t.fit(X[:16], Y[:16], epochs=1, batch_size=4))
