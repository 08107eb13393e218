"""Fixed costs of small fits: ``python -m benchmarks.estimators.small [--rounds 30]``.

MLPClassifier beside scikit-learn's, in one process after a first fit of each: the shortest of many
alternating fits, in ms, and a cross-validation of five folds with equal numbers of epochs. Then the Python
calls of a fit of 8 batches of a small convolutional network: of the first fit of its form, of a later one,
and with compile=False. OMP_NUM_THREADS sets the number of threads.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import ranvier as rv
import ranvier.sklearn as ours
import sklearn.neural_network as peer
from ranvier import nn
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.model_selection import cross_val_score

DATA = {"digits": load_digits, "iris": load_iris, "wine": load_wine}
FITS = (("digits", 200, 1), ("iris", 150, 1), ("iris", 150, 20), ("digits", 200, 20))


def shortest(calls: list[Callable[[], Any]], rounds: int) -> list[float]:
    """The shortest time of each call, in ms; the calls take turns."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds + 1):
        for call, found in zip(calls, taken, strict=True):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    return [1e3 * min(found[1:]) for found in taken]


def say(title: str, calls: list[Callable[[], Any]], rounds: int) -> None:
    a, b = shortest(calls, rounds)
    print(f"{title:32} ranvier {a:8.2f} ms   scikit-learn {b:8.2f} ms   ratio {a / b:.2f}", flush=True)


def calls_of(compile: bool) -> int:
    """Python calls of a fit."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(256, 1, 12, 12)).astype(np.float32), rng.integers(0, 10, 256)
    rv.manual_seed(0)
    layers = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(200, 10)
    trainer = rv.Trainer(nn.Sequential(*layers), "cross_entropy", "adam", compile=compile)
    profile = cProfile.Profile()
    profile.runcall(trainer.fit, x, y, epochs=1, batch_size=32)
    stats: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    return sum(row[1] for place, row in stats.items() if place[0] != "~")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")
    kinds: list[Any] = [ours.MLPClassifier, peer.MLPClassifier]
    for name, batch, epochs in FITS:
        x, y = DATA[name](return_X_y=True)
        made = [kind((64,), batch_size=batch, max_iter=epochs, random_state=0) for kind in kinds]
        say(f"fit {name}, {epochs} epochs", [partial(m.fit, x, y) for m in made], rounds)
    for name, load in DATA.items():
        x, y = load(return_X_y=True)
        made = [kind(max_iter=20, n_iter_no_change=20, random_state=0) for kind in kinds]
        calls = [partial(cross_val_score, m, x, y, cv=5) for m in made]
        say(f"cross_val_score {name}, 20 epochs", calls, max(2, rounds // 10))
    calls_of(False)  # imports
    counts = calls_of(True), calls_of(True), calls_of(True), calls_of(False)
    print(f"Python calls of a fit of a cnn: first {counts[0]}, later {counts[2]}, compile=False {counts[3]}")


if __name__ == "__main__":
    main()
