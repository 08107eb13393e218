"""MNIST by one command, where its files are: 784-128-64-10 by full batches, and by mini-batches."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import cli, nn, optim
from ranvier.data import datasets

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


def train(folder, *settings):
    """What the command printed is the caller's; returns its figures."""
    if not MNIST.is_dir():
        pytest.skip(f"the MNIST files are not in {MNIST}")
    figures = folder / "run.json"
    files = ["--out", str(folder), "--json", str(figures)]
    assert cli.main(["train", "mnist", "--data-dir", str(MNIST), "--model", "mlp", *settings, *files]) == 0
    return json.loads(figures.read_text())


def matrix_of(printed):
    """The confusion matrix as it was printed."""
    lines = printed.partition("confusion matrix")[2].splitlines()[3:13]
    return np.array([[int(cell) for cell in line.split()[1:]] for line in lines])


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
