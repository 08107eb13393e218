"""dropout against the memory's speed: no two libraries draw the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from ranvier import _core
from ranvier.reference import dropout as reference
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts

KEY = np.array([1, 2])


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("size", [1 << 14, 1 << 20])
def bench_dropout(race: Race, size: int, threads: int) -> None:
    x = np.random.default_rng(0).uniform(1, 2, size).astype(np.float32)
    race(
        "dropout",
        str(size),
        ours=lambda x: lambda: _core.dropout(x, 0.5, KEY, None),
        inputs={"x": x},
        expected=reference.dropout(x, 0.5, KEY),
        tolerance=tolerance(np.float32, 1, 4.0),
        moved=2 * x.nbytes,
        peers=[],
        threads=threads,
    )
