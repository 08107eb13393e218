"""The time of a grid search beside scikit-learn's: ``python -m benchmarks.estimators.search``.

`GridSearchCV` over `MLPClassifier`, of ranvier one fit after another, in two threads and in two processes, of
scikit-learn in two processes, its default. Each has its own process, and the others are stopped
meanwhile. All of `fit` is counted: folds, fits, scores, and the last fit on all samples; beside the time on
the clock that of the cores, which changes less where other programs run. The scores of the candidates are
compared. ``--samples 5000 --folds 2 --candidates 4 --epochs 5`` is a short form.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import warnings
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.turns import InTurns

# by name: library, backend of joblib, n_jobs
WAYS = {
    "ranvier, alone": ("ranvier", "sequential", 1),
    "ranvier, 2 threads": ("ranvier", "threading", 2),
    "ranvier, 2 processes": ("ranvier", "loky", 2),
    "scikit-learn, 2 processes": ("scikit-learn", "loky", 2),
}
NOISE = 0.01  # the noise in the accuracy of a candidate; the standard error of one is 0.002 at 20,000 samples


def candidates(count: int) -> list[dict[str, list[Any]]]:
    """The first candidates of a grid of 12."""
    from sklearn.model_selection import ParameterGrid

    grid = {
        "alpha": [1e-4, 1e-2],
        "hidden_layer_sizes": [(50,), (100,), (100, 50)],
        "learning_rate_init": [0.001, 0.003],
    }
    return [{name: [value] for name, value in row.items()} for row in islice(ParameterGrid(grid), count)]


def core_seconds() -> float:
    """The processor time of this process and those that it has started, as Linux counts it."""
    ticks = 0
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if os.getpid() in (int(file.parent.name), int(fields[1])):  # itself, or its parent
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def worker(way: str) -> None:
    """Answers each line, the numbers of a search, with seconds, those of the cores, and the scores."""
    import joblib
    from sklearn.datasets import make_classification
    from sklearn.model_selection import GridSearchCV

    library, backend, jobs = WAYS[way]
    if library == "ranvier":
        from ranvier.sklearn import MLPClassifier as Network
    else:
        from sklearn.neural_network import MLPClassifier as Network
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        samples, dtype, folds, count, epochs = json.loads(line)
        x, y = make_classification(samples, 50, n_informative=15, n_classes=5, class_sep=1.5, random_state=0)
        x = x.astype(dtype)
        network = Network(max_iter=epochs, n_iter_no_change=epochs, random_state=0)
        search = GridSearchCV(network, candidates(count), cv=folds, n_jobs=jobs)
        start, before = time.perf_counter(), core_seconds()
        with joblib.parallel_config(backend):
            search.fit(x, y)
        seconds = time.perf_counter() - start, core_seconds() - before
        print(json.dumps([*seconds, search.cv_results_["mean_test_score"].tolist()]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--candidates", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--dtype", nargs="*", default=["float64", "float32"], help="of X")
    parser.add_argument("--worker", choices=list(WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker)
        return
    size = arguments.folds, arguments.candidates, arguments.epochs
    *ours, peer = WAYS
    processes = {way: InTurns("benchmarks.estimators.search", way, None) for way in WAYS}
    print("| X | search | seconds | of the cores | faster | best score |\n|---|---|---|---|---|---|")
    try:
        for process in processes.values():  # loads libraries and starts the other processes
            process.ask(500, "float32", 2, 2, 2)
        for dtype in arguments.dtype:
            rows = [
                {way: process.ask(arguments.samples, dtype, *size) for way, process in processes.items()}
                for _ in range(arguments.rounds)
            ]
            scores = {way: np.array(answer[2]) for way, answer in rows[0].items()}
            for way in WAYS:
                cells = [dtype, way]
                cells += [f"{statistics.median(row[way][i] for row in rows):.2f} s" for i in (0, 1)]
                ratios = [statistics.median(row[peer][i] / row[way][i] for row in rows) for i in (0, 1)]
                cells += [f"{ratios[0]:.1f} x, {ratios[1]:.1f} x", f"{scores[way].max():.4f}"]
                print(f"| {' | '.join(cells)} |", flush=True)
            for way in ours:
                if not np.array_equal(scores[way], scores[ours[0]]):
                    raise SystemExit(f"{way}: other scores than one fit after another")
            furthest = float(np.abs(scores[ours[0]] - scores[peer]).max())
            if furthest > NOISE:
                raise SystemExit(f"{dtype}: the scores of a candidate differ by {furthest:.4f}")
    finally:
        for process in processes.values():
            process.close()


if __name__ == "__main__":
    main()
