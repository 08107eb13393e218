"""Fixtures that every test may use, how the whole suite is run, and the time that each folder took."""

from __future__ import annotations

import _thread
import copy
import gc
import importlib
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

# References are many small matrix products. BLAS threads make them slower, up to a hundred times when the
# machine has other work. This must be set before NumPy is loaded; subprocesses inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest
import ranvier as rv
from hypothesis import HealthCheck, settings
from ranvier import _core
from ranvier.compile import CompiledFunction, program_cache, shared_programs
from ranvier.train import compiled_parts, forms_of_fits

gc.disable()  # until the tests are collected: no object is dropped before

# A machine that has other work draws examples slowly; that is no fault.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

NOT_QUICK = ("benchmarks", "cli", "end_to_end", "examples", "mutation", "plot", "runtime")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """A run of the whole suite (no path is named) uses two processes, unless the command says -n."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it; tests send it
    if hasattr(config, "workerinput") or config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return  # one of the two processes, or a part of the suite
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if config.getoption("numprocesses", 0) is None and cpus > 1:
        config.option.numprocesses = 2
        config.option.dist = "worksteal"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`pytest -m quick`: the first parameters of each test, without those marked slow and without the folders
    that train networks or start processes. In the whole suite these come first, so that both processes end
    with short tests, at the same time. `pytest -m levels`: the tests that run at each ISA level."""
    seen, slow = set(), set()
    for item in items:
        if {"isa", "isas"} & set(item.fixturenames):
            item.add_marker("levels")
        test = item.nodeid.partition("[")[0]
        if test.split("/")[1] in NOT_QUICK or item.get_closest_marker("slow"):
            slow.add(item)
        elif test not in seen:
            item.add_marker("quick")
        seen.add(test)
    items.sort(key=lambda item: item not in slow)


def pytest_collection_finish() -> None:
    """The tests themselves, a million objects, are not looked at by each gc.collect() from now on."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_report_header() -> str:
    return f"levels of the CPU that this build has: {', '.join(_core.supported_isas())}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Seconds and number of tests by folder, if more than one was run."""
    seconds: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            folder = "/".join(report.nodeid.split("::")[0].split("/")[:2])
            folder = "tests" if folder.endswith(".py") else folder
            seconds[folder] += report.duration
            tests[folder] += report.when == "call"
    if len(seconds) > 1:
        terminalreporter.section("time by folder")
        for folder, time in seconds.most_common():
            terminalreporter.write_line(f"{time:7.1f} s {tests[folder]:6} tests  {folder}")


@pytest.fixture(autouse=True)
def early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short fits are compiled, too; what other tests have recorded, and what that cost, does not matter."""
    program_cache._unpaid.clear()
    shared_programs.forget()
    forms_of_fits._forms.clear()
    for name in ("_PAYS", "_FEW", "_RECORDING"):
        monkeypatch.setattr(compiled_parts, name, 0)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that asks for `isa` runs at each ISA level in turn (of `-m quick` at the first), every time with
    the same random numbers and number of threads."""
    if "isa" not in pyfuncitem.fixturenames:
        return None
    __tracebackhide__ = True
    levels, threads = _core.supported_isas(), _core.get_num_threads()
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    for level in levels[:1] if pyfuncitem.config.option.markexpr == "quick" else levels:
        _core.set_isa(level)
        rv.manual_seed(0)
        own = {"isa": level, "rng": copy.deepcopy(arguments.get("rng"))}
        try:
            pyfuncitem.obj(**{name: own.get(name, value) for name, value in arguments.items()})
        except BaseException:
            print("failed at", level)  # pytest shows it below the traceback
            raise
        _core.set_num_threads(threads)
    return True


@pytest.fixture
def isa() -> Iterator[None]:
    """The level at which the test runs now; the earlier one is set again afterwards."""
    before, threads = _core.isa(), _core.get_num_threads()
    yield
    _core.set_isa(before)
    _core.set_num_threads(threads)


class _Levels:
    """Each ISA level in turn, set during its pass of the loop."""

    def __iter__(self) -> Iterator[str]:
        for level in _core.supported_isas():
            _core.set_isa(level)
            yield level


@pytest.fixture
def isas() -> Iterator[_Levels]:
    """A loop over the ISA levels within one test, whose reference is computed once for all of them."""
    before = _core.isa()
    yield _Levels()
    _core.set_isa(before)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """A function that sets the number of threads for the rest of the test."""
    before = _core.get_num_threads()
    yield _core.set_num_threads
    _core.set_num_threads(before)


@pytest.fixture(scope="session")
def torch() -> Any:
    return pytest.importorskip("torch", reason="torch is not installed")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of batches of each call to the core."""
    counts, inner = [], CompiledFunction.run_batches

    def run_batches(self: Any, args: Any, batches: Any, *kwargs: Any) -> Any:
        try:
            return inner(self, args, batches, *kwargs)
        finally:
            counts.append(batches.done)

    monkeypatch.setattr(CompiledFunction, "run_batches", run_batches)
    return counts


@pytest.fixture(scope="session", autouse=True)
def _only_threads_of_tests() -> Iterator[None]:
    """A process of xdist has threads that wait for messages; compiled steps must not count them."""
    own = _thread._count()
    with pytest.MonkeyPatch.context() as patch:
        if "PYTEST_XDIST_WORKER" in os.environ:
            record = importlib.import_module("ranvier.compile.record")
            patch.setattr(record, "other_threads", lambda: _thread._count() - own)
        yield


@pytest.fixture(scope="module", autouse=True)
def _team(request: pytest.FixtureRequest) -> Iterator[None]:
    """One thread in the processes of xdist, which share the cores: a team would wait at each barrier for a
    thread that does not run. Tests of how work is divided have teams, as those that ask for `threads`."""
    before = _core.get_num_threads()
    divided = request.node.nodeid.startswith(("tests/kernels/", "tests/ops/", "tests/runtime/"))
    if "PYTEST_XDIST_WORKER" in os.environ and not divided:
        _core.set_num_threads(1)
    yield
    _core.set_num_threads(before)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Every test starts from the same global seed, whatever ran before."""
    rv.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_figures_left() -> Iterator[None]:
    """pyplot, once it is loaded, keeps every figure that is not closed."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")
