"""A value changes while `Trainer.fit` runs: with compile=True the bits of compile=False, or one warning."""

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import ranvier as rv
from compile.staleness.eager import runs_eagerly
from compile.staleness.judge import describe, difference
from compile.staleness.rows import function
from ranvier import nn, optim
from ranvier.compile import cache

RNG = np.random.default_rng(5)
X = RNG.standard_normal((40, 3)).astype(np.float32)
Y = RNG.integers(0, 3, 40)
Z = X[:, ::-1] * 0.5
BATCHES = (7, 11, 16)  # of 20 in four epochs: when the changes come


@dataclass
class Setup:
    """What a Trainer is made of, and the change: called with (trainer, 1, 2 or 3)."""

    model: Any
    loss: Any
    optimizer: Any
    change: Callable[[Any, int], Any]
    settings: Any = None
    regression: bool = False


@dataclass
class Fit:
    """by: what makes the change: a "callback", one at "epochs" only, or the "data" without any callback."""

    name: str
    build: Callable[[], Setup]
    neutral: bool = False
    by: str = "callback"


FITS: dict[str, Fit] = {}


def add(name: str, build: Callable[[], Setup], neutral: bool = False) -> None:
    for by in ("callback", "epochs", "data"):
        if name == "fit/eval_mode" and by == "epochs":  # each epoch begins with model.train()
            continue
        FITS[f"{name}-by_{by}"] = Fit(name, build, neutral, by)


class Differs(Exception):
    """Ends a fit."""


class Watch(rv.Callback):
    """Records the state after each epoch; this alone does not make Trainer run epochs step by step.

    unlike: the fit ends at the first difference from these states.
    """

    def __init__(self, unlike=None):
        self.seen, self.unlike = [], unlike

    def on_epoch_end(self, epoch, logs):
        found = {}
        describe(dict(logs), "logs", found, frozenset())
        describe([self.trainer.model, self.trainer.optimizer], "watched", found, frozenset())
        self.seen.append(found)
        if self.unlike is not None and found != self.unlike[epoch]:
            raise Differs


class ByBatches(rv.Callback):
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


def fit(
    one: Fit, compiled: bool, unlike: list[dict[str, Any]] | None = None
) -> tuple[list[dict[str, Any]], list[str]]:
    """States after the epochs, and warnings; unlike: without the changes, to the first difference."""
    cache._unpaid.clear()  # what other recordings have cost
    rv.manual_seed(11)
    setup = one.build()
    trainer = rv.Trainer(setup.model, setup.loss, setup.optimizer, compile=compiled, **(setup.settings or {}))
    watch = Watch(unlike)

    def change(n):
        if unlike is None:
            setup.change(trainer, n)

    callbacks = {"callback": [ByBatches(change)], "epochs": [ByEpochs(change)], "data": []}[one.by]
    y = Z if setup.regression else Y
    data = (Loader(y, change),) if one.by == "data" else (X, y)
    more = {} if one.by == "data" else {"batch_size": 8}
    with warnings.catch_warnings(record=True) as caught, contextlib.suppress(Differs):
        warnings.simplefilter("always")
        trainer.fit(*data, epochs=4, validation_data=(X[:10], y[:10]), callbacks=[*callbacks, watch], **more)
    return watch.seen, [str(w.message) for w in caught]


def judge_fit(one: Fit) -> tuple[str, str]:
    expected, before = fit(one, False)
    unchanged, _ = fit(one, False, unlike=expected)
    effect = difference(unchanged, expected[: len(unchanged)])
    assert bool(effect) != one.neutral, f"the change has {'an' if effect else 'no'} effect: {effect}"
    got, warned = fit(one, True)
    warned = [text for text in warned if text not in before]
    wrong = difference(expected, got)
    if wrong:
        return "wrong", f"{wrong}; warned {warned}"
    names = [text.split("]")[0] for text in warned]
    if len(names) != len(set(names)):
        return "warned more than once", "; ".join(warned)
    if warned and not runs_eagerly(one.name):
        return "warned, though it should work", "; ".join(warned)
    return ("warned" if warned else "as eager"), "; ".join(warned)


def model_of(*more):
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), *more, nn.Linear(4, 3))


def with_model(text, *more, kind=None, loss=None, **settings):
    """A fit in which the text changes the trainer `t`, its model `m` or its optimizer `o`."""

    def build():
        model = model_of(*[make() for make in more])
        optimizer = (kind or (lambda p: optim.SGD(p, lr=0.1, momentum=0.9)))(model.parameters())
        change = changes(text)
        return Setup(model, (loss or nn.CrossEntropyLoss)(), optimizer, change, settings)

    return build


def changes(text):
    act = function("t, m, o, n", text, {**globals(), "F": nn.functional})
    return lambda trainer, n: act(trainer, trainer.model, trainer.optimizer, n)
