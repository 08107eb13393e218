"""Sums and maxima along rows, down columns, over a whole array and over the pixels of images."""

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

CASES = [
    ((1024, 1024), None),
    ((1024, 1024), (0,)),
    ((1024, 1024), (1,)),
    ((128, 128), (0,)),
    ((100000, 10), (1,)),
    ((32, 32, 28, 28), (0, 2, 3)),
]


def reduction(name: str, axes: tuple[int, ...] | None) -> Callable[..., Callable[[], Any]]:
    def ours(x: np.ndarray) -> Callable[[], Any]:
        function = getattr(_core, name)
        return lambda: function(x, axes, False, None)

    return ours


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("shape", "axes"), CASES, ids=str)
@pytest.mark.parametrize("name", ["sum", "max"])
def bench_reduce(
    race: Race, name: str, shape: tuple[int, ...], axes: tuple[int, ...] | None, threads: int
) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    expected = np.asarray(getattr(np, name)(x.astype(np.float64), axis=axes))
    race(
        "reduce",
        f"{name} {'x'.join(map(str, shape))} over {'all' if axes is None else axes}",
        ours=reduction(name, axes),
        inputs={"x": x},
        expected=expected,
        tolerance=tolerance(np.float32, x.size // max(expected.size, 1)),
        moved=4 * (x.size + expected.size),
        traffic="read",
        peers={library: Peer(library, {"function": name, "axes": axes}) for library in ("numpy", "torch")},
        threads=threads,
    )
