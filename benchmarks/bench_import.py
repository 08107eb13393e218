"""The time to import the package, and the size of its wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks.peers.process import ROOT, PeerMissing, interpreter

ROUNDS = 3
MOST_SECONDS = 0.012  # over numpy's
MOST_OF_NUMPY = 0.25  # or this share of numpy's own import: the same time where the clock is at its fastest
MOST_BYTES = 2.5e6
MAKE_WHEEL = "pip wheel . --no-deps --wheel-dir dist -C cmake.define.RANVIER_LEVELS=all"
MODULES = {
    "torch": "torch",
    "jax": "jax.numpy",
    "sklearn": "sklearn.neural_network",
    "onnxruntime": "onnxruntime",
}

_PROGRAM = """from time import perf_counter as t
a = t(); import numpy; b = t(); import {module}; c = t(); print(b - a, c - b)"""


def import_seconds(python: str, module: str, **environment: str) -> tuple[float, float]:
    """Seconds to import numpy, and then a module, in a fresh process."""
    command = [python, "-c", _PROGRAM.format(module=module)]
    env = {**os.environ, **environment}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    numpy, ours = done.stdout.split()[-2:]
    return float(numpy), float(ours)


def timed_importers() -> tuple[dict[str, Callable[[], tuple[float, float]]], dict[str, str]]:
    found, missing = {}, {}
    for library, module in MODULES.items():
        try:
            python = interpreter(library)
        except PeerMissing as reason:
            missing[library] = str(reason)
            continue
        found[library] = lambda python=python, module=module: import_seconds(python, module)
    return found, missing


def bench_import(benchmark: Any, request: Any, tmp_path: Path) -> None:
    others, missing = timed_importers()
    ours: list[tuple[float, float]] = []
    theirs: dict[str, list[float]] = {library: [] for library in others}

    def in_turn() -> None:
        for library, seconds in others.items():
            theirs[library].append(seconds()[1])

    def ourselves() -> tuple[float, float]:
        # with compiled files, as pip installs them, also for a source tree without any
        return import_seconds(
            sys.executable, "ranvier", PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=str(tmp_path)
        )

    for seconds in (*others.values(), ourselves):  # brings the files into the caches
        seconds()
    benchmark.pedantic(lambda: ours.append(ourselves()), setup=in_turn, rounds=ROUNDS)
    own, share = median(own for _, own in ours), median(own / numpy for numpy, own in ours)
    factors = [f"{library} {median(s) / own:.0f}" for library, s in theirs.items()]
    benchmark.extra_info.update(
        what="import ranvier, over import numpy",
        value=f"{own * 1e3:.1f} ms, {share:.2f} of numpy's own"
        + (f"; times as long: {', '.join(factors)}" if factors else ""),
        target=f"at most {MOST_SECONDS * 1e3:.0f} ms, or {MOST_OF_NUMPY} of numpy's where the clock is slow",
        skipped=missing,
        command=f"pytest '{request.node.nodeid}' --benchmark-only",
    )
    assert own <= MOST_SECONDS or share <= MOST_OF_NUMPY


def newest_wheel() -> Path | None:
    wheels = sorted((ROOT / "dist").glob("ranvier-*.whl"), key=lambda path: path.stat().st_mtime)
    return wheels[-1] if wheels else None


@pytest.mark.skipif(newest_wheel() is None, reason=f"needs a wheel: {MAKE_WHEEL}")
def bench_wheel_size(benchmark: Any, request: Any) -> None:
    wheel = newest_wheel()
    assert wheel is not None
    size = benchmark.pedantic(lambda: wheel.stat().st_size)
    benchmark.extra_info.update(
        what="size of the wheel",
        value=f"{size / 1e6:.2f} MB",
        target=f"at most {MOST_BYTES / 1e6:.1f} MB",
        command=f"{MAKE_WHEEL} && pytest '{request.node.nodeid}' --benchmark-only",
    )
    assert size <= MOST_BYTES
