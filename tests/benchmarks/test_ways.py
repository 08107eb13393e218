"""Cases that are measured in several precisions, on ranvier and beside it."""

import time

import pytest
import ranvier as rv

from benchmarks import many_cores
from benchmarks.ways import Cases, differs, until

CASES = [
    ("product", 5, 40, 33), ("product", 5, 40, 33, "W"), ("product", 40, 5, 33, "x"),
    ("conv", False, 2, 4, 6, 6, 8, 3, 1, 1, 1), ("conv", True, 2, 4, 6, 6, 8, 3, 2, 1, 2),
    ("attention", 1, 2, 5, 8), ("lstm", 2, 3, 8), ("step", "mlp", 8), ("step", "cnn", 8, False),
    ("predict", "mlp", 4),
]  # fmt: skip


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
