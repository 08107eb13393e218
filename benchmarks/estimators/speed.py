"""The time of a fit of MLPClassifier beside other libraries': ``python -m benchmarks.estimators.speed``.

Each library has its own process for each number of threads, because two thread pools in one process disturb
each other. The fits alternate, and the other processes are stopped meanwhile. The figure is the median of the
ratios of neighbouring fits. All fit the same data with the same network, Adam and number of epochs, and the
accuracies on held out samples are compared. ``-k digits`` runs a part.

PyTorch has a plain loop, Keras (where it is installed, with PyTorch or JAX) its `fit`. All of a call is
counted: checks, encoded labels, and where a library does so compiling the step.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peers.turns import InTurns

LR = 1e-3


@dataclass(frozen=True)
class Case:
    samples: int
    features: int
    classes: int
    hidden: tuple[int, ...]
    epochs: int

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """The samples of the fit, and as many that are held out (of digits: the last fifth)."""
        from sklearn.datasets import load_digits, make_classification

        if self is CASES["digits"]:
            x, y = load_digits(return_X_y=True)
            return x.astype(np.float32) / 16, y
        x, y = make_classification(
            2 * self.samples,
            self.features,
            n_informative=15,
            n_classes=self.classes,
            class_sep=1.5,
            random_state=0,
        )
        return x.astype(np.float32), y


CASES = {
    "digits": Case(1437, 64, 10, (100,), 30),
    "20 features, 100 units": Case(4000, 20, 3, (100,), 50),
    "64 features, 100 units": Case(4000, 64, 10, (100,), 50),
    "64 features, 128 and 64 units": Case(4000, 64, 10, (128, 64), 50),
    "20,000 x 50": Case(20_000, 50, 5, (100,), 5),
    "100,000 x 20": Case(100_000, 20, 3, (100,), 2),
}
BATCHES = (32, 200)
MODULES = {"ranvier": "ranvier", "scikit-learn": "sklearn", "torch": "torch", "keras": "keras"}
Predict = Callable[[np.ndarray], Any]  # classes of samples


def ranvier(case: Case, batch: int, x: np.ndarray, y: np.ndarray) -> Predict:
    from ranvier.sklearn import MLPClassifier

    model = MLPClassifier(
        case.hidden, batch_size=batch, max_iter=case.epochs, n_iter_no_change=case.epochs, random_state=0
    )
    return model.fit(x, y).predict


def scikit_learn(case: Case, batch: int, x: np.ndarray, y: np.ndarray) -> Predict:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        case.hidden, batch_size=batch, max_iter=case.epochs, n_iter_no_change=case.epochs, random_state=0
    )
    return model.fit(x, y).predict


def torch(case: Case, batch: int, x: np.ndarray, y: np.ndarray) -> Predict:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    layers: list[Any] = []
    for inputs, outputs in zip((case.features, *case.hidden), (*case.hidden, case.classes), strict=True):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer, loss = torch.optim.Adam(model.parameters(), lr=LR), torch.nn.CrossEntropyLoss()
    xs, ys = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(case.epochs):
        for chosen in torch.randperm(len(xs)).split(batch):
            optimizer.zero_grad()
            loss(model(xs[chosen]), ys[chosen]).backward()
            optimizer.step()
    return lambda samples: model(torch.from_numpy(samples)).argmax(1).numpy()


def keras(case: Case, batch: int, x: np.ndarray, y: np.ndarray) -> Predict:
    found = "jax" if importlib.util.find_spec("jax") else "torch"
    os.environ.setdefault("KERAS_BACKEND", found)
    import keras

    if os.environ["KERAS_BACKEND"] == "torch":
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    keras.utils.set_random_seed(0)
    hidden = [keras.layers.Dense(units, "relu") for units in case.hidden]
    model = keras.Sequential([keras.Input((case.features,)), *hidden, keras.layers.Dense(case.classes)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(LR), loss)
    model.fit(x, y, batch_size=batch, epochs=case.epochs, verbose=0)
    return lambda samples: model.predict(samples, verbose=0, batch_size=1000).argmax(1)


def worker(library: str) -> None:
    """Answers each line, a case and a batch size, with seconds and accuracy."""
    fit = globals()[library.replace("-", "_")]
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        name, batch = json.loads(line)
        case = CASES[name]
        x, y = case.data()
        train, rest = slice(case.samples), slice(case.samples, None)
        start = time.perf_counter()
        predict = fit(case, batch, x[train], y[train])
        seconds = time.perf_counter() - start
        print(json.dumps([seconds, float(np.mean(predict(x[rest]) == y[rest]))]), flush=True)


def compare(threads: int, rounds: int, libraries: list[str], names: list[str]) -> None:
    processes = {library: InTurns("benchmarks.estimators.speed", library, threads) for library in libraries}
    try:
        for name in names:
            for batch in BATCHES:
                taken = [
                    {library: p.ask(name, batch) for library, p in processes.items()}
                    for _ in range(rounds + 1)
                ][1:]  # the first fits load libraries and warm up
                ours = [row["ranvier"][0] for row in taken]
                cells = [name, str(batch), str(threads), f"{statistics.median(ours):.3f} s"]
                for library in libraries[1:]:
                    theirs = [row[library][0] for row in taken]
                    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
                    cells.append(f"{statistics.median(theirs):.3f} s, {ratio:.1f} x")
                cells.append(", ".join(f"{taken[0][library][1]:.3f}" for library in libraries))
                print(f"| {' | '.join(cells)} |", flush=True)
    finally:
        for process in processes.values():
            process.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("-k", dest="part", default="", help="only cases whose name has this in it")
    parser.add_argument("--worker", choices=list(MODULES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker)
        return
    found = [library for library, module in MODULES.items() if importlib.util.find_spec(module) is not None]
    for library in MODULES:
        if library not in found:
            print(f"{library} is not installed: left out", file=sys.stderr)
    print(f"| data | batch | threads | {' | '.join(found)} | accuracies |")
    print("|" + "---|" * (len(found) + 4))
    for threads in arguments.threads:
        compare(threads, arguments.rounds, found, [name for name in CASES if arguments.part in name])


if __name__ == "__main__":
    main()
