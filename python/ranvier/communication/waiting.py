"""Waiting for other ranks, with a time limit.

A blocking call of MPI cannot be ended from outside. So each exchange is started without blocking, and tested
until it is complete.
"""

from __future__ import annotations

import os
import time
from typing import Any

from ranvier.autograd.recording import place
from ranvier.communication.world import World

__all__ = ["complete"]

_SPINS = 200  # tests without a pause: a message on one host takes some microseconds
_LONG = 0.002  # seconds after which the processor is left to others for longer


def complete(world: World, requests: list[Any], call: str, other: int | None = None) -> None:
    """Wait until all requests are complete; `call` and `other` are the call and the rank in the error.

    Raises:
        TimeoutError: they were not after the seconds of `init`.
    """
    test = type(requests[0]).Testall
    for _ in range(_SPINS):
        if test(requests):
            return
    start = time.monotonic()
    while not test(requests):
        waited = time.monotonic() - start
        if waited < _LONG:
            os.sched_yield()
        elif waited < world.timeout:
            time.sleep(0.0001)
        else:
            who = "another rank" if other is None else f"rank {other}"
            raise TimeoutError(
                f"[{call}] rank {world.rank} of {world.size} has waited {world.timeout:g} s for {who}, at "
                f"{place()}; expected the same call on every rank (a longer limit: init(timeout=...) or "
                "RANVIER_TIMEOUT)"
            )
