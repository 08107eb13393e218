"""What keeps a benchmark honest: a wrong answer is refused, a missing peer is named, ratios are by round."""

from __future__ import annotations

import numpy as np
import pytest
from support.benchmark_records import record
from support.refused import refused

from benchmarks import summary
from benchmarks.harness import check, median_ratio
from benchmarks.peers import process
from benchmarks.peers.levels import at_level
from benchmarks.peers.process import Peer, PeerMissing, Peers


def test_a_wrong_answer_is_refused() -> None:
    right = np.arange(3.0)
    check("ours", right, right, 0.0)
    check("ours", (right, right), [right, right], [0.0, 0.0])
    refused(AssertionError, "answer 0 is wrong, so it is not timed", check, "ours", right + 1e-3, right, 1e-6)
    refused(AssertionError, "2 answers; expected 1", check, "ours", (right, right), right, 1e-6)
    refused(AssertionError, "answer 0 is wrong", check, "ours", right * np.nan, right, 1e-6)


def test_a_missing_peer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("RANVIER_PEER_TORCH", raising=False)
    with pytest.raises(
        PeerMissing, match="torch is not installed here and RANVIER_PEER_TORCH names no Python"
    ):
        process.interpreter("torch")
    monkeypatch.setenv("RANVIER_PEER_TORCH", "/a/python")
    assert process.interpreter("torch") == "/a/python"


def test_peers_run_the_code_of_our_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranvier._core.supported_isas", lambda: ["x86-64-v4", "x86-64-v3", "x86-64-v2"])
    peer = Peer("torch", {"groups": 2}, {"A": "b"})
    assert at_level(peer, "x86-64-v4") is peer
    lowered = at_level(peer, "x86-64-v3")
    assert lowered.options == peer.options
    assert lowered.environment["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert lowered.environment["A"] == "b"
    for library in ("jax", "onnxruntime"):
        with pytest.raises(PeerMissing, match=f"{library} has no setting for x86-64-v3 code"):
            at_level(Peer(library), "x86-64-v3")


def test_a_peer_answers_from_its_own_process() -> None:
    peers = Peers()
    try:
        numpy_process = peers.get(Peer("numpy"), 1)
        assert peers.get(Peer("numpy"), 1) is numpy_process
        a = np.arange(6.0).reshape(2, 3)
        (product,) = numpy_process.prepare("case", "matmul", {"a": a, "b": a.T}, {})
        np.testing.assert_array_equal(product, a @ a.T)
        assert numpy_process.seconds("case") > 0
        with pytest.raises(PeerMissing, match="numpy: no adapter for no_such_op"):
            numpy_process.prepare("case", "no_such_op", {}, {})
        refused(RuntimeError, "KeyError", numpy_process.seconds, "another")
        numpy_process.process.kill()
        numpy_process.process.wait()
        assert peers.get(Peer("numpy"), 1) is not numpy_process  # one that crashed is started again
    finally:
        peers.close()


def test_ratios_are_taken_within_a_round() -> None:
    found = record("2x3x2")
    assert found["ratios"] == {"numpy": 2.0, "torch": 1.5}
    assert (found["best_peer"], found["ratio"], found["fraction"]) == ("torch", 1.5, 0.5)
    text = "\n".join(summary.lines([found]))
    assert "50% of FMA peak" in text
    assert "not compared: jax is not installed (matmul)" in text


def test_a_disturbed_round_is_left_out() -> None:
    assert median_ratio([2.0, 2.0, 900.0], [1.0, 1.0, 1.0]) == 2.0
    assert median_ratio([2.0, 900.0, 900.0], [1.0, 1.0, 1.0]) == 2.0
    assert median_ratio([2.0, 2.0, 2.0], [1.0, 50.0, 50.0]) == 2.0
    assert median_ratio([2.0, 900.0], [50.0, 1.0]) == 2.0  # never both: the best of each
