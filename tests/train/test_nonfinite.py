"""Losses and data that are not finite: named by epoch, batch and layer, with no update made; and Ctrl-C,
after which a run can be resumed."""

import os
import signal
import warnings

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import DataLoader, TensorDataset
from ranvier.train import NonFiniteError, checkpoints
from support.refused import refused
from support.threads import in_thread
from support.training import X, Y, assert_equal_weights, classifier, trainer_of, weights_of

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=1e-3, momentum=0.9),
    "adam": lambda p: optim.Adam(p, lr=1e-3),
    "lbfgs": lambda p: optim.LBFGS(p, lr=1e-3),
}


class Break(rv.Callback):
    """Before a batch, one weight of a layer becomes so large that the layer's output is infinite."""

    def __init__(self, model, batch, layer=2, value=3e38):
        self.model, self.batch, self.layer, self.value, self.seen = model, batch, layer, value, 0

    def on_batch_begin(self, batch):
        if self.seen == self.batch:
            with rv.no_grad():
                self.model[self.layer].weight.fill_(self.value)
            self.weights = weights_of(self.model)
        self.seen += 1


def model_of():
    rv.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


def model_that_overflows():
    """At 3e38, with any signs."""
    model = model_of()
    with rv.no_grad():
        model[0].weight.fill_(2.0)
    return model


def broken(batch=5, optimizer="adam", value=3e38, epochs=3, **settings):
    """(trainer, its callback, what `fit` raised): 4 batches an epoch."""
    model = model_of()
    trainer = trainer_of(model, OPTIMIZERS[optimizer](model.parameters()), **settings)
    hook = Break(model, batch, value=value)
    try:
        trainer.fit(X * 10, Y, epochs=epochs, batch_size=10, callbacks=[hook])
    except NonFiniteError as error:
        return trainer, hook, error
    return trainer, hook, None


@pytest.mark.parametrize("settings", [{}, {"compile": False}, {"accumulate": 2}, {"clip_grad_norm": 1.0}])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_run_ends_with_epoch_batch_and_layer(optimizer, settings):
    if optimizer == "lbfgs" and "accumulate" in settings:
        return
    trainer, hook, error = broken(optimizer=optimizer, **settings)
    assert str(error).startswith("[Trainer.fit] got a loss of ")
    assert "in epoch 2, batch 2: the output of layer '2' (Linear) is the first" in str(error)
    assert (error.epoch, error.batch, error.layer) == (2, 2, "2")
    for now, before in zip(weights_of(trainer.model), hook.weights, strict=True):
        assert np.array_equal(now, before), "the update of the batch was made"
    assert trainer.history.epochs == 1


@pytest.mark.parametrize("settings", [{}, {"compile": False}, {"accumulate": 2}, {"accumulate": 4}])
def test_warn_says_it_once_and_leaves_the_update_out(settings):
    model = model_that_overflows()
    x = X.copy()
    x[[3, 23]] = 3e38  # two batches of each epoch
    trainer = trainer_of(model, optim.SGD(model.parameters(), lr=0.01), on_nonfinite="warn", **settings)
    with pytest.warns(UserWarning, match=r"epoch 1, batch 1: the output of layer '0'.* \(said once") as said:
        trainer.fit(x, Y, epochs=3, batch_size=10, shuffle=False)
    assert len(said) == 1
    assert all(np.isfinite(w).all() for w in weights_of(model))
    # of batches 0 to 3 of an epoch 0 and 2 are not finite; with accumulation 1 is left out beside 2
    assert trainer.updates == 3 * (1 if "accumulate" in settings else 2)
    assert not np.isfinite(trainer.history["loss"]).any()


def test_what_is_left_out_leaves_no_trace():
    """With the batch left out the weights are those of a run that never had it."""
    x = np.concatenate([X[:10], np.full_like(X[:10], 3e38), X[10:]])
    y = np.concatenate([Y[:10], Y[:10], Y[10:]])
    found = []
    for data, targets in ((x, y), (X, Y)):
        model = model_that_overflows()
        trainer = trainer_of(model, on_nonfinite="warn")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer.fit(data, targets, epochs=4, batch_size=10, shuffle=False)
        found.append(weights_of(model))
    assert all(map(np.array_equal, *found))


def test_ignore_continues():
    trainer, _, error = broken(on_nonfinite="ignore")
    assert error is None
    assert trainer.history.epochs == 3
    assert not all(np.isfinite(w).all() for w in weights_of(trainer.model))


def test_a_parameter_is_named_where_it_came_first():
    _, _, error = broken(value=np.nan)
    assert error.layer == "2"
    assert "parameter '2.weight' has NaN or infinite values since an earlier update" in str(error)


def test_the_loss_itself_is_named():
    def logarithm(output, target):
        return (output * 0).log().mean()

    model = model_of()
    with pytest.raises(NonFiniteError, match=r"a loss of -inf in epoch 1, batch 1: all layers are finite, "):
        trainer_of(model, loss=logarithm).fit(X, Y, epochs=1)


def test_the_penalty_is_named():
    model = model_of()
    with rv.no_grad():
        model[0].weight.fill_(1e25)
    with pytest.raises(NonFiniteError, match="the penalty on the weights"):
        trainer_of(model, loss=lambda output, _: (output * 0).mean(), l2=1e300).fit(X * 0, Y, epochs=1)


def test_nested_layers_by_their_whole_name():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = model_of()

        def forward(self, x):
            return self.body(x).relu()

    net = Net()
    with rv.no_grad():
        net.body[2].weight.fill_(3e38)
    refused(NonFiniteError, "layer 'body.2' (Linear)", trainer_of(net).fit, X * 10, Y, epochs=1)


def test_the_look_changes_neither_statistics_nor_random_numbers():
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3))
    with rv.no_grad():
        model[0].weight.fill_(2.0)
    x = X.copy()
    x[2] = 3e38
    trainer = trainer_of(model, on_nonfinite="warn")
    kept = {}

    class Look(rv.Callback):
        def on_batch_end(self, batch, logs):
            kept.setdefault("batches", int(model[1].num_batches_tracked.item()))

    with pytest.warns(UserWarning, match="layer '0'"):
        trainer.fit(x, Y, epochs=1, batch_size=10, shuffle=False, callbacks=[Look()])
    assert kept["batches"] == 1


def test_an_optimizer_of_the_user_and_one_that_only_looks_like_one():
    class Own(optim.SGD):
        def step(self, closure=None):
            return super().step(closure)

    model = model_of()
    hook = Break(model, 1)
    trainer = trainer_of(model, Own(model.parameters(), lr=0.1), compile=False)
    with pytest.raises(NonFiniteError, match="epoch 1, batch 2"):
        trainer.fit(X * 10, Y, epochs=1, batch_size=10, callbacks=[hook])
    assert all(map(np.array_equal, weights_of(model), hook.weights))


def test_a_model_that_is_not_finite_at_the_end_is_not_given_back(tmp_path):
    """The gradient of the last batch is infinite, though its loss is not."""

    def root(output, target):
        return (output * 0).sqrt().sum()

    model = model_of()
    trainer = trainer_of(model, optim.SGD(model.parameters(), lr=0.1), loss=root)
    with pytest.raises(NonFiniteError, match=r"got parameter '0.weight' .* after 1 epoch: ") as stop:
        trainer.fit(X, Y, epochs=1, batch_size=40)
    assert (stop.value.batch, stop.value.layer) == (None, "0")
    model = model_of()
    trainer = trainer_of(model, optim.SGD(model.parameters(), lr=0.1), loss=root)
    with pytest.raises(NonFiniteError):
        trainer.fit(X, Y, epochs=1, batch_size=40, callbacks=[rv.Checkpoint(tmp_path, best=False)])
    assert checkpoints.listed(tmp_path) == []  # no checkpoint from which a run cannot continue


# --- the data

BAD = X.astype(np.float64)
BAD[17, 2] = np.nan


def test_data_is_refused_with_row_and_column():
    trainer = trainer_of(classifier())
    before = weights_of(trainer.model)
    where = r"got x with nan at row 17, column 2; expected finite numbers"
    for name, call in {
        "fit": lambda: trainer.fit(BAD, Y, epochs=1),
        "evaluate": lambda: trainer.evaluate(BAD, Y),
        "predict": lambda: trainer.predict(BAD),
        "predict_proba": lambda: trainer.predict_proba(BAD.tolist()),
        "fit validation_data": lambda: trainer.fit(X, Y, epochs=1, validation_data=(BAD, Y)),
    }.items():
        refused(ValueError, f"[Trainer.{name}] {where}", call)
    assert all(map(np.array_equal, weights_of(trainer.model), before))


def test_what_the_message_says_of_other_values():
    trainer = trainer_of(classifier())
    x = X.copy()
    x[2:4] = -np.inf
    with pytest.raises(ValueError, match=r"x with -inf at row 2, column 0 \(6 such values in 2 rows\)"):
        trainer.fit(x, Y, epochs=1)
    x = X.astype(np.float64)
    x[1, 2] = 1e39
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # none of NumPy's own about an overflow
        with pytest.raises(ValueError, match=r"x with 1e\+39 at row 1, column 2; .* 3.4e\+38, which float32"):
            trainer.fit(x, Y, epochs=1)
    images = np.zeros((2, 1, 4, 4))
    images[1, 0, 2, 3] = np.nan
    refused(ValueError, "x with nan at row 1, position (0, 2, 3)", trainer.predict, images)
    values = rv.Trainer(model := nn.Linear(3, 1), nn.MSELoss(), optim.SGD(model.parameters(), lr=0.1))
    y = np.zeros((40, 1))
    y[39] = np.inf
    refused(ValueError, "[Trainer.fit] got y with inf at row 39, column 0", values.fit, X, y, epochs=1)


def test_loaders_batch_by_batch():
    loader = DataLoader(TensorDataset(BAD.astype(np.float32), Y), 10)
    trainer = trainer_of(classifier())
    with pytest.raises(ValueError, match=r"\[Trainer\.fit batch 1\] got x with nan at row 7, column 2"):
        trainer.fit(loader, epochs=1)
    with pytest.raises(ValueError, match=r"\[Trainer\.predict batch 1\] got x with nan at row 7, column 2"):
        trainer.predict(loader)


def test_warn_and_ignore_take_the_data():
    trainer = trainer_of(classifier(), on_nonfinite="warn")
    with pytest.warns(UserWarning, match="got x with nan at row 17, column 2"):
        trainer.predict(BAD)
    trainer = trainer_of(classifier(), on_nonfinite="ignore")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.predict(BAD)


# Ctrl-C: obeyed between two steps, a second one at once; the history is kept, and the message says so.


class Press(rv.Callback):
    """Sends the process a SIGINT during a step of the run, and is notified of what follows."""

    def __init__(self, batch, times=1):
        self.batch, self.times, self.heard = batch, times, []
        self.seen = 0

    def on_batch_begin(self, batch):
        if self.seen == self.batch:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)
        self.seen += 1

    def on_batch_end(self, batch, logs):
        self.heard.append(batch)

    def on_interrupt(self):
        self.heard.append("interrupt")

    def on_train_end(self):
        self.heard.append("end")


def fit(*callbacks, epochs=3, **arguments):
    trainer = trainer_of(classifier())
    history = trainer.fit(X, Y, epochs=epochs, batch_size=10, callbacks=callbacks, **arguments)
    assert history is trainer.history
    return trainer


def test_the_step_is_finished_and_the_history_kept(capsys):
    press = Press(6)
    trainer = fit(press)
    assert trainer.interrupted
    assert press.heard == [0, 1, 2, 3, 0, 1, 2, "interrupt", "end"]
    assert trainer.history.epochs == 1
    said = "\n[Trainer.fit] interrupted after 1 epoch and 3 batches; the history is kept\n"
    assert capsys.readouterr().err == said
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert trainer.model.training
    trainer.fit(X, Y, epochs=1)
    assert not trainer.interrupted
    assert trainer.history.epochs == 2


def test_a_second_one_does_not_wait(capsys):
    press = Press(6, times=2)
    trainer = fit(press)
    assert press.heard == [0, 1, 2, 3, 0, 1, "end"]
    assert trainer.interrupted
    assert "interrupted after 1 epoch and 2 batches" in capsys.readouterr().err


def test_best_weights_come_back_but_not_into_the_checkpoint(tmp_path):
    def stopping():
        return rv.EarlyStopping(patience=9)

    whole = fit(stopping())
    fit(Press(9), stopping(), rv.Checkpoint(tmp_path))
    resumed = fit(stopping(), rv.Checkpoint(tmp_path), resume=tmp_path)
    assert_equal_weights(resumed.model, whole.model)


@pytest.mark.parametrize("epoch", [1, 2])
def test_after_the_last_batch_the_epoch_is_completed(epoch, capsys):
    trainer = fit(Press(4 * epoch + 3))
    assert trainer.interrupted
    assert (trainer.epoch, trainer.batch, trainer.history.epochs) == (epoch + 1, 0, epoch + 1)
    assert f"interrupted after {epoch + 1} epochs; the" in capsys.readouterr().err


def test_a_validation_is_not_waited_for(capsys):
    trainer = fit(Press(7), validation_data=(X, Y))
    assert trainer.history.epochs == 1
    assert "interrupted after 1 epoch and 4 batches; the" in capsys.readouterr().err


def test_handlers_of_others_are_left_alone():
    heard = []
    before = signal.signal(signal.SIGINT, lambda *_: heard.append("theirs"))
    try:
        trainer = fit(Press(5))
    finally:
        signal.signal(signal.SIGINT, before)
    assert (heard, trainer.history.epochs, trainer.interrupted) == (["theirs"], 3, False)


def test_in_another_thread():
    assert in_thread(fit).history.epochs == 3


@pytest.mark.parametrize(
    ("when", "epoch", "batch"),
    [("batch_begin", 0, 1), ("batch_end", 0, 1), ("epoch_begin", 0, 1), ("epoch_end", 1, 0)],
)
def test_a_checkpoint_follows_the_keyboard_interrupt_of_a_callback(when, epoch, batch, tmp_path):
    class Raise(rv.Callback):
        pass

    def interrupt(self, *args):
        raise KeyboardInterrupt

    setattr(Raise, f"on_{when}", interrupt)
    heard = Press(99)
    whole, stopped = fit(), fit(Raise(), heard, rv.Checkpoint(tmp_path))
    assert (stopped.interrupted, stopped.epoch) == (True, epoch)
    assert heard.heard == [*range(4 if epoch else 1), "interrupt", "end"]
    assert checkpoints.listed(tmp_path)[0].name == f"checkpoint-{epoch:05d}-{batch:06d}.safetensors"
    resumed = fit(rv.Checkpoint(tmp_path), resume=tmp_path)
    assert_equal_weights(resumed.model, whole.model)
    assert dict(resumed.history) == dict(whole.history)


def test_a_second_keyboard_interrupt_of_callbacks_does_not_wait(tmp_path):
    class Raise(rv.Callback):
        def on_batch_end(self, batch, logs):
            raise KeyboardInterrupt

    trainer = fit(Raise(), Raise(), rv.Checkpoint(tmp_path))
    assert (trainer.interrupted, checkpoints.listed(tmp_path)) == (True, [])
