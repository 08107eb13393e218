"""Tables of whole networks: captured, otherwise and the best peer, in milliseconds, and the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import charts, summary, targets
from benchmarks.training.networks import TITLES

Record = Mapping[str, Any]

# page: the op of its captured rows, the targets
OPS = {"training": ("train_step", targets.STEPS), "inference": ("inference", targets.PREDICTIONS)}
LIBRARIES = ("torch", "jax", "scikit-learn", "onnxruntime")
OTHERS = ["eager", "class"]  # timed beside the captured rows


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}"


def title(row: str) -> str:
    name, _, batch = row.rpartition(", ")
    return f"{TITLES.get(name, name)}, {batch}"


def other(records: Sequence[Record], record: Record, how: str = "eager") -> Record | None:
    """The row that was timed beside a captured one, the eager one or another."""
    same = (f"{record['op']}, {how}", record["row"], record["threads"], record["isa"])
    found = (r for r in records if (r["op"], r["row"], r["threads"], r["isa"]) == same)
    return next(found, None)


def table(records: Sequence[Record], family: str) -> list[str]:
    """All rows of a page."""
    op, wanted = OPS[family]
    races = summary.races(records)
    others = [how for how in OTHERS if any(r["op"] == f"{op}, {how}" for r in races)]
    head = ["network", "threads", "captured, ms", *(f"{how}, ms" for how in others)]
    head += ["best peer", "ms", "captured over it", "wanted"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for r in races:
        if r["op"] != op:
            continue
        beside, goal = [other(races, r, how) for how in others], wanted.get(r["row"])
        best = (
            [r["best_peer"], milliseconds(r["peer_seconds"][r["best_peer"]])] if r["best_peer"] else ["", ""]
        )
        cells = [title(r["row"]), str(r["threads"]), milliseconds(r["ours_seconds"])]
        cells += [milliseconds(b["ours_seconds"]) if b else "" for b in beside] + best
        cells += [f"{r['ratio']:.2f}" if r["ratio"] is not None else "no peer", f"{goal:g}" if goal else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def against(record: Record, library: str) -> str:
    """The ratio to the fastest setting of a library."""
    ratios = [ratio for name, ratio in record["ratios"].items() if name.startswith(library)]
    return f"{min(ratios):.1f}" if ratios else ""


def chosen(records: Sequence[Record]) -> list[tuple[str, Record]]:
    """Titles and captured rows on most threads: those with a target, and all that a peer is faster in."""
    races = summary.races(records)
    most = max((r["threads"] for r in races), default=1)
    rows = []
    for op, wanted in OPS.values():
        for r in races:
            slower = r["ratio"] is not None and r["ratio"] < 1
            if r["op"] == op and r["threads"] == most and (r["row"] in wanted or slower):
                words = "predictions of " if op == "inference" else ""
                rows.append((words + title(r["row"]), r))
    return rows


def picture(records: Sequence[Record], path: Path) -> None:
    """The time of each library over ours, as bars, for the README."""
    bars = [
        (
            f"{words} ({milliseconds(r['ours_seconds'])} ms)",
            {n: float(a) for n in LIBRARIES if (a := against(r, n))},
        )
        for words, r in chosen(records)
    ]
    if bars:
        charts.libraries(bars, LIBRARIES, path)


# what the README says of: ops of the machine's own level in float32
SAID = {
    "train_step": "training steps, captured",
    "train_step, eager": "training steps, not captured",
    "fit": "whole fits",
    "inference": "predictions, captured",
    "conv2d": "single convolutions",
    "matmul": "single matrix products",
}


def readme(records: Sequence[Record], isa: str) -> list[str]:
    """The README's table: the mean over the fastest peer for each number of threads, and the lowest."""
    races = [r for r in summary.compared(summary.races(records)) if r["isa"] == isa]
    counts = sorted({r["threads"] for r in races})
    head = ["", *(f"mean on {n} thread{'s' * (n > 1)}" for n in counts), "lowest"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for op, words in SAID.items():
        rows = [r for r in races if summary.group_name(r) == op]
        if rows:
            of_count = [[r["ratio"] for r in rows if r["threads"] == n] for n in counts]
            cells = [f"{summary.geometric_mean(ratios):.2f}" if ratios else "" for ratios in of_count]
            lines.append(f"| {len(rows)} {words} | {' | '.join(cells)} | {rows[0]['ratio']:.2f} |")
    return lines
