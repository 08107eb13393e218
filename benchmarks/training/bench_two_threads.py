"""Two Python threads train two captured models at once: a replay holds no lock that the other needs."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from threading import Thread
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim

from benchmarks import machine
from benchmarks.clock import warm
from benchmarks.training import networks
from benchmarks.training.models import Steps, steps
from benchmarks.training.networks import NETWORKS

ROUNDS = 7
ROUND_SECONDS = 0.15  # the length of a round of one model alone
LEAST = 1.7  # times as fast as one after the other


def model(network: str, batch: int) -> Steps:
    arrays = networks.case(NETWORKS[network], batch)
    form = NETWORKS[network]
    return steps(nn, optim, rv.from_numpy, form, arrays, compiled=rv.compile, to_input=np.asarray)


def seconds(*work: Callable[[], None], at_once: bool) -> float:
    start = perf_counter()
    threads = [Thread(target=one) for one in work]
    for thread in threads:
        thread.start()
        if not at_once:
            thread.join()
    for thread in threads:
        thread.join()
    return perf_counter() - start


@pytest.mark.skipif(len(machine.thread_counts()) < 2, reason="needs two processors")
@pytest.mark.parametrize(("network", "batch"), [("mlp", 32), ("mlp", 128), ("cnn", 32), ("cnn", 128)])
def bench_two_models_at_once(benchmark: Any, request: Any, network: str, batch: int) -> None:
    ratios: list[float] = []

    def in_turn_and_at_once(*work: Callable[[], None]) -> None:
        alone = seconds(*work, at_once=False)
        ratios.append(alone / seconds(*work, at_once=True))

    with machine.threads(1):
        models = [model(network, batch) for _ in range(2)]
        counts = [max(1, round(ROUND_SECONDS / warm(one, 0.05))) for one in models]

        def trains(one: Steps) -> Callable[[], None]:
            def run() -> None:
                rv.set_num_threads(1)
                for _ in range(counts[0]):
                    one()

            return run

        work = [trains(one) for one in models]
        benchmark.pedantic(lambda: in_turn_and_at_once(*work), rounds=ROUNDS)
    found = median(ratios)
    benchmark.extra_info.update(
        what=f"two Python threads train a captured {network} each, batch {batch}",
        value=f"{found:.2f} times as fast as one after the other",
        target=f"at least {LEAST} times",
        family="training",
        command=f"pytest '{request.node.nodeid}' --benchmark-only",
    )
    assert found >= LEAST
