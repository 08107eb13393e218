"""The time of a fit of MLPClassifier beside scikit-learn's: ``python -m benchmarks.estimators.speed``.

Each library has its own process for each number of threads, because two thread pools in one process disturb
each other. The fits alternate, and the other process is stopped meanwhile. The figure is the median of the
ratios of neighbouring fits. Both libraries fit the same data with the same settings and the same number of
epochs, and the accuracies on held out samples are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from typing import Any

from benchmarks.peers.turns import InTurns

EPOCHS = 50
CASES = {  # name: (samples, features, classes, hidden layers)
    "20 features, 100 units": (4000, 20, 3, (100,)),
    "64 features, 100 units": (4000, 64, 10, (100,)),
    "64 features, 128 and 64 units": (4000, 64, 10, (128, 64)),
}
BATCHES = (32, 200)


def worker(library: str) -> None:
    """Answers each line, a case and a batch size, with seconds and accuracy."""
    import numpy as np
    from sklearn.datasets import make_classification

    if library == "ranvier":
        from ranvier.sklearn import MLPClassifier
    else:
        from sklearn.neural_network import MLPClassifier
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        name, batch_size = json.loads(line)
        samples, features, classes, hidden = CASES[name]
        x, y = make_classification(
            2 * samples, features, n_informative=15, n_classes=classes, class_sep=1.5, random_state=0
        )
        model = MLPClassifier(
            hidden, batch_size=batch_size, max_iter=EPOCHS, n_iter_no_change=EPOCHS, random_state=0
        )
        start = time.perf_counter()
        model.fit(x[:samples], y[:samples])
        seconds = time.perf_counter() - start
        right = float(np.mean(model.predict(x[samples:]) == y[samples:]))
        print(json.dumps([seconds, right]), flush=True)


def compare(threads: int, rounds: int) -> list[dict[str, Any]]:
    module = "benchmarks.estimators.speed"
    ours, theirs = InTurns(module, "ranvier", threads), InTurns(module, "scikit-learn", threads)
    rows = []
    try:
        for name in CASES:
            for batch_size in BATCHES:
                pairs = [
                    (ours.ask(name, batch_size), theirs.ask(name, batch_size)) for _ in range(rounds + 1)
                ]
                pairs = pairs[1:]  # the first fits load libraries and warm up
                rows.append(
                    {
                        "case": name,
                        "batch": batch_size,
                        "threads": threads,
                        "seconds": statistics.median(a[0] for a, _ in pairs),
                        "peer": statistics.median(b[0] for _, b in pairs),
                        "ratio": statistics.median(b[0] / a[0] for a, b in pairs),
                        "accuracy": pairs[0][0][1],
                        "peer accuracy": pairs[0][1][1],
                    }
                )
                print(json.dumps(rows[-1]), flush=True)
    finally:
        ours.close()
        theirs.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", choices=["ranvier", "scikit-learn"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker)
        return
    rows = [row for threads in (1, 2) for row in compare(threads, arguments.rounds)]
    print("| network | batch | threads | scikit-learn | ranvier | faster | accuracy |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        times = f"{row['peer']:.2f} s | {row['seconds']:.2f} s | {row['ratio']:.1f} x"
        right = f"{row['accuracy']:.3f}, {row['peer accuracy']:.3f}"
        print(f"| {row['case']} | {row['batch']} | {row['threads']} | {times} | {right} |")


if __name__ == "__main__":
    main()
