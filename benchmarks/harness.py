"""A row of a benchmark: the answer is checked, then ranvier, the peers and the machine are timed in turn.

A benchmark file looks like this::

    @pytest.mark.parametrize("threads", thread_counts())
    def bench_matmul(race, threads):
        race(
            "matmul", "64x64x64",                    # the op's name in the adapters, the row's name
            ours=lambda a, b: lambda: _core.matmul(a, b, None, "none", None),
            inputs={"a": a, "b": b},                 # the same for every library, by name
            expected=a.astype(float) @ b,            # or a list, where ours returns several
            tolerance=tolerance(a.dtype, 64),
            flops=2 * 64**3,                         # or moved=bytes, or both: what the limit is taken for
            peers=["numpy", "torch"],                # or {label: Peer(library, options, environment)}
            threads=threads,
        )

``ours`` sets up and returns the call that is timed, as the adapters in ``peers/`` do. Where ranvier has a
second way to the same answer, ``beside={"its name in the report": setup}`` times it in the same rounds,
against the same peers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
from ranvier import _core

from benchmarks import machine
from benchmarks.clock import one_round
from benchmarks.peers.levels import at_level
from benchmarks.peers.process import Peer, PeerMissing, PeerProcess, Peers, named

ROUNDS = 4
FEWER_ROUNDS = 3
LONG_ROW_SECONDS = 0.1  # calls that together take longer get fewer rounds: each is an average itself
LARGE_PROBE, LARGEST_PROBE = 8 << 20, 128 << 20  # bytes
DISTURBED = 3.0  # a round that took this many times the fastest one was disturbed by another process


def check(who: str, answer: Any, expected: Any, tolerance: float | Sequence[float]) -> None:
    """Refuse an answer that is not the expected one: a wrong answer is never timed."""
    answers = list(answer) if isinstance(answer, (tuple, list)) else [answer]
    wanted = list(expected) if isinstance(expected, (tuple, list)) else [expected]
    allowed = list(tolerance) if isinstance(tolerance, Sequence) else [tolerance] * len(wanted)
    if len(answers) != len(wanted):
        raise AssertionError(f"{who}: {len(answers)} answers; expected {len(wanted)}")
    for i, (a, w, t) in enumerate(zip(answers, wanted, allowed, strict=True)):
        found, right = np.asarray(a), np.asarray(w)
        if found.shape == right.shape:  # a tenth of the time of assert_allclose
            off = found != right if right.dtype == bool else np.abs(found - right)
            if bool((off <= t).all()):
                continue
        message = f"{who}: answer {i} is wrong, so it is not timed"
        np.testing.assert_allclose(found, right, rtol=0, atol=t, err_msg=message)


def median_ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """The median of each round's ratio: what slows a round down slows all who run in it.

    Rounds in which either side was disturbed are left out: a team whose processor is taken waits for whole
    time slices at every barrier, hundreds of times its own work.
    """
    pairs = [
        (t, o)
        for t, o in zip(theirs, ours, strict=True)
        if t < DISTURBED * min(theirs) and o < DISTURBED * min(ours)
    ]
    return median(t / o for t, o in pairs or [(min(theirs), min(ours))])


@dataclass(frozen=True)
class Limit:
    """The least time that the machine needs for the work: arithmetic or memory, whichever takes longer."""

    dtype: str
    flops: float  # floating-point operations of one call
    moved: float  # bytes that one call has to read and write at least
    working_set: float  # bytes; decides which cache level limits the speed
    traffic: str  # "read", or "read_write" where about as much is written

    def seconds(self) -> tuple[float, str]:
        compute = self.flops / machine.fma_peak(self.dtype) if self.flops else 0.0
        memory = self.moved / self.bandwidth() if self.moved else 0.0
        return (compute, "FMA peak") if compute >= memory else (memory, "bandwidth")

    def bandwidth(self) -> float:
        """Bandwidth of a buffer of that size; a large buffer is passed once, and LARGEST_PROBE is enough."""
        size = min(int(self.working_set), LARGEST_PROBE)
        return machine.bandwidth(size, self.traffic, 3 if size < LARGE_PROBE else 1)


@dataclass
class Row:
    """The figures of a row; the report reads ``record``."""

    op: str
    name: str
    threads: int
    flops: float
    moved: float
    dtype: str = "float32"
    isa: str = field(default_factory=_core.isa)
    ours: list[float] = field(default_factory=list)
    peers: dict[str, list[float]] = field(default_factory=dict)
    limits: list[float] = field(default_factory=list)
    limited_by: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        ratios = {name: median_ratio(seconds, self.ours) for name, seconds in self.peers.items()}
        best = min(ratios, key=ratios.__getitem__) if ratios else None
        return {
            "op": self.op,
            "row": self.name,
            "threads": self.threads,
            "dtype": self.dtype,
            "isa": self.isa,
            "flops": self.flops,
            "moved": self.moved,
            "ours_seconds": median(self.ours),
            "peer_seconds": {name: median(seconds) for name, seconds in self.peers.items()},
            "ratios": ratios,
            "best_peer": best,
            "ratio": ratios[best] if best else None,
            "fraction": median_ratio(self.limits, self.ours) if self.limits else None,
            "limited_by": self.limited_by or None,
            "versions": self.versions,
            "skipped": self.skipped,
        }


class Race:
    """Runs one row; the ``race`` fixture hands it to a benchmark."""

    def __init__(self, peers: Peers, benchmark: Any) -> None:
        self._peers = peers
        self._benchmark = benchmark  # pytest-benchmark's, which keeps the record

    def __call__(
        self,
        op: str,
        name: str,
        *,
        ours: Callable[..., Callable[[], Any]],
        inputs: Mapping[str, np.ndarray],
        expected: Any,
        tolerance: float | Sequence[float],
        peers: Sequence[str] | Mapping[str, Peer],
        threads: int,
        flops: float = 0.0,
        moved: float = 0.0,
        working_set: float | None = None,
        traffic: str = "read_write",
        dtype: str = "float32",
        rounds: int | None = None,
        beside: Mapping[str, Callable[..., Callable[[], Any]]] | None = None,
    ) -> dict[str, Any]:
        row = Row(op, name, threads, flops, moved, dtype)
        more: list[tuple[Row, Callable[[], Any]]] = []
        limit = Limit(dtype, flops, moved, moved if working_set is None else working_set, traffic)
        with machine.threads(threads):
            call = self._our_own("ranvier", ours, inputs, expected, tolerance)
            for other, make in (beside or {}).items():
                own = replace(row, op=other, ours=[], peers=row.peers, limits=row.limits)
                more.append((own, self._our_own(other, make, inputs, expected, tolerance)))
            ready = self._prepare(row, named(peers), inputs, expected, tolerance)
            if rounds is None:
                start = perf_counter()
                call()
                long = (perf_counter() - start) * (1 + len(ready)) > LONG_ROW_SECONDS
                rounds = FEWER_ROUNDS if long else ROUNDS
            # the record's rounds are pytest-benchmark's; what it times is one of ours with its warm-up
            self._benchmark.pedantic(
                lambda: row.ours.append(one_round(call)),
                setup=lambda: self._others(row, more, ready, limit),
                rounds=rounds,
            )
        for label, process in ready.items():
            process.forget(f"{name} {label}")
        record = row.record()
        if more:
            shared = {"limited_by": row.limited_by, "versions": row.versions, "skipped": row.skipped}
            record["beside"] = [replace(own, **shared).record() for own, _ in more]
        self._benchmark.group = op
        self._benchmark.extra_info.update(record)
        return record

    @staticmethod
    def _our_own(
        who: str,
        make: Callable[..., Callable[[], Any]],
        inputs: Mapping[str, np.ndarray],
        expected: Any,
        tolerance: float | Sequence[float],
    ) -> Callable[[], Any]:
        call = make(**inputs)
        check(who, call.answer() if hasattr(call, "answer") else call(), expected, tolerance)
        return call

    def _prepare(
        self,
        row: Row,
        peers: Mapping[str, Peer],
        inputs: Mapping[str, np.ndarray],
        expected: Any,
        tolerance: float | Sequence[float],
    ) -> dict[str, PeerProcess]:
        ready = {}
        for label, peer in peers.items():
            try:
                process = self._peers.get(at_level(peer, row.isa), row.threads)
                answer = process.prepare(f"{row.name} {label}", row.op, inputs, peer.options)
            except PeerMissing as missing:
                row.skipped[label] = str(missing)
                continue
            check(label, answer, expected, tolerance)
            row.versions[peer.library] = process.version
            row.peers[label] = []
            ready[label] = process
        return ready

    def _others(
        self,
        row: Row,
        more: Sequence[tuple[Row, Callable[[], Any]]],
        ready: Mapping[str, PeerProcess],
        limit: Limit,
    ) -> None:
        for own, call in more:
            own.ours.append(one_round(call))
        for label, process in ready.items():
            row.peers[label].append(process.seconds(f"{row.name} {label}"))
        if limit.flops or limit.moved:
            seconds, row.limited_by = limit.seconds()
            row.limits.append(seconds)
