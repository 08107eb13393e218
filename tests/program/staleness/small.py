"""Shared parts of the scenarios."""

import numpy as np
import ranvier as rv
from program.staleness.judge import Case
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


def sets(name):
    """A change of an attribute."""
    return lambda owner, value: setattr(owner, name, value)


class Counts(nn.Module):
    """A layer that counts its calls; after `limit` calls its results are doubled."""

    def __init__(self, limit):
        super().__init__()
        self.layer, self.calls, self.limit = nn.Linear(3, 3), 0, limit

    def forward(self, x):
        self.calls += 1
        return self.layer(x) * (2.0 if self.calls > self.limit else 1.0)


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


def images(channels=2, size=6, batch=2):
    """Inputs for layers of two dimensions."""
    shape = (batch, channels, size, size)
    return lambda n: (rv.tensor(np.random.default_rng(n).standard_normal(shape).astype(np.float32)),)


def signals(channels=2, size=8, batch=2):
    shape = (batch, channels, size)
    return lambda n: (rv.tensor(np.random.default_rng(n).standard_normal(shape).astype(np.float32)),)
