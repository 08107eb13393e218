"""Batches: which samples of arrays a program runs on, batch after batch, in one call."""

from __future__ import annotations

import time
from _thread import RLock
from dataclasses import dataclass
from typing import Any

import numpy as np

from ranvier.autograd import random
from ranvier.autograd.recording import current, recordings

_SHARE = 100  # a check may take one part in so many of the time since the last one


@dataclass
class Batches:
    """`count` batches of `size` samples each, from number `first` on.

    Attributes:
        order: the samples of all batches, as indices; None: as they are.
        done: how many of them a call has run, also if it raised an exception.
    """

    order: np.ndarray[Any, np.dtype[np.intp]] | None
    size: int
    first: int
    count: int
    done: int = 0


class OfTrainer:
    """The part of CompiledFunction that Trainer uses besides calls."""

    _latest: Any
    _before: Any
    _lock: RLock
    _ran: Any
    _verify: bool | int
    _checked: float
    _check_took: float
    few = 0  # where so few calls come, one may take the program of another step; seldom it is recorded

    def run_batches(self, args: tuple[Any, ...], batches: Batches) -> Any:
        """Replays one of the latest programs on several batches: what the calls return, along a new axis 0.

        An array among the arguments has the samples of all batches, or one axis more than in a call: an entry
        for each batch. The run ends early (`batches.done`) after 50 ms, before a check, and after a batch
        with a number that is not finite. None where the next call would not replay one of them.
        """
        if recordings and current() is not None:
            return None
        with self._lock:
            for program in (self._latest, self._before):
                if program is None or not program.checks_left:
                    continue
                count = batches.count
                if program.checks_left > 0:
                    batches.count = min(count, program.checks_left)
                try:
                    results = program.run_batches(args, batches)
                finally:
                    program.checks_left -= batches.done
                if results is not None:
                    if program is not self._latest:
                        self._ran(program)
                    return results
                batches.count = count
            return None

    @property
    def latest(self) -> tuple[Any, int] | None:
        """The program that ran last and how often it was checked; None before the first."""
        program = self._latest
        return None if program is None else (program, program.checks)

    def draws(self) -> bool:
        """Whether the program that ran last draws random numbers from the stream of this thread."""
        program = self._latest
        return program is not None and program.core.overlaps((random.current().state,))

    def check_soon(self) -> None:
        """The next replay runs beside an eager step, unless that would take over 1 % of the time."""
        program = self._latest
        long_ago = time.perf_counter() - self._checked > _SHARE * self._check_took
        if program is not None and program.checks_left > 0 and self._verify is True and long_ago:
            program.grant(0)
