"""How a call is timed: the same code on our side and in the peers' processes. Standard library only."""

from __future__ import annotations

import gc
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

SAMPLE_SECONDS = 0.002  # a sample is repeated calls of about this long: far above the clock's own cost
WARM_SECONDS = 0.03  # after a switch from another process: caches, page tables, thread pools, clock frequency
LONGEST_WARM_SECONDS = 0.3  # for a pool whose woken threads sit on one CPU until the scheduler parts them
ROUND_SECONDS = 0.06  # of samples in one round
MIN_SAMPLES = 3


def warm(call: Callable[[], Any]) -> float:
    """Call until the time is up and the call takes what it took at its fastest; seconds of the fastest."""
    start = before = perf_counter()
    fastest = float("inf")
    while True:
        call()
        now = perf_counter()
        seconds, before = now - before, now
        fastest = min(fastest, seconds)
        settled = seconds < 2 * fastest or now - start > LONGEST_WARM_SECONDS
        if now - start >= WARM_SECONDS and settled:
            return fastest


def one_round(call: Callable[[], Any]) -> float:
    """Seconds a call, after warming up: the median over samples."""
    fastest = warm(call)
    calls = max(1, round(SAMPLE_SECONDS / fastest))
    samples = max(MIN_SAMPLES, round(ROUND_SECONDS / (calls * fastest)))
    repeat = range(calls)
    seconds = []
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(samples):
            start = perf_counter()
            for _ in repeat:
                call()
            seconds.append((perf_counter() - start) / calls)
    finally:
        if enabled:
            gc.enable()
    return median(seconds)
