"""Checkpoints in one process: a run that crashes anywhere is resumed, whatever takes part in it.

The resumed run must end with the state of a run that did not crash (`state_of`): weights, optimizer, history.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import optim
from ranvier.data import DataLoader, TensorDataset
from ranvier.optim import lr_scheduler
from support.training import Stop, X, Y, assert_equal_weights, fit, new_trainer, state_of


def loader(**settings):
    return {"x": DataLoader(TensorDataset(X, Y), 16, shuffle=True, **settings), "y": None}


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


OPTIMIZERS = {
    "sgd": optim.SGD,
    "adam": optim.Adam,
    "nadam": optim.NAdam,
    "momentum": lambda p, lr: optim.SGD(p, lr, momentum=0.9),
    "lbfgs": optim.LBFGS,
}


def scheduled(name):
    return lambda trainer: {"callbacks": [SCHEDULES[name](trainer.optimizer)]}


def frozen(trainer):
    """A layer is frozen at the end of the first epoch."""
    freeze = lambda epoch, logs: trainer.model[0].weight.requires_grad_(False)  # noqa: E731
    return {"callbacks": [rv.LambdaCallback(on_epoch_end=freeze)]}


def validated(trainer):
    return {"validation_data": DataLoader(TensorDataset(X, Y), 8, shuffle=True, generator=1)}


# Settings of the trainer, arguments of fit, and after how many batches runs crash that continue one another.
RUNS = {
    "accumulate": ({"accumulate": 2, "l1": 1e-3, "clip_grad_norm": 0.5}, lambda t: {}, [(2, 1, 2)]),
    "loader": ({}, lambda t: loader(), [(2, 1, 2)]),
    "generator": ({}, lambda t: loader(generator=4), [(2, 1, 2)]),
    "prefetch": ({}, lambda t: loader(prefetch=1), [(2, 1, 2)]),
    "weights": ({"accumulate": 3}, lambda t: {"sample_weight": np.arange(40.0)}, [(2, 1, 2)]),
    "in order": ({}, lambda t: {"shuffle": False, "class_weight": "balanced"}, [(2, 1, 2)]),
    "validation": ({}, validated, [(2, 1, 2)]),
    "frozen": ({"make": optim.SGD}, frozen, [(4,)]),
    **{f"schedule {name}": ({}, scheduled(name), [(2,), (5,)]) for name in SCHEDULES},
    **{name: ({"make": make}, lambda t: {}, [(1,), (3,), (5,), (8,)]) for name, make in OPTIMIZERS.items()},
}


def run(name, folder, *more):
    """A run of this kind, which is resumed where there are checkpoints, and its rates."""
    settings, arguments, _ = RUNS[name]
    trainer, rates = new_trainer(**settings), []
    note = rv.LambdaCallback(on_batch_end=lambda *_: rates.append(trainer.optimizer.param_groups[0]["lr"]))
    given = arguments(trainer)
    fit(trainer, folder, callbacks=[*given.pop("callbacks", ()), note, *more], **given)
    return trainer, rates


@pytest.mark.parametrize("name", RUNS)
def test_a_crashed_run_is_resumed(tmp_path, name):
    whole, rates = run(name, tmp_path / "whole")
    assert (len(set(rates)) > 1) == name.startswith("schedule")
    for number, crashes in enumerate(RUNS[name][2]):
        for batches in crashes:
            with pytest.raises(ZeroDivisionError):
                run(name, tmp_path / str(number), Stop(batches))
        rv.manual_seed(99)
        resumed, rest = run(name, tmp_path / str(number))
        assert resumed.resumed_from is not None
        assert rest == rates[sum(crashes) :]
        assert state_of(resumed) == state_of(whole)
        grads = [[p.requires_grad for p in t.model.parameters()] for t in (resumed, whole)]
        assert grads[0] == grads[1]


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


def test_without_the_best_model(tmp_path):
    checkpoint = rv.Checkpoint(tmp_path, best=False)
    new_trainer().fit(X, Y, epochs=2, callbacks=[checkpoint])
    assert list(tmp_path.glob("checkpoint-*"))
    assert not list(tmp_path.glob("best*"))
    assert (checkpoint.best, checkpoint.monitor, checkpoint.mode) == (False, None, None)
    kept = rv.Checkpoint(tmp_path, monitor="score", mode="max")
    assert (kept.best, kept.monitor, kept.mode) == (True, "score", "max")


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
