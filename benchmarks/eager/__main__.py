"""Eager calls of ranvier beside PyTorch's, a process each, in turns.

    python -m benchmarks.eager [--rounds 5] [--threads 1] [--page docs/benchmarks/eager.md] [kind or text ...]

`RANVIER_PEER_TORCH` is the Python that has PyTorch. Each figure is the smallest of the rounds. The answers
are compared first. Prints the rows, those with the lowest ratio first; --page writes the page of the docs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import sys
import time
import timeit
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.eager.calls import CALLS, SIZES, UNCOMPARED, WHOLE, operands, whole_operands
from benchmarks.eager.functions import FUNCTIONS, LENGTHS, sized_operands
from benchmarks.peers.turns import InTurns

SECONDS = 0.003  # the length of one measurement
ROWS = [
    *((kind, call, size) for kind, calls in CALLS.items() for call in calls for size in SIZES),
    *((kind, call, "") for kind, calls in WHOLE.items() for call in calls),
    *((kind, call, length) for kind, calls in FUNCTIONS.items() for call in calls for length in LENGTHS),
]


def plain(answer: Any) -> Any:
    """Numbers that JSON holds: at most 50, of tensors in any containers."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, (list, tuple)):
        return [plain(part) for part in answer][:50]
    if hasattr(answer, "detach"):
        answer = answer.detach().numpy()
    if isinstance(answer, np.ndarray):
        step = max(1, answer.size // 50)
        return [list(answer.shape), np.asarray(answer, np.float64).ravel()[::step].tolist()]
    return answer if isinstance(answer, (int, float, bool)) else None


def drop_gradients(names: dict[str, Any]) -> list[Any]:
    """The operands that require a gradient, after their gradients were dropped."""
    leaves = [names[name] for name in ("g", "g_rows") if name in names]
    for leaf in leaves:
        leaf.grad = None
    return leaves


class Worker:
    """Answers and times calls with one library."""

    def __init__(self, library: str) -> None:
        self._library = importlib.import_module(library)
        self._library.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))  # those of `InTurns`
        importlib.import_module(f"{library}.distributions")
        self._names: dict[str, dict[str, Any]] = {}
        self._timers: dict[tuple[str, str], tuple[timeit.Timer, int]] = {}

    def version(self, call: str, size: str) -> str:
        return str(self._library.__version__)

    def _operands(self, size: str) -> dict[str, Any]:
        if size not in self._names:
            self._names[size] = self._new_operands(size)
        return self._names[size]

    def _new_operands(self, size: str) -> dict[str, Any]:
        if size in LENGTHS:
            return sized_operands(self._library, LENGTHS[size])
        if size in SIZES:
            return operands(self._library, SIZES[size])
        return whole_operands(self._library)

    def answer(self, call: str, size: str) -> Any:
        """The call's answer, or the gradient that it left."""
        names = self._operands(size)
        leaves = drop_gradients(names)
        answer = eval(call, names)
        if not call.endswith("backward()"):
            return plain(answer)
        return plain([leaf.grad for leaf in leaves if leaf.grad is not None])

    def time(self, call: str, size: str) -> float:
        """Microseconds of a call."""
        if (call, size) not in self._timers:
            names = self._operands(size)
            drop_gradients(names)
            timer = timeit.Timer(call, globals=names)
            timer.timeit(3)
            start = time.perf_counter()
            timer.timeit(3)
            once = (time.perf_counter() - start) / 3
            self._timers[call, size] = timer, max(1, round(SECONDS / max(once, 1e-8)))
        timer, number = self._timers[call, size]
        return 1e6 * min(timer.repeat(5, number)) / number


def serve(library: str) -> None:
    """Answers questions on standard input."""
    worker = Worker(library)
    for line in sys.stdin:
        what, call, size = json.loads(line)
        try:
            answer = getattr(worker, what)(call, size)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def compare(ours: InTurns, theirs: InTurns, call: str, size: str) -> None:
    """Raises if the answers of a call differ."""
    here, there = ours.ask("answer", call, size), theirs.ask("answer", call, size)
    for answer in (here, there):
        if isinstance(answer, dict):
            raise RuntimeError(f"{call} ({size}): {answer['error']}")
    if call in UNCOMPARED:
        return
    flat_here, flat_there = flat(here), flat(there)
    np.testing.assert_allclose(flat_here, flat_there, rtol=2e-4, atol=2e-5, err_msg=f"{call} ({size})")


def flat(answer: Any) -> list[float]:
    """All numbers of nested lists."""
    if isinstance(answer, list):
        return [number for part in answer for number in flat(part)]
    return [] if answer is None else [float(answer)]


def measure(
    rows: list[tuple[str, str, str]], rounds: int, threads: int
) -> list[tuple[str, str, str, float, float]]:
    """kind, call, size, our microseconds, PyTorch's."""
    ours, theirs = (InTurns("benchmarks.eager", library, threads) for library in ("ranvier", "torch"))
    try:
        for _, call, size in rows:
            compare(ours, theirs, call, size)
        here: dict[tuple[str, str], float] = {}
        there: dict[tuple[str, str], float] = {}
        for _ in range(rounds):
            for _, call, size in rows:
                for process, times in ((ours, here), (theirs, there)):
                    micros = process.ask("time", call, size)
                    times[call, size] = min(micros, times.get((call, size), micros))
    finally:
        ours.close()
        theirs.close()
    return [(kind, call, size, here[call, size], there[call, size]) for kind, call, size in rows]


def main() -> None:
    """Reads the arguments, measures, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only these kinds, and calls that have one of these texts")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--worker")
    arguments = parser.parse_args()
    if arguments.worker:
        serve(arguments.worker)
        return
    words = arguments.words
    chosen = [row for row in ROWS if not words or any(word == row[0] or word in row[1] for word in words)]
    table = sorted(measure(chosen, arguments.rounds, arguments.threads), key=lambda row: row[4] / row[3])
    ratios = [there / here for *_, here, there in table]
    for (_, call, size, here, there), ratio in zip(table, ratios, strict=True):
        print(f"{call:47} {size:9} {here:9.2f} {there:9.2f} {ratio:6.2f}")
    mean = statistics.geometric_mean(ratios)
    if arguments.page:
        page: Any = importlib.import_module(
            "benchmarks.eager.page"
        )  # needs ranvier, which PyTorch's side lacks
        torch = InTurns("benchmarks.eager", "torch", 1)
        arguments.page.write_text(page.written(table, arguments.rounds, torch.ask("version", "", "")))
        torch.close()
    print(f"{len(table)} rows, geometric mean {mean:.2f}, below .95: {sum(r < 0.95 for r in ratios)}")


if __name__ == "__main__":
    main()
