"""`ranvier bench`: every row is measured and checked; figures that differ are refused."""

import json

import pytest
from ranvier import cli
from ranvier.cli import bench


@pytest.fixture
def one_round(monkeypatch):
    monkeypatch.setattr(bench, "ROUNDS", 1)


def test_rows(one_round, tmp_path, capsys):
    results = tmp_path / "bench.json"
    assert cli.main(["bench", "--threads", "1", "--json", str(results)]) == 0
    printed = capsys.readouterr().out
    assert "GFLOP/s float32" in printed
    assert "x as fast" in printed
    document = json.loads(results.read_text())
    assert document["threads"] == 1
    assert document["limits"]["flops"] > 1e9
    assert {row["library"] for row in document["figures"]} >= {"ranvier", "numpy"}
    for row in document["figures"]:
        assert row["seconds"] > 0
        assert (row["flops"] is None) == row["task"].startswith("Adam")


def test_a_wrong_result_is_refused(one_round, monkeypatch, capsys):
    measure = bench.Process.measure

    def wrong(self, task):
        measure(self, task)
        if self.library == "numpy":
            self.results[task] = [value + 1 for value in self.results[task]]

    monkeypatch.setattr(bench.Process, "measure", wrong)
    assert cli.main(["bench"]) == 1
    assert "numpy and ranvier differ on matmul" in capsys.readouterr().err
