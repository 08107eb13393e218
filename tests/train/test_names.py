"""Losses and optimizers by name, the text of a Trainer, `save` and `load`, the progress of `fit`.

A loaded Trainer must predict, evaluate and continue with the numbers of the one that was saved.
"""

import contextlib

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.serialization.files import read_checkpoint, write_checkpoint
from support.python import ended
from support.refused import refused
from support.training import X, Y, classifier, trainer_of, weights_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cross_entropy", nn.CrossEntropyLoss),
        ("CrossEntropyLoss", nn.CrossEntropyLoss),
        ("mse", nn.MSELoss),
        ("mae", nn.L1Loss),
        ("bce-with-logits", nn.BCEWithLogitsLoss),
        ("kl_div", nn.KLDivLoss),
    ],
)
def test_losses_by_name(name, kind):
    assert type(rv.Trainer(classifier(), name, "adam").loss) is kind


@pytest.mark.parametrize("name", ["sgd", "Adam", "adamw", "rmsprop", "lbfgs"])
def test_optimizers_by_name(name):
    model = classifier()
    optimizer = rv.Trainer(model, "cross_entropy", name, lr=0.25).optimizer
    assert type(optimizer).__name__.lower() == name.lower()
    assert optimizer.param_groups[0]["lr"] == 0.25
    assert optimizer.param_groups[0]["params"] == list(model.parameters())
    default = rv.Trainer(model, "cross_entropy", name).optimizer.param_groups[0]["lr"]
    assert default == type(optimizer)(model.parameters()).param_groups[0]["lr"]


def test_learning_rates_and_the_order_of_arguments():
    model, adam = classifier(), optim.Adam(classifier().parameters())
    refused(TypeError, "got lr of type str", rv.Trainer, model, "mse", "adam", lr="0.1")
    refused(ValueError, "expected lr with a name", rv.Trainer, model, "mse", adam, lr=0.1)
    refused(TypeError, "loss comes before optimizer", rv.Trainer, model, adam, nn.MSELoss())


def test_the_text_of_a_trainer():
    trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.5, metrics=["accuracy"])
    start = "<Trainer of Sequential (50 parameters), CrossEntropyLoss, SGD(lr=0.5), metrics=['accuracy']: "
    assert repr(trainer) == start + "not trained>"
    trainer.fit(X, Y, epochs=1)
    assert repr(trainer).startswith(start + "1 epoch, loss 0.")


# --- files


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_a_loaded_trainer_predicts_and_continues(tmp_path, optimizer):
    names = np.array(["no", "yes"])[Y]
    rv.manual_seed(0)
    settings = {"metrics": ["accuracy"], "l2": {"0": 1e-3}, "clip_grad_norm": 1.0}
    trainer = rv.Trainer(
        classifier(), nn.CrossEntropyLoss(label_smoothing=0.1), optimizer, lr=0.01, **settings
    )
    trainer.fit(X, names, epochs=2, shuffle=False)
    trainer.save(tmp_path / "t.safetensors")
    loaded = rv.Trainer.load(tmp_path / "t.safetensors")
    assert repr(loaded) == repr(trainer)
    assert np.array_equal(loaded.predict(X), trainer.predict(X))
    assert loaded.evaluate(X, names) == trainer.evaluate(X, names)
    assert loaded.settings() == trainer.settings()
    for t in (trainer, loaded):
        t.fit(X, names, epochs=2, shuffle=False)
    assert dict(loaded.history) == dict(trainer.history)
    assert all(
        np.array_equal(a, b) for a, b in zip(weights_of(loaded.model), weights_of(trainer.model), strict=True)
    )
    assert loaded.updates == trainer.updates
    fresh = rv.load(tmp_path / "t.safetensors", into=classifier())
    assert fresh[0].weight.shape == (8, 3)


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x)


def own_loss(output, y):
    return ((output - y.reshape(-1, 1)) ** 2).mean()


def test_parts_of_the_user_are_given_to_load(tmp_path):
    path = tmp_path / "t.safetensors"
    trainer = rv.Trainer(Own(), own_loss, "adam", metrics=[lambda y, p: 0.0])
    trainer.fit(X, Y, epochs=1)
    trainer.save(path)
    load = rv.Trainer.load
    refused(ValueError, "expected Trainer.load(path, model)", load, path)
    refused(ValueError, "its loss is your own (own_loss)", load, path, Own())
    refused(ValueError, "expected metrics=[...]", load, path, Own(), loss=own_loss)
    loaded = load(path, Own(), loss=own_loss, metrics=[])
    assert np.array_equal(loaded.predict(X), trainer.predict(X))
    refused(ValueError, "[Trainer.load] got", load, path, classifier(), loss=own_loss, metrics=[])
    rv.save(classifier(), path)
    refused(ValueError, "is no checkpoint", load, path)
    refused(FileNotFoundError, "none", load, tmp_path / "none")


# --- progress


def test_verbose(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    trainer = trainer_of(classifier())
    trainer.fit(X, Y, epochs=1)
    trainer.fit(X, Y, epochs=1, verbose=False)
    assert capsys.readouterr().out == "", "a test is quiet"
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    trainer.fit(X, Y, epochs=1)
    trainer.fit(X, Y, epochs=1, verbose=2)
    assert [line[:10] for line in capsys.readouterr().out.splitlines()] == ["epoch 3/3 ", "epoch 4/4 "]
    trainer.fit(X, Y, epochs=1, verbose=0, callbacks=[rv.ProgressBar()])
    trainer.fit(X, Y, epochs=100, callbacks=[rv.ProgressBar(every=50)])
    assert len(capsys.readouterr().out.splitlines()) == 4
    trainer.fit(X, Y, epochs=100)
    assert len(capsys.readouterr().out.splitlines()) == 51
    refused(ValueError, "got verbose 3", trainer.fit, X, Y, epochs=1, verbose=3)
    refused(ValueError, "got verbose 'yes'", trainer.fit, X, Y, epochs=1, verbose="yes")


def test_the_time_left(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("ranvier.train.callbacks.logs.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    tick = rv.LambdaCallback(on_batch_begin=lambda batch: now.__setitem__(0, now[0] + 30))
    trainer_of(classifier()).fit(X, Y, epochs=3, batch_size=20, callbacks=[tick, rv.ProgressBar(delay=40)])
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.partition(" s")[2] for line in lines] == [", 2:00 left", ", 1:00 left", ""]
    assert "1:00 left" in err
    assert "loss" in err


@pytest.mark.slow
def test_a_pipe_gets_no_progress():
    code = (
        "import ranvier as rv; from ranvier import nn\n"
        "rv.Trainer(nn.Linear(1, 1), 'mse', 'sgd').fit([[1.0]], [[1.0]], epochs=2)"
    )
    result = ended("-c", code)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_file_that_lacks_an_entry_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    other = tmp_path / "other.safetensors"
    trainer = rv.Trainer(nn.Linear(3, 2), "cross_entropy", "adam", lr=1e-2, metrics=["accuracy"])
    trainer.fit(rv.randn(8, 3), np.arange(8) % 2, epochs=1, verbose=0)
    trainer.save(path)
    state = read_checkpoint(path, "Trainer.save")
    for name in state:
        for forged in ({key: value for key, value in state.items() if key != name}, {**state, name: 3.5}):
            write_checkpoint(other, forged)
            with contextlib.suppress(ValueError):  # some entries may be missing, or have such a value
                rv.Trainer.load(other)
