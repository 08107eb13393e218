"""The cost of a call beyond its arithmetic: kernels, ops on the tape and backward, on 16 elements."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.peers.process import Peer
from benchmarks.small_calls import FACTOR, LINKS, OPS, chain_backward, on_the_tape

rng = np.random.default_rng(0)
INPUTS = {name: rng.uniform(0.5, 2, (4, 4)).astype(np.float32) for name in ("x", "y")}
TOLERANCE = tolerance(np.float32, 4 * LINKS, 16)


def bench_kernel(race: Race) -> None:
    race(
        "kernel_call",
        "relu(x), no tape",
        ours=lambda x, y: lambda: rv.kernels.relu(x),
        inputs=INPUTS,
        expected=INPUTS["x"],
        tolerance=0.0,
        peers=["torch", "numpy"],
        threads=1,
    )


@pytest.mark.parametrize("case", OPS)
def bench_op_on_the_tape(race: Race, case: str) -> None:
    race(
        "tape",
        case,
        ours=lambda **arrays: on_the_tape(rv, case, **arrays),
        inputs=INPUTS,
        expected=OPS[case][1](*(a.astype(np.float64) for a in INPUTS.values())),
        tolerance=TOLERANCE,
        peers={"torch": Peer("torch", {"case": case})},
        threads=1,
    )


def bench_backward(race: Race) -> None:
    race(
        "tape_backward",
        f"chain of {LINKS} ops",
        ours=lambda **arrays: chain_backward(rv, **arrays),
        inputs=INPUTS,
        expected=INPUTS["y"].astype(np.float64) * FACTOR ** (LINKS // 2),
        tolerance=TOLERANCE,
        peers=["torch"],
        threads=1,
    )
