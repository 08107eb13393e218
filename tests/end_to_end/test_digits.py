"""Real digits, as a user trains them: `ranvier train digits` from the shell, MNIST where its files are."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import datasets

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


def test_the_command_of_the_readme(tmp_path):
    start = time.perf_counter()
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "ranvier",
            "train",
            "digits",
            "--out",
            str(tmp_path),
            "--json",
            str(tmp_path / "r"),
        ],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    seconds = time.perf_counter() - start
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "r").read_text())
    epochs = written["configuration"]["epochs"]
    assert written["test_accuracy"] >= 0.98
    assert all(len(values) == epochs for values in written["history"].values())
    assert sum(line.startswith("epoch") for line in result.stdout.splitlines()) == epochs
    assert result.stderr == ""  # no progress bar without a terminal
    assert (tmp_path / "digits.safetensors").exists()
    assert (tmp_path / "digits.png").exists() == (written["picture"] is not None)
    print(f"{written['test_accuracy']:.4f} in {seconds:.1f} s")  # a time is for the benchmarks to judge


def test_mnist_learns_from_a_part():
    if not MNIST.is_dir():
        pytest.skip(f"the MNIST files are not in {MNIST}")
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
