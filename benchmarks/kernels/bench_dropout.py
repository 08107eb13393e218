"""dropout against the memory's speed: no two libraries draw the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from ranvier import _core
from reference import dropout as reference
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts

KEY = np.array([1, 2])


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        (1000, "float32"),
        (1 << 14, "float32"),
        (100003, "float32"),
        (1 << 20, "float32"),
        (1 << 24, "float32"),
        (1 << 20, "float64"),
    ],
)
def bench_dropout(race: Race, size: int, dtype: str, threads: int) -> None:
    x = np.random.default_rng(0).uniform(1, 2, size).astype(dtype)
    race(
        "dropout",
        str(size) + (" float64" if dtype == "float64" else ""),
        ours=lambda x: lambda: _core.dropout(x, 0.5, KEY, None),
        inputs={"x": x},
        expected=reference.dropout(x, 0.5, KEY),
        tolerance=tolerance(dtype, 1, 4.0),
        moved=2 * x.nbytes,
        peers=[],
        threads=threads,
        dtype=dtype,
    )
