"""Products, predictions and training steps on 1, 4, 8 and 16 cores, beside PyTorch.

python -m benchmarks.many_cores [--quick] [--threads 1 4 8 16] [-k part]     prints the table
python -m benchmarks.many_cores --write                 puts it into docs/benchmarks/many_cores.md

A figure is the least time of rounds in which the two libraries take turns, in float32, each in a process of
its own on as many cores as it has threads.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

from ranvier import _core

from benchmarks import machine
from benchmarks.peers.process import ROOT
from benchmarks.ways import Ways, name_of, until

CASES: list[tuple[Any, ...]] = [
    *(("product", n, n, n) for n in (256, 1024, 2048)),
    *(("product", *sizes) for sizes in ((64, 4096, 4096), (12544, 147, 64), (8, 2048, 512))),
    *(("predict", name, batch) for name, batch in (("mlp", 128), ("cnn", 128))),
    *(("encoder", 16, 128), ("encoder", 1, 128)),
    *(("step", name, batch) for name, batch in (("mlp", 32), ("mlp", 128), ("784-1024-1024-10", 256))),
    *(("step", name, batch) for name, batch in (("cnn", 32), ("cnn", 128), ("vgg", 64))),
    *(("step", name, batch, False) for name, batch in (("mlp", 128), ("cnn", 32))),  # not captured
]
NAMES = ("ranvier highest", "torch float32")
PAGE = ROOT / "docs" / "benchmarks" / "many_cores.md"
Table = dict[str, dict[int, tuple[float, ...]]]


def measure(cases: Sequence[Any], counts: Sequence[int], rounds: int, end: float) -> Table:
    """For each case and number of threads the times of ranvier and of PyTorch."""
    found: Table = {name_of(case): {} for case in cases}
    for threads in counts:
        ways = Ways(NAMES, threads, rounds)
        for case in until(cases, end):
            times = ways.run(*case)
            least = tuple(times[name][0] for name in NAMES if name in times)
            found[name_of(case)][threads] = least
            print(f"{threads:2} {name_of(case):34}" + "".join(f"{1e3 * t:10.3f}" for t in least), flush=True)
        ways.close()
    return found


def lines(found: Table, counts: Sequence[int]) -> Iterator[str]:
    """Markdown: ms of ranvier, and in brackets PyTorch's time over it."""
    yield "| case | " + " | ".join(f"{count} threads" for count in counts) + " |"
    yield "|---" * (len(counts) + 1) + "|"
    for name, row in found.items():
        cells = []
        for times in (row.get(count, ()) for count in counts):
            ratio = f" ({times[1] / times[0]:.2f})" if len(times) > 1 else ""
            cells.append(f"{1e3 * times[0]:.3g}{ratio}" if times else "")
        yield f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 4, 8, 16])
    parser.add_argument("-k", default="", help="only cases whose name contains this")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    parser.add_argument(
        "--limit", type=float, default=float("inf"), help="seconds, after which rows are left out"
    )
    arguments = parser.parse_args()
    end = perf_counter() + arguments.limit
    counts = [count for count in arguments.threads if count <= len(os.sched_getaffinity(0))]
    cases = [case for case in CASES if arguments.k in name_of(case)]
    table = list(lines(measure(cases, counts, 3 if arguments.quick else 9, end), counts))
    print("\n".join(table))
    if arguments.write:
        head = f"""# Many cores

[Summary of all families](../benchmarks.md)

Written by `python -m benchmarks.many_cores --write`, on {machine.cpu_model()},
{_core.isa()}: ms of ranvier in float32, and in brackets PyTorch's time over it. Steps are captured but where
it says False. On all cores of a machine calls of less than a millisecond wait for whatever else runs there:
PyTorch's for a time slice.
"""
        PAGE.write_text("\n".join([head, *table, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
