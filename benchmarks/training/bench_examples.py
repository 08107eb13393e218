"""The results of the programs of docs/physics.md and docs/control.md; the report writes it into these pages.

Levels differ in the last bits, and with them the steps that a program takes: each runs at the machine's own
level and at x86-64-v3, on one thread.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ranvier import _core

from benchmarks.peers.levels import SETTINGS
from benchmarks.peers.process import ROOT, PeerMissing, interpreter
from benchmarks.training import physics

LEVELS = [level for level in _core.supported_isas() if level in (_core.supported_isas()[0], *SETTINGS)]
PROGRAMS = {  # table of the page, first cell, options
    "43_physics": ("physics errors", "", []),
    "45_ppo": ("control steps", "PPO", ["--seeds", "6"]),
    "46_dqn": ("control steps", "DQN", ["--seeds", "6"]),
}
GOAL = 475  # the mean return that ends a run of control
SECONDS = 60.0  # after which an equation is given up
LONGEST = pytest.mark.timeout(900)


def number(value: float) -> str:
    return f"{value:.1e}".replace("e-0", "e-")


def cells(program: str, printed: str) -> list[str]:
    if program == "43_physics":
        return [number(float(error)) for error in re.findall(r"relative error (\S+)", printed)]
    runs = re.findall(r"(\d+) steps in \S+ s, mean return (\d+)", printed)
    return [f"{int(steps):,}" if int(mean) >= GOAL else f"not in {int(steps):,}" for steps, mean in runs]


@LONGEST
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("program", PROGRAMS)
def bench_program(benchmark: Any, request: Any, program: str, level: str, tmp_path: Path) -> None:
    table, name, options = PROGRAMS[program]
    command = [sys.executable, str(ROOT / "examples" / f"{program}.py"), *options, "--out", str(tmp_path)]
    env = {**os.environ, "RANVIER_ISA": level, "OMP_NUM_THREADS": "1"}
    done = benchmark.pedantic(
        lambda: subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    )
    results = cells(program, done.stdout)
    benchmark.extra_info.update(
        what=f"examples/{program}.py, {level}, one thread",
        value=f"{', '.join(results)}; {benchmark.stats.stats.min:.1f} s",
        target="",
        command=f"pytest '{request.node.nodeid}' --benchmark-only",
        table=table,
        cells=[*([name] if name else []), level, *results],
    )


def reached(problem: str, library: str) -> tuple[float, str]:
    """The seconds to an error of 1e-3, and the text of a cell."""
    found = physics.measured(library, problem, SECONDS, seed=0)
    step = f"{found['step_ms']:.2f} ms a step"
    if found["error"] < 1e-3:
        return found["seconds"], f"{found['seconds']:.1f} s, {step}"
    return float("inf"), f"{number(found['error'])} after {found['seconds']:.0f} s, {step}"


@LONGEST
@pytest.mark.parametrize("problem", physics.STEPS)
def bench_equation(benchmark: Any, request: Any, problem: str) -> None:
    texts, missing = [], {}
    for library, ways in (("torch", ["torch"]), ("jax", ["jax", "jax_reverse"])):
        try:
            interpreter(library)
            texts.append(min(reached(problem, way) for way in ways)[1])
        except PeerMissing as reason:
            texts.append("")
            missing[library] = str(reason)
    _, ours = benchmark.pedantic(lambda: reached(problem, "ours"))
    benchmark.extra_info.update(
        what=f"{problem.title()}, to an error of 1e-3, one thread, time of the processor",
        value=ours,
        target="",
        skipped=missing,
        command=f"pytest '{request.node.nodeid}' --benchmark-only",
        table="physics times",
        cells=[problem.title(), ours, *reversed(texts)],
    )
