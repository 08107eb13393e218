"""Random shapes of each kind, ranvier against PyTorch (and NumPy for products), to prevent tuning to a list.

python -m benchmarks.sweep                       40 shapes of each kind
python -m benchmarks.sweep --sweep 200 --seed 7  more, others
python -m benchmarks.sweep --kind products       one kind

With RANVIER_ISA=x86-64-v3 the peers are held to AVX2 too (peers/levels.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from ranvier import _core

from benchmarks import machine, summary
from benchmarks.clock import one_round
from benchmarks.harness import Row, check
from benchmarks.peers.levels import at_level
from benchmarks.peers.process import PeerMissing, PeerProcess, Peers
from benchmarks.sweep_kinds import KINDS, Case

SHAPES = 40
SEED = 1
ROUNDS = 3
LONG_SECONDS = 0.1  # a call that takes this long is timed once
WORST = 10


def race(kind: str, case: Case, threads: int, peers: Peers) -> dict[str, Any]:
    """One case, as ``harness.Race`` does it, but quickly and without the machine's limit."""
    row = Row(kind.split(",")[0], case.name, threads, 0.0, 0.0, case.dtype)
    ready: dict[str, PeerProcess] = {}
    with machine.threads(threads):
        answer = case.ours.answer() if hasattr(case.ours, "answer") else case.ours()
        for label, peer in case.peers.items():
            try:
                process = peers.get(at_level(peer, _core.isa()), threads)
                theirs = process.prepare("sweep " + label, case.adapter, case.inputs, peer.options)
            except PeerMissing as missing:
                row.skipped[label] = str(missing)
                continue
            check(f"ranvier, against {label}", answer, theirs, 2 * case.tolerance)  # errors of both
            ready[label], row.peers[label] = process, []
            row.versions[peer.library] = process.version
        for _ in range(ROUNDS):
            for label, process in ready.items():
                row.peers[label].append(process.seconds("sweep " + label, "sweep"))
            row.ours.append(one_round(case.ours, "sweep"))
            if row.ours[0] > LONG_SECONDS:
                break
    for label, process in ready.items():
        process.forget("sweep " + label)
    return row.record()


def run(
    shapes: int, seed: int, kinds: Sequence[str] = tuple(KINDS), say: Callable[[str], None] = print
) -> dict[str, Any]:
    """The sweep's records, and what failed. The number of threads is drawn too."""
    peers, rows, failed = Peers(), [], []
    counts = machine.thread_counts()
    try:
        for number, (kind, draw) in enumerate(KINDS.items()):
            if kind not in kinds:
                continue
            rng = np.random.default_rng([seed, number])  # a kind's shapes do not depend on the other kinds
            before = len(rows)
            for _ in range(shapes):
                threads = int(rng.choice(counts))
                for case in draw(rng):
                    try:
                        rows.append(race(kind, case, threads, peers))
                    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
                        failed.append({"what": f"{kind} {case.name}", "why": str(error).strip()})
            for line in table(rows[before:])[2:]:
                say(line)
    finally:
        peers.close()
    return {"shapes": shapes, "seed": seed, "rows": rows, "failed": failed}


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A line of Markdown for each kind and number of threads."""
    lines = [
        "| kind | threads | measured | geometric mean | median | slowest tenth | worst | at least as fast |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (kind, threads), group in summary.groups(rows).items():
        ratios = [float(r["ratio"]) for r in summary.compared(group)]
        if not ratios:
            continue
        faster = sum(ratio >= 1 for ratio in ratios) / len(ratios)
        figures = [summary.geometric_mean(ratios), *np.quantile(ratios, [0.5, 0.1]), ratios[0]]
        cells = [kind, str(threads), str(len(ratios)), *(f"{f:.2f}" for f in figures), f"{faster:.0%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def worst(rows: Iterable[dict[str, Any]], count: int = WORST) -> list[str]:
    """The lowest ratios, as Markdown."""
    lines = ["| kind | shape | threads | best peer | ratio | ours, us |", "|---|---|---|---|---|---|"]
    for r in summary.compared(list(rows))[:count]:
        cells = [summary.group_name(r), r["row"], str(r["threads"]), r["best_peer"], f"{r['ratio']:.2f}"]
        lines.append("| " + " | ".join([*cells, f"{r['ours_seconds'] * 1e6:.1f}"]) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sweep", description="Random shapes against the peers."
    )
    parser.add_argument("--sweep", type=int, default=SHAPES, metavar="N", help="shapes of each kind")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    arguments = parser.parse_args()
    found = run(arguments.sweep, arguments.seed, arguments.kind or tuple(KINDS))
    print(
        "\n".join(["", *worst(found["rows"]), *(f"failed: {f['what']}: {f['why']}" for f in found["failed"])])
    )


if __name__ == "__main__":
    main()
