"""Calls with one row: ``python -m benchmarks.estimators.one_row [--units 100] [--features 20]``.

The shortest of many short loops over different rows, in us: predict, predict_proba and partial_fit beside
scikit-learn's MLPClassifier. OMP_NUM_THREADS sets the number of threads.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import ranvier.sklearn as ours
import sklearn.neural_network as peer

ROWS, FIRST = 4000, 600  # the first rows are not timed: programs are recorded in them


def shortest(call: Callable[[Any], Any], items: list[Any], each: int = 20, loops: int = 100) -> float:
    """The shortest mean time of a call with one item after another, in us."""
    turn = itertools.cycle(items)
    for _ in range(FIRST):
        call(next(turn))
    best = float("inf")
    for _ in range(loops):
        some = [next(turn) for _ in range(each)]
        start = time.perf_counter()
        for item in some:
            call(item)
        best = min(best, (time.perf_counter() - start) / each)
    return 1e6 * best


def say(title: str, taken: list[float]) -> None:
    ranvier, theirs = taken
    print(
        f"{title:20} ranvier {ranvier:8.1f} us   scikit-learn {theirs:8.1f} us   ratio {ranvier / theirs:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100)
    parser.add_argument("--features", type=int, default=20)
    settings = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, settings.features))
    y = (x[:, 0] + rng.normal(size=ROWS) > 0).astype(int)
    rows = [x[i : i + 1] for i in range(ROWS)]
    samples = list(zip(rows, [y[i : i + 1] for i in range(ROWS)], strict=True))
    kinds = ours.MLPClassifier, peer.MLPClassifier
    models: list[Any] = [kind((settings.units,), max_iter=5, random_state=0) for kind in kinds]
    for model in models:
        model.fit(x, y)
    for name in ("predict", "predict_proba"):
        say(name, [shortest(getattr(m, name), rows) for m in models])
    taken = [shortest(lambda item, m=m: m.partial_fit(*item), samples) for m in models]  # type: ignore[misc]
    say("partial_fit", taken)


if __name__ == "__main__":
    main()
