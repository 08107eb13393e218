"""Tables of whole networks: captured, eager and the best peer, in milliseconds, and the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import summary, targets
from benchmarks.training.networks import TITLES

Record = Mapping[str, Any]

# page: the op of its captured rows, the targets
OPS = {"training": ("train_step", targets.STEPS), "inference": ("inference", targets.PREDICTIONS)}
LIBRARIES = ("torch", "jax", "scikit-learn", "onnxruntime")
HEAD = ["network", "threads", "captured, ms", "eager, ms", "best peer", "ms", "captured over it", "wanted"]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}"


def title(row: str) -> str:
    name, _, batch = row.rpartition(", ")
    return f"{TITLES.get(name, name)}, {batch}"


def eager(records: Sequence[Record], record: Record) -> Record | None:
    """The eager row that was timed beside a captured one."""
    same = (f"{record['op']}, eager", record["row"], record["threads"], record["isa"])
    found = (r for r in records if (r["op"], r["row"], r["threads"], r["isa"]) == same)
    return next(found, None)


def table(records: Sequence[Record], family: str) -> list[str]:
    """All rows of a page."""
    op, wanted = OPS[family]
    races = summary.races(records)
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for r in races:
        if r["op"] != op:
            continue
        beside, goal = eager(races, r), wanted.get(r["row"])
        best = (
            [r["best_peer"], milliseconds(r["peer_seconds"][r["best_peer"]])] if r["best_peer"] else ["", ""]
        )
        cells = [title(r["row"]), str(r["threads"]), milliseconds(r["ours_seconds"])]
        cells += [milliseconds(beside["ours_seconds"]) if beside else "", *best]
        cells += [f"{r['ratio']:.2f}" if r["ratio"] is not None else "no peer", f"{goal:g}" if goal else ""]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def against(record: Record, library: str) -> str:
    """The ratio to the fastest setting of a library."""
    ratios = [ratio for name, ratio in record["ratios"].items() if name.startswith(library)]
    return f"{min(ratios):.1f}" if ratios else ""


def readme(records: Sequence[Record]) -> list[str]:
    """The rows with a target, on most threads: captured, and eager, over each library's best."""
    races = summary.races(records)
    most = max((r["threads"] for r in races), default=1)
    head = ["network", "captured, ms", *(f"against {name}" for name in LIBRARIES), "eager, against the best"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for op, wanted in OPS.values():
        for r in races:
            if r["op"] != op or r["row"] not in wanted or r["threads"] != most:
                continue
            beside = eager(races, r)
            words = f"{'predictions of ' if op == 'inference' else ''}{title(r['row'])}"
            cells = [words, milliseconds(r["ours_seconds"]), *(against(r, name) for name in LIBRARIES)]
            cells.append(f"{beside['ratio']:.1f}" if beside and beside["ratio"] is not None else "")
            lines.append("| " + " | ".join(cells) + " |")
    return lines
