"""What a captured step costs before it pays: its first call, its checks, and when all calls took less time.

Five steps on one thread, with the processor's time. Each round makes a new model and a new step; the figures
are medians of the rounds, without the first. All but the times of an eager call and of a replay are in eager
calls:

- `first`, `second`: the first two calls, which are recorded. `check`: the mean of calls 4, 8, 16 and 32,
  which run eagerly beside a replay.
- `pays at`: the first call at which all calls so far took less time than as many eager ones.
- `100 calls`: the time of the first 100 calls over that of 100 eager calls.

Each step is measured twice: as the first of its form in the process, and, "again", after others of its form,
whose program it takes (`compile/shared_programs.py`).

    python -m benchmarks.training.first_calls [--rounds 9] [step ...]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from time import process_time
from typing import NamedTuple

import numpy as np
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn
from ranvier.compile import shared_programs

CALLS = 512
EAGER_CALLS = 60
CHECKS = (4, 8, 16, 32)

Step = Callable[[], object]


class Figures(NamedTuple):
    """What one round shows. Times are in microseconds, costs in eager calls."""

    eager: float
    replay: float
    first: float
    second: float
    check: float
    pays_at: float
    hundred_calls: float


def draw(*shape: int) -> rv.Tensor:
    return rv.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def training_step(model: nn.Module, optimizer: rv.optim.Optimizer, x: rv.Tensor, classes: int) -> Step:
    labels = rv.tensor(np.arange(len(x)) % classes)

    def step() -> rv.Tensor:
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def mlp() -> Step:
    model = nn.Sequential(
        nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
    )  # fmt: skip
    return training_step(model, rv.optim.Adam(model.parameters()), draw(32, 20), 3)


def cnn() -> Step:
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip
    return training_step(model, rv.optim.SGD(model.parameters(), 0.01), draw(32, 1, 8, 8), 10)


def encoder() -> Step:
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    model = nn.TransformerEncoder(layer, 4).eval()
    x = draw(1, 16, 64)

    def step() -> rv.Tensor:
        with rv.no_grad():
            return model(x)

    return step


class Classifier(nn.Module):
    """An LSTM whose last output is classified."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 32, batch_first=True)
        self.head = nn.Linear(32, 4)

    def forward(self, x: rv.Tensor) -> rv.Tensor:
        outputs, _ = self.lstm(x)
        return self.head(outputs[:, -1])


def lstm() -> Step:
    model = Classifier()
    return training_step(model, rv.optim.Adam(model.parameters()), draw(16, 12, 8), 4)


def pinn() -> Step:
    """u'' = -u at 64 points."""
    model = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = rv.optim.Adam(model.parameters())
    points = draw(64, 1)

    def step() -> rv.Tensor:
        x = points.clone().requires_grad_()
        u = model(x)
        (first,) = rv.autograd.grad(u.sum(), [x], create_graph=True)
        (second,) = rv.autograd.grad(first.sum(), [x], create_graph=True)
        loss = (second + u).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


STEPS = {"mlp": mlp, "cnn": cnn, "encoder": encoder, "lstm": lstm, "pinn": pinn}


def seconds_of_calls(step: Step, calls: int) -> list[float]:
    seconds = []
    for _ in range(calls):
        began = process_time()
        step()
        seconds.append(process_time() - began)
    return seconds


def figures_of(make: Callable[[], Step]) -> Figures:
    """One round: a new step called eagerly, and another one compiled."""
    eager = statistics.median(seconds_of_calls(make(), EAGER_CALLS)[EAGER_CALLS // 4 :])
    seconds = seconds_of_calls(rv.compile(make()), CALLS)
    replay = statistics.median(seconds[CALLS // 2 :])
    sums = np.cumsum(seconds)
    eager_sums = eager * np.arange(1, CALLS + 1)
    paid = np.flatnonzero(sums < eager_sums)
    pays_at = float("inf")
    if len(paid):
        pays_at = float(paid[0] + 1)
    return Figures(
        eager=eager * 1e6,
        replay=replay * 1e6,
        first=seconds[0] / eager,
        second=seconds[1] / eager,
        check=statistics.mean([seconds[call - 1] for call in CHECKS]) / eager,
        pays_at=pays_at,
        hundred_calls=float(sums[99]) / (100 * eager),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", nargs="*", default=[*STEPS])
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    rv.set_num_threads(1)
    print(f"{'step':15}" + "".join(f"{name:>15}" for name in Figures._fields))
    for name in options.steps:
        for again in (False, True):
            rounds = []
            for _ in range(options.rounds):
                if not again:
                    shared_programs.forget()
                rounds.append(figures_of(STEPS[name]))
            medians = [statistics.median(column) for column in zip(*rounds[1:], strict=True)]
            label = f"{name} again" if again else name
            print(f"{label:15}" + "".join(f"{value:15.2f}" for value in medians))


if __name__ == "__main__":
    main()
