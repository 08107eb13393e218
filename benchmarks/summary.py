"""Records as lines of text: ratios and fractions, for the terminal and for the report.

A record of a race has an "op"; one that stands alone (threads, import) has "what", "value" and "target".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp, log
from typing import Any

Record = Mapping[str, Any]

HEADER = ("op", "row", "threads", "of the limit", "best peer", "ratio to it", "ratio to each")


def races(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if "op" in record]


def facts(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if "what" in record]


def geometric_mean(values: Iterable[float]) -> float:
    logs = [log(value) for value in values]
    return exp(sum(logs) / len(logs))


def cells(record: Record) -> tuple[str, ...]:
    fraction, ratio = record["fraction"], record["ratio"]
    each = ", ".join(f"{name} {value:.2f}" for name, value in sorted(record["ratios"].items()))
    return (
        record["op"],
        record["row"],
        str(record["threads"]),
        f"{fraction:.0%} of {record['limited_by']}" if fraction is not None else "",
        record["best_peer"] or "no peer",
        f"{ratio:.2f}" if ratio is not None else "",
        each,
    )


def means(records: Sequence[Record]) -> list[str]:
    """One line per op and thread count: the geometric mean of the ratios to each row's best peer."""
    groups: dict[tuple[str, int], list[float]] = {}
    for record in races(records):
        if record["ratio"] is not None:
            groups.setdefault((record["op"], record["threads"]), []).append(record["ratio"])
    return [
        f"{op}, {threads} thread{'s' * (threads > 1)}: {geometric_mean(ratios):.2f} times as fast as the "
        f"best peer of each row (geometric mean of {len(ratios)}; lowest {min(ratios):.2f})"
        for (op, threads), ratios in groups.items()
    ]


def skipped(records: Sequence[Record]) -> list[str]:
    reasons = {reason for record in records for reason in record.get("skipped", {}).values()}
    return [f"not compared: {reason}" for reason in sorted(reasons)]


def lines(records: Sequence[Record]) -> list[str]:
    """A text table with the means below it. A ratio above 1 means that we are faster."""
    table = []
    if races(records):
        rows = [HEADER, *(cells(record) for record in races(records))]
        widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
        for row in rows:
            padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            table.append("  ".join(padded).rstrip())
        table.append("")
    stated = [f"{r['what']}: {r['value']} (target: {r['target']})" for r in facts(records)]
    return [*table, *means(records), *stated, *skipped(records)]
