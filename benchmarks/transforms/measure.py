"""Rows in rounds, in which the processes of all libraries take turns."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np
from support.tolerance import tolerance

from benchmarks.peers.process import PeerMissing, interpreter
from benchmarks.peers.turns import PROCESSOR, InTurns
from benchmarks.transforms.results import Result
from benchmarks.transforms.rows import LIBRARIES, Row
from benchmarks.transforms.worker import NO_LIMIT


@contextmanager
def processes(threads: int) -> Iterator[dict[str, InTurns]]:
    """The process of each library that is installed. PyTorch must be: its float64 is the reference."""
    os.environ.pop(PROCESSOR, None)
    if threads == 1:
        os.environ[PROCESSOR] = "1"
    found: dict[str, InTurns] = {}
    try:
        for library in dict.fromkeys(LIBRARIES.values()):
            try:
                interpreter(library)
            except PeerMissing as missing:
                if library != "jax":
                    raise
                print(f"left out: {missing}")
                continue
            found[library] = InTurns("benchmarks.transforms", library, threads)
        yield found
    finally:
        for process in found.values():
            process.close()


def failure(reply: Any) -> str | None:
    """The message of a process that could not answer."""
    return reply["error"] if isinstance(reply, dict) else None


def compare(row: Row, found: Any, reference: Any) -> None:
    """Raises AssertionError if an answer is further from the one in float64 than rounding explains."""
    if row.moments is not None:
        for value, (expected, allowed) in zip(found, row.moments, strict=True):
            assert abs(value - expected) <= allowed, f"a moment is {value:.4g}; expected {expected:.4g}"
        return
    assert len(found) == len(reference), f"{len(found)} results; expected {len(reference)}"
    for (shape, values), (expected_shape, expected) in zip(found, reference, strict=True):
        assert shape == expected_shape, f"a result has shape {shape}; expected {expected_shape}"
        wanted = np.array(expected)
        allowed = tolerance("float32", row.terms, float(abs(wanted).max(initial=0)))
        error = float(abs(np.array(values) - wanted).max(initial=0))
        assert error <= allowed, f"the error is {error:.2g}; allowed {allowed:.2g}"


def why_not(row: Row, way: str, process: InTurns, reference: Any, limit: float) -> str | None:
    """Compares the answer of a way and makes the call that is timed; the reason if one of them fails."""
    found = process.ask("answer", row.table, row.name, way, limit)
    message = failure(found)
    if message is not None:
        return message
    try:
        compare(row, found, reference)
    except AssertionError as error:
        return f"wrong answer: {error}"
    return failure(process.ask("prepare", row.table, row.name, way, limit))


def in_rounds(result: Result, ways: Sequence[str], asked: Mapping[str, InTurns], settings: Namespace) -> None:
    """Times the ways in turns, and puts the medians into the result, or why a way fails."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    pace = "mixed, quick" if settings.quick else "mixed"
    for _ in range(settings.rounds):
        for way in list(times):
            reply = asked[LIBRARIES[way]].ask("time", way, pace)
            reason = failure(reply)
            if reason is None:
                times[way].append(reply)
            else:
                result.failures[way] = reason
                del times[way]
    result.seconds = {way: median(values) for way, values in times.items()}


def measured(row: Row, asked: Mapping[str, InTurns], settings: Namespace) -> Result:
    """The answers of a row are compared, then its ways are timed."""
    result = Result(row)
    reference = asked["torch"].ask("answer", row.table, row.name, "float64", NO_LIMIT)
    message = failure(reference)
    if message is not None:
        result.failures["the reference in float64"] = message
        return result
    ready = []
    for way in row.ways:
        if LIBRARIES[way] not in asked:
            continue
        reason = why_not(row, way, asked[LIBRARIES[way]], reference, settings.limit)
        if reason is None:
            ready.append(way)
        else:
            result.failures[way] = reason
    in_rounds(result, ready, asked, settings)
    for process in asked.values():
        process.ask("forget")
    return result
