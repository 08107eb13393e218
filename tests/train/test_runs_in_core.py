"""Batches that the core runs in one call: the bits of a run batch by batch, and when it returns to Python.

`both` trains twice, in the core and with a callback that needs Python at each batch, and gives the two
states: weights, optimizer, history, random numbers. The fixture `runs` has the batches of each call to the
core.
"""

import time
import warnings

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.compile import shared_programs
from ranvier.data import DataLoader, TensorDataset
from ranvier.train import checkpoints
from support.refused import refused
from support.training import (
    LABELS,
    LONG,
    EachBatch,
    X,
    Y,
    both,
    classifier,
    dropout,
    state_of,
    trainer_of,
    weights,
)


class Anneals(rv.Callback):
    """Changes a guard and the rate before each epoch."""

    def on_epoch_begin(self, epoch):
        self.trainer.model[2].p = 0.1 * epoch
        self.trainer.optimizer.param_groups[0]["lr"] = 0.05 / (epoch + 1)


def of_values():
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
    return rv.Trainer(model, "mse", "adam", lr=0.01, metrics=["r2"])


def of_function(output, y):
    return nn.functional.cross_entropy(output, y.long())


SUM = nn.CrossEntropyLoss(reduction="sum")
RUNS = {  # settings of the trainer or what makes it, arguments of fit; functions are called for each run
    "plain": ({}, {}),
    "in order": ({}, {"shuffle": False}),
    "last smaller": ({}, {"batch_size": 7}),
    "weights": ({}, {"sample_weight": weights}),
    "weights in order": ({}, {"sample_weight": weights, "shuffle": False, "batch_size": 50}),
    "classes": ({}, {"class_weight": "balanced"}),
    "validation": ({}, {"validation_data": (X, Y)}),
    "split": ({}, {"validation_split": 0.2, "sample_weight": weights}),
    "penalties": ({"l1": 0.01, "l2": 0.02}, {}),
    "clipping": ({"clip_grad_norm": 0.1, "metrics": ["accuracy", "roc_auc"]}, {}),
    "ignore": ({"on_nonfinite": "ignore"}, {}),
    "sum": ({"loss": SUM}, {}),
    "function": ({"loss": of_function}, {}),
    "callbacks": ({}, {"callbacks": lambda: [Anneals(), rv.EarlyStopping("loss", patience=3)], "epochs": 8}),
    **{
        f"values {target.shape}, {size} at a time": (
            of_values,
            {"y": target, "sample_weight": weights, "batch_size": size, "epochs": 2},
        )
        for target in (LONG[:, :1], LONG[:, 0])
        for size in (1, 16)
    },
}


@pytest.mark.filterwarnings("ignore:.Trainer.fit. runs some steps")
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", RUNS)
def test_bits_are_those_of_a_run_batch_by_batch(runs, name, count, threads):
    threads(count)
    settings, arguments = RUNS[name]
    make = settings if callable(settings) else dropout(**(settings or {"metrics": ["accuracy"]}))
    ahead, single = both(make, runs, **arguments)
    assert ahead == single


def test_a_schedule_for_each_epoch_leaves_it_to_the_core_and_one_for_each_batch_does_not(runs):
    for per in ("epoch", "batch"):
        trainer = dropout()()
        schedule = optim.lr_scheduler.StepLR(trainer.optimizer, 100)
        trainer.fit(LONG, LABELS, epochs=3, batch_size=16, callbacks=[rv.Schedule(schedule, per=per)])
        assert (sum(runs) > 60) == (per == "epoch")
        runs.clear()


@pytest.mark.parametrize("case", ["accumulate", "loader", "eager", "lbfgs"])
def test_what_needs_python_for_each_batch(runs, case):
    model = classifier()
    optimizer = optim.LBFGS(model.parameters(), max_iter=1) if case == "lbfgs" else None
    settings = {"accumulate": {"accumulate": 2}, "eager": {"compile": False}}.get(case, {})
    trainer = trainer_of(model, optimizer, **settings)
    if case == "loader":
        trainer.fit(DataLoader(TensorDataset(LONG, LABELS), 16), epochs=2)
    else:
        trainer.fit(LONG, LABELS, epochs=2, batch_size=16)
    assert sum(runs) == 0
    assert trainer.updates > 40


def test_all_full_batches_of_an_epoch_are_taken_together_beside_a_smaller_last_one(runs):
    trainer = dropout()()
    trainer.fit(LONG, LABELS, epochs=20, batch_size=16)
    assert runs.count(43) > 10


# --- returns to Python


def test_checks_of_replays_come_as_often_as_batch_by_batch(runs):
    found = []
    for hooks in ([], [EachBatch()]):
        shared_programs.forget()
        trainer = dropout()()
        trainer.fit(LONG, LABELS, epochs=5, batch_size=20, callbacks=hooks)
        (program,) = trainer.programs()
        found.append(
            (program.checks, program.checks_left < 0)
        )  # some calls batch by batch are timed, eagerly
    assert sum(runs) > 100
    assert found[0] == found[1]


class Notes(rv.Callback):
    """A callback that need not see every batch: what it is told of those that it sees."""

    every_batch = False

    def __init__(self):
        self.seen = []

    def on_batch_end(self, batch, logs):
        self.seen.append((batch, logs["loss"], self.trainer.batch, self.trainer.updates, time.perf_counter()))


def wide():
    """A step of about a millisecond."""
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 2))
    x = np.random.default_rng(2).normal(size=(20_000, 256)).astype(np.float32)
    return rv.Trainer(model, "cross_entropy", "sgd", lr=0.01), x, (x[:, 0] > 0).astype(np.int64)


def test_callbacks_that_need_not_see_every_batch_do_so_now_and_then(runs):
    trainer, x, y = wide()
    notes = Notes()
    trainer.fit(x, y, epochs=1, batch_size=64, callbacks=[notes])
    batches = [batch for batch, *_ in notes.seen]
    assert batches == sorted(set(batches))
    assert batches[-1] == 312
    assert len(batches) < 313
    assert max(runs) > 3
    assert all(inner == updates == batch + 1 for batch, _, inner, updates, _ in notes.seen)
    assert all(np.isfinite(loss) for _, loss, *_ in notes.seen)


def test_a_checkpoint_written_within_an_epoch_continues_with_the_same_bits(tmp_path, runs):
    class Stop(rv.Callback):
        every_batch = False

        def on_batch_end(self, batch, logs):
            if batch > 20:
                raise ZeroDivisionError

    def fit(folder, *more, resume=None):
        shared_programs.forget()  # the first replays are measured, each in a separate call
        trainer = dropout(metrics=["accuracy"])()
        saved = rv.Checkpoint(folder, every_seconds=1e-9, keep=100)
        arguments = {"epochs": 3, "batch_size": 16, "sample_weight": weights()}
        trainer.fit(LONG, LABELS, callbacks=[saved, *more], resume=resume, **arguments)
        return state_of(trainer)

    expected = fit(tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "stopped", Stop())
    newest = checkpoints.listed(tmp_path / "stopped")[0].stem
    assert 0 < int(newest.removeprefix("checkpoint-00000-")) < 43
    assert fit(tmp_path / "stopped", resume=tmp_path / "stopped") == expected
    assert max(runs) > 10


# --- errors


def run_to_error(hooks, x, y, **settings):
    """How a fit ends: its error or warnings, the number of updates, the state."""
    trainer = dropout(**settings)()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            trainer.fit(x, y, epochs=3, batch_size=16, shuffle=False, callbacks=hooks)
    except Exception as error:
        return type(error), str(error), trainer.updates, state_of(trainer)
    return [str(w.message) for w in caught], trainer.updates, state_of(trainer)


@pytest.mark.parametrize("mode", ["raise", "warn", "ignore"])
def test_a_loss_that_is_not_finite(runs, mode):
    x = LONG.copy()
    x[400:] = 3e38  # infinite after the first layer
    ahead, single = (run_to_error(hooks, x, LABELS, on_nonfinite=mode) for hooks in ([], [EachBatch()]))
    assert ahead == single
    assert sum(runs) > 10
    if mode == "raise":
        assert "in epoch 1, batch 26" in ahead[1]


def test_a_class_without_an_output(runs):
    y = LABELS.copy()
    y[680] = 7
    trainer = rv.Trainer(classifier(), of_function, "sgd", lr=0.1)
    refused((IndexError, ValueError), "7", trainer.fit, LONG, y, epochs=1, batch_size=16, shuffle=False)
    assert trainer.updates == 42
    assert max(runs) > 5


class Changes(rv.Callback):
    """Changes a layer, a setting or the weights before each epoch."""

    def __init__(self, seed):
        self.draw = np.random.default_rng(seed)

    def on_epoch_begin(self, epoch):
        model, way = self.trainer.model, self.draw.integers(5)
        if way == 0:
            model[2].p = float(self.draw.uniform(0, 0.9))
        elif way == 1:
            self.trainer.optimizer.param_groups[0]["weight_decay"] = 0.1
        elif way == 2:
            model[0].weight.requires_grad_(not model[0].weight.requires_grad)
        elif way == 3:
            model[0].weight.data.mul_(0.9)
        else:
            model[3].momentum = 0.3


@pytest.mark.parametrize("seed", range(6))
def test_changes_between_epochs_are_followed_as_without_compiling(runs, seed):
    found = []
    for compile in (True, False):
        trainer = dropout(compile=compile)()
        rv.manual_seed(seed)
        trainer.fit(LONG, LABELS, epochs=8, batch_size=50, callbacks=[Changes(seed)])
        found.append(state_of(trainer))
    assert found[0] == found[1]
    assert sum(runs) > 30


@pytest.mark.parametrize("weighted", [False, True])
def test_evaluation_is_that_of_a_loader_batch_by_batch(runs, weighted):
    trainer = dropout(metrics=["accuracy", "roc_auc"], l2=0.01)()
    trainer.fit(LONG, LABELS, epochs=1, batch_size=50)
    data = (LONG, LABELS, weights()) if weighted else (LONG, LABELS)
    loader = [tuple(part[i : i + 10] for part in data) for i in range(0, 700, 10)]
    more = {"sample_weight": data[2]} if weighted else {}
    for _ in range(3):
        runs.clear()
        expected = trainer.evaluate(loader)
        assert not runs
        assert trainer.evaluate(LONG, LABELS, batch_size=10, **more) == expected
    assert sum(runs) > 50


def test_an_error_within_an_evaluation_in_the_core(runs):
    y = LABELS.copy()
    trainer = rv.Trainer(classifier(), of_function, "sgd", lr=0.1)
    trainer.fit(LONG, y, epochs=1)
    for _ in range(3):
        trainer.evaluate(LONG, y, batch_size=10)
    runs.clear()
    y[680] = 7
    refused((IndexError, ValueError), "7", trainer.evaluate, LONG, y, batch_size=10)
    assert sum(runs) > 50
