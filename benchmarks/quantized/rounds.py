"""Cases that libraries answer in turns: answers are compared with NumPy's, then rounds of all alternate."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

import numpy as np

from benchmarks.peers.turns import InTurns, answer, arguments, sampled

Array = np.ndarray[Any, Any]
PRECISIONS = ("float32", "bfloat16", "int8", "int4")
BITS = {"float32": 32, "bfloat16": 16, "int8": 8, "int4": 4.5}  # of a weight; int4: a float16 scale for 32
STEADY, MOST = 0.1, 4  # rounds go on while the middle half of the times spreads further, up to MOST times
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "quantized.md"


@dataclass(frozen=True)
class Comparison:
    """Cases, each a name that begins with one of PRECISIONS, and who answers them."""

    module: str
    mark: str  # of the table in PAGE
    unit: tuple[str, float]  # of times, and how many of it are a second
    cases: Sequence[str]
    precisions: Mapping[str, Sequence[str]]  # what each library has
    make: Callable[[str, str], Callable[[], Any]]  # the call of a library for a case
    steps: Callable[[str], int]  # of a call
    expected: Callable[[str], Array]
    errors: Mapping[str, float]  # the largest of each precision, relative to the norm
    limit: Callable[[str], float]  # seconds of a step at the machine's limit, on the threads set now
    only_ours: str = "-"  # cases with this in their name are ours alone
    unlike: str = ""  # a library that does less: its answer is another


@dataclass(frozen=True)
class Times:
    middle: float  # seconds, the median of the rounds
    spread: float  # between the quartiles, relative to it
    error: float | None

    @classmethod
    def of(cls, seconds: Sequence[float], error: float | None) -> Times:
        low, middle, high = quantiles(seconds, n=4) if len(seconds) > 1 else (*seconds,) * 3
        return cls(middle, (high - low) / middle, error)


def errors_of(comparison: Comparison, processes: Mapping[str, InTurns], case: str) -> dict[str, float | None]:
    """Relative to the norm of NumPy's answer. Raises AssertionError for one above the bound."""
    expected, bound = sampled(comparison.expected(case)), comparison.errors[case.split()[0]]
    errors: dict[str, float | None] = {}
    for name, process in processes.items():
        values, _ = process.ask(case, 0)
        if name == comparison.unlike:
            errors[name] = None
            continue
        error = float(np.linalg.norm(np.array(values) - expected) / np.linalg.norm(expected))
        if not error <= bound:
            raise AssertionError(f"{name}, {case}: the relative error is {error:.2g}, allowed {bound}")
        errors[name] = error
    return errors


def measured(
    comparison: Comparison, processes: Mapping[str, InTurns], case: str, settings: Any
) -> dict[str, Times]:
    errors = errors_of(comparison, processes, case)
    seconds: dict[str, list[float]] = {name: [] for name in processes}
    while True:
        for name, process in processes.items():
            seconds[name].append(process.ask(case, settings.seconds)[1])
        rounds = len(next(iter(seconds.values())))
        found = {name: Times.of(taken, errors[name]) for name, taken in seconds.items()}
        steady = all(times.spread <= STEADY for times in found.values())
        if rounds >= settings.rounds and (steady or rounds >= MOST * settings.rounds):
            return found


def read_seconds(size: float) -> float:
    """The time in which the threads read so many bytes of memory."""
    from benchmarks import machine

    return size / machine.bandwidth(4 * machine.cache_sizes()["L3"], "read")


def present(libraries: Sequence[str]) -> list[str]:
    """Those that are installed and have code for the level that is set (benchmarks.peers.levels)."""
    from ranvier import _core

    from benchmarks.peers.levels import at_level
    from benchmarks.peers.process import Peer, PeerMissing, interpreter

    found = []
    for name in libraries:
        try:
            if name != "ranvier":
                interpreter(name)
                at_level(Peer(name), _core.isa())
            found.append(name)
        except PeerMissing as missing:
            print(f"left out: {missing}")
    return found


def record(
    comparison: Comparison,
    processes: Mapping[str, InTurns],
    case: str,
    threads: int,
    settings: Any,
) -> dict[str, Any]:
    from benchmarks import machine

    precision = case.split()[0]
    asked = {
        name: process
        for name, process in processes.items()
        if precision in comparison.precisions[name]
        and (name == "ranvier" or comparison.only_ours not in case)
    }
    found = measured(comparison, asked, case, settings)
    with machine.threads(threads):
        limit = comparison.limit(case)
    taken = {name: vars(times) for name, times in found.items()}
    return {"case": case, "threads": threads, "limit": limit, "libraries": taken}


def records(comparison: Comparison, settings: Any) -> Iterator[dict[str, Any]]:
    """A record of each case and number of threads; seconds are of a step."""
    libraries = present(settings.libraries)
    for threads in settings.threads:
        processes = {name: InTurns(comparison.module, name, threads) for name in libraries}
        try:
            for case in (name for name in comparison.cases if settings.part in name):
                yield record(comparison, processes, case, threads, settings)
        finally:
            for process in processes.values():
                process.close()


def table(comparison: Comparison, libraries: Sequence[str]) -> Iterator[str]:
    unit, _ = comparison.unit
    yield f"| {unit} | threads | {' | '.join(libraries)} | limit | best peer / ours | limit / ours | errors |"
    yield "|---" * (len(libraries) + 6) + "|"


def row(comparison: Comparison, libraries: Sequence[str], record: dict[str, Any]) -> str:
    """Times, with a mark where they are not steady; errors in the order of the libraries."""
    scale, found = comparison.unit[1], record["libraries"]
    cells = [
        f"{scale * found[name]['middle']:.4g}{' ?' * (found[name]['spread'] > STEADY)}"
        if name in found
        else ""
        for name in libraries
    ]
    middles = {name: times["middle"] for name, times in found.items() if name != comparison.unlike}
    ours = middles.pop("ranvier", float("nan"))
    best = min(middles.values(), default=float("nan"))
    ratios = [f"{best / ours:.2f}", f"{record['limit'] / ours:.2f}"]
    errors = ", ".join(f"{times['error']:.1g}" for times in found.values() if times["error"] is not None)
    parts = [
        record["case"],
        str(record["threads"]),
        *cells,
        f"{scale * record['limit']:.4g}",
        *ratios,
        errors,
    ]
    return f"| {' | '.join(parts)} |".replace("nan", "")


def main(comparison: Comparison, about: str | None, seconds: float) -> None:
    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="a line of JSON for each case, and no table")
        parser.add_argument(
            "--write", action="store_true", help="the table into docs/benchmarks/quantized.md"
        )

    settings = arguments(about, tuple(comparison.precisions), seconds, more)
    if settings.worker:
        make = comparison.make
        return answer(lambda case: make(settings.worker, case), 1, comparison.steps)
    lines = list(table(comparison, settings.libraries))
    if not settings.json:
        print("\n".join(lines))
    for record in records(comparison, settings):
        lines.append(row(comparison, settings.libraries, record))
        print(json.dumps(record) if settings.json else lines[-1], flush=True)
    if settings.write:
        from benchmarks import marked

        marked.write(PAGE, comparison.mark, lines)
    return None
