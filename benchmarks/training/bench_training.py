"""Whole training steps, called from Python: zero_grad, forward, loss, backward, update.

Ours is the step captured by ``rv.compile``, which gets NumPy arrays, a new batch with each call; the eager
step is timed beside it, in the same rounds. The peers' batches are their own tensors already.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.training import networks
from benchmarks.training.cases import trainers, training_case
from benchmarks.training.models import Timed, steps
from benchmarks.training.networks import NETWORKS, Network

LISTED = [("tabular", 32), ("mlp", 32), ("mlp", 128), ("cnn", 32), ("cnn", 128)]
OTHERS = [
    *(("tabular", batch) for batch in (16, 64, 256)),
    *(("mlp", batch) for batch in (16, 64, 256)),
    *(("cnn", batch) for batch in (16, 64, 256)),
    *(("mlp, SGD", batch) for batch in (32, 128)),
    *(("deep mlp", batch) for batch in (32, 128)),
    *(("regression", batch) for batch in (32, 256)),
    *(("lenet", batch) for batch in (32, 128)),
    *(("norm and dropout", batch) for batch in (32, 128)),
    ("deep tanh mlp", 64),
    ("wide mlp", 256),
    ("lenet, tanh", 100),
    *(("vgg", batch) for batch in (32, 64)),
]
COMPILED = {"tabular", "mlp", "cnn"}  # by torch too, which takes half a minute for each


def eager(network: str) -> Any:
    def make(**arrays: np.ndarray) -> Timed:
        def made(form: Network) -> Any:
            return steps(nn, optim, rv.from_numpy, form, arrays)

        return Timed(NETWORKS[network], made)

    return make


def captured(network: str) -> Any:
    def make(**arrays: np.ndarray) -> Timed:
        def made(form: Network) -> Any:
            return steps(nn, optim, rv.from_numpy, form, arrays, compiled=rv.compile, to_input=np.asarray)

        return Timed(NETWORKS[network], made)

    return make


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("network", "batch"), [*LISTED, *OTHERS])
def bench_step(race: Race, network: str, batch: int, threads: int) -> None:
    case = training_case(network, batch)
    states = 2 if NETWORKS[network].optimizer == "Adam" else 1
    moved = 2 * (1 + states) + 1  # parameter and states are read and written, the gradient is read
    race(
        "train_step",
        f"{network}, batch {batch}",
        ours=captured(network),
        beside={"train_step, eager": eager(network)},
        inputs=case.arrays,
        expected=case.expected,
        tolerance=case.tolerance,
        flops=networks.flops(NETWORKS[network], batch),
        moved=4 * moved * case.weights,
        working_set=4 * (2 + states) * case.weights,
        peers=trainers(network, compiled=(network, batch) in LISTED and network in COMPILED),
        threads=threads,
    )
