"""Sorting with indices, and the largest few of each row (as for top-5 accuracy)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer


def argsort(x: np.ndarray) -> Callable[[], Any]:
    return lambda: _core.sort(x, x.ndim - 1, False, None)[1]


def topk(x: np.ndarray, k: int) -> Callable[[], Any]:
    return lambda: _core.sort(x, x.ndim - 1, True, k)[0]


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("shape", [(100000,), (1000, 1000), (10000, 10)], ids=str)
def bench_argsort(race: Race, shape: tuple[int, ...], threads: int) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    race(
        "argsort",
        "x".join(map(str, shape)),
        ours=argsort,
        inputs={"x": x},
        expected=np.argsort(x, -1, kind="stable"),
        tolerance=0,
        moved=x.nbytes + 8 * x.size,
        peers=["numpy", "torch"],
        threads=threads,
    )


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("shape", "k"), [((1000, 1000), 5), ((10000, 10), 3), ((128, 10000), 100)], ids=str)
def bench_topk(race: Race, shape: tuple[int, ...], k: int, threads: int) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    race(
        "topk",
        f"{k} of {'x'.join(map(str, shape))}",
        ours=lambda x: topk(x, k),
        inputs={"x": x},
        expected=-np.sort(-x, -1)[:, :k],
        tolerance=0,
        moved=x.nbytes,
        traffic="read",
        peers={"torch": Peer("torch", {"k": k})},
        threads=threads,
    )
