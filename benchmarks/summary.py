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
    """The records of races; what was timed beside a row follows it as a separate op."""
    found: list[Record] = []
    for record in records:
        if "op" in record:
            shared = {name: record[name] for name in ("command", "family", "id") if name in record}
            found += [record, *({**own, **shared} for own in record.get("beside", ()))]
    return found


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


def group_name(record: Record, own_isa: str | None = None) -> str:
    """The op, with its dtype and its ISA level where they are not float32 and the machine's own."""
    dtype, isa = record.get("dtype", "float32"), record.get("isa", own_isa)
    special = [dtype] * (dtype != "float32") + [str(isa)] * (own_isa is not None and isa != own_isa)
    return ", ".join([record["op"], *special])


def groups(records: Sequence[Record], own_isa: str | None = None) -> dict[tuple[str, int], list[Record]]:
    """The races by op and number of threads."""
    found: dict[tuple[str, int], list[Record]] = {}
    for record in races(records):
        found.setdefault((group_name(record, own_isa), record["threads"]), []).append(record)
    return found


def compared(records: Sequence[Record]) -> list[Record]:
    """The records with a peer, the slowest against its best peer first."""
    return sorted((r for r in records if r["ratio"] is not None), key=lambda r: float(r["ratio"]))


def means(records: Sequence[Record]) -> list[str]:
    """One line per op and thread count: the geometric mean of the ratios to each row's best peer."""
    lines = []
    for (op, threads), group in groups(records).items():
        ratios = [record["ratio"] for record in compared(group)]
        if ratios:
            lines.append(
                f"{op}, {threads} thread{'s' * (threads > 1)}: {geometric_mean(ratios):.2f} times as fast as "
                f"the best peer of each row (geometric mean of {len(ratios)}; lowest {ratios[0]:.2f})"
            )
    return lines


def skipped(records: Sequence[Record]) -> list[str]:
    """Why peers are missing, each reason with the ops that it concerns."""
    reasons: dict[str, dict[str, None]] = {}
    for record in records:
        for reason in record.get("skipped", {}).values():
            reasons.setdefault(reason, {})[record.get("op", record.get("what", ""))] = None
    return [f"not compared: {reason} ({', '.join(ops)})" for reason, ops in sorted(reasons.items())]


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
