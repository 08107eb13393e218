"""Callbacks that write or steer: schedules, TensorBoard, functions, what a resumed run says.

What is written is read back and compared with the history of the run, and rates with the number of updates.
"""

import builtins
import sys

import numpy as np
import pytest
import ranvier as rv
import ranvier.optim.lr_scheduler as lr_scheduler
from ranvier import nn, optim
from support.event_files import events, read
from support.python import ended
from support.refused import refused
from support.training import X, Y, classifier, trainer_of


class Steps:
    """A schedule that counts."""

    def __init__(self, optimizer):
        self.group, self.steps, self.seen = optimizer.param_groups[0], 0, []

    def step(self):
        self.steps += 1
        self.group["lr"] = 1 / (1 + self.steps)
        self.seen.append(self.group["lr"])


class Plateau:
    def __init__(self):
        self.seen = []

    def step(self, metrics, epoch=None):
        self.seen.append(metrics)


def new_trainer(**settings):
    model = classifier()
    return trainer_of(model, optim.SGD(model.parameters(), lr=1.0), metrics=["accuracy"], **settings)


# --- Schedule


@pytest.mark.parametrize(("per", "accumulate", "steps"), [("epoch", 1, 3), ("batch", 1, 9), ("batch", 2, 6)])
def test_schedule_steps_per_epoch_or_update(per, accumulate, steps):
    trainer = new_trainer(accumulate=accumulate)
    schedule = Steps(trainer.optimizer)
    trainer.fit(X, Y, epochs=3, batch_size=16, callbacks=[rv.Schedule(schedule, per=per)])
    assert schedule.steps == steps == (trainer.updates if per == "batch" else 3)
    trainer.fit(X, Y, epochs=1, batch_size=40, callbacks=[rv.Schedule(schedule, per=per)])
    assert schedule.steps == steps + 1


def test_schedule_follows_updates_of_a_loader_without_length():
    trainer = new_trainer(accumulate=2)
    schedule = Steps(trainer.optimizer)

    class Stream:
        def __iter__(self):
            return iter([(X, Y)] * 3)

    trainer.fit(Stream(), epochs=2, callbacks=[rv.Schedule(schedule, per="batch")])
    assert schedule.steps == trainer.updates == 4


def test_schedule_gives_a_plateau_its_value():
    for monitor, valid, name in (
        (None, (X, Y), "val_loss"),
        (None, None, "loss"),
        ("accuracy", None, "accuracy"),
    ):
        plateau, trainer = Plateau(), new_trainer()
        trainer.fit(X, Y, epochs=2, validation_data=valid, callbacks=[rv.Schedule(plateau, monitor=monitor)])
        assert plateau.seen == trainer.history[name]


def test_schedule_errors():
    refused(TypeError, "got a scheduler of type int; expected a step method", rv.Schedule, 3)
    refused(ValueError, "got per 'step'; expected 'epoch' or 'batch'", rv.Schedule, Plateau(), per="step")
    other = rv.Schedule(lr_scheduler.StepLR(new_trainer().optimizer, 1))
    text = "got a scheduler of an optimizer that the Trainer does not use"
    refused(ValueError, text, new_trainer().fit, X, Y, epochs=1, callbacks=[other])
    with pytest.raises(ValueError, match="got per 'batch' for a schedule that watches a value"):
        rv.Schedule(Plateau(), per="batch")
    with pytest.raises(ValueError, match=r"\[Schedule\] no 'val_loss' is measured; expected one of loss"):
        new_trainer().fit(X, Y, epochs=1, callbacks=[rv.Schedule(Plateau(), monitor="val_loss")])


# --- TensorBoard


def scalars(folder):
    """(tag, step) -> value of every scalar in the event files of a folder."""
    return {(tag, step): value[2][0] for step, tag, value in read(folder)}


def test_tensorboard(tmp_path):
    trainer = new_trainer()
    board = rv.TensorBoard(tmp_path, batches=True)
    trainer.fit(X, Y, epochs=2, batch_size=20, validation_data=(X, Y), callbacks=[board])
    found = scalars(tmp_path)
    assert set(found) == {
        (tag, step)
        for tag in ("loss/train", "loss/validation", "accuracy/train", "accuracy/validation", "lr")
        for step in (1, 2)
    }
    assert found["loss/validation", 2] == np.float32(trainer.history["val_loss"][1])
    assert set(scalars(tmp_path / "batches")) == {("loss", step) for step in (1, 2, 3, 4)}


def test_tensorboard_writes_batches_when_asked_to(tmp_path):
    new_trainer().fit(X, Y, epochs=1, callbacks=[rv.TensorBoard(tmp_path)])
    assert scalars(tmp_path)
    assert not (tmp_path / "batches").exists()


# --- the others


def test_lambda_callback():
    seen = []
    trainer = new_trainer()
    callback = rv.LambdaCallback(
        on_train_begin=lambda: seen.append("begin"),
        on_batch_end=lambda batch, logs: seen.append((batch, sorted(logs))),
        on_train_end=lambda: seen.append("end"),
    )
    trainer.fit(X, Y, epochs=1, batch_size=40, callbacks=[callback])
    assert seen == ["begin", (0, ["loss"]), "end"]
    refused(TypeError, "got 'on_epoch'; expected one of on_train_begin, ", rv.LambdaCallback, on_epoch=print)
    refused(TypeError, "got on_epoch_end of type int; expected a function", rv.LambdaCallback, on_epoch_end=3)


def test_tensorboard_forgets_what_a_resumed_run_does_again(tmp_path):
    logs, saved = tmp_path / "logs", tmp_path / "saved"
    for epochs, resume in ((2, None), (3, saved)):
        callbacks = [rv.Checkpoint(saved), rv.TensorBoard(logs)]
        new_trainer().fit(X, Y, epochs=epochs, callbacks=callbacks, resume=resume)
    starts = [e[2] for path in logs.glob("events*") for e in events(path) if 7 in e]
    assert starts == [[3]]  # a reader drops what an earlier file has from this step on
    assert {step for _, step in scalars(logs)} == {1, 2, 3}


def test_the_progress_bar_says_where_a_resumed_run_continues(tmp_path, capsys):
    new_trainer().fit(X, Y, epochs=2, callbacks=[rv.Checkpoint(tmp_path)])
    new_trainer().fit(X, Y, epochs=3, callbacks=[rv.ProgressBar()], resume=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"continues {tmp_path / 'checkpoint-00002-000000.safetensors'}: 2 epochs"
    assert lines[1].startswith("epoch 3/3  loss ")


@pytest.mark.slow
def test_tqdm_is_only_loaded_for_a_bar():
    code = (
        "import sys, ranvier as rv; from ranvier import nn, optim\n"
        "m = nn.Linear(1, 1)\n"
        "t = rv.Trainer(m, nn.MSELoss(), optim.SGD(m.parameters(), lr=0.1))\n"
        "t.fit([[1.0]], [[1.0]], epochs=1, callbacks=[rv.ProgressBar()])\n"
        "sys.exit('tqdm' in sys.modules)"
    )
    result = ended("-c", code)
    assert (result.returncode, result.stderr) == (0, "")


def test_a_bar_in_a_notebook(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipykernel", builtins)
    new_trainer().fit(X, Y, epochs=1, batch_size=10, callbacks=[rv.ProgressBar()])
    assert "0/4" in capsys.readouterr().err


def test_history_of_a_model_that_has_nothing_to_learn():
    model = nn.Sequential(nn.Linear(3, 2))
    for p in model.parameters():
        p.requires_grad = False
    refused(RuntimeError, "does not require grad", trainer_of(model).fit, X, Y, epochs=1)
