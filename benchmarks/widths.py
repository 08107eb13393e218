"""Training steps of mlps over width and batch, beside PyTorch and JAX.

python -m benchmarks.widths            prints the ratios, in at most eight minutes on two cores
python -m benchmarks.widths --write    also writes docs/benchmarks/widths.md and its picture
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

from ranvier import _core
from support.tolerance import tolerance

from benchmarks import charts, machine, sweep
from benchmarks.peers.process import ROOT, Peers
from benchmarks.sweep_kinds import Case
from benchmarks.training import networks
from benchmarks.training.bench_training import captured
from benchmarks.training.cases import trainers
from benchmarks.training.networks import NETWORKS
from benchmarks.ways import until

WIDTHS = (16, 32, 64, 128, 256, 512, 1024, 2048)
BATCHES = (1, 4, 16, 64, 256, 1024)
CLASSES = 10
LIBRARIES = ("torch", "jax")
PAGE = ROOT / "docs" / "benchmarks" / "widths.md"
HEAD = f"""# Speed over width and batch

[Summary of all families](../benchmarks.md)

A training step of an mlp with two hidden layers: as many inputs as units in a hidden layer, ReLU, {CLASSES}
classes, cross-entropy, Adam. **A number is the time of the faster of PyTorch and JAX over ranvier's**: above
1, blue, ranvier is faster. PyTorch has its fused Adam, and the better of two settings of its allocator; JAX
one jitted step; ranvier's step is recorded once and replayed ([captured](../captured_step.md)). The first
losses are compared before anything is timed.

![the faster of PyTorch and JAX over ranvier, for each width and batch](widths.svg)

For a network of your own, take the width of its hidden layers and its batch. At the left and below, most of
the peers' time is what each call costs beside its arithmetic; the captured step has none of that. At the
right and above, most of it is matrix products, which all libraries compute at nearly the speed of the
machine. Networks with convolutions and pools gain more ([training](training.md)).

"""


def cases(threads: int, end: float) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Width, batch and the record of each case; the widest last, as they take longest."""
    peers = Peers()
    try:
        for width, batch in until([(w, b) for w in WIDTHS for b in BATCHES], end):
            name = f"{width}-{width}-{width}-{CLASSES}"
            arrays = networks.case(NETWORKS[name], batch)
            others = {k: p for k, p in trainers(name, False).items() if p.library in LIBRARIES}
            allowed = tolerance("float32", width, 3)
            case = Case(f"{name}, {batch}", "train_step", captured(name)(**arrays), arrays, others, allowed)
            yield width, batch, sweep.race("train_step", case, threads, peers)
    finally:
        peers.close()


def table(found: dict[tuple[int, int], dict[str, Any]]) -> Iterator[str]:
    yield "| width | " + " | ".join(f"batch {batch}" for batch in BATCHES) + " |"
    yield "|---" * (len(BATCHES) + 1) + "|"
    for width in WIDTHS:
        rows = [found.get((width, batch)) for batch in BATCHES]
        cells = [f"{1e3 * r['ours_seconds']:.3g} ({r['ratio']:.2f})" if r else "" for r in rows]
        yield f"| {width} | " + " | ".join(cells) + " |"


def words(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def write(found: dict[int, dict[tuple[int, int], dict[str, Any]]]) -> None:
    panels = {words(n): {key: r["ratio"] for key, r in rows.items()} for n, rows in found.items()}
    charts.widths(panels, PAGE.with_suffix(".svg"))
    versions = {
        name: v for rows in found.values() for r in rows.values() for name, v in r["versions"].items()
    }
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    where = (
        f"Written by `python -m benchmarks.widths --write` on {machine.cpu_model()}, {_core.isa()}; {named}."
    )
    lines = [HEAD + where, "Milliseconds of ranvier, and in brackets the ratio:"]
    for threads, rows in found.items():
        lines += ["", f"{words(threads)}:", "", *table(rows)]
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    parser.add_argument("--limit", type=float, default=220, help="seconds for each number of threads")
    given = parser.parse_args(arguments)
    found: dict[int, dict[tuple[int, int], dict[str, Any]]] = {}
    for threads in machine.thread_counts():
        rows = found[threads] = {}
        for width, batch, record in cases(threads, perf_counter() + given.limit):
            rows[width, batch] = record
            print(f"{threads} {width:5} {batch:5} {record['ratio']:.2f} of {record['best_peer']}", flush=True)
        print("\n".join(table(rows)))
    if given.write:
        write(found)


if __name__ == "__main__":
    main()
