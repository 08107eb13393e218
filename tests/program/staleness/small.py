"""Shared parts of the scenarios."""

from __future__ import annotations

import numpy as np
import ranvier as rv
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
