"""The report: every row is visible, with its ratio or with the reason that it has none.

Pages are written from a made-up run (`results`); their lines are compared with texts that stand here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.benchmark_records import limits, record

import benchmarks.pages as pages
import benchmarks.report as report
from benchmarks import targets, whole

OWN = "x86-64-v4"


def results() -> dict[str, Any]:
    """A run with a fast row, a slow one, other dtypes and levels, a fact, a failure and a sweep."""
    rows = [
        record("1024x1024x1024", isa=OWN),
        record("64x64x64", slower=3.0, isa=OWN),
        record("64x64x64", isa=OWN, dtype="float64"),
        record("1024x1024x1024", isa="x86-64-v3"),
    ]
    fact = {"what": "import", "value": "5 ms", "target": "at most 15 ms", "command": "pytest"}
    alone = {**record("128", op="dropout", isa=OWN), "ratios": {}, "best_peer": None, "ratio": None}
    swept = [record("3x5x7", isa=OWN), record("7x5x3", slower=9.0, isa=OWN)]
    return {
        "limits": limits(OWN),
        "levels": {"x86-64-v3": limits("x86-64-v3")},
        "benchmarks": [{"extra_info": found} for found in (*rows, alone, fact, {"command": "pytest"})],
        "failed": [{"what": "bench_loss.py::row", "why": "answer 0 is wrong"}],
        "not_run": [{"what": "bench_import.py::bench_wheel_size", "why": "needs a wheel"}],
        "sweep": {"shapes": 2, "seed": 1, "rows": swept, "failed": [{"what": "pooling 1x1", "why": "wrong"}]},
    }


def test_tables_of_other_pages_are_written_between_their_marks(tmp_path: Path) -> None:
    mark = "<!-- physics errors: python -m benchmarks.report -->"
    other = "<!-- physics times: x -->"
    page = tmp_path / "physics.md"
    page.write_text(f"before\n{mark}\nold\n<!-- end -->\nafter\n{other}\nkept\n<!-- end -->\n")
    run = results()
    for level, error in ((OWN, "2.5e-3"), ("x86-64-v3", "1.5e-3")):
        fact = {"what": level, "value": error, "target": "", "command": "pytest"}
        row = {**fact, "table": "physics errors", "cells": [level, "9.0e-4", "8.0e-4", error]}
        run["benchmarks"].append({"extra_info": row})
    for _ in range(2):  # written anew
        pages.write(json.loads(json.dumps(run)), tmp_path)
    text = page.read_text()
    rows = "| x86-64-v4 | 9.0e-4 | 8.0e-4 | 2.5e-3 |\n| x86-64-v3 | 9.0e-4 | 8.0e-4 | 1.5e-3 |\n"
    assert f"|\n{rows}\n<!-- end -->\nafter\n{other}\nkept\n<!-- end -->\n" in text
    assert "old" not in text
    assert not (tmp_path / "control.md").exists()


def test_marks_of_all_tables_are_in_their_pages() -> None:
    for name in pages.TABLES:
        text = (report.ROOT / "docs" / f"{name.split()[0]}.md").read_text(encoding="utf-8")
        assert text.count(f"<!-- {name}: python -m benchmarks.report -->") == 1
    assert f"<!-- {report.README} -->" in (report.ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pages.write(json.loads(json.dumps(results())), tmp_path_factory.mktemp("docs"))


@pytest.fixture
def page(written: Path) -> str:
    return written.read_text()


def test_the_summary_names_what_is_slower_and_what_failed(page: str) -> None:
    assert "| matmul | 64x64x64 | 2 | torch | 0.50 | 17% of FMA peak |" in page
    assert "1 of 4 rows that have a peer" in page
    assert "**failed**: `bench_loss.py::row`: answer 0 is wrong" in page
    assert "not run: `bench_import.py::bench_wheel_size`: needs a wheel" in page
    assert "not compared: jax is not installed (matmul, dropout)" in page
    assert "1 rows have no peer: dropout" in page
    assert "| import | 5 ms | at most 15 ms |" in page


def test_the_summary_tells_dtypes_and_levels_apart(page: str) -> None:
    assert "| [matmul](benchmarks/matmul.md) | 2 | 0.87 | 1 | 64x64x64 (2 thr.) | 0.50 |" in page
    assert "| [matmul, float64](benchmarks/matmul.md) | 1 | 1.50 |" in page
    assert "| [matmul, x86-64-v3](benchmarks/matmul.md) | 1 | 1.50 |" in page
    assert "The same in x86-64-v3 code:" in page


def test_targets_stand_beside_the_figures(page: str) -> None:
    assert "| matmul, listed sizes | lowest ratio | 0.97 | 0.50 | 2 | **no**: " in page
    assert "| matmul at x86-64-v3 | lowest ratio | 1.00 | 1.50 | 1 | yes |" in page
    assert "| matmul, m, k and n from 512 | lowest share of the limit | 95% | 50% | 1 | **no**: " in page
    assert "| conv2d, listed layers | mean ratio | 1.15 |  | 0 | not measured |" in page


def test_the_sweep_shows_its_worst(page: str) -> None:
    assert "| matmul | 2 | 2 | 0.50 |" in page
    assert "| matmul | 7x5x3 | 2 | torch | 0.17 |" in page
    assert "failed: pooling 1x1: wrong" in page


def test_every_op_has_its_pictures_and_rows(page: str, written: Path) -> None:
    assert "benchmarks/overview.svg" in page
    family = (written.parent / "benchmarks" / "matmul.md").read_text()
    assert "| 64x64x64 | 2 | 17% of FMA peak | torch | 0.50 | numpy 0.67, torch 0.50 | " in family
    assert "| `bench_matmul[64x64x64]` |" in family
    names = ["overview", "sweep", "matmul-bars", "matmul-roofline-2", "matmul-float64-bars", "dropout-bars"]
    for name in names:
        assert (written.parent / "benchmarks" / f"{name}.svg").read_text().startswith("<?xml")
    assert "![matmul: roofline, threads: 2](matmul-roofline-2.svg)" in family


def test_a_target_counts_the_peers_it_names() -> None:
    steps = record("mlp, batch 32", op="train_step, eager", isa=OWN)
    steps["ratios"] = {"torch": 3.0, "jax.jit": 0.5, "torch, fused Adam": 2.0}
    (target,) = [t for t in targets.targets(OWN) if "eager" in t.what]
    assert target.reached([steps]) == 2.0


def test_rows_run_again_replace_the_old_ones() -> None:
    a, b, c = (f"benchmarks/report.py::{name}" for name in "abc")
    gone = {"fullname": "benchmarks/no_such_file.py::d", "n": 1}
    old = {"limits": 1, "levels": 3, "benchmarks": [{"fullname": a, "n": 1}, gone, {"fullname": b, "n": 1}]}
    new = {"limits": 2, "benchmarks": [{"fullname": a, "n": 2}, {"fullname": c, "n": 2}]}
    found = report.merged(old, new)
    assert (found["limits"], found["levels"]) == (2, 3)
    assert [(row["fullname"], row["n"]) for row in found["benchmarks"]] == [(a, 2), (b, 1), (c, 2)]


def test_what_is_timed_beside_a_row_is_a_row_of_its_own(tmp_path: Path) -> None:
    eager = record("mlp, batch 32", op="train_step, eager", slower=2.0, isa=OWN)
    row = {**record("mlp, batch 32", op="train_step", isa=OWN), "family": "training", "beside": [eager]}
    given = {**results(), "benchmarks": [{"extra_info": row}]}
    summary_page = pages.write(given, tmp_path).read_text()
    row = "| captured training step: mlp, batch 32 | lowest ratio | 3.00 | 1.50 | 1 | **no**: "
    assert row in summary_page
    assert "| eager training steps against torch | lowest ratio | 1.00 | 0.75 | 1 | **no**: " in summary_page
    page = (tmp_path / "benchmarks" / "training.md").read_text()
    assert "| mlp 784-128-64-10, batch 32 | 2 | 2e+03 | 4e+03 | torch | 3e+03 | 1.50 | 3 |" in page
    assert "## train_step, eager" in page
    assert "| 1 training steps, captured | 1.50 | 1.50 |" in whole.readme(pages.records_of(given), OWN)


def test_rows_of_a_lower_level_are_rows_of_their_own() -> None:
    row = {"fullname": "a", "extra_info": {"isa": OWN}}
    lower = {"fullname": "a", "extra_info": {"isa": "x86-64-v3"}}
    failed = [{"what": "b", "why": "wrong"}]
    level = {"benchmarks": [lower], "limits": 3, "failed": failed}
    found = report.with_level({"benchmarks": [row]}, "x86-64-v3", level)
    assert found["levels"] == {"x86-64-v3": 3}
    assert found["failed"] == [{"what": "x86-64-v3: b", "why": "wrong"}]
    assert len(report.merged({"benchmarks": [row]}, found)["benchmarks"]) == 2
