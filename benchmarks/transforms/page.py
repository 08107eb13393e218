"""The page of the documentation with the times of function transforms."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

from ranvier import _core

from benchmarks.machine import cpu_model
from benchmarks.peers.process import ROOT
from benchmarks.transforms.results import Result, cells, header, summary
from benchmarks.transforms.tables import TITLES

PAGE = ROOT / "docs" / "benchmarks" / "transforms.md"
HEAD = """# Function transforms beside torch.func and JAX

[Summary of all families](../benchmarks.md)

Microseconds of a call, on {threads}: {clock}. One process for each library, in turns, medians of {rounds}
rounds; {cpu}, {isa}; {versions}. Each answer is compared with PyTorch's in float64 before it is timed. The
columns "eager" and "compiled" are the time of the fastest peer over ours, of torch.func and JAX for ranvier,
and of `jax.jit` for `rv.compile`: above 1 ranvier is faster.

```
RANVIER_PEER_TORCH=/its/bin/python RANVIER_PEER_JAX=/its/bin/python python -m benchmarks.transforms --write
```
"""
NOTES = {
    "A": "Each function is written with `vmap`, `grad`, `jacrev`, `jacfwd`, `hessian` and `functional_call`.",
    "B": "A slice has a few tens of values. The dimension is that of the slices, in each argument.",
    "C": "`rv.compile` beside `jax.jit`.",
    "D": 'Gradients of single samples, each scaled to a norm of at most 1, and noise on their sum; "eager" '
    "also counts Opacus.",
}


def table_of(results: list[Result]) -> Iterator[str]:
    names = header(results[0].row.table)
    yield f"| row | {' | '.join(names)} |"
    yield "|---" * (len(names) + 1) + "|"
    for result in results:
        yield f"| {result.row.name} | {' | '.join(cells(result))} |"


def write(
    results: Mapping[str, list[Result]], settings: argparse.Namespace, versions: Mapping[str, str]
) -> None:
    """Writes the page, a section for each table."""
    one = settings.threads == 1
    head = HEAD.format(
        threads="one thread" if one else f"{settings.threads} threads",
        clock="the processor's time" if one else "the clock's time",
        rounds=settings.rounds,
        cpu=cpu_model(),
        isa=_core.isa(),
        versions=", ".join(f"{name} {version}" for name, version in versions.items() if name != "ranvier"),
    )
    lines = [head]
    for table, found in results.items():
        lines += [f"## {TITLES[table]}", "", NOTES[table], ""]
        lines += [f"- {line}" for line in summary(table, found)]
        lines += ["", *table_of(found), ""]
    PAGE.write_text("\n".join(lines), encoding="utf-8")
