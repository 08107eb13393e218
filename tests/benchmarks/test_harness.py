"""Checks of the benchmarks' harness: answers, peers, ratios, errors, steps by hand, the sweep's cases.

A peer is a library that is timed beside ranvier, in its own process. Figures are compared with some that are
worked out here, gradients with differences, products with NumPy's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
import ranvier as rv
from support.benchmark_records import record
from support.refused import refused

from benchmarks import accuracy, many_cores, summary, sweep
from benchmarks.harness import check, median_ratio
from benchmarks.peers import process
from benchmarks.peers.levels import at_level
from benchmarks.peers.process import Peer, PeerMissing, Peers
from benchmarks.sweep_kinds import KINDS, MOST_ELEMENTS, layer, layer_flops, log_uniform
from benchmarks.training import by_hand, networks
from benchmarks.ways import Cases, differs, until


def test_a_wrong_answer_is_refused() -> None:
    right = np.arange(3.0)
    check("ours", right, right, 0.0)
    check("ours", (right, right), [right, right], [0.0, 0.0])
    refused(AssertionError, "answer 0 is wrong, so it is not timed", check, "ours", right + 1e-3, right, 1e-6)
    refused(AssertionError, "2 answers; expected 1", check, "ours", (right, right), right, 1e-6)
    refused(AssertionError, "answer 0 is wrong", check, "ours", right * np.nan, right, 1e-6)


def find_nothing(name: str) -> None:
    """In place of `importlib.util.find_spec`, where no package is installed."""


def levels() -> list[str]:
    """In place of `supported_isas`, on a machine with all levels."""
    return ["x86-64-v4", "x86-64-v3", "x86-64-v2"]


def test_a_missing_peer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.importlib.util, "find_spec", find_nothing)
    monkeypatch.delenv("RANVIER_PEER_TORCH", raising=False)
    with pytest.raises(PeerMissing, match="torch is not installed here and RANVIER_PEER_TORCH names no"):
        process.interpreter("torch")
    monkeypatch.setenv("RANVIER_PEER_TORCH", "/a/python")
    assert process.interpreter("torch") == "/a/python"


def test_peers_run_the_code_of_our_level(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ranvier._core.supported_isas", levels)
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


# The comparison of errors: what it measures, and what it says of it.


def test_errors_are_relative_to_the_exact_values() -> None:
    exact = np.array([3.0, -4.0, 3.0, -4.0])
    rms, largest = accuracy.errors(np.array([3.0, -4.0, 3.5, -4.0], np.float32), exact)
    assert rms == pytest.approx(0.25 / np.sqrt(12.5))
    assert largest == pytest.approx(0.5 / np.sqrt(12.5))


def test_ours_and_numpys_products_are_measured_on_the_same_data() -> None:
    peers = Peers()
    try:
        found = accuracy.matmul_errors(peers, (8, 512, 8))
    finally:
        peers.close()
    assert {"numpy (OpenBLAS)", "ranvier, x86-64-v2"} & set(found)
    assert all(0 < rms < 1e-5 and rms < largest for rms, largest in found.values())


def test_the_verdicts_name_the_largest_ratios() -> None:
    matmuls = {
        "a": {"ranvier, v4": (2.0, 3.0), "numpy": (1.0, 3.0)},
        "b": {"ranvier, v4": (1.0, 3.0), "numpy": (2.0, 3.0)},
    }
    convs = {"c": {"ranvier direct, v4": (2.0, 3.0), "ranvier Winograd, v4": (3.0, 3.0), "torch": (2.0, 3.0)}}
    assert accuracy.verdicts(matmuls, convs) == [
        "- matmul, our rms error over that of numpy: 0.50 to 2.00.",
        "- conv2d, direct, our rms error over that of torch: 1.00 to 1.00.",
        "- Winograd's rms error over the direct kernel's: 1.50 to 1.50 (allowed: 2).",
    ]
    assert accuracy.table({"a, float64": {"numpy": (2e-16, 3e-16)}})[-1] == "| a, float64 | 2.00 / 3.0 |"


# The training steps by hand are what the timed ones are checked against: their gradients by differences.


# rounding of the loss, eps * |loss| / step, and the third derivative's share, step**2; with larger steps one
# of the 100,000 ReLUs and maxima of an image network comes to its kink
STEP = 1e-7
TOLERANCE = 1e-6


class Gradients(by_hand.HandSteps):
    """Keeps the gradients and leaves the parameters as they are."""

    def _update(self, gradients: list[np.ndarray]) -> None:
        self.gradients = gradients


def first_step(network: networks.Network, arrays: dict[str, np.ndarray]) -> tuple[float, list[np.ndarray]]:
    """The loss and the gradients of a step in float64."""
    steps = Gradients(network, arrays, np.float64)
    return steps(), steps.gradients


def small(name: str) -> tuple[networks.Network, dict[str, np.ndarray]]:
    """A network of the benchmarks without dropout, and its parameters with one sample, in float64."""
    network = networks.NETWORKS[name].without_dropout()
    arrays = {key: value.astype(np.float64) for key, value in networks.case(network, 4).items()}
    arrays["x"] = arrays["x"][:1]
    arrays["y"] = arrays["y"][:1]
    if network.loss == "classes":
        arrays["y"] = arrays["y"].astype(np.int64)
    return network, arrays


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_gradients_by_differences(name: str, rng: np.random.Generator) -> None:
    network, arrays = small(name)
    _, gradients = first_step(network, arrays)
    for i, gradient in enumerate(gradients):
        parameter = arrays[f"p{i}"]
        assert gradient.shape == parameter.shape
        index = tuple(int(rng.integers(size)) for size in parameter.shape)
        losses = []
        for sign in (1, -1):
            parameter[index] += sign * STEP
            losses.append(first_step(network, arrays)[0])
            parameter[index] -= sign * STEP
        assert gradient[index] == pytest.approx((losses[0] - losses[1]) / (2 * STEP), abs=TOLERANCE)


@pytest.mark.parametrize(("name", "count"), [("tabular", 705), ("mlp", 109386), ("cnn", 225034)])
def test_parameter_counts(name: str, count: int) -> None:
    network = networks.NETWORKS[name]
    assert sum(p.size for p in networks.parameters(networks.case(network, 4096))) == count


def test_losses_fall() -> None:
    network = networks.NETWORKS["mlp"]
    steps = by_hand.HandSteps(network, networks.case(network, 128), np.float32)
    losses = [steps() for _ in range(60)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


# The sweep: the same seed draws the same shapes, and what is drawn can be run.


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_the_same_cases(kind: str) -> None:
    first = list(KINDS[kind](np.random.default_rng([3, 1])))
    second = list(KINDS[kind](np.random.default_rng([3, 1])))
    assert [case.name for case in first] == [case.name for case in second]
    assert len({case.name for case in first}) == len(first)
    for case in first:
        answer = case.ours()
        answers = answer if isinstance(answer, tuple) else (answer,)
        assert all(np.isfinite(a).all() for a in answers)
        assert all(a.size <= max(MOST_ELEMENTS, 2048**2) for a in case.inputs.values())


def test_sizes_reach_both_ends() -> None:
    rng = np.random.default_rng(0)
    drawn = [log_uniform(rng, 1, 8) for _ in range(500)]
    assert (min(drawn), max(drawn)) == (1, 8)


def test_layers_have_pixels() -> None:
    rng = np.random.default_rng(0)
    assert all(layer_flops(*layer(rng)) > 0 for _ in range(500))


def test_a_small_sweep_against_numpy(threads: Callable[[int], None]) -> None:
    threads(1)
    said: list[str] = []
    found = sweep.run(2, 5, ["matmul"], said.append)
    assert not found["failed"]
    assert [row["op"] for row in found["rows"]] == ["matmul", "matmul"]
    assert all(row["ratios"]["numpy"] > 0 for row in found["rows"])
    assert said[0].startswith("| matmul |")
    assert len(sweep.worst(found["rows"])) == 4


# Cases that are measured in several precisions, on ranvier and beside it.


CASES = [
    ("product", 5, 40, 33),
    ("product", 5, 40, 33, "W"),
    ("product", 40, 5, 33, "x"),
    ("conv", False, 2, 4, 6, 6, 8, 3, 1, 1, 1),
    ("conv", True, 2, 4, 6, 6, 8, 3, 2, 1, 2),
    ("attention", 1, 2, 5, 8),
    ("lstm", 2, 3, 8),
    ("step", "mlp", 8),
    ("step", "cnn", 8, False),
    ("predict", "12-8-10", 4),
]


@pytest.fixture(autouse=True)
def _precision():
    yield
    rv.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answers_of_all_precisions_are_close(case):
    answers = {}
    for precision in ("highest", "high", "medium"):
        call, answer = getattr(Cases("ranvier", precision), case[0])(*case[1:])
        assert differs(case, f"ranvier {precision}", answer, answers) == ""
        answers[precision] = answer
        call()


@pytest.mark.parametrize(
    ("kind", "name", "answer"),
    [
        ("product", "ranvier highest", [2**-18]),
        ("product", "torch autocast", [2**-6]),
        ("product", "ranvier high", [float("nan")]),
        ("step", "torch float32", [1.0, 2.1]),
        ("step", "ranvier medium", [1.0, 2.3]),
        ("step", "ranvier medium", [float("nan"), 2.0]),
    ],
)
def test_wrong_answers_are_refused(kind, name, answer):
    assert differs((kind,), name, answer, {"ranvier highest": [1.0, 2.0]}) != ""


def test_no_case_begins_after_the_end(capsys):
    assert list(until("abc", time.perf_counter() + 60)) == ["a", "b", "c"]
    assert list(until("abc", 0)) == []
    assert "a; b; c" in capsys.readouterr().out


def test_the_table_has_a_cell_for_what_was_not_measured():
    *_, first, second = many_cores.lines({"a": {1: (0.001, 0.002)}, "b": {16: (0.003,)}}, [1, 16])
    assert (first, second) == ("| a | 1 (2.00) |  |", "| b |  | 3 |")
