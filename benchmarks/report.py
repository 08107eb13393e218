"""One report from pytest-benchmark's JSON: Markdown, with bars and rooflines as SVG.

python -m benchmarks.report                    run everything, then write docs/benchmarks.md
python -m benchmarks.report -k matmul          run a part; the report holds that part
python -m benchmarks.report --json FILE        write the report of an earlier run
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import charts, machine, summary
from benchmarks.peers.process import ROOT

Record = Mapping[str, Any]

LATEST = ROOT / ".benchmarks" / "latest.json"
INTRODUCTION = """# Benchmarks

Written by `python -m benchmarks.report`. Each row was checked before it was timed; then ranvier, each peer in
a process of its own, and the machine's limit were timed in turn, and the row is the median over the rounds. A
ratio above 1 means that ranvier is faster. "Of the limit" is the least time that this machine needs for the
row's arithmetic (FMAs in registers) or memory traffic (a buffer of the same size), measured in the same
rounds, over the time that ranvier took.
"""


def run(keyword: str | None, path: Path) -> int:
    """Run the benchmarks into a JSON file; pytest's exit status (1: some row failed, the rest is there)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", "benchmarks", "--benchmark-only", f"--benchmark-json={path}"]
    return subprocess.run(command + (["-k", keyword] if keyword else []), cwd=ROOT, check=False).returncode


def merged(old: Record, new: Record) -> dict[str, Any]:
    """The new results, in the old ones' order, with the old rows that were not run again."""
    rows = {b["fullname"]: b for b in (*old["benchmarks"], *new["benchmarks"])}
    return {**new, "benchmarks": list(rows.values())}


def read(path: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results


def rerun(keyword: str | None) -> int:
    """Run all, or a part whose rows replace those in the latest results."""
    part = LATEST.with_name("part.json")
    status = run(keyword, part)
    if status <= 1:
        results = merged(read(LATEST), read(part)) if keyword and LATEST.exists() else read(part)
        LATEST.write_text(json.dumps(results), encoding="utf-8")
    return status


def machine_section(limits: Record) -> str:
    words = f"{limits['cpu']}, instruction set {limits['isa']}. Bandwidth is read / read and write."
    return f"## The machine\n\n{words}\n\n{machine.table(dict(limits))}\n"


def race_section(op: str, records: Sequence[Record], limits: Record, folder: Path) -> str:
    """One op: bars, rooflines where arithmetic and traffic are known, a table."""
    pictures = [f"![{op} against its peers](benchmarks/{op}-bars.svg)"]
    charts.bars(records, folder / f"{op}-bars.svg")
    for limit in limits["limits"]:
        count = limit["threads"]
        points = [r for r in records if r["threads"] == count and r["flops"] and r["moved"]]
        if points:
            name = f"{op}-roofline-{count}.svg"
            charts.roofline(points, limit, folder / name)
            pictures.append(f"![{op}: roofline on {count} threads](benchmarks/{name})")
    lines = [
        "| row | threads | of the limit | best peer | ratio | to each | reproduce |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records:
        lines.append("| " + " | ".join([*summary.cells(record)[1:], f"`{record['command']}`"]) + " |")
    means = "\n".join(f"- {line}" for line in summary.means(records))
    return f"## {op}\n\n{means}\n\n" + "\n\n".join(pictures) + "\n\n" + "\n".join(lines) + "\n"


def facts_section(records: Sequence[Record]) -> str:
    lines = ["## Threads, import, size\n", "| what | measured | target | reproduce |", "|---|---|---|---|"]
    lines += [f"| {r['what']} | {r['value']} | {r['target']} | `{r['command']}` |" for r in records]
    return "\n".join(lines) + "\n"


def versions_section(records: Sequence[Record]) -> str:
    versions = {name: v for record in records for name, v in record.get("versions", {}).items()}
    compared = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return "\n".join(
        ["## Compared with\n", f"{compared}.\n", *(f"- {line}" for line in summary.skipped(records))]
    )


def write(results: Record, out: Path) -> Path:
    records = [b["extra_info"] for b in results["benchmarks"] if b["extra_info"]]
    limits, folder = results["limits"], out / "benchmarks"
    folder.mkdir(parents=True, exist_ok=True)
    sections = [INTRODUCTION, machine_section(limits)]
    ops = dict.fromkeys(record["op"] for record in summary.races(records))
    for op in ops:
        rows = [record for record in summary.races(records) if record["op"] == op]
        sections.append(race_section(op, rows, limits, folder))
    if summary.facts(records):
        sections.append(facts_section(summary.facts(records)))
    if ops:
        sections.append(versions_section(records))
    page = out / "benchmarks.md"
    page.write_text("\n".join(sections).rstrip() + "\n", encoding="utf-8")
    return page


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="Run benchmarks, write a report."
    )
    parser.add_argument(
        "--json", type=Path, help="pytest-benchmark's file of an earlier run, instead of running"
    )
    parser.add_argument("-k", dest="keyword", help="run only benchmarks whose name matches, as pytest's -k")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="folder to write to")
    arguments = parser.parse_args()
    status = 0
    if arguments.json is None:
        status = rerun(arguments.keyword)
        if status > 1:
            return status
    page = write(read(arguments.json or LATEST), arguments.out)
    print(f"wrote {page}")
    return status


if __name__ == "__main__":
    sys.exit(main())
