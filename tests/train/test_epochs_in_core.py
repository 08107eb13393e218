"""Several epochs in one call to the core: the bits of a run epoch by epoch, and what keeps epochs apart.

`both` trains twice, in the core and with a callback that needs Python at each batch, and gives the two
states: weights, optimizer, history, random numbers. The fixture `runs` has the batches of each call to the
core.
"""

import math
import os
import signal
import threading

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.compile import CompiledFunction
from ranvier.train import run as run_module
from support.training import LABELS, LONG, both, classifier, dropout, state_of, trainer_of

EPOCH = 50  # batches of 14 in the 700 samples of LONG


def plain(**settings):
    return lambda: trainer_of(classifier(nn.BatchNorm1d(8)), **settings)


def fitted(make, seed=3, epochs=40, **arguments):
    trainer = make()
    rv.manual_seed(seed)
    trainer.fit(LONG, LABELS, epochs=epochs, batch_size=14, **arguments)
    return trainer


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize(
    "settings",
    [{}, {"l1": 0.01, "l2": 0.02}, {"loss": nn.CrossEntropyLoss(reduction="sum"), "clip_grad_norm": 0.1}],
    ids=["plain", "penalties", "sum"],
)
def test_bits_are_those_of_a_run_batch_by_batch(runs, settings, count, threads):
    threads(count)
    ahead, single = both(plain(**settings), runs, epochs=40, batch_size=14)
    assert ahead == single


def test_epochs_are_taken_together(runs):
    trainer = fitted(plain())
    assert max(runs) > 2 * EPOCH
    assert trainer.updates == 40 * EPOCH
    assert trainer.history.epochs == len(trainer.history.seconds) == 40
    assert trainer.history.samples == [700.0] * 40
    assert all(0 < seconds < math.inf for seconds in trainer.history.seconds)


class Log(rv.Callback):
    """A callback that only notes what it is given."""

    every_batch = every_epoch = False

    def __init__(self):
        self.begun, self.ended, self.losses = [], [], []

    def on_epoch_begin(self, epoch):
        self.begun.append((epoch, self.trainer.epoch, self.trainer.batch))

    def on_epoch_end(self, epoch, logs):
        self.ended.append((epoch, self.trainer.epoch, self.trainer.batch))
        self.losses.append(logs["loss"])


def test_callbacks_that_only_look_are_called_for_each_epoch(runs):
    log = Log()
    trainer = fitted(plain(), callbacks=[log])
    assert max(runs) > 2 * EPOCH
    assert log.begun == [(e, e, 0) for e in range(40)]
    assert log.ended == [(e, e + 1, 0) for e in range(40)]
    assert log.losses == trainer.history["loss"]


class ActsAfterEpochs(rv.Callback):
    """A callback that may change the run after each epoch, as every_epoch is not False."""

    def on_epoch_end(self, epoch, logs):
        pass


@pytest.mark.parametrize("case", ["callback", "metric", "validation", "last smaller", "dropout", "in order"])
def test_what_keeps_epochs_apart(runs, case):
    arguments = {
        "callback": {"callbacks": [ActsAfterEpochs()]},
        "validation": {"validation_data": (LONG, LABELS)},
        "last smaller": {"batch_size": 15},
        "in order": {"shuffle": False},
    }.get(case, {})
    make = dropout() if case == "dropout" else plain(metrics=["accuracy"] if case == "metric" else [])
    trainer = make()
    trainer.fit(LONG, LABELS, **{"epochs": 40, "batch_size": 14} | arguments)
    assert trainer.updates >= 40 * (EPOCH - 3)  # 47 batches of 15
    assert max(runs) <= EPOCH


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.history.epochs,
        lambda t: t.epoch,
        lambda t: len(t.history.seconds),
        lambda t: len(t.history["loss"]) if t.history.epochs else 0,
        lambda t: t.history.last().get("loss", 0.0),
    ],
    ids=["epochs", "epoch", "seconds", "losses", "last"],
)
@pytest.mark.filterwarnings("ignore:.Trainer.fit. runs some steps")
def test_a_step_that_reads_the_history_is_never_stale(read):
    def run(compile):
        rv.manual_seed(0)
        model = classifier()
        trainers = []  # the loss needs the trainer, which is made with the loss

        def loss(output, y):
            return nn.functional.cross_entropy(output, y.long()) * (1.0 + read(trainers[0]))

        trainers.append(rv.Trainer(model, loss, "sgd", lr=0.01, compile=compile))
        rv.manual_seed(3)
        trainers[0].fit(LONG, LABELS, epochs=12, batch_size=14)
        return state_of(trainers[0])

    assert run(True) == run(False)


def test_ctrl_c_leaves_the_state_between_two_steps(runs, capsys):
    trainer = plain()()
    rv.manual_seed(3)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    trainer.fit(LONG, LABELS, epochs=10**6, batch_size=14)
    timer.join()
    assert trainer.interrupted
    assert max(runs) > 2 * EPOCH
    epochs = trainer.history.epochs
    rest = trainer.updates - epochs * EPOCH
    assert 0 <= rest < EPOCH
    assert "interrupted after" in capsys.readouterr().err
    state = state_of(trainer)

    class Stop(rv.Callback):
        """Ends a run batch by batch where the one in the core was interrupted."""

        def on_batch_end(self, batch, logs):
            if self.trainer.updates == trainer.updates:
                raise KeyboardInterrupt

    if rest == 0:
        other = fitted(plain(), epochs=epochs)
    else:
        other = fitted(plain(), epochs=epochs + 1, callbacks=[Stop()])
    assert state_of(other) == state


def test_a_loss_that_is_not_finite_in_a_later_epoch(runs, monkeypatch):
    """SGD that diverges slowly: the same epoch and batch are named, with the same history before."""
    ends, longest = [], []
    epoch = 7  # batches of 100
    for most in (run_module.MOST_EPOCHS, 1):
        monkeypatch.setattr(run_module, "MOST_EPOCHS", most)
        runs.clear()
        model = nn.Sequential(nn.Linear(3, 1))
        rv.manual_seed(0)
        model[0].reset_parameters()
        trainer = rv.Trainer(model, "mse", "sgd", lr=1.085)
        target = LONG @ np.array([1.0, 2.0, 3.0], np.float32)
        rv.manual_seed(3)
        with pytest.raises(rv.train.NonFiniteError) as error:
            trainer.fit(LONG, target, epochs=4000, batch_size=100)
        ends.append((str(error.value), error.value.epoch, error.value.batch, state_of(trainer)))
        longest.append(max(runs))
    assert ends[0] == ends[1]
    assert longest[0] > 2 * epoch
    assert longest[1] <= epoch
    assert ends[0][1] > 10  # epochs before the loss is not finite


def test_an_error_of_the_core_within_several_epochs(monkeypatch):
    """The updates before the error are counted and kept, and the next fit continues from them."""
    inner = CompiledFunction.run_batches

    def run_batches(self, args, batches, *kwargs):
        result = inner(self, args, batches, *kwargs)
        if batches.done > 2 * EPOCH:
            raise MemoryError
        return result

    monkeypatch.setattr(CompiledFunction, "run_batches", run_batches)
    trainer = plain()()
    with pytest.raises(MemoryError):
        trainer.fit(LONG, LABELS, epochs=60, batch_size=14)
    monkeypatch.undo()
    weights, updates = trainer.model[0].weight.detach().numpy().copy(), trainer.updates
    trainer.fit(LONG, LABELS, epochs=1, batch_size=14)
    assert trainer.updates == updates + EPOCH
    assert not np.array_equal(trainer.model[0].weight.detach().numpy(), weights)
