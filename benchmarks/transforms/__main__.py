"""Function transforms beside torch.func and JAX: a process for each library, in turns.

    python -m benchmarks.transforms [--tables A B C D] [--rows TEXT ...] [--quick] [--threads 1] [--write]

A: functions and networks. B: families of ops under vmap. C: rv.compile beside jax.jit. D: a step of
differentially private training, also beside Opacus. Each time is the median over rounds, in which all
libraries take turns: the processor's time on one thread, the clock's on more. Before that the answer is
compared with PyTorch's in float64.
`RANVIER_PEER_TORCH` and `RANVIER_PEER_JAX` are the Pythons that have these libraries.
"""

from __future__ import annotations

import argparse

from benchmarks.transforms.measure import measured, processes
from benchmarks.transforms.results import Result, cells, header, summary
from benchmarks.transforms.rows import Row
from benchmarks.transforms.tables import ROWS, TITLES


def chosen(settings: argparse.Namespace) -> dict[str, list[Row]]:
    """The rows that were asked for, by table."""
    found: dict[str, list[Row]] = {table: [] for table in settings.tables}
    for row in ROWS.values():
        is_named = not settings.rows or any(text in row.name for text in settings.rows)
        if row.table in found and is_named and (row.quick or not settings.quick):
            found[row.table].append(row)
    return {table: rows for table, rows in found.items() if rows}


def measure(settings: argparse.Namespace) -> dict[str, list[Result]]:
    """Prints a line for each row, and the summary of each table."""
    results: dict[str, list[Result]] = {}
    with processes(settings.threads) as asked:
        for table, rows in chosen(settings).items():
            print(f"{table}: {TITLES[table]}, us a call\n{'':66}", *(f"{name:>10}" for name in header(table)))
            results[table] = []
            for row in rows:
                result = measured(row, asked, settings)
                results[table].append(result)
                print(f"{row.name:66}", *(f"{cell:>10}" for cell in cells(result)), flush=True)
            print(*summary(table, results[table]), sep="\n", flush=True)
        if settings.write:
            from benchmarks.transforms import page  # needs ranvier, which the peers' processes lack

            versions = {library: process.ask("version") for library, process in asked.items()}
            page.write(results, settings, versions)
    return results


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", nargs="*", default=list(TITLES), choices=list(TITLES))
    parser.add_argument("--rows", nargs="*", help="only rows whose name has one of these texts in it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, help="5, in the quick mode 3")
    parser.add_argument(
        "--quick", action="store_true", help="short turns; of table B the first dimension alone"
    )
    parser.add_argument("--limit", type=float, default=60, help="seconds for the first calls of a row")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks/transforms.md; all rows")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.rounds is None:
        settings.rounds = 3 if settings.quick else 5
    if settings.write and (settings.rows or settings.quick or settings.tables != list(TITLES)):
        parser.error("--write is for all rows: without --rows, --tables and --quick")
    return settings


def main() -> None:
    settings = read_arguments()
    if settings.worker:
        from benchmarks.transforms import worker

        worker.serve(settings.worker)
        return
    measure(settings)


if __name__ == "__main__":
    main()
