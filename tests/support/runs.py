"""Runs of `Trainer.fit` in the core and batch by batch, and the state that they end in."""

import numpy as np
import ranvier as rv
from ranvier import nn
from support.training import classifier, trainer_of, weights_of

RNG = np.random.default_rng(1)
LONG = RNG.normal(size=(700, 3)).astype(np.float32)
LABELS = (LONG[:, 0] > 0).astype(np.int64)


class EachBatch(rv.Callback):
    """Makes the run call Python for each batch."""

    def on_batch_end(self, batch, logs):
        pass


def state_of(trainer):
    arrays = [a.tobytes() for a in weights_of(trainer.model)]
    buffers = [b.numpy().tobytes() for b in trainer.model.buffers()]
    history = repr(dict(trainer.history))
    return arrays, buffers, history, trainer.updates, repr(rv.get_rng_state().tolist())


def both(make, runs, x=LONG, y=LABELS, **arguments):
    """The states of a run in the core and of one batch by batch."""
    found = []
    for hooks in ([], [EachBatch()]):
        trainer = make()
        rv.manual_seed(3)
        more = {name: value() if callable(value) else value for name, value in arguments.items()}
        hooks = [*more.pop("callbacks", []), *hooks]
        trainer.fit(x, y, **{"epochs": 5, "batch_size": 16, "callbacks": hooks} | more)
        found.append(state_of(trainer))
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
