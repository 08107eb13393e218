"""A small parallel op directly after another, after idleness, and after NumPy's matmul.

Where a woken worker lands on the processor that its spinning caller holds, an op of microseconds takes a time
slice of milliseconds; these rows keep that out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
from ranvier import _core

ROUNDS = 100
WARM_CALLS = 20
IDLE_SECONDS = 0.02
MOST = 10  # times the warm time

_LEFT = np.random.default_rng(0).standard_normal((512, 512)).astype(np.float32)


def idle() -> None:
    time.sleep(IDLE_SECONDS)


def numpy_matmul() -> None:
    _LEFT @ _LEFT


@pytest.mark.skipif(_core.get_num_threads() < 2, reason="needs two processors")
@pytest.mark.parametrize(
    ("before", "words"),
    [(idle, "20 ms of idleness"), (numpy_matmul, "a NumPy matmul")],
    ids=["idle", "numpy"],
)
def bench_small_op_after(benchmark: Any, request: Any, before: Callable[[], None], words: str) -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((64, 128)).astype(np.float32)
    b = rng.standard_normal((128, 128)).astype(np.float32)
    c = np.empty((64, 128), np.float32)
    warm: list[float] = []

    def disturb() -> None:
        for _ in range(WARM_CALLS):
            start = time.perf_counter()
            _core.matmul(a, b, None, "none", c)
        warm.append(time.perf_counter() - start)
        before()

    benchmark.pedantic(lambda: _core.matmul(a, b, None, "none", c), setup=disturb, rounds=ROUNDS)
    times = benchmark.stats.stats.median / median(warm)
    benchmark.extra_info.update(
        what=f"a parallel matmul of {median(warm) * 1e6:.0f} us, after {words}",
        value=f"{times:.1f} times its warm time",
        target=f"at most {MOST} times",
        command=f"pytest '{request.node.nodeid}' --benchmark-only",
    )
    assert times <= MOST
