"""One Adam step and one norm clipping over the parameters of networks, from Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier.reference import optimizer as reference
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

NETWORKS = {
    "tabular": [(32, 20), (32,), (1, 32), (1,)],
    "mlp": [(128, 784), (128,), (64, 128), (64,), (10, 64), (10,)],
    "cnn": [(32, 1, 3, 3), (32,), (64, 32, 3, 3), (64,), (128, 1600), (128,), (10, 128), (10,)],
    "1M": [(1024, 1024)],
}
STREAMS = {"Adam": 7, "SGD": 3, "RMSprop": 5}  # arrays read and written


class Step:
    """The first step's result for the check; the call is any later one."""

    def __init__(self, kind: str, **gradients: np.ndarray) -> None:
        self.parameters = [rv.autograd.wrap(np.ones_like(g), True) for g in gradients.values()]
        for p, g in zip(self.parameters, gradients.values(), strict=True):
            p.grad = rv.autograd.wrap(g)
        self.optimizer = getattr(rv.optim, kind)(self.parameters, lr=0.01)

    def answer(self) -> np.ndarray:
        self.optimizer.step()
        return np.concatenate([p.detach().numpy().reshape(-1) for p in self.parameters])

    def __call__(self) -> None:
        self.optimizer.step()


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("network", NETWORKS)
def bench_optimizer(race: Race, network: str, kind: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    shapes = NETWORKS[network]
    gradients = {f"g{i}": rng.uniform(0.5, 1, s).astype(np.float32) for i, s in enumerate(shapes)}
    flat = np.concatenate([g.reshape(-1) for g in gradients.values()])
    rule: Callable[..., Any] = getattr(reference, kind.lower())
    race(
        kind,
        network,
        ours=lambda **g: Step(kind, **g),
        inputs=gradients,
        expected=rule(np.ones(flat.size), flat.astype(np.float64), {}, 0.01),
        tolerance=tolerance(np.float32, 8),
        moved=4 * STREAMS[kind] * flat.size,
        peers={"torch": Peer("torch", {"kind": kind})},
        threads=threads,
    )
