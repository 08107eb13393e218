"""Predictions of whole networks, called from Python, a new batch with each call.

Ours is ``rv.compile(model)`` on NumPy arrays. Timed beside it, in the same rounds, after the calls from which
on they are replayed by themselves: the eager model, a Sequential, and the same layers as a class with a
``forward`` of its own, which is written for their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.training import networks
from benchmarks.training.cases import inference_case, predictors
from benchmarks.training.models import Predictions, build
from benchmarks.training.networks import NETWORKS

LISTED = [("mlp", 1), ("mlp", 32), ("cnn", 1), ("cnn", 32)]
OTHERS = [
    *(("mlp", 128), ("cnn", 128), ("tabular", 32), ("deep mlp", 1), ("deep mlp", 32)),
    *(("lenet", 1), ("lenet", 32), ("vgg", 1), ("vgg", 8)),
]

CALLS, SECONDS = 20, 0.1  # more than it takes until a network is replayed


def own(layers: Iterable[nn.Module]) -> Any:
    """A network as most programs write it: the layers are attributes, and ``forward`` calls them, each in a
    line."""
    named = {f"layer{i}": layer for i, layer in enumerate(layers)}
    lines = [f"    x = self.{name}(x)\n" for name in named]
    scope: dict[str, Any] = {}
    exec(f"def forward(self, x):\n{''.join(lines)}    return x\n", scope)
    model = type("Own", (nn.Module,), {"forward": scope["forward"]})()
    for name, layer in named.items():
        setattr(model, name, layer)
    return model


def eager(network: str, of: Callable[[Any], Any] = lambda model: model) -> Any:
    def make(**arrays: np.ndarray) -> Predictions:
        model = of(build(nn, NETWORKS[network], arrays, rv.from_numpy)).eval()

        def predict(x: Any) -> Any:
            with rv.no_grad():
                return model(x)

        predictions = Predictions(predict, [rv.from_numpy(x) for x in arrays["x"]])
        begin, calls = perf_counter(), 0
        while calls < CALLS or perf_counter() < begin + SECONDS:
            predictions()
            calls += 1
        return predictions

    return make


def captured(network: str) -> Any:
    def make(**arrays: np.ndarray) -> Predictions:
        model = build(nn, NETWORKS[network], arrays, rv.from_numpy).eval()
        return Predictions(rv.compile(model), list(arrays["x"]))

    return make


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("network", "batch"), [*LISTED, *OTHERS])
def bench_predictions(race: Race, network: str, batch: int, threads: int) -> None:
    case = inference_case(network, batch)
    race(
        "inference",
        f"{network}, batch {batch}",
        ours=captured(network),
        beside={
            "inference, eager": eager(network),
            "inference, class": eager(network, own),
        },
        inputs=case.arrays,
        expected=case.expected,
        tolerance=case.tolerance,
        flops=networks.flops(NETWORKS[network], batch, training=False),
        moved=4 * (case.weights + case.arrays["x"][0].size),
        traffic="read",
        peers=predictors(network),
        threads=threads,
    )
