"""Checkpoints in one process: a run that crashes anywhere is resumed, whatever takes part in it."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import optim
from ranvier.data import DataLoader, TensorDataset
from ranvier.optim import lr_scheduler
from support.checkpointed import fit, new_trainer, state_of
from support.resumed import Stop
from support.training import X, Y, assert_equal_weights


def loader(**settings):
    return {"x": DataLoader(TensorDataset(X, Y), 16, shuffle=True, **settings), "y": None}


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [optim.SGD, optim.Adam, optim.NAdam, lambda p, lr: optim.SGD(p, lr, momentum=0.9), optim.LBFGS],
    ids=["sgd", "adam", "nadam", "momentum", "lbfgs"],
)
def test_a_crashed_run_is_resumed_with_every_optimizer(tmp_path, make):
    expected = state_of(fit(new_trainer(make), tmp_path / "whole"))
    for batches in (1, 3, 5, 8):
        folder = tmp_path / str(batches)
        with pytest.raises(ZeroDivisionError):
            fit(new_trainer(make), folder, callbacks=[Stop(batches)])
        rv.manual_seed(99)
        trainer = fit(new_trainer(make), folder)
        assert trainer.resumed_from is not None
        assert state_of(trainer) == expected


SCHEDULES = {
    "step": lambda o: rv.Schedule(lr_scheduler.StepLR(o, 1, gamma=0.5)),
    "lambda": lambda o: rv.Schedule(lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch)),
    "restarts": lambda o: rv.Schedule(
        lr_scheduler.CosineAnnealingWarmRestarts(o, 4, eta_min=1e-3), per="batch"
    ),
    "one cycle": lambda o: rv.Schedule(lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=9), per="batch"),
    "plateau": lambda o: rv.Schedule(lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5)),
    "in sequence": lambda o: rv.Schedule(
        lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.LinearLR(o, 0.1, total_iters=3), lr_scheduler.ExponentialLR(o, 0.9)],
            milestones=[3],
        ),
        per="batch",
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_crashed_run_is_resumed_with_every_kind_of_schedule(tmp_path, name):
    def run(folder, *more):
        trainer = new_trainer()
        rates = []
        note = rv.LambdaCallback(
            on_batch_end=lambda *_: rates.append(trainer.optimizer.param_groups[0]["lr"])
        )
        fit(trainer, folder, callbacks=[SCHEDULES[name](trainer.optimizer), note, *more])
        return state_of(trainer), rates

    expected, rates = run(tmp_path / "whole")
    assert len(set(rates)) > 1
    for batches in (2, 5):
        folder = tmp_path / str(batches)
        with pytest.raises(ZeroDivisionError):
            run(folder, Stop(batches))
        resumed, rest = run(folder)
        assert rest == rates[batches:]
        assert resumed == expected


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"accumulate": 2, "l1": 1e-3, "clip_grad_norm": 0.5}, dict),
        ({}, loader),
        ({}, lambda: loader(generator=4)),
        ({}, lambda: loader(prefetch=1)),
        ({"accumulate": 3}, lambda: {"sample_weight": np.arange(40.0)}),
        ({}, lambda: {"shuffle": False, "class_weight": "balanced"}),
        ({}, lambda: {"validation_data": DataLoader(TensorDataset(X, Y), 8, shuffle=True, generator=1)}),
    ],
    ids=["accumulate", "loader", "generator", "prefetch", "weights", "in order", "validation"],
)
def test_a_crashed_run_is_resumed_with_every_kind_of_data(tmp_path, settings, arguments):
    expected = state_of(fit(new_trainer(**settings), tmp_path / "whole", **arguments()))
    folder = tmp_path / "crashed"
    for batches in (2, 1, 2):
        with pytest.raises(ZeroDivisionError):
            fit(new_trainer(**settings), folder, callbacks=[Stop(batches)], **arguments())
    assert state_of(fit(new_trainer(**settings), folder, **arguments())) == expected


def test_a_finished_run_stays_finished_and_more_epochs_go_on(tmp_path):
    first = fit(new_trainer(), tmp_path)
    again = fit(new_trainer(), tmp_path)
    assert state_of(again) == state_of(first)
    assert again.updates == 9
    more = fit(new_trainer(), tmp_path, epochs=5)
    assert state_of(more) == state_of(fit(new_trainer(), tmp_path / "whole", epochs=5))


def test_early_stopping_continues_to_count_and_stays_stopped(tmp_path):
    def stopping():
        return rv.EarlyStopping("val_loss", patience=1, min_delta=10.0)  # never better than the first epoch

    whole, by = new_trainer(), stopping()
    fit(whole, tmp_path / "whole", epochs=9, callbacks=[by])
    assert whole.history.epochs == 2
    for batches in (4, 5):
        with pytest.raises(ZeroDivisionError):
            fit(new_trainer(), tmp_path / str(batches), epochs=9, callbacks=[stopping(), Stop(batches)])
        resumed, again = new_trainer(), stopping()
        fit(resumed, tmp_path / str(batches), epochs=9, callbacks=[again])
        assert state_of(resumed) == state_of(whole)
        assert (again.best, again.best_epoch, again.stopped_epoch) == (by.best, 0, 1)
        finished = new_trainer()
        fit(finished, tmp_path / str(batches), epochs=9, callbacks=[stopping()])
        assert state_of(finished) == state_of(whole)  # with the best weights put back


def test_the_state_of_a_callback_of_the_user(tmp_path):
    class Counter(rv.Callback):
        count = 0

        def on_batch_end(self, batch, logs):
            self.count += 1

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    with pytest.raises(ZeroDivisionError):
        fit(new_trainer(), tmp_path, callbacks=[Counter(), Stop(5)])
    counter = Counter()
    fit(new_trainer(), tmp_path, callbacks=[counter])
    assert counter.count == 9
    with pytest.warns(UserWarning, match="has the state of a callback Counter, which this run lacks"):
        fit(new_trainer(), tmp_path)


def test_frozen_layers_come_back_frozen(tmp_path):
    class Freeze(rv.Callback):
        def on_epoch_end(self, epoch, logs):
            self.trainer.model[0].weight.requires_grad = False

    def run(folder, *more):
        trainer = new_trainer(optim.SGD)
        fit(trainer, folder, callbacks=[Freeze(), *more])
        return trainer

    expected = run(tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "crashed", Stop(4))
    resumed = run(tmp_path / "crashed")
    assert state_of(resumed) == state_of(expected)
    assert not resumed.model[0].weight.requires_grad


def test_a_second_fit_has_separate_checkpoints(tmp_path):
    def run(second_fit):
        trainer = new_trainer()
        for folder, more in (("a", ()), ("b", second_fit)):
            fit(trainer, tmp_path / folder, callbacks=more)
        return trainer

    with pytest.raises(ZeroDivisionError):
        run([Stop(4)])
    resumed = run([])
    assert resumed.history.epochs == 6
    whole = new_trainer()
    whole.fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y))
    whole.fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y))
    assert_equal_weights(resumed.model, whole.model)
    with pytest.raises(ValueError, match="the first epoch of its run is different: 3 there, 0 here"):
        new_trainer().fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y), resume=tmp_path / "b")
