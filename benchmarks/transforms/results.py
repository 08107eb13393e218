"""What was measured of a row, as cells of a table, and the summary of a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import geometric_mean

from benchmarks.transforms.rows import COMPILED, LIBRARIES, Row
from benchmarks.transforms.tables import ROWS

OURS = {"eager": "ranvier", "compiled": "rv.compile"}
ENOUGH = 0.95  # a ratio from which a row is as fast as its peers
EVERY_COLUMN = ("ranvier", "torch.func", "opacus", "jax", "rv.compile", "jax.jit")


@dataclass
class Result:
    """What was found of a row: the seconds of each way, or why there are none."""

    row: Row
    seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def ratio(self, mode: str) -> float | None:
        """The time of the fastest peer over ours, eager or compiled."""
        peers = [way for way in self.seconds if LIBRARIES[way] != "ranvier"]
        alike = [self.seconds[way] for way in peers if (way in COMPILED) == (mode == "compiled")]
        ours = self.seconds.get(OURS[mode])
        if ours is None or not alike:
            return None
        return min(alike) / ours


def columns_of(table: str) -> list[str]:
    """The ways of a table, in the order of the columns."""
    ways = {way for row in ROWS.values() if row.table == table for way in row.ways}
    return [way for way in EVERY_COLUMN if way in ways]


def modes_of(table: str) -> list[str]:
    """Which ratios a table has."""
    return [mode for mode, way in OURS.items() if way in columns_of(table)]


def header(table: str) -> list[str]:
    return [*columns_of(table), *modes_of(table)]


def cells(result: Result) -> list[str]:
    """Microseconds of each way, then the ratios; empty where there are none."""
    table = result.row.table
    found = []
    for way in columns_of(table):
        seconds = result.seconds.get(way)
        missing = "fails" if way in result.failures else ""
        found.append(missing if seconds is None else f"{1e6 * seconds:.4g}")
    for mode in modes_of(table):
        ratio = result.ratio(mode)
        found.append("" if ratio is None else f"{ratio:.3g}")
    return found


def summary(table: str, results: list[Result]) -> Iterator[str]:
    """A line for each ratio of a table, and one for each failure."""
    for mode in modes_of(table):
        ratios = {result.row.name: result.ratio(mode) for result in results}
        known = {name: ratio for name, ratio in ratios.items() if ratio is not None}
        if not known:
            continue
        lowest = min(known, key=lambda name: known[name])
        below = sum(ratio < ENOUGH for ratio in known.values())
        yield (
            f"{table}, {mode}: {len(known)} rows, the fastest peer's time over ours: geometric mean "
            f"{geometric_mean(known.values()):.3g}, lowest {known[lowest]:.3g} ({lowest}), "
            f"below {ENOUGH}: {below}"
        )
    for result in results:
        for way, reason in result.failures.items():
            yield f"{table}, {result.row.name}: {way} fails: {reason.splitlines()[0]}"
