"""Fixed costs of short fits: ``python -m benchmarks.estimators.small [--rounds 11]``.

MLPClassifier beside scikit-learn's, with the default parameters but for batches and epochs, in one process
where fits alternate: medians of the processor's time in ms, and scikit-learn's time over ours. Then the
median of the first three fits of a process. Then, for many fits of one form and for a grid of 30 settings,
how many steps were recorded or compared with an eager step. Last the Python calls of a fit of 8 batches of a
small convolutional network: of the first fit of its form, of a later one, and with compile=False.
OMP_NUM_THREADS sets the number of threads.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import subprocess
import sys
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
from ranvier.compile import compiled_function
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score

DATA = {"digits": load_digits, "iris": load_iris, "wine": load_wine}
FITS = (("digits", 32, 8), ("digits", 200, 8), ("iris", 150, 1), ("iris", 150, 20))
KINDS: tuple[Any, Any] = (ours.MLPClassifier, peer.MLPClassifier)
GRID = {
    "alpha": [1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
    "learning_rate_init": [1e-3, 1e-2],
    "hidden_layer_sizes": [(50,), (100,), (50, 50)],
}


def medians(calls: list[Callable[[], Any]], rounds: int) -> list[float]:
    """The processor's time of each call, in ms; the calls take turns."""
    taken: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, found in zip(calls, taken, strict=True):
            start = time.process_time()
            call()
            found.append(1e3 * (time.process_time() - start))
    return [statistics.median(found) for found in taken]


def say(title: str, calls: list[Callable[[], Any]], rounds: int) -> None:
    own, theirs = medians(calls, rounds)
    print(
        f"{title:36} ranvier {own:8.2f} ms   scikit-learn {theirs:8.2f} ms   over {theirs / own:.2f}",
        flush=True,
    )


def fits(name: str, batch: int, epochs: int) -> list[Callable[[], Any]]:
    """A fit by each library."""
    x, y = DATA[name](return_X_y=True)
    return [partial(kind(batch_size=batch, max_iter=epochs, random_state=0).fit, x, y) for kind in KINDS]


def searches(name: str) -> list[Callable[[], Any]]:
    """A cross-validation of five folds by each library, with equal numbers of epochs."""
    x, y = DATA[name](return_X_y=True)
    made = [kind(max_iter=20, n_iter_no_change=20, random_state=0) for kind in KINDS]
    return [partial(cross_val_score, model, x, y, cv=5) for model in made]


class Recorded:
    """Within the block, counts steps that are recorded, and steps that are compared with an eager one."""

    def __enter__(self) -> Recorded:
        self.recordings = 0
        self.comparisons = 0
        self._record = compiled_function.record
        compiled_function.record = self._counted
        return self

    def _counted(self, *args: Any) -> Any:
        is_comparison = args[-1] is not None
        self.recordings += not is_comparison
        self.comparisons += is_comparison
        return self._record(*args)

    def __exit__(self, *error: object) -> None:
        compiled_function.record = self._record


def say_recorded(title: str, call: Callable[[], Any]) -> None:
    with Recorded() as recorded:
        call()
    print(f"{title}: {recorded.recordings} recordings, {recorded.comparisons} comparisons", flush=True)


def many_fits(name: str, epochs: int, count: int) -> None:
    """Fits of one form, which differ in the seed."""
    x, y = DATA[name](return_X_y=True)
    for seed in range(count):
        ours.MLPClassifier(max_iter=epochs, random_state=seed).fit(x, y)


def grid(name: str, epochs: int) -> None:
    """A grid of 30 settings, of which three have other shapes."""
    x, y = DATA[name](return_X_y=True)
    GridSearchCV(ours.MLPClassifier(max_iter=epochs, random_state=0), GRID, cv=3).fit(x, y)


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


def say_calls() -> None:
    calls_of(False)  # imports
    counts = calls_of(True), calls_of(True), calls_of(True), calls_of(False)
    print(f"Python calls of a fit of a cnn: first {counts[0]}, later {counts[2]}, compile=False {counts[3]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)  # the number of one of `FITS`
    arguments = parser.parse_args()
    rounds = arguments.rounds
    warnings.simplefilter("ignore")
    if arguments.first is not None:
        name, batch, epochs = FITS[arguments.first]
        say(f"{name}, batch {batch}, epochs {epochs}, first three", fits(name, batch, epochs), 3)
        return
    for name, batch, epochs in FITS:
        calls = fits(name, batch, epochs)
        medians(calls, 3)
        say(f"{name}, batch {batch}, epochs {epochs}", calls, rounds)
    for name in DATA:
        calls = searches(name)
        medians(calls, 1)
        say(f"cross_val_score {name}, 20 epochs", calls, max(3, rounds // 3))
    for number in range(len(FITS)):
        subprocess.run(
            [sys.executable, "-m", "benchmarks.estimators.small", "--first", str(number)], check=True
        )
    say_recorded("50 fits of iris, 5 epochs", partial(many_fits, "iris", 5, 50))
    say_recorded("10 fits of digits, 12 epochs", partial(many_fits, "digits", 12, 10))
    for epochs in (10, 12):
        say_recorded(f"a grid of 30 settings on digits, {epochs} epochs", partial(grid, "digits", epochs))
    say_calls()


if __name__ == "__main__":
    main()
