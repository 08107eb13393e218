"""Fits, evaluations and predictions of a Trainer, in which something changes."""

import numpy as np
import ranvier as rv
from compile.staleness.judge import describe
from compile.staleness.small import network
from ranvier import nn, optim
from ranvier.nn import functional as F

RNG = np.random.default_rng(5)
X = RNG.standard_normal((40, 3)).astype(np.float32)
Y = RNG.integers(0, 3, 40)
Z = X[:, ::-1] * 0.5
BATCHES = (7, 11, 16)  # of 20 in four epochs: when the changes come


class Watch(rv.Callback):
    """Records the state after each epoch; this alone does not make Trainer run epochs step by step."""

    def __init__(self):
        self.seen = []

    def on_epoch_end(self, epoch, logs):
        found = {}
        describe([dict(logs), self.trainer.model, self.trainer.optimizer], "", found, frozenset())
        self.seen.append({name: repr(value) for name, value in found.items()})


class ByCallback(rv.Callback):
    def __init__(self, change):
        self.change, self.batches = change, 0

    def on_batch_end(self, batch, logs):
        self.batches += 1
        if self.batches in BATCHES:
            self.change(BATCHES.index(self.batches) + 1)


class ByEpochs(rv.Callback):
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
    """What a fit of four epochs shows; by: what makes the changes, "callback", "epochs" or "data"."""
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
