"""The ``race`` fixture, and a summary in ratios instead of pytest-benchmark's bare times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import machine, summary
from benchmarks.harness import Race
from benchmarks.peers.process import Peers

LONGEST_ROW_SECONDS = 900

_failed: list[dict[str, str]] = []  # rows without figures that a report must list
_not_run: list[dict[str, str]] = []


def pytest_configure(config: Any) -> None:
    config.option.benchmark_quiet = True


def pytest_collection_modifyitems(items: list[Any]) -> None:
    for item in items:
        if "race" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(LONGEST_ROW_SECONDS))


@pytest.fixture(scope="session")
def peers() -> Iterator[Peers]:
    """The peers' processes, for the whole session."""
    processes = Peers()
    yield processes
    processes.close()


@pytest.fixture
def race(peers: Peers, benchmark: Any, request: Any) -> Race:
    benchmark.extra_info["command"] = f"pytest '{request.node.nodeid}' --benchmark-only"
    benchmark.extra_info["family"] = request.node.path.stem.removeprefix("bench_")
    benchmark.extra_info["id"] = request.node.nodeid.partition("::")[2]
    return Race(peers, benchmark)


def pytest_runtest_logreport(report: Any) -> None:
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        why = crash.message if crash else str(report.longrepr)
        _failed.append({"what": report.nodeid, "why": " ".join(why.split())[:300]})
    elif report.skipped:
        _not_run.append({"what": report.nodeid, "why": str(report.longrepr[2]).removeprefix("Skipped: ")})


def pytest_collectreport(report: Any) -> None:
    if report.failed:
        _failed.append({"what": report.nodeid, "why": str(report.longrepr).strip().splitlines()[-1][:300]})


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    session = getattr(config, "_benchmarksession", None)
    records = [b.extra_info for b in getattr(session, "benchmarks", ())]
    if records:
        terminalreporter.section("against the best peer and the machine's limit")
        for line in summary.lines(records):
            terminalreporter.write_line(line)


def pytest_benchmark_update_machine_info(machine_info: dict[str, Any]) -> None:
    machine_info.pop("node", None)  # the host's name is private


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    """The limits go into the file with the rows: a report may be written elsewhere, later."""
    output_json["limits"] = machine.describe()
    output_json["failed"], output_json["not_run"] = _failed, _not_run
