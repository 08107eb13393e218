"""Trainer compiles its steps, with the bits of compile=False in histories and weights, or warns why not.

`start(model, optimizer, loss, **settings)` makes a Trainer, `fit` trains it for three epochs on 40 samples,
and `bits_of` gives all that has changed (test_shared.py, which names the parts). `alike(run)` asserts that
run(compile=True) and run(compile=False) return the same (beside.py).
"""

import itertools
import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import ranvier as rv
from compile.beside import alike, bits
from compile.test_shared import bits_of, dense, fit, fitted, start
from ranvier import nn, optim
from ranvier.compile import shared_programs
from ranvier.data import DataLoader, TensorDataset
from ranvier.train import compiled_parts
from support.training import Half, X, Y, Z

IMAGES = np.random.default_rng(2).normal(size=(40, 1, 8, 8)).astype(np.float32)


class Sizes:
    """Batches of several sizes."""

    def __iter__(self):
        for begin, end in itertools.pairwise((0, 4, 10, 14, 18, 24, 28)):
            yield X[begin:end], Y[begin:end]


class Own(optim.SGD):
    """An optimizer with Python code of its own."""

    count = 0

    def step(self, closure=None):
        self.count += 1
        super().step(closure)


class Reads(nn.Module):
    """Depends on a value, which a replay cannot read."""

    def forward(self, x):
        return x * 2 if x.sum().item() > 0 else x


class Counts(nn.Module):
    """Gives another result at each call."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * (1 / self.calls)


def imaging():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 1)
    )


def halves():
    return dense(8, nn.BatchNorm1d(8), nn.ReLU()).bfloat16()


def two_losses(output, y):
    """A loss function of the user, of two terms."""
    return nn.functional.cross_entropy(output, y.long()) + 0.1 * (output * output).mean()


def scheduled(trainer):
    """With a schedule, and a smaller last batch."""
    schedule = optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, 50)
    return fit(trainer, epochs=50, batch_size=7, validation_data=(X, Y), callbacks=[rv.Schedule(schedule)])


def several(trainer):
    """Three short fits, and one that is stopped early."""
    for _ in range(3):
        fit(trainer, epochs=1)
    return fit(trainer, epochs=20, callbacks=[rv.EarlyStopping("loss", patience=1)])


def sizes(trainer):
    """Two fits with batches of several sizes."""
    return fit(fit(trainer, (Sizes(),)), (Sizes(),))


def loading(trainer):
    """Batches of a loader."""
    return fit(trainer, (DataLoader(TensorDataset(X, Y), 8, shuffle=True),))


def hooked(trainer):
    """The hook changes a list around it at each call."""
    seen = []
    trainer.model[0].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    return fit(trainer)


def images(trainer):
    """A fit, and predictions and scores, which are compiled, too."""
    fit(trainer, (IMAGES, Z), batch_size=6, validation_data=(IMAGES, Z))
    trainer._found = trainer.predict(IMAGES, batch_size=4), trainer.evaluate(IMAGES, Z, batch_size=4)
    for what in ("predict", "evaluate"):
        assert bool(trainer.programs(what)) == trainer.compile
    return trainer


class Case(NamedTuple):
    parts: tuple  # model, optimizer and loss, by name or as what makes them
    train: Callable = fit
    programs: int = 0  # how many the compiled fit has in the end
    warning: str = ""  # why it runs eagerly, if it does
    settings: Any = None  # arguments of Trainer


CASES = {
    "300 steps": Case(("dropout", "momentum"), scheduled, 2),  # 7 samples, and the 5 of the last batch
    "several losses": Case(("norm", "sgd", two_losses), fit, 1),
    "images": Case((imaging, "adam", "squares"), images, 2),
    "a part that is not used": Case((Half, "sgd"), fit, 1, settings={"l2": 0.1}),
    "a part that is not used, 2 a time": Case((Half, "sgd"), fit, 3, settings={"l2": 0.1, "accumulate": 2}),
    "many sizes": Case(("relu", "momentum"), sizes, 2),
    "many sizes, 2 a time": Case(("relu", "momentum"), sizes, 4, settings={"accumulate": 2}),
    "a loader": Case(("relu",), loading, 1),
    "halves": Case((halves,), loading, 1, settings={"clip_grad_norm": 0.5}),
    "halves, 2 a time": Case((halves,), fit, 3, settings={"l1": 0.01, "l2": 0.1, "accumulate": 2}),
    "several fits": Case(("dropout",), several, 1),
    "LBFGS": Case(("relu", "lbfgs")),
    "a value": Case((lambda: dense(8, Reads()),), warning=r"\[Trainer.fit\] .*item\(\) reads a value"),
    "a count": Case((lambda: dense(8, Counts()),), warning=r"the step changes .*\.calls each time it runs"),
    "an optimizer": Case(("relu", lambda p: Own(p, lr=0.1)), warning="Own updates by its own Python code"),
    "a hook": Case(("relu",), hooked, warning="the step changes the items of the variable seen"),
}


@pytest.mark.parametrize("name", CASES)
def test_as_without_compile(name):
    """The bits of history, weights, optimizer and predictions, and the number of updates."""
    case = CASES[name]

    def found(compile):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer = case.train(start(*case.parts, compile=compile, **(case.settings or {})))
        assert len(caught) == (compile and case.warning != "")
        assert all(re.search(case.warning, str(w.message)) for w in caught)
        assert len(trainer.programs("fit")) == (case.programs if compile else 0)
        return bits_of(trainer), trainer.updates, bits(vars(trainer).get("_found"))

    alike(found)


def test_resumed_within_an_update(tmp_path):
    """From a checkpoint between two of the three batches of an update: the bits of the whole run."""

    def run(compile):
        which = {"model": "dropout", "compile": compile, "accumulate": 3}
        folder = tmp_path / str(compile)
        one = fit(start(**which), batch_size=7, callbacks=[rv.Checkpoint(folder, every_batches=4)])
        again = fit(start(**which), batch_size=7, resume=sorted(folder.glob("[!b]*"))[0])
        return [bits([t.model.state_dict(), dict(t.history)]) for t in (one, again)]

    whole, resumed = alike(run)
    assert whole == resumed


class Anneal(rv.Callback):
    """Changes the rate of a layer at each batch, or once an epoch."""

    def __init__(self, each):
        self.each = each

    def on_batch_end(self, batch, logs):
        self.trainer.model[2].p *= 0.99 if self.each else 1

    def on_epoch_end(self, epoch, logs):
        self.trainer.model[2].p *= 0.9


@pytest.mark.parametrize("each", [True, False])
def test_a_setting_that_a_callback_changes(each, recwarn):
    fitted("dropout", more={"epochs": 15, "batch_size": 1, "callbacks": [Anneal(each)]})
    texts = [str(w.message) for w in recwarn]
    assert ["changes" in text for text in texts] == [True] * each
    assert not any("_take" in text or "_model" in text for text in texts)


# --- few calls, where a recording takes as long as about 64: whether one Trainer runs all fits; of each fit
# the number of epochs, of six steps each, and whether it is captured in the end
FITS = {
    "one trainer": (True, [(2, False), (2, False), (2, False), (2, False), (2, False), (2, True)]),
    "one short fit": (False, [(9, False)]),
    "beside longer ones": (False, [(4, False), (11, True), (4, True), (11, True)]),
    "many of one form": (False, [(4, False)] * 2 + [(4, True)] * 10),
}


@pytest.mark.parametrize("name", FITS)
def test_short_fits(name, monkeypatch):
    shared_programs.forget()
    monkeypatch.setattr(compiled_parts, "_PAYS", 64)
    one, fits = FITS[name]
    trainer, captured = start("dropout"), []
    for epochs, _ in fits:
        trainer = fit(trainer if one else start("dropout"), epochs=epochs, batch_size=7)
        captured.append((epochs, bool(trainer.programs("fit"))))
        if not one:
            eager = fit(start("dropout", compile=False), epochs=epochs, batch_size=7)
            assert bits_of(trainer) == bits_of(eager)
    assert captured == fits


def test_a_few_predictions_are_not_recorded(monkeypatch):
    monkeypatch.setattr(compiled_parts, "_RECORDING", 1e-3)
    trainer = start()
    few = trainer.predict(X[:1])
    assert not trainer.programs("predict")
    many = [trainer.predict(X[:1]) for _ in range(1000)]
    assert trainer.programs("predict")
    assert all(np.array_equal(few, found) for found in many)
