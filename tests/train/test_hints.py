"""Hints of a Trainer: what they name, and that they keep quiet where nothing is wrong."""

import subprocess
import sys
import warnings

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.data import DataLoader, RandomSampler, TensorDataset, WeightedRandomSampler
from ranvier.optim import lr_scheduler
from support.training import X, Y, Z, classifier

HINT = rv.train.HintWarning


def trained(**settings):
    trainer = rv.Trainer(classifier(), "cross_entropy", "adam", **settings)
    trainer.fit(X, Y, epochs=1)
    return trainer


# --- the order of a loader


def loader(**settings):
    return DataLoader(TensorDataset(X, Y), **{"batch_size": 8, **settings})


ORDERS = {
    "shuffle": ({"shuffle": True}, "shuffles: the answers are in its order"),
    "sampler": ({"sampler": RandomSampler(X)}, "shuffles"),
    "weights": ({"sampler": WeightedRandomSampler(np.ones(40), 40)}, "shuffles"),
    "drop_last": ({"drop_last": True, "batch_size": 9}, "drop_last=True: the last samples have no answer"),
}


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("name", ORDERS)
def test_answers_for_a_loader_in_another_order(name, method):
    settings, text = ORDERS[name]
    with pytest.warns(HINT, match=rf"\[Trainer.{method}\] got a loader (that|with) .*{text.split(':')[0]}"):
        getattr(trained(), method)(loader(**settings))


@pytest.mark.parametrize("settings", [{}, {"drop_last": True}, {"sampler": range(40)}])
def test_answers_for_a_loader_in_order(settings):
    trainer = trained()
    np.testing.assert_array_equal(trainer.predict(loader(**settings)), trainer.predict(X))


# --- schedules


def cosine(steps):
    return lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, steps)


def one_cycle(steps):
    return lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)


def milestones(*epochs):
    return lambda optimizer: lr_scheduler.MultiStepLR(optimizer, epochs)


def warm_up(steps):
    return lambda optimizer: lr_scheduler.LinearLR(optimizer, total_iters=steps)


def run(make, per, **settings):
    """4 epochs of 10 batches."""
    trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1, **settings)
    callbacks = [rv.Schedule(make(trainer.optimizer), per=per)]
    trainer.fit(X, Y, epochs=4, batch_size=4, callbacks=callbacks)


def warm_cosine(optimizer):
    parts = [lr_scheduler.LinearLR(optimizer, total_iters=5), lr_scheduler.CosineAnnealingLR(optimizer, 35)]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[5])


def restarts(optimizer):
    return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 20)


def cycle(optimizer):
    return lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, step_size_up=15)


LENGTHS = {
    "a warm-up and a cosine": (warm_cosine, "epoch", "SequentialLR of 40 steps"),
    "restarts": (restarts, "epoch", "CosineAnnealingWarmRestarts of 20 steps"),
    "a cycle": (cycle, "epoch", "CyclicLR of 30 steps"),
    "cosine of updates": (cosine(40), "epoch", "CosineAnnealingLR of 40 steps.* expected per='batch'"),
    "one cycle of updates": (one_cycle(40), "epoch", "OneCycleLR of 40 steps"),
    "milestones of updates": (milestones(20, 30), "epoch", "MultiStepLR of 30 steps"),
    "cosine of epochs": (cosine(4), "batch", "CosineAnnealingLR of 4 steps.* after each of 40 updates"),
    "milestones of epochs": (milestones(2, 3), "batch", "MultiStepLR of 3 steps"),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_a_schedule_of_the_other_unit(name):
    make, per, text = LENGTHS[name]
    with pytest.warns(HINT, match=rf"\[Schedule\] got {text}"):
        run(make, per)


FITTING = {
    "a warm-up and a cosine": (warm_cosine, "batch"),
    "restarts": (restarts, "batch"),
    "a cycle": (cycle, "batch"),
    "cosine": (cosine(4), "epoch"),
    "cosine per batch": (cosine(40), "batch"),
    "a longer run to come": (cosine(400), "epoch"),
    "warm-up": (warm_up(4), "batch"),
    "one cycle": (one_cycle(40), "batch"),
}


@pytest.mark.parametrize("name", FITTING)
def test_a_schedule_that_fits(name):
    make, per = FITTING[name]
    run(make, per)


def test_updates_are_those_of_accumulated_batches():
    run(cosine(20), "batch", accumulate=2)
    with pytest.warns(HINT, match="CosineAnnealingLR of 20 steps"):
        run(cosine(20), "epoch", accumulate=2)


def test_a_quiet_fit_gives_none():
    trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1)
    schedule = rv.Schedule(cosine(40)(trainer.optimizer))
    trainer.fit(X, Y, epochs=4, batch_size=4, callbacks=[schedule], verbose=0)


# --- targets


def values(scale, mean=0.0, loss="mse"):
    trainer = rv.Trainer(classifier(out=1), loss, "adam", lr=1e-3)
    y = (Z * scale + mean).astype(np.float32)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer.fit(X, y, epochs=5)
    return [str(warning.message) for warning in said], rv.diagnose(trainer, data=(X, y))


@pytest.mark.parametrize("loss", ["mse", "l1", "huber", "smooth_l1"])
@pytest.mark.parametrize(("scale", "mean"), [(50_000, 250_000), (1000, 0), (1, 10_000)])
def test_targets_far_from_one(scale, mean, loss):
    said, diagnosis = values(scale, mean, loss)
    assert len(said) == 1
    assert "scale the targets by rv.data.Standardize" in said[0]
    rules = [finding.rule for finding in diagnosis]
    assert "targets" in rules
    assert not any("learning rate" in rule or rule == "underfitting" for rule in rules)


def test_targets_near_one():
    said, diagnosis = values(1.0)
    assert said == []
    assert "targets" not in [finding.rule for finding in diagnosis]


def test_a_model_of_the_program_may_scale_its_answers():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 1)

        def forward(self, x):
            return self.layer(x) * 50_000 + 250_000

    trainer = rv.Trainer(Scaled(), "mse", "adam", lr=1e-3)
    trainer.fit(X, Z * 50_000 + 250_000, epochs=1)


def test_halves_as_targets_are_no_class_indices():
    y = np.where(np.arange(40) % 2, 0.5, 0.0)
    trainer = rv.Trainer(classifier(), "cross_entropy", "adam")
    with pytest.raises(ValueError, match=r"such as 0.5, which are no class indices: take 'mse' for values"):
        trainer.fit(X, y, epochs=1)
    with pytest.raises(ValueError, match=r"class indices are integers: pass y.astype\(int\)"):
        trainer.fit(X, Y.astype(float), epochs=1)


# --- shapes


def test_images_with_the_channels_last():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2))
    trainer = rv.Trainer(model, "cross_entropy", "adam", lr=0.01)
    x = np.zeros((10, 8, 8, 3), np.float32)
    with pytest.raises(ValueError, match=r"with the channels last pass np.moveaxis\(x, -1, 1\)"):
        trainer.fit(x, np.arange(10) % 2, epochs=1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    with pytest.raises(ValueError, match=r"x.permute\(0, 3, 1, 2\)"):
        rv.Trainer(model, "cross_entropy").predict(x)


def test_several_inputs_and_columns_as_samples():
    trainer = rv.Trainer(classifier(), "cross_entropy", "adam")
    pair = [X, X + 1]
    text = r"got 2 samples in x and 40 targets in y; expected as many: x holds 2 arrays of 40 samples"
    with pytest.raises(ValueError, match=text):
        trainer.fit(pair, Y, epochs=1)
    with pytest.raises(
        ValueError, match=r"got 3 samples in x and 40 targets .*: samples are rows, so pass x.T"
    ):
        trainer.fit(X.T, Y, epochs=1)
    with pytest.raises(ValueError, match=r"got 40 samples in x and 39 targets in y; expected as many$"):
        trainer.fit(X, Y[:-1], epochs=1)


# --- weights of classes


@pytest.mark.parametrize("way", ["arrays", "split", "loader"])
@pytest.mark.parametrize("weight", [{0: 1.0, 1: 9.0}, [1.0, 9.0], "balanced"])
def test_the_validation_loss_has_the_weights_of_the_classes(way, weight):
    rare = (X[:, 0] > 0.7).astype(np.int64)
    trainer = rv.Trainer(classifier(), "cross_entropy", "adam")
    x = X[:30]
    y = rare[:30]
    held = (X[30:], rare[30:])
    arguments = {"validation_data": held}
    if way == "split":
        x = X
        y = rare
        arguments = {"validation_split": 0.25}
    elif way == "loader":
        arguments = {"validation_data": DataLoader(TensorDataset(*held), 4)}
    history = trainer.fit(x, y, epochs=1, class_weight=weight, **arguments)
    counts = np.bincount(rare[:30])
    by_class = 30 / (2 * counts) if weight == "balanced" else np.array([1.0, 9.0])
    expected = trainer.evaluate(*held, sample_weight=by_class[held[1]])["loss"]
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-6)
    assert history["val_loss"][-1] != pytest.approx(trainer.evaluate(*held)["loss"], rel=1e-3)


def test_weights_of_words_and_of_a_class_that_validation_lacks():
    trainer = rv.Trainer(classifier(), "cross_entropy", "adam")
    words = np.array(["no", "yes"])[Y]
    held = X[words == "yes"][:5], words[words == "yes"][:5]
    history = trainer.fit(X, words, epochs=1, class_weight={"no": 3.0}, validation_data=held)
    assert history["val_loss"][-1] == pytest.approx(trainer.evaluate(*held)["loss"], rel=1e-6)


# --- progress in a file

PROGRAM = """
import time
import numpy as np, ranvier as rv
from ranvier.train.callbacks import logs
logs.LONG = {long}
slow = rv.LambdaCallback(on_epoch_end=lambda epoch, logs: time.sleep(0.05))
trainer = rv.Trainer(rv.nn.Linear(2, 2), "cross_entropy", "sgd", lr=0.1)
trainer.fit(np.zeros((8, 2), np.float32), np.arange(8) % 2, epochs=6, callbacks=[slow]{more})
"""


@pytest.mark.parametrize(("long", "more", "least"), [(0.12, "", 2), (10.0, "", 0), (0.0, ", verbose=0", 0)])
def test_a_long_fit_writes_lines_to_a_pipe(long, more, least, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    program = PROGRAM.format(long=long, more=more)
    lines = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    written = lines.stdout.splitlines()
    assert len(written) >= least
    assert bool(written) == bool(least)
    assert all(line.startswith("epoch ") for line in written)
