"""Calls with one row: ``python -m benchmarks.estimators.one_row [--units 100] [--features 20]``.

The shortest of many short loops over different rows, in us: predict, predict_proba and partial_fit beside
scikit-learn's MLPClassifier, learn_one and predict_proba_one beside River's LogisticRegression, if River is
installed. OMP_NUM_THREADS sets the number of threads.
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
    """Of a call with one item after another, in us."""
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


def say(title: str, ranvier: float, other: str, theirs: float | None) -> None:
    beside = "" if theirs is None else f"   {other} {theirs:8.1f} us   ratio {ranvier / theirs:.3f}"
    print(f"{title:20} ranvier {ranvier:8.1f} us{beside}", flush=True)


def rivers() -> Any:
    """LogisticRegression, or None where River is not installed."""
    try:
        from river import linear_model, optim  # type: ignore[import-not-found]
    except ImportError:
        return None
    return linear_model.LogisticRegression(optim.SGD(0.05))


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
        say(name, *_beside([shortest(getattr(m, name), rows) for m in models], "scikit-learn"))
    taken = [shortest(lambda item, m=m: m.partial_fit(*item), samples) for m in models]  # type: ignore[misc]
    say("partial_fit", *_beside(taken, "scikit-learn"))
    dicts = [{f"x{i}": value for i, value in enumerate(row)} for row in x.tolist()]
    pairs = list(zip(dicts, y.tolist(), strict=True))
    learner = ours.MLPClassifier((settings.units,), random_state=0)
    others = [learner] if (other := rivers()) is None else [learner, other]
    taken = [shortest(lambda item, m=m: m.learn_one(*item), pairs) for m in others]  # type: ignore[misc]
    say("learn_one", *_beside(taken, "River"))
    say("predict_proba_one", *_beside([shortest(m.predict_proba_one, dicts) for m in others], "River"))


def _beside(taken: list[float], other: str) -> tuple[float, str, float | None]:
    return taken[0], other, taken[1] if len(taken) > 1 else None


if __name__ == "__main__":
    main()
