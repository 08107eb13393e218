"""Training runs from one end to the other: golden values, MNIST, same weights, small sets.

Golden values were computed by hand or are known results of a method; bits are compared with those of the same
run in another way (stopped and resumed, compiled or not, in parts).
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import cli, nn, optim
from ranvier.data import datasets, train_test_split
from support.training import Stop, state_of


@pytest.mark.parametrize(
    ("inputs", "z", "percent"), [([0.8, 0.9], 0.98, 72.7), ([0.3, 0.5], 0.75, 67.9), ([0.9, 0.3], 0.21, 55.2)]
)
def test_neuron_with_sigmoid(inputs, z, percent):
    total = rv.tensor(inputs, dtype=rv.float64) @ np.array([-0.5, 1.2]) + 0.3
    assert total.item() == pytest.approx(z, abs=1e-12)
    assert 100 * rv.sigmoid(total).item() == pytest.approx(percent, abs=0.05)


def test_backpropagation_by_hand():
    x = rv.tensor(2.0)
    w = rv.tensor(3.0, requires_grad=True)
    v = rv.tensor(0.5, requires_grad=True)
    output = v * rv.relu(w * x)
    loss = (output - 5) ** 2
    loss.backward()
    assert (output.item(), loss.item()) == (3, 4)
    assert (v.grad.item(), w.grad.item()) == (-24, -4)
    with rv.no_grad():
        assert (w - 0.1 * w.grad).item() == pytest.approx(3.4, abs=1e-6)
        assert (v - 0.1 * v.grad).item() == pytest.approx(2.9, abs=1e-6)


def test_regression_step():
    x = rv.tensor([1.0, 2.0, 3.0, 4.0])
    target = rv.tensor([2.0, 4.0, 6.0, 8.0])
    w = rv.tensor(1.5, requires_grad=True)
    b = rv.tensor(0.5, requires_grad=True)
    loss = nn.MSELoss()(rv.relu(x * w + b), target)
    loss.backward()
    assert loss.item() == pytest.approx(0.875)
    assert (w.grad.item(), b.grad.item()) == (pytest.approx(-5), pytest.approx(-1.5))
    with rv.no_grad():
        assert (w - 0.1 * w.grad).item() == pytest.approx(2.0)
        assert (b - 0.1 * b.grad).item() == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("sizes", "count"), [([3, 4, 2], 26), ([784, 128, 64, 10], 109_386), ([10, 64, 32, 16, 2], 3_346)]
)
def test_parameter_counts(sizes, count):
    assert sum(p.numel() for p in rv.mlp(sizes).parameters()) == count


# MNIST by one command, where its files are: 784-128-64-10 by full batches, and by mini-batches.


MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


def train(folder, *settings):
    """The figures in the output of the command, which the caller gives."""
    if not MNIST.is_dir():
        pytest.skip(f"the MNIST files are not in {MNIST}")
    figures = folder / "run.json"
    files = ["--out", str(folder), "--json", str(figures)]
    assert cli.main(["train", "mnist", "--data-dir", str(MNIST), "--model", "mlp", *settings, *files]) == 0
    return json.loads(figures.read_text())


def matrix_of(printed):
    """The confusion matrix as it was printed."""
    lines = printed.partition("confusion matrix")[2].splitlines()[3:13]
    rows = []
    for line in lines:
        _, *counts = line.split()
        rows.append(list(map(int, counts)))
    return np.array(rows)


def test_full_batches_of_plain_gradient_descent(tmp_path, capsys):
    steps = ["--batch-size", "full", "--optimizer", "sgd", "--momentum", "0", "--schedule", "constant"]
    figures = train(tmp_path, *steps, "--lr", "0.1", "--init", "he", "--limit", "2000", "--epochs", "100")
    printed = capsys.readouterr().out
    assert "2000 training, 500 validation and 10000 test images; mlp of 109,386 parameters" in printed
    losses = figures["history"]["loss"]
    assert losses[-1] < 0.25 * losses[0]
    assert np.diff(losses).max() < 0.01  # it only falls
    assert figures["test_accuracy"] > 0.82  # 500 epochs of 16,000 images give 0.93
    matrix = matrix_of(printed)
    assert matrix.sum() == 10_000
    assert np.trace(matrix) / 10_000 == pytest.approx(figures["test_accuracy"])


def test_mini_batches(tmp_path, capsys):
    figures = train(tmp_path, "--limit", "20000", "--epochs", "2")
    printed = capsys.readouterr().out
    assert figures["test_accuracy"] > 0.94  # 5 epochs of 55,000 images give 0.98
    found = {name: float(score) for name, score in re.findall(r"^ +(\d) +[\d.]+ +([\d.]+)", printed, re.M)}
    assert len(found) == 10
    assert min(found.values()) > 0.85  # the recall of each class


@pytest.mark.skipif(not MNIST.is_dir(), reason=f"the MNIST files are not in {MNIST}")
def test_a_part_is_learned():
    rv.manual_seed(0)
    (x, y), (xt, yt) = datasets.load_mnist(MNIST)
    first = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)]
    model = nn.Sequential(*first, *second, nn.Flatten(), *head)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    trainer.fit(x[:6400], y[:6400], epochs=1, batch_size=64)
    assert trainer.evaluate(xt[:2000], yt[:2000])["accuracy"] > 0.88


# A run ends with the same bits whether it was killed and resumed, compiled or not, or made in parts.
#
# RANVIER_KILL_POINTS=all stops before every batch; otherwise before the first, after an
# epoch, and within one.


EPOCHS = 4
SAMPLES = 150
BATCH_SIZE = 24  # 7 batches in an epoch, the last one of 6
BATCHES = EPOCHS * 7


class Rows(nn.Module):
    """An LSTM that reads an image row by row."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 12, batch_first=True)
        self.head = nn.Linear(12, 10)

    def forward(self, x):
        rows = x.reshape(x.shape[0], 8, 8)
        outputs, _ = self.lstm(rows)
        return self.head(outputs[:, -1])


def cnn():
    stages = [nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 2), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(16, 10))


def mlp():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 20), nn.ReLU(), nn.Dropout(0.2), nn.Linear(20, 10))


def normed():
    stages = [nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(128, 16), nn.BatchNorm1d(16), nn.Linear(16, 10))


MODELS = {"cnn": cnn, "mlp": mlp, "lstm": Rows, "batch norm": normed}


def digits():
    x, y = datasets.load_digits()
    return x[:SAMPLES], y[:SAMPLES]


def trainer(kind, compile=True):
    rv.manual_seed(11)
    model = MODELS[kind]()
    return rv.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01), compile=compile)


def fit(trainer, epochs=EPOCHS, **more):
    x, y = digits()
    trainer.fit(x, y, epochs=epochs, batch_size=BATCH_SIZE, validation_data=(x[:40], y[:40]), **more)
    return trainer


POINTS = (0, 7, 17)
if os.environ.get("RANVIER_KILL_POINTS") == "all":
    POINTS = range(BATCHES)
UNBROKEN = {}


def unbroken(kind):
    """The state at the end of a run without a stop, which is made once for each model."""
    if kind not in UNBROKEN:
        rv.set_num_threads(1)
        UNBROKEN[kind] = state_of(fit(trainer(kind)))
    return UNBROKEN[kind]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_stopped_and_resumed(kind, count, point, tmp_path, threads):
    expected = unbroken(kind)
    threads(count)
    with pytest.raises(ZeroDivisionError):
        fit(trainer(kind), callbacks=[rv.Checkpoint(tmp_path, every_batches=1), Stop(point)])
    again = fit(trainer(kind), callbacks=[rv.Checkpoint(tmp_path, every_batches=1)], resume=tmp_path)
    assert state_of(again) == expected


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_compiled_or_not(kind, count, threads):
    expected = unbroken(kind)
    threads(count)
    compiled = fit(trainer(kind))
    assert compiled.programs("fit")
    assert state_of(compiled) == expected
    eager = fit(trainer(kind, compile=False))
    assert not eager.programs("fit")
    assert state_of(eager) == expected


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("compiled", [(True, True), (True, False), (False, True)])
def test_shorter_runs_one_after_another(kind, compiled, tmp_path, threads):
    """The second part by the same trainer, or by another from the first one's checkpoint."""
    expected = unbroken(kind)
    threads(2)
    first = fit(trainer(kind, compiled[0]), EPOCHS // 2, callbacks=[rv.Checkpoint(tmp_path)])
    assert state_of(fit(first, EPOCHS - EPOCHS // 2)) == expected
    assert state_of(fit(trainer(kind, compiled[1]), resume=tmp_path)) == expected


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("batches", [9, 16])
def test_interrupted_and_resumed(kind, batches, tmp_path, threads):
    expected = unbroken(kind)
    threads(2)
    stop = Stop(batches, KeyboardInterrupt)
    stopped = fit(trainer(kind), callbacks=[rv.Checkpoint(tmp_path, every_batches=1), stop])
    assert len(stopped.history["loss"]) < EPOCHS
    assert state_of(fit(trainer(kind), resume=tmp_path)) == expected


# Small problems from beginning to end: two moons, digits (XOR: nn/test_container.py).


def two_moons(n, noise, seed):
    """Two half circles that reach into each other, n points on each, as scikit-learn's make_moons."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, np.pi, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    x = np.concatenate([upper, lower]) + rng.normal(0, noise, (2 * n, 2))
    return x, np.repeat([0, 1], n)


def test_two_moons():
    rv.manual_seed(0)
    x, y = two_moons(500, 0.1, seed=1)
    x_test, y_test = two_moons(500, 0.1, seed=2)
    model = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    trainer = rv.Trainer(model, nn.BCEWithLogitsLoss(), optimizer, metrics=["accuracy"])
    trainer.fit(x, y[:, None], epochs=40, batch_size=32)
    assert trainer.evaluate(x_test, y_test[:, None])["accuracy"] > 0.99


def normed():
    first = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten()]
    head = [nn.Linear(512, 64, bias=False), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10)]
    return nn.Sequential(*first, *second, *head)


def test_digits_with_batch_norm_are_learned(tmp_path):
    rv.manual_seed(5)
    x, y = datasets.load_digits()
    x, xv, y, yv = train_test_split(x, y, test_size=397, random_state=0, stratify=y)
    model = normed()
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optimizer, metrics=["accuracy"])
    history = trainer.fit(x, y, epochs=10, batch_size=64, validation_data=(xv, yv))
    assert history["val_accuracy"][-1] >= 0.98
    assert model[1].num_batches_tracked.item() == 10 * 22  # evaluation does not count
    rv.save(model, tmp_path / "digits.safetensors")
    back = rv.load(tmp_path / "digits.safetensors").eval()
    again = rv.softmax(back(xv), 1).numpy(force=True)
    np.testing.assert_allclose(again, trainer.predict_proba(xv), rtol=0, atol=1e-6)
