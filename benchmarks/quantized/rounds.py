"""Cases that libraries answer in turns: answers are compared with NumPy's, then rounds of all alternate."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np

from benchmarks.peers.turns import PROCESSOR, InTurns, answer, arguments, sampled

Array = np.ndarray[Any, Any]
PRECISIONS = ("float32", "bfloat16", "int8", "int4")
BITS = {"float32": 32, "bfloat16": 16, "int8": 8, "int4": 4.5}  # of a weight; int4: a float16 scale for 32
STEADY, MOST = 0.1, 3  # rounds go on while the middle half of the times spreads further, up to MOST times
PROBES = 20
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "benchmarks" / "quantized.md"


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

    def has(self, library: str, case: str) -> bool:
        ours_alone = self.only_ours in case and library != "ranvier"
        return case.split()[0] in self.precisions[library] and not ours_alone


def error_of(comparison: Comparison, case: str, values: Sequence[float]) -> float:
    """Relative to the norm of NumPy's answer. Raises AssertionError above the bound."""
    expected, bound = sampled(comparison.expected(case)), comparison.errors[case.split()[0]]
    error = float(np.linalg.norm(np.array(values) - expected) / np.linalg.norm(expected))
    if not error <= bound:
        raise AssertionError(f"{case}: the relative error is {error:.2g}, allowed {bound}")
    return error


def spread(seconds: Sequence[float]) -> float:
    """Between the quartiles, relative to the median."""
    low, middle, high = quantiles(seconds, n=4, method="inclusive")
    return (high - low) / middle


def measured(processes: Mapping[str, InTurns], case: str, settings: Any) -> dict[str, list[float]]:
    """The seconds of each round: more of them where they spread."""
    found: dict[str, list[float]] = {name: [] for name in processes}
    for count in range(1, MOST * settings.rounds + 1):
        for name, process in processes.items():
            found[name].append(process.ask(case, settings.seconds)[1])
        if count >= max(2, settings.rounds) and all(spread(times) <= STEADY for times in found.values()):
            break
    return found


def read_seconds(size: float) -> float:
    """The shortest time in which the threads read so many bytes of memory."""
    from benchmarks import machine

    memory = 4 * machine.cache_sizes()["L3"]
    return size / max(machine.bandwidth(memory, "read", 1) for _ in range(PROBES))


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
    comparison: Comparison, processes: Mapping[str, InTurns], case: str, threads: int, settings: Any
) -> dict[str, Any]:
    """A case on so many threads: of each library the median and least seconds of a step, spread, error."""
    from benchmarks import machine

    asked = {name: process for name, process in processes.items() if comparison.has(name, case)}
    values = {name: process.ask(case, 0)[0] for name, process in asked.items()}
    libraries = {
        name: {
            "seconds": median(times),
            "least": min(times),
            "spread": spread(times),
            "error": None if name == comparison.unlike else error_of(comparison, case, values[name]),
        }
        for name, times in measured(asked, case, settings).items()
    }
    with machine.threads(threads):
        return {"case": case, "threads": threads, "limit": comparison.limit(case), "libraries": libraries}


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

    def cell(name: str) -> str:
        if name not in found:
            return ""
        return f"{scale * found[name]['seconds']:.4g}{' ?' if found[name]['spread'] > STEADY else ''}"

    alike = {name: one["seconds"] for name, one in found.items() if name != comparison.unlike}
    ours = alike.pop("ranvier", None)
    ratios = [
        f"{least / ours:.2f}" if ours and least else ""
        for least in (min(alike.values(), default=None), record["limit"])
    ]
    errors = ", ".join(f"{one['error']:.1g}" for one in found.values() if one["error"] is not None)
    times = [*map(cell, libraries), f"{scale * record['limit']:.4g}"]
    return f"| {' | '.join([record['case'], str(record['threads']), *times, *ratios, errors])} |"


def main(comparison: Comparison, about: str | None, seconds: float) -> None:
    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="a line of JSON for each case, and no table")
        page = PAGE.relative_to(ROOT)
        parser.add_argument("--write", action="store_true", help=f"the table into {page}")
        processor = (
            "one thread, the processor's time instead of the clock's: for a machine that does other work"
        )
        parser.add_argument("--processor", action="store_true", help=processor)

    settings = arguments(about, tuple(comparison.precisions), seconds, more)
    if settings.processor:
        settings.threads = [1]
        os.environ[PROCESSOR] = "1"
        unit, scale = comparison.unit
        comparison = replace(comparison, unit=(f"{unit} of the processor", scale))
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
        from ranvier import _core

        from benchmarks import machine, marked

        where = f"On {machine.cpu_model()}, {_core.isa()}:"
        marked.write(PAGE, comparison.mark, [where, "", *lines])
    return None
