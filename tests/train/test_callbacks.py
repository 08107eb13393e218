"""Callbacks: the order of the hooks, early stopping with the best weights put back, the progress bar.

Hooks are noted in the order in which they are called; `Scripted` puts known values into the logs, by which
the epoch at which a run stops is known.
"""

import math
import warnings

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.train.callbacks import logs
from support.refused import refused

X = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
Y = (X[:, :1] > 0).astype(np.float32)


def new_trainer(lr=0.1, metrics=()):
    rv.manual_seed(0)
    model = nn.Linear(3, 1)
    return rv.Trainer(model, nn.MSELoss(), optim.SGD(model.parameters(), lr=lr), metrics=metrics)


class Recorder(rv.Callback):
    """Notes each hook that is called, with the names of its logs."""

    def __init__(self):
        self.calls = []

    def on_train_begin(self):
        self.calls.append("train begin")

    def on_train_end(self):
        self.calls.append("train end")

    def on_epoch_begin(self, epoch):
        self.calls.append(f"epoch {epoch} begin")

    def on_epoch_end(self, epoch, logs):
        self.calls.append(f"epoch {epoch} end: {', '.join(logs)}")

    def on_batch_begin(self, batch):
        self.calls.append(f"batch {batch} begin")

    def on_batch_end(self, batch, logs):
        self.calls.append(f"batch {batch} end: {', '.join(logs)}")


def test_the_order_of_the_hooks():
    trainer, recorder = new_trainer(metrics=["mae"]), Recorder()
    trainer.fit(X, Y, epochs=1, batch_size=12, validation_data=(X, Y), callbacks=[recorder])
    assert recorder.calls == [
        "train begin",
        "epoch 0 begin",
        "batch 0 begin",
        "batch 0 end: loss",
        "batch 1 begin",
        "batch 1 end: loss",
        "epoch 0 end: loss, mae, val_loss, val_mae",
        "train end",
    ]
    assert recorder.trainer is trainer
    trainer.fit(X, Y, epochs=1, batch_size=24, callbacks=[recorder])
    assert "epoch 1 begin" in recorder.calls


def test_train_end_is_called_when_the_run_breaks():
    class Broken(Recorder):
        def on_batch_end(self, batch, logs):
            raise ZeroDivisionError

    recorder, trainer = Broken(), new_trainer()
    with pytest.raises(ZeroDivisionError):
        trainer.fit(X, Y, epochs=1, callbacks=[recorder])
    assert recorder.calls[-1] == "train end"
    assert trainer.model.training


def test_a_callback_can_stop_the_run():
    class Stop(rv.Callback):
        def on_epoch_end(self, epoch, logs):
            self.trainer.stop_training = epoch == 1

    trainer = new_trainer()
    assert trainer.fit(X, Y, epochs=10, callbacks=[Stop()]).epochs == 2
    assert trainer.fit(X, Y, epochs=3).epochs == 5


class Scripted(rv.Callback):
    """Puts given values into the logs, and the epoch into the model's bias, before EarlyStopping looks."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, epoch, logs):
        logs["scripted_loss"] = self.values[epoch]
        with rv.no_grad():
            self.trainer.model.bias.fill_(float(epoch))


@pytest.mark.parametrize(
    ("values", "arguments", "epochs", "best"),
    [
        ([5, 4, 3, 4, 4, 4, 4], {"patience": 2}, 5, 2),
        ([5, 4, 3, 4, 2, 4, 4, 1], {"patience": 2}, 7, 4),
        ([1, 2, 3, 2, 2], {"patience": 2, "mode": "max"}, 5, 2),
        ([5, 4.9, 4.8, 4.0], {"patience": 2, "min_delta": 0.5}, 3, 0),
        ([5, math.nan, math.nan, 1], {"patience": 2}, 3, 0),
        ([5, 4, 3, 2], {"patience": 1}, 4, 3),
    ],
)
def test_early_stopping(values, arguments, epochs, best):
    trainer = new_trainer()
    stopping = rv.EarlyStopping("scripted_loss", **arguments)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".EarlyStopping. 'scripted_loss' is NaN")
        history = trainer.fit(X, Y, epochs=len(values), callbacks=[Scripted(values), stopping])
    assert history.epochs == epochs
    assert stopping.best == values[best]
    assert stopping.best_epoch == best
    assert stopping.stopped_epoch == (
        epochs - 1 if epochs < len(values) or values[-1] != values[best] else None
    )
    assert trainer.model.bias.item() == best


def test_early_stopping_without_restoring():
    trainer = new_trainer()
    stopping = rv.EarlyStopping("scripted_loss", patience=1, restore_best_weights=False)
    trainer.fit(X, Y, epochs=3, callbacks=[Scripted([1, 2, 3]), stopping])
    assert trainer.model.bias.item() == 1


def test_early_stopping_when_nothing_is_a_number():
    trainer = new_trainer()
    stopping = rv.EarlyStopping("scripted_loss", patience=2)
    trainer.fit(X, Y, epochs=1)
    with pytest.warns(UserWarning, match="'scripted_loss' is NaN, which never counts as an improvement"):
        history = trainer.fit(X, Y, epochs=5, callbacks=[Scripted([math.nan] * 6), stopping])
    assert history.epochs == 3
    assert stopping.best_epoch is None


def test_early_stopping_watches_the_validation_loss_if_there_is_one():
    for valid, name in (((X, Y), "val_loss"), (None, "loss")):
        stopping = rv.EarlyStopping(patience=3)
        history = new_trainer().fit(X, Y, epochs=4, validation_data=valid, callbacks=[stopping])
        assert stopping.best == min(history[name])


def test_of_each_metric_it_is_known_whether_it_rises():
    falling = {"loss", "mae", "mse", "rmse", "log_loss", "mean_absolute_error", "d2_error", "precision_loss"}
    for name in (*rv.metrics.METRICS, *falling, "explained_variance_score", "balanced_accuracy_score"):
        expected = "min" if name in falling else "max"
        for monitor in (name, f"val_{name}"):
            assert (rv.EarlyStopping(monitor).mode, monitor) == (expected, monitor)


def test_early_stopping_can_be_used_twice():
    stopping = rv.EarlyStopping("scripted_loss", patience=1)
    trainer = new_trainer()
    trainer.fit(X, Y, epochs=2, callbacks=[Scripted([1, 2]), stopping])
    trainer.fit(X, Y, epochs=2, callbacks=[Scripted([1, 2, 9, 8]), stopping])
    assert (stopping.best, stopping.best_epoch) == (8, 3)


def test_early_stopping_errors():
    with pytest.raises(ValueError, match="no 'val_accuracy' is measured; expected one of loss"):
        new_trainer().fit(X, Y, epochs=1, callbacks=[rv.EarlyStopping("val_accuracy")])
    refused(ValueError, "got patience 0", rv.EarlyStopping, patience=0)
    refused(ValueError, "got mode 'up'", rv.EarlyStopping, mode="up")


def test_progress_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    trainer = new_trainer(metrics=["mae"])
    trainer.fit(X, Y, epochs=2, batch_size=6, validation_data=(X, Y), callbacks=[rv.ProgressBar()])
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("epoch 1/2  loss ")
    assert lines[1].startswith("epoch 2/2  loss ")
    assert all(f"  {name} " in lines[0] for name in ("mae", "val_loss", "val_mae"))
    assert "epoch 1/2" in err
    assert "0/4" in err
    trainer.fit(X, Y, epochs=1, callbacks=[rv.ProgressBar(bar=False)])
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    trainer.fit(X, Y, epochs=1, callbacks=[rv.ProgressBar()])
    out, err = capsys.readouterr()
    assert [line[:9] for line in out.splitlines()] == ["epoch 3/3", "epoch 4/4"]
    assert err == ""


def test_progress_bar_of_every_third_epoch(capsys):
    new_trainer().fit(X, Y, epochs=8, callbacks=[rv.ProgressBar(every=3)])
    assert [line[6:9] for line in capsys.readouterr().out.splitlines()] == ["1/8", "3/8", "6/8", "8/8"]
    stop = rv.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(trainer, "stop_training", epoch == 3))
    trainer = new_trainer()
    trainer.fit(X, Y, epochs=8, callbacks=[stop, rv.ProgressBar(every=3)])
    assert [line[6:9] for line in capsys.readouterr().out.splitlines()] == ["1/8", "3/8", "4/8"]
    refused(ValueError, "[ProgressBar] got every 0", rv.ProgressBar, every=0)


def test_progress_without_a_console(monkeypatch):
    """As in a service of Windows, or with `2>&-`."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(f"sys.{name}", None)
        trainer = new_trainer()
        assert trainer.fit(X, Y, epochs=1, verbose=True).epochs == 1
        with logs.bar(total=2) as bar:
            bar.update()


def test_the_number_of_batches_is_known_from_the_start():
    seen, trainer = [], new_trainer()
    note = rv.LambdaCallback(on_train_begin=lambda: seen.append(trainer.steps_per_epoch))
    trainer.fit(rv.data.DataLoader(rv.data.TensorDataset(X, Y), 5), epochs=1, callbacks=[note])
    trainer.fit(X, Y, epochs=1, batch_size=7, callbacks=[note])
    trainer.fit([(X[:4], Y[:4]), (X[4:6], Y[4:6])], epochs=1, callbacks=[note])
    assert seen == [5, 4, 2]
