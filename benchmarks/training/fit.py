"""The time of a step of `Trainer.fit` beside other libraries' fits: ``python -m benchmarks.training.fit``.

The step is all that a user waits for: shuffled batches, forward, loss, backward, Adam, and what the fit does
for each epoch. Each library has a separate process for each number of threads; the fits alternate, and the
other processes are stopped meanwhile. The figure is the median of the ratios of neighbouring fits. The first
fit of a process, which compiles and warms up, is not counted. All train on the same data for the same number
of epochs, and the shares of samples that they then classify right are compared.

nn-engine-core (its fit is a loop in C++) takes part where `import nnengine` works, PyTorch (a plain loop) and
scikit-learn where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.turns import InTurns

CASES = {  # name: (sizes of the layers, batch size, samples, epochs of a fit)
    "20-32-2, batch 32": ((20, 32, 2), 32, 4096, 20),
    "784-128-64-10, batch 32": ((784, 128, 64, 10), 32, 8192, 3),
    "784-128-64-10, batch 128": ((784, 128, 64, 10), 128, 8192, 3),
}
LR = 0.001
Fit = Callable[[int], Any]  # of a number of epochs
Predict = Callable[[], np.ndarray]
MODULES = {"ranvier": "ranvier", "nn-engine-core": "nnengine", "torch": "torch", "scikit-learn": "sklearn"}


def data(sizes: tuple[int, ...], samples: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, sizes[0])).astype(np.float32)
    return x, (x @ rng.normal(size=(sizes[0], sizes[-1]))).argmax(1)


def ranvier(sizes: tuple[int, ...], batch: int, x: np.ndarray, y: np.ndarray) -> tuple[Fit, Predict]:
    import ranvier as rv

    rv.manual_seed(0)
    trainer = rv.Trainer(rv.mlp(list(sizes)), "cross_entropy", "adam", lr=LR)
    return lambda epochs: trainer.fit(
        x, y, epochs=epochs, batch_size=batch, verbose=0
    ), lambda: trainer.predict(x)


def nn_engine_core(sizes: tuple[int, ...], batch: int, x: np.ndarray, y: np.ndarray) -> tuple[Fit, Predict]:
    import nnengine as nn

    class Network(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.order: list[str] = []
            for i, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
                setattr(self, f"dense{i}", nn.DenseLayer(inputs, outputs))
                self.order.append(f"dense{i}")
                if i + 2 < len(sizes):
                    setattr(self, f"relu{i}", nn.ReLULayer())
                    self.order.append(f"relu{i}")

        def forward(self, x: Any) -> Any:
            for name in self.order:
                x = getattr(self, name)(x)
            return x

    model, optimizer, loss = Network(), nn.Adam(learning_rate=LR), nn.SoftmaxCrossEntropyLoss()
    targets = np.eye(sizes[-1], dtype=np.float32)[y]
    compiled, loader = nn.JITCompiler(model, optimizer, loss), nn.DataLoader(x, targets, batch_size=batch)
    held = model, optimizer, loss, targets, loader  # the library keeps no references to them

    def fit(epochs: int) -> Any:
        compiled.fit(loader, epochs=epochs, tol=0.0, n_iter_no_change=10**9, verbose=False)
        return held

    return fit, lambda: model.predict(x).argmax(1)


def torch(sizes: tuple[int, ...], batch: int, x: np.ndarray, y: np.ndarray) -> tuple[Fit, Predict]:
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    layers: list[Any] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer, loss = torch.optim.Adam(model.parameters(), lr=LR), torch.nn.CrossEntropyLoss()
    xs, ys = torch.from_numpy(x), torch.from_numpy(y)

    def fit(epochs: int) -> None:
        for _ in range(epochs):
            for chosen in torch.randperm(len(xs)).split(batch):
                optimizer.zero_grad()
                loss(model(xs[chosen]), ys[chosen]).backward()
                optimizer.step()

    return fit, lambda: model(xs).argmax(1).numpy()


def scikit_learn(sizes: tuple[int, ...], batch: int, x: np.ndarray, y: np.ndarray) -> tuple[Fit, Predict]:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        sizes[1:-1], batch_size=batch, learning_rate_init=LR, alpha=0, warm_start=True, random_state=0
    )

    def fit(epochs: int) -> None:
        model.set_params(max_iter=epochs, n_iter_no_change=epochs).fit(x, y)

    return fit, lambda: model.predict(x)


def worker(library: str) -> None:
    """Answers each line, the name of a case: the seconds of a step, the share of right predictions."""
    make = globals()[library.replace("-", "_")]
    made: dict[str, tuple[Fit, Predict, int, np.ndarray]] = {}
    warnings.simplefilter("ignore")
    for line in sys.stdin:
        (name,) = json.loads(line)
        sizes, batch, samples, epochs = CASES[name]
        if name not in made:
            x, y = data(sizes, samples)
            made[name] = *make(sizes, batch, x, y), epochs * (samples // batch), y
        fit, predict, steps, y = made[name]
        start = time.perf_counter()
        fit(epochs)
        seconds = (time.perf_counter() - start) / steps
        print(json.dumps([seconds, float(np.mean(predict() == y))]), flush=True)


def compare(threads: int, rounds: int, libraries: list[str]) -> None:
    processes = {library: InTurns("benchmarks.training.fit", library, threads) for library in libraries}
    try:
        for name in CASES:
            taken = [{library: p.ask(name) for library, p in processes.items()} for _ in range(rounds + 1)][
                1:
            ]
            ours = [row["ranvier"][0] for row in taken]
            cells = [f"{statistics.median(ours) * 1e6:.1f} us"]
            for library in libraries[1:]:
                theirs = [row[library][0] for row in taken]
                ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
                cells.append(f"{statistics.median(theirs) * 1e6:.1f} us, {ratio:.2f} x")
            right = ", ".join(f"{taken[-1][library][1]:.3f}" for library in libraries)
            print(f"| {name} | {threads} | {' | '.join(cells)} | {right} |", flush=True)
    finally:
        for process in processes.values():
            process.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--worker", choices=list(MODULES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(arguments.worker)
        return
    found = [library for library, module in MODULES.items() if importlib.util.find_spec(module) is not None]
    for library in MODULES:
        if library not in found:
            print(f"{library} is not installed: left out", file=sys.stderr)
    print(f"| network | threads | {' | '.join(found)} | right |")
    print("|" + "---|" * (len(found) + 3))
    for threads in arguments.threads:
        compare(threads, arguments.rounds, found)


if __name__ == "__main__":
    main()
