"""The node suite of the onnx package, with the counts of docs/onnx.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

from onnx_files.node_suite import Outcome, outcomes
from ranvier.onnx.quantized_weights import PRODUCT, TABLE
from ranvier.onnx.registry import OPERATORS

DOCUMENT = (Path(__file__).parents[2] / "docs" / "onnx.md").read_text()

# Cases of operators that the library has and that fail, with the reason.
FAILING = {
    "strings, sequences and optional values": {
        "test_equal_string", "test_equal_string_broadcast", "test_identity_opt", "test_identity_sequence",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def results() -> list[Outcome]:
    return list(outcomes("node"))


@pytest.mark.slow
def test_every_case(results: list[Outcome]) -> None:
    failing = {r.name for r in results if r.kind == "failed"}
    expected = set().union(*FAILING.values())
    reasons = {r.name: r.reason for r in results}
    assert {name: reasons[name] for name in failing - expected} == {}
    assert expected - failing == set(), "these pass now"


@pytest.mark.slow
def test_counts_of_the_document(results: list[Outcome]) -> None:
    passed = sum(r.kind == "passed" for r in results)
    held = sum(r.kind != "not held" for r in results)
    assert passed >= 0.95 * held
    found = re.search(r"passes (\d+) of (\d+) cases .* (\d+) in all", DOCUMENT.replace("\n", " "))
    assert found is not None
    assert tuple(map(int, found.groups())) == (passed, held, len(results))


@pytest.mark.parametrize("suite", ["pytorch-converted", "pytorch-operator"])
def test_files_of_old_versions(suite: str) -> None:
    """Version 6 of the operator set."""
    assert {r.name: r.reason for r in outcomes(suite) if r.kind != "passed"} == {}


def test_operators_of_the_document() -> None:
    table = DOCUMENT[
        DOCUMENT.index("## Operators that are read") : DOCUMENT.index("## Operations that are written")
    ]
    made_by_quantize = {PRODUCT, TABLE}  # of nodes that were read; no file has them
    assert set(re.findall(r"`([A-Z]\w+)`", table)) == OPERATORS.keys() - made_by_quantize
