"""One step of each optimizer and of an average over the parameters of networks, from Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from reference import optimizer as reference
from support.optimizers import KINDS
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
MORE = {
    "10M": [(10_000_000,)],
    "odd": [(333, 1001), (1001,), (7, 333), (7,)],
    "200 of 64": [(64,)] * 200,
    "resnet-like": [(64, c, 3, 3) for c in (3, 64, 64, 64)] + [(64,)] * 40 + [(256, 64, 1, 1)] * 4,
}
RULES = [name for name, kind in KINDS.items() if "_rule" in vars(kind)]  # AdamW has Adam's


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
@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("network", NETWORKS)
def bench_optimizer(race: Race, network: str, kind: str, threads: int) -> None:
    step(race, network, NETWORKS[network], kind, threads)


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("kind", ["Adam", "SGD"])
@pytest.mark.parametrize("network", MORE)
def bench_more(race: Race, network: str, kind: str, threads: int) -> None:
    step(race, network, MORE[network], kind, threads)


def step(race: Race, network: str, shapes: list[tuple[int, ...]], kind: str, threads: int) -> None:
    rng = np.random.default_rng(0)
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
        moved=4 * (3 + 2 * len(KINDS[kind]._states)) * flat.size,
        peers={"torch": Peer("torch", {"kind": kind})},
        threads=threads,
    )


class Ema:
    """An average that begins at 0; the first update's result for the check."""

    def __init__(self, **values: np.ndarray) -> None:
        self.values = [rv.autograd.wrap(v) for v in values.values()]
        self.averages = [rv.autograd.wrap(np.zeros_like(v)) for v in values.values()]
        self.update = rv.optim.swa_utils.get_ema_multi_avg_fn(0.75)

    def answer(self) -> np.ndarray:
        self()
        return np.concatenate([a.numpy().reshape(-1) for a in self.averages])

    def __call__(self) -> None:
        self.update(self.averages, self.values, 1)


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("network", NETWORKS)
def bench_ema(race: Race, network: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    values = {f"v{i}": rng.uniform(0.5, 1, s).astype(np.float32) for i, s in enumerate(NETWORKS[network])}
    flat = np.concatenate([v.reshape(-1) for v in values.values()])
    race(
        "ema",
        network,
        ours=Ema,
        inputs=values,
        expected=0.25 * flat.astype(np.float64),
        tolerance=tolerance(np.float32, 2),
        moved=4 * 3 * flat.size,
        peers=["torch"],
        threads=threads,
    )
