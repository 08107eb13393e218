"""Libraries that are measured in turns: each in a separate process, which is stopped meanwhile."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from time import perf_counter, process_time
from typing import Any

import numpy as np

PROCESSOR = "RANVIER_BENCHMARK_PROCESSOR"  # set: the times of answer() are the processor's, not the clock's
SAMPLE = 256  # values of an answer that are compared


class InTurns:
    """A process that answers questions, one line of JSON each: ``python -m <module> --worker <library>``.

    threads: of each library in it; None leaves that to the libraries. A library that is installed in another
    environment is found as in ``process.py``.
    """

    def __init__(self, module: str, library: str, threads: int | None) -> None:
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        env = {**os.environ, **({} if threads is None else dict.fromkeys(names, str(threads)))}
        python = os.environ.get(f"RANVIER_PEER_{library.upper()}", sys.executable)
        command = [python, "-m", module, "--worker", library]
        self._library = library
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True, bufsize=1
        )

    def ask(self, *question: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write(json.dumps(question) + "\n")
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {self._library} ended; its message is on stderr")
        self._process.send_signal(signal.SIGSTOP)
        return json.loads(answer)

    def close(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.communicate()


def sampled(values: Any) -> Any:
    """Values of an answer, spread over the whole of it."""
    flat = values.ravel()
    return flat[:: max(1, len(flat) // SAMPLE)][:SAMPLE]


def answer(make: Callable[[str], Callable[[], Any]], checked: int, steps: Callable[[str], int]) -> None:
    """A process: to (case, seconds) the values after `checked` calls, and the shortest time of a step.

    ``make(case)`` gives the call, which makes ``steps(case)`` steps. One case at a time is kept.
    """
    clock = process_time if os.environ.get(PROCESSOR) else perf_counter
    now, run = "", None
    for line in sys.stdin:
        case, seconds = json.loads(line)
        values = None
        if case != now:
            run = None
            gc.collect()
            now, run = case, make(case)
            for _ in range(checked):
                values = sampled(np.asarray(run())).tolist()
        assert run is not None
        best, end = float("inf"), perf_counter() + seconds
        while best == float("inf") or perf_counter() < end:
            start = clock()
            run()
            best = min(best, clock() - start)
        print(json.dumps([values, best / steps(case)]), flush=True)


def medians(processes: Sequence[InTurns], case: str, settings: Any, **tolerance: float) -> list[float]:
    """The median over the turns of each process's time, after a comparison of their first values."""
    first, *others = [process.ask(case, settings.seconds)[0] for process in processes]
    for values in others:
        np.testing.assert_allclose(values, first, **tolerance)
    rounds = range(settings.rounds)
    times = [[process.ask(case, settings.seconds)[1] for process in processes] for _ in rounds]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def arguments(
    about: str | None,
    libraries: Sequence[str],
    seconds: float,
    more: Callable[[argparse.ArgumentParser], None] | None = None,
) -> argparse.Namespace:
    """The arguments of a program that measures cases in turns, and those that `more` adds."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("-k", dest="part", default="", help="only cases whose name has this in it")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=seconds, help="of a turn")
    parser.add_argument("--libraries", nargs="*", default=libraries, choices=libraries)
    if more is not None:
        more(parser)
    return parser.parse_args()
