"""A small classification problem, trainers that begin alike, and the state that their runs end in."""

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
    stage = [nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.LeakyReLU(0.2), nn.MaxPool2d(2)]
    flat = nn.Sequential(nn.Flatten(), nn.Dropout(0.25))
    return nn.Sequential(*stage, flat, nn.Linear(16, 3, bias=False))


class Half(nn.Module):
    """Its output does not depend on its second layer."""

    def __init__(self, out=2):
        super().__init__()
        self.used, self.unused = nn.Linear(3, out), nn.Linear(2, 2)

    def forward(self, x):
        return self.used(x)


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


def state_of(trainer):
    """All that a run decides: weights, statistics, the optimizer's state, the history."""
    arrays = {}
    state = {"model": dict(trainer.model.state_dict()), "optimizer": trainer.optimizer.state_dict()}
    encoded = rv.serialization.files.encode(state, arrays)
    numbers = {name: array.tobytes() for name, array in arrays.items()}
    return encoded, numbers, repr(trainer.history.to_dict()), trainer.updates


# --- runs with checkpoints, and what ends them


def new_trainer(make=optim.Adam, **settings):
    model = classifier(nn.Dropout(0.2))
    return trainer_of(model, make(model.parameters(), lr=0.05), metrics=["accuracy"], **settings)


def fit(trainer, folder, epochs=3, callbacks=(), every_batches=1, **arguments):
    given = {"x": X, "y": Y, "batch_size": 16, "validation_data": (X, Y), **arguments}
    checkpoint = rv.Checkpoint(folder, every_batches=every_batches)
    given |= {"epochs": epochs, "callbacks": [checkpoint, *callbacks], "resume": folder}
    trainer.fit(given.pop("x"), given.pop("y"), **given)
    return trainer


class Stop(rv.Callback):
    """Ends the run with an exception before so many batches are done."""

    def __init__(self, batches, error=ZeroDivisionError):
        self.left, self.error = batches, error

    def on_batch_begin(self, batch):
        if self.left == 0:
            raise self.error
        self.left -= 1


# --- runs in the core, and batch by batch


LONG = np.random.default_rng(1).normal(size=(700, 3)).astype(np.float32)
LABELS = (LONG[:, 0] > 0).astype(np.int64)


class EachBatch(rv.Callback):
    """Makes the run call Python for each batch."""

    def on_batch_end(self, batch, logs):
        pass


def both(make, runs, x=LONG, y=LABELS, **arguments):
    """The states of a run in the core and of one batch by batch.

    runs: the fixture of conftest.py, the number of batches of each call to the core. An argument that is a
    function is called anew for each run.
    """
    found = []
    for hooks in ([], [EachBatch()]):
        trainer = make()
        rv.manual_seed(3)
        more = {name: value() if callable(value) else value for name, value in arguments.items()}
        hooks = [*more.pop("callbacks", []), *hooks]
        trainer.fit(x, y, **{"epochs": 5, "batch_size": 16, "callbacks": hooks} | more)
        found.append((state_of(trainer), rv.get_rng_state().tolist()))
        if not hooks or not isinstance(hooks[-1], EachBatch):
            assert sum(runs) > 30, runs
        else:
            assert not runs
        runs.clear()
    return found


def dropout(**settings):
    return lambda: trainer_of(classifier(nn.Dropout(0.3), nn.BatchNorm1d(8)), **settings)


def weights():
    found = np.random.default_rng(2).uniform(size=len(LONG))
    found[:50] = 0
    return found
