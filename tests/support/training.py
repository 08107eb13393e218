"""A small classification problem, and trainers that begin alike."""

import numpy as np
import ranvier as rv
from ranvier import nn, optim

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)
Z = (X @ [[1.0], [2.0], [-1.0]]).astype(np.float32)


def classifier(*more, seed=0, out=2):
    rv.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), *more, nn.Linear(8, out))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.MaxPool2d(2),
        nn.Sequential(nn.Flatten(), nn.Dropout(0.25)),
        nn.Linear(16, 3, bias=False),
    )


def training(model, optimizer, loss=nn.functional.cross_entropy):
    """The plain step of a model with a loss of its output and labels, or of its output alone."""

    def step(x, *labels):
        optimizer.zero_grad()
        value = loss(model(x), *labels)
        value.backward()
        optimizer.step()
        return value

    return step


def trainer_of(model, optimizer=None, loss=None, **settings):
    optimizer = optimizer or optim.Adam(model.parameters(), lr=0.05)
    return rv.Trainer(model, loss or nn.CrossEntropyLoss(), optimizer, **settings)


def weights_of(model):
    return [p.numpy(force=True).copy() for p in model.parameters()]


def assert_equal_weights(a, b):
    assert all(np.array_equal(p, q) for p, q in zip(weights_of(a), weights_of(b), strict=True))


def assert_close_weights(a, b, limit):
    for p, q in zip(weights_of(a), weights_of(b), strict=True):
        np.testing.assert_allclose(p, q, rtol=0, atol=limit)
