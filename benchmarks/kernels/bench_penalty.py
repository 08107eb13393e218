"""The L1 and L2 penalty of networks' weights: its value, and its gradients added to those of the loss."""

from __future__ import annotations

import numpy as np
import pytest
from ranvier import _core
from reference import optimizer as reference
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.kernels.bench_optimizer import NETWORKS
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

L1, L2 = 0.5, 0.25


class Penalty:
    """The gradients after one call for the check; each call adds the same again."""

    def __init__(self, **parameters: np.ndarray) -> None:
        self.parameters = list(parameters.values())
        self.gradients = [np.zeros_like(p) for p in self.parameters]
        self.strengths = np.full(len(parameters), L1), np.full(len(parameters), L2), np.ones(1)

    def answer(self) -> np.ndarray:
        self()
        return np.concatenate([g.reshape(-1) for g in self.gradients])

    def __call__(self) -> None:
        _core.weight_penalty(self.parameters, self.gradients, *self.strengths)


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("network", NETWORKS)
def bench_penalty(race: Race, network: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    parameters = {f"p{i}": rng.uniform(-1, 1, s).astype(np.float32) for i, s in enumerate(NETWORKS[network])}
    flat = np.concatenate([p.reshape(-1) for p in parameters.values()])
    race(
        "weight_penalty",
        network,
        ours=lambda **p: Penalty(**p),
        inputs=parameters,
        expected=reference.weight_penalty_backward(flat.astype(np.float64), L1, L2),
        tolerance=tolerance(np.float32, 2),
        moved=4 * 3 * flat.size,
        peers={"torch": Peer("torch", {"l1": L1, "l2": L2})},
        threads=threads,
    )
