"""The report: the machine's limits, all rows against the peers, random shapes; Markdown with SVG pictures.

python -m benchmarks.report                    run everything, then write docs/benchmarks.md and its pages
python -m benchmarks.report -k bench_matmul    run a part, whose rows replace those of the latest run; without
                                               one, only the pages of the part are written
python -m benchmarks.report --sweep 100        more random shapes of each kind (0: none), --seed S: others
python -m benchmarks.report --json FILE        write the report of an earlier run
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ranvier import _core

from benchmarks import marked, pages, sweep, whole
from benchmarks.peers.levels import SETTINGS
from benchmarks.peers.process import ROOT

Record = Mapping[str, Any]

DOCS, README = ROOT / "docs", "speed: python -m benchmarks.report"
LATEST = ROOT / ".benchmarks" / "latest.json"
# what also runs at lower levels: against NumPy and PyTorch at the same level
LEVEL_FILES = ["benchmarks/kernels/bench_matmul.py", "benchmarks/kernels/bench_conv2d.py"]
LEVEL_KEYWORD = "not backward and not float64"
ALWAYS = ["--benchmark-only", "--continue-on-collection-errors"]  # a broken file is named, the others run


def pytest(path: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run benchmarks into a JSON file; pytest's exit status (1: a row failed, the others have results)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        *arguments,
        *ALWAYS,
        f"--benchmark-json={path}",
        "-q",
    ]
    done = subprocess.run(command, cwd=ROOT, check=False, env={**os.environ, **environment})
    return done.returncode


def key(benchmark: Record) -> tuple[str, str]:
    return benchmark["fullname"], benchmark.get("extra_info", {}).get("isa", "")


def merged(old: Record, new: Record) -> dict[str, Any]:
    """The new results, in the old ones' order, with the old rows that were not run again and still exist."""
    kept = [b for b in old["benchmarks"] if (ROOT / b["fullname"].partition("::")[0]).exists()]
    rows = {key(b): b for b in (*kept, *new["benchmarks"])}
    return {**old, **new, "benchmarks": list(rows.values())}


def with_level(results: Record, level: str, found: Record) -> dict[str, Any]:
    """The results with the rows and the limits of a lower ISA level."""
    rows = [*results["benchmarks"], *found["benchmarks"]]
    levels = {**results.get("levels", {}), level: found["limits"]}
    failed = [*results.get("failed", ()), *({**f, "what": f"{level}: {f['what']}"} for f in found["failed"])]
    return {**results, "benchmarks": rows, "levels": levels, "failed": failed}


def read(path: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results


def measure(keyword: str | None, shapes: int, seed: int) -> int:
    """Run all, or a part whose rows replace those in the latest results; pytest's exit status."""
    part = LATEST.with_name("part.json")
    status = pytest(part, ["benchmarks", *(["-k", keyword] if keyword else [])], {})
    if status > 1 or not part.exists():  # nothing ran; pytest has printed the reason
        return status or 1
    results = read(part)
    own, ran = _core.supported_isas()[0], {b["fullname"].partition("::")[0] for b in results["benchmarks"]}
    for level in SETTINGS:
        if level == own or level not in _core.supported_isas() or not ran & set(LEVEL_FILES):
            continue
        words = f"({keyword}) and {LEVEL_KEYWORD}" if keyword else LEVEL_KEYWORD
        if pytest(part, [*LEVEL_FILES, "-k", words], {"RANVIER_ISA": level}) <= 1 and part.exists():
            results = with_level(results, level, read(part))
    if shapes:
        results["sweep"] = sweep.run(shapes, seed)
    if keyword and LATEST.exists():
        results = merged(read(LATEST), results)
    elif keyword:
        results["part"] = True
    LATEST.write_text(json.dumps(results), encoding="utf-8")
    return status


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.report", description="Run benchmarks, write a report."
    )
    parser.add_argument("--json", type=Path, help="the results of an earlier run, instead of running")
    parser.add_argument("-k", dest="keyword", help="run only benchmarks whose name matches, as pytest's -k")
    parser.add_argument(
        "--sweep", type=int, metavar="N", help=f"random shapes of each kind ({sweep.SHAPES}; with -k: none)"
    )
    parser.add_argument("--seed", type=int, default=sweep.SEED, help="of the random shapes")
    parser.add_argument("--out", type=Path, default=DOCS, help="folder to write to")
    arguments = parser.parse_args()
    status = 0
    if arguments.json is None:
        shapes = arguments.sweep
        if shapes is None:
            shapes = 0 if arguments.keyword else sweep.SHAPES
        status = measure(arguments.keyword, shapes, arguments.seed)
        if status > 1:
            return status
    results = read(arguments.json or LATEST)
    page = pages.write(results, arguments.out, results.get("part", False))
    if "part" not in results:
        records = pages.records_of(results)
        whole.picture(records, arguments.out / "benchmarks" / "networks.svg")
        if arguments.out == DOCS:
            marked.write(ROOT / "README.md", README, whole.readme(records, results["limits"]["isa"]))
    print(f"wrote {page}")
    return status


if __name__ == "__main__":
    sys.exit(main())
