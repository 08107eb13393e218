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


def network(*more, seed=0):
    rv.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), *more, nn.Linear(4, 3))


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
