"""Sums, maxima and their indices: along rows, down columns, over a whole array and the pixels of images."""

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
    ((32, 28, 28, 32), (0, 1, 2)),
    ((64, 300, 77), (1,)),
    ((20000, 33), (1,)),
    ((1000, 1003), (0,)),
    ((64, 256, 49), (2,)),
]
PLACES = [
    ((1024, 1024), 0),
    ((1024, 1024), 1),
    ((100000, 10), 1),
    ((4000000,), 0),
    ((64, 300, 77), 1),
    ((512, 1000), 1),
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


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("shape", "axis"), PLACES, ids=str)
def bench_argmax(race: Race, shape: tuple[int, ...], axis: int, threads: int) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    race(
        "arg_reduce",
        f"argmax {'x'.join(map(str, shape))} along {axis}",
        ours=lambda x: lambda: _core.argmax(x, axis),
        inputs={"x": x},
        expected=x.argmax(axis),
        tolerance=0,
        moved=x.nbytes + 8 * x.size // shape[axis],
        traffic="read",
        peers={
            library: Peer(library, {"function": "argmax", "axis": axis}) for library in ("numpy", "torch")
        },
        threads=threads,
    )
