"""The memory of a captured step and of PyTorch's step; a replay allocates its results only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim

from benchmarks.peers.process import ROOT, PeerMissing, interpreter
from benchmarks.training import networks
from benchmarks.training.models import steps
from benchmarks.training.networks import NETWORKS

ROUNDS = 3
MOST_OF_TORCH = 0.6
REPLAYS = 800
PEERS = ("torch", "torch channels_last")


def measured(library: str, network: str, file: Path) -> dict[str, int]:
    """In a fresh process, with glibc's own settings."""
    name = library.partition(" ")[0]
    python = sys.executable if name == "ranvier" else interpreter(name)
    paths = [str(ROOT), str(Path(rv.__file__).parents[1])] if name == "ranvier" else [str(ROOT)]
    command = [python, "-m", "benchmarks.training.memory", library, network, str(file)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=ROOT)
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(("network", "batch"), [("cnn", 128), ("vgg", 32)])
def bench_peak_memory(benchmark: Any, request: Any, tmp_path: Path, network: str, batch: int) -> None:
    arrays, file = networks.case(NETWORKS[network], batch), tmp_path / "case.npz"
    np.savez(file, **{**arrays, "x": arrays["x"][:4], "y": arrays["y"][:4]})
    found: dict[str, list[dict[str, int]]] = {}
    skipped: dict[str, str] = {}

    def all_in_turn() -> None:
        for library in ("ranvier", *PEERS):
            try:
                found.setdefault(library, []).append(measured(library, network, file))
            except PeerMissing as missing:
                skipped[library] = str(missing)

    benchmark.pedantic(all_in_turn, rounds=ROUNDS)
    growth = {
        name: median(each["growth, later steps"] for each in runs) for name, runs in found.items() if runs
    }
    once = median(each["growth"] for each in found["ranvier"])
    planned = found["ranvier"][0]["planned"]  # temporaries, scratch, gradients and results
    best = min((growth[name] for name in PEERS if name in growth), default=None)
    share = growth["ranvier"] / best if best else None
    words = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in growth.items())
    compared = f"{share:.2f} of torch's least: " if share is not None else ""
    benchmark.extra_info.update(
        what=f"peak memory of a training step, {network}, batch {batch}",
        value=f"{compared}{words}; planned {planned / 1e6:.1f} MB; "
        f"once, to capture and check, {once / 1e6:.1f} MB",
        target=f"at most {MOST_OF_TORCH} of torch's",
        skipped=skipped,
        family="training",
        command=f"pytest '{request.node.nodeid}' --benchmark-only",
    )


@pytest.mark.parametrize(("network", "batch"), [("tabular", 32), ("cnn", 32)])
def bench_allocations(benchmark: Any, request: Any, network: str, batch: int) -> None:
    arrays = networks.case(NETWORKS[network], batch)
    form = NETWORKS[network]
    call = steps(nn, optim, rv.from_numpy, form, arrays, compiled=rv.compile, to_input=np.asarray)
    for _ in range(1200):  # captured, measured, checked for the 10th time; the next check is at 2,048 calls
        call()

    def replays() -> None:
        for _ in range(REPLAYS):
            call()

    before = rv.memory_stats()
    benchmark.pedantic(replays)
    after = rv.memory_stats()
    taken = after["allocations"] - before["allocations"]
    new = taken - (after["cache_hits"] - before["cache_hits"])
    benchmark.extra_info.update(
        what=f"arrays made in {REPLAYS} replays of the {network} step, batch {batch}, between two checks",
        value=f"{taken}, of which {new} took memory from the system",
        target=f"{REPLAYS} (the loss, which is returned), 0",
        family="training",
        command=f"pytest '{request.node.nodeid}' --benchmark-only",
    )
    assert taken == REPLAYS
    assert new == 0
