"""Rows picked by an index and their gradients put back: few long rows, many short ones, single elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

CASES = [(10000, 64, 4096), (50000, 784, 128), (1000, 8, 100000), (1000000, 1, 1000000)]  # rows, width, picks


def index_select(x: np.ndarray, rows: np.ndarray) -> Callable[[], Any]:
    return lambda: _core.gather(x, rows[:, None], 0, None)


def index_add(dy: np.ndarray, rows: np.ndarray, length: int) -> Callable[[], Any]:
    return lambda: _core.scatter_add(dy, rows[:, None], 0, length, None)


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("length", "width", "picks"), CASES)
def bench_index_select(race: Race, length: int, width: int, picks: int, threads: int) -> None:
    rng = np.random.default_rng(0)
    x, rows = rng.standard_normal((length, width)).astype(np.float32), rng.integers(0, length, picks)
    race(
        "index_select",
        f"{picks} rows of {length}x{width}",
        ours=index_select,
        inputs={"x": x, "rows": rows},
        expected=x[rows],
        tolerance=0,
        moved=2 * 4 * picks * width + 8 * picks,
        traffic="read_write",
        peers=["numpy", "torch"],
        threads=threads,
    )


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("length", "width", "picks"), CASES)
def bench_index_add(race: Race, length: int, width: int, picks: int, threads: int) -> None:
    rng = np.random.default_rng(0)
    dy = rng.integers(-8, 9, (picks, width)).astype(np.float32)  # integers: every order gives the same sum
    rows = rng.integers(0, length, picks)
    expected = np.zeros((length, width))
    np.add.at(expected, rows, dy)
    race(
        "index_add",
        f"{picks} rows into {length}x{width}",
        ours=lambda dy, rows: index_add(dy, rows, length),
        inputs={"dy": dy, "rows": rows},
        expected=expected,
        tolerance=0,
        moved=4 * (picks + 2 * length) * width + 8 * picks,
        traffic="read_write",
        peers={"torch": Peer("torch", {"length": length})},
        threads=threads,
    )
