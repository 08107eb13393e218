"""What keeps a benchmark honest: a wrong answer is refused, a missing peer is named, ratios are by round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import summary
from benchmarks.harness import Row, check, median_ratio
from benchmarks.peers import process
from benchmarks.peers.process import Peer, PeerMissing, Peers


def test_a_wrong_answer_is_refused() -> None:
    right = np.arange(3.0)
    check("ours", right, right, 0.0)
    check("ours", (right, right), [right, right], [0.0, 0.0])
    with pytest.raises(AssertionError, match="answer 0 is wrong, so it is not timed"):
        check("ours", right + 1e-3, right, 1e-6)
    with pytest.raises(AssertionError, match="2 answers; expected 1"):
        check("ours", (right, right), right, 1e-6)
    with pytest.raises(AssertionError, match="answer 0 is wrong"):
        check("ours", right * np.nan, right, 1e-6)


def test_a_missing_peer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("RANVIER_PEER_TORCH", raising=False)
    with pytest.raises(
        PeerMissing, match="torch is not installed here and RANVIER_PEER_TORCH names no Python"
    ):
        process.interpreter("torch")
    monkeypatch.setenv("RANVIER_PEER_TORCH", "/a/python")
    assert process.interpreter("torch") == "/a/python"


def test_a_peer_answers_from_its_own_process() -> None:
    peers = Peers()
    try:
        numpy_process = peers.get(Peer("numpy"), 1)
        assert peers.get(Peer("numpy"), 1) is numpy_process
        a = np.arange(6.0).reshape(2, 3)
        (product,) = numpy_process.prepare("case", "matmul", {"a": a, "b": a.T}, {})
        np.testing.assert_array_equal(product, a @ a.T)
        assert numpy_process.ask("time", case="case")["seconds"] > 0
        with pytest.raises(PeerMissing, match="numpy: no adapter for no_such_op"):
            numpy_process.prepare("case", "no_such_op", {}, {})
        with pytest.raises(RuntimeError, match="KeyError"):
            numpy_process.ask("time", case="another")
    finally:
        peers.close()


def record() -> dict[str, Any]:
    row = Row("matmul", "2x3x2", 2, 24.0, 64.0)
    row.ours = [1.0, 2.0, 4.0]  # the machine slows down from round to round
    row.peers = {"numpy": [2.0, 4.0, 8.0], "torch": [1.5, 3.0, 60.0]}
    row.limits, row.limited_by = [0.5, 1.0, 2.0], "FMA peak"
    row.skipped = {"jax": "jax is not installed"}
    return {**row.record(), "command": "pytest 'bench.py::row' --benchmark-only"}


def test_ratios_are_taken_within_a_round() -> None:
    found = record()
    assert found["ratios"] == {"numpy": 2.0, "torch": 1.5}
    assert (found["best_peer"], found["ratio"], found["fraction"]) == ("torch", 1.5, 0.5)
    text = "\n".join(summary.lines([found]))
    assert "50% of FMA peak" in text
    assert "not compared: jax is not installed" in text


def test_a_disturbed_round_is_left_out() -> None:
    assert median_ratio([2.0, 2.0, 900.0], [1.0, 1.0, 1.0]) == 2.0
    assert median_ratio([2.0, 900.0, 900.0], [1.0, 1.0, 1.0]) == 2.0
    assert median_ratio([2.0, 2.0, 2.0], [1.0, 50.0, 50.0]) == 2.0
    assert median_ratio([2.0, 900.0], [50.0, 1.0]) == 2.0  # never both: the best of each


def test_report(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the report's pictures need matplotlib")
    from benchmarks import report

    bandwidth = {level: {"read": 3e10, "read_write": 5e10} for level in ("L2", "L3", "DRAM")}
    limit = {"threads": 2, "fma": {"float32": 2e11, "float64": 1e11}, "bandwidth": bandwidth, "barrier": 1e-7}
    fact = {"what": "import", "value": "5 ms", "target": "at most 15 ms", "command": "pytest"}
    results = {
        "limits": {"cpu": "a CPU", "isa": "x86-64-v3", "limits": [limit]},
        "benchmarks": [{"extra_info": record()}, {"extra_info": fact}, {"extra_info": {}}],
    }
    page = report.write(json.loads(json.dumps(results)), tmp_path).read_text()
    assert "| 2x3x2 | 2 | 50% of FMA peak | torch | 1.50 |" in page
    assert "| import | 5 ms | at most 15 ms |" in page
    for name in ("matmul-bars.svg", "matmul-roofline-2.svg"):
        assert f"benchmarks/{name}" in page
        assert (tmp_path / "benchmarks" / name).read_text().startswith("<?xml")


def test_rows_run_again_replace_the_old_ones() -> None:
    report = pytest.importorskip("benchmarks.report", reason="the report's pictures need matplotlib")
    old = {"limits": 1, "benchmarks": [{"fullname": "a", "n": 1}, {"fullname": "b", "n": 1}]}
    new = {"limits": 2, "benchmarks": [{"fullname": "a", "n": 2}, {"fullname": "c", "n": 2}]}
    found = report.merged(old, new)
    assert found["limits"] == 2
    assert [(b["fullname"], b["n"]) for b in found["benchmarks"]] == [("a", 2), ("b", 1), ("c", 2)]
