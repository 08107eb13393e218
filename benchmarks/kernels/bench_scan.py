"""Running sums along rows and down columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer


def cumsum(x: np.ndarray, axis: int) -> Callable[[], Any]:
    return lambda: _core.cumsum(x, axis, False, None)


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("shape", "axis"), [((1024, 1024), 0), ((1024, 1024), 1), ((1000000,), 0)], ids=str)
def bench_cumsum(race: Race, shape: tuple[int, ...], axis: int, threads: int) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    expected = np.cumsum(x.astype(np.float64), axis)
    race(
        "cumsum",
        f"{'x'.join(map(str, shape))} along {axis}",
        ours=lambda x: cumsum(x, axis),
        inputs={"x": x},
        expected=expected,
        tolerance=tolerance(np.float32, shape[axis], float(np.abs(expected).max())),
        moved=2 * x.nbytes,
        traffic="read_write",
        peers={library: Peer(library, {"axis": axis}) for library in ("numpy", "torch")},
        threads=threads,
    )
