"""Times a call: the same code on our side and in the peers' processes. Standard library only."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean, median
from time import perf_counter
from typing import Any

SAMPLE_SECONDS = 0.002  # a sample is repeated calls of about this long: far above the clock's own cost
LONGEST_WARM_SECONDS = 0.3  # for a pool whose woken threads share one CPU until the scheduler separates them
MIN_SAMPLES = 3
LONG_SECONDS = 0.05  # a call of this length averages disturbances: one sample is enough


@dataclass(frozen=True)
class Pace:
    """The seconds that a round warms up, and that it samples."""

    warm: float  # after a switch from another process: caches, page tables, thread pools, clock frequency
    sample: float
    average: Callable[[list[float]], float] = median


PACES = {
    "row": Pace(0.01, 0.025),
    "sweep": Pace(0.005, 0.01),
    # beside a busy process, whose time slices are longer than a sample
    "mean": Pace(0.1, 0.33, fmean),
    # after other calls in the same process, such as the eager ones before captured ones
    "mixed": Pace(0.06, 0.04),
    "mixed, quick": Pace(0.03, 0.015),
}


def warm(call: Callable[[], Any], seconds: float) -> float:
    """Call until the time is over and a call is as fast as the fastest so far; return its seconds."""
    start = before = perf_counter()
    fastest = float("inf")
    while True:
        call()
        now = perf_counter()
        took, before = now - before, now
        fastest = min(fastest, took)
        settled = took < 2 * fastest or now - start > LONGEST_WARM_SECONDS
        if now - start >= seconds and settled:
            return fastest


def one_round(call: Callable[[], Any], pace: str = "row", clock: Callable[[], float] = perf_counter) -> float:
    """Seconds a call by the clock, after warming up: the average that the pace names over samples."""
    fastest = warm(call, PACES[pace].warm)
    calls = max(1, round(SAMPLE_SECONDS / fastest))
    least = MIN_SAMPLES if fastest < LONG_SECONDS else 1
    samples = max(least, round(PACES[pace].sample / (calls * fastest)))
    repeat = range(calls)
    seconds = []
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(samples):
            start = clock()
            for _ in repeat:
                call()
            seconds.append((clock() - start) / calls)
    finally:
        if enabled:
            gc.enable()
    return PACES[pace].average(seconds)
