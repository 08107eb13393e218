"""The process of one library: answers and times rows.

It imports one library, as two pools of threads in one process would disturb each other.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from benchmarks.clock import one_round
from benchmarks.peers.turns import PROCESSOR, sampled
from benchmarks.transforms.rows import Array, Inputs, Row
from benchmarks.transforms.tables import ROWS

THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
CALLS_BEFORE_THE_ANSWER = 3  # rv.compile records one, compares one and replays the third
CALLS_BEFORE_THE_TIME, SECONDS_BEFORE_THE_TIME = 64, 1.0  # at most: comparisons become rarer
NO_LIMIT = 0.0  # of seconds: PyTorch's first call imports modules, which must not be interrupted
Leaf = tuple[list[int], list[float]]
"""The shape of an array of the answer, and some of its values."""


class TakesTooLong(BaseException):
    """Not an Exception: libraries catch those in their own code, and go on."""


@contextmanager
def limited_to(seconds: float) -> Iterator[None]:
    """Raises TakesTooLong in the block after this time; never for NO_LIMIT."""

    def stop(number: int, frame: Any) -> None:
        raise TakesTooLong(f"takes more than {seconds:g} s")

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def leaves_of(answer: Any) -> list[Any]:
    """The arrays of an answer in any containers; of dicts in the order of their names."""
    if isinstance(answer, dict):
        return [leaf for name in sorted(answer) for leaf in leaves_of(answer[name])]
    if isinstance(answer, (tuple, list)):
        return [leaf for part in answer for leaf in leaves_of(part)]
    return [answer]


def as_numpy(leaf: Any) -> Array:
    if hasattr(leaf, "detach"):
        leaf = leaf.detach().numpy()
    return np.asarray(leaf, np.float64)


def converted(inputs: Inputs, convert: Callable[[Array], Any]) -> list[Any]:
    """The inputs as a library's tensors."""
    found: list[Any] = []
    for value in inputs:
        if isinstance(value, dict):
            found.append({name: convert(array) for name, array in value.items()})
        else:
            found.append(convert(value))
    return found


def doubled(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype == np.float32 else array


def call_of_tensors(library: Any, row: Row, way: str) -> Callable[[], Any]:
    """A call of ranvier or PyTorch."""
    if way == "float64":
        tensors = converted(row.inputs(), lambda array: library.tensor(doubled(array)))
    else:
        tensors = converted(row.inputs(), library.tensor)
    if way == "opacus":
        if row.opacus is None:
            raise LookupError(f"{row.name} is not computed by Opacus")
        return row.opacus(*tensors)
    function = row.torch(library)
    if way == "rv.compile":
        function = library.compile(function)
    return lambda: function(*tensors)


def call_of_jax(jax: Any, row: Row, way: str) -> Callable[[], Any]:
    arrays = converted(row.inputs(), jax.numpy.asarray)
    function = row.jax(jax)
    if way == "jax.jit":
        function = jax.jit(function)
    return lambda: jax.block_until_ready(function(*arrays))


def imported(library: str) -> Any:
    """The library, with its number of threads."""
    if library == "jax":
        if THREADS == 1:  # XLA takes its number of threads from the CPUs it may use
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import jax

        return jax
    if library == "torch":
        import torch

        torch.set_num_threads(THREADS)
        return torch
    import ranvier

    ranvier.set_num_threads(THREADS)
    return ranvier


def moments_of(values: Array) -> list[float]:
    """The mean, the mean of the squares, and how far the means of the slices spread."""
    means = values.reshape(len(values), -1).mean(1)
    return [float(values.mean()), float((values**2).mean()), float(means.std())]


class Worker:
    """Holds the calls of one row at a time."""

    def __init__(self, library: str) -> None:
        self._name = library
        self._library = imported(library)
        self._calls: dict[str, Callable[[], Any]] = {}
        self._clock = time.process_time if os.environ.get(PROCESSOR) else time.perf_counter

    def version(self) -> str:
        return str(self._library.__version__)

    def _make(self, row: Row, way: str) -> Callable[[], Any]:
        make = call_of_jax if self._name == "jax" else call_of_tensors
        return make(self._library, row, way)

    def answer(self, table: str, name: str, way: str, seconds: float) -> list[Leaf] | list[float]:
        """Values of a row's answer, or its moments, within so many seconds."""
        row = ROWS[table, name]
        row = row.exact or row
        with limited_to(seconds):
            call = self._make(row, way)
            repeats = 1 if way in ("float64", "opacus") else CALLS_BEFORE_THE_ANSWER
            for _ in range(repeats):
                answer = call()
        if ROWS[table, name].exact is None and way != "float64":
            self._calls[way] = call
        leaves = [as_numpy(leaf) for leaf in leaves_of(answer)]
        if row.moments is not None:
            return moments_of(leaves[0])
        return [(list(leaf.shape), sampled(leaf).tolist()) for leaf in leaves]

    def prepare(self, table: str, name: str, way: str, seconds: float) -> None:
        """Makes the call that is timed, unless its answer was asked for already, and calls it."""
        with limited_to(seconds):
            if way not in self._calls:
                self._calls[way] = self._make(ROWS[table, name], way)
            call = self._calls[way]
            end = time.perf_counter() + SECONDS_BEFORE_THE_TIME
            for done in range(CALLS_BEFORE_THE_TIME):
                call()
                if done >= CALLS_BEFORE_THE_ANSWER and time.perf_counter() > end:
                    break

    def time(self, way: str, pace: str) -> float:
        """Seconds of a call."""
        return one_round(self._calls[way], pace, self._clock)

    def forget(self) -> None:
        self._calls.clear()


def serve(library: str) -> None:
    """Answers questions on standard input, a line of JSON each."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a library's own output must not mix with the replies
    worker = Worker(library)
    for line in sys.stdin:
        what, *arguments = json.loads(line)
        try:
            reply = getattr(worker, what)(*arguments)
        except (Exception, TakesTooLong) as error:
            reply = {"error": f"{type(error).__name__}: {error}"}
        replies.write(json.dumps(reply) + "\n")
