"""Shared parts of the scenarios."""

import ranvier as rv
from compile.staleness.judge import Case
from ranvier import nn, optim
from ranvier.nn import functional as F


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

    @property
    def watch(self):
        return [self.w, self.optimizer]


class Scaled(Small):
    """Small with a factor that changes."""

    factor = 1.0

    def change(self, n):
        self.factor = 1.0 + n

    def case(self, step, **more):
        return Case(step, self.change, self.watch, **more)


def reading(read, change=None, **more):
    """A step with the factor that `read` returns; `change` changes it."""
    return trains(lambda x: (x, read()), change, **more)


def trains(given, change=None, **more):
    """A step of Small with the input and the factor that `given` makes of the argument."""
    small = Small()
    return Case(lambda x: small.train(*given(x)), change, small.watch, **more)


def network(*more, seed=0):
    rv.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), *more, nn.Linear(4, 3))


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


def classifies(model, optimizer):
    """A training step of x and labels."""

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
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

    @property
    def groups(self):
        return self.optimizer.param_groups

    @property
    def state(self):
        return self.optimizer.state[self.a]

    @property
    def watch(self):
        return [self.a, self.b, self.optimizer]
