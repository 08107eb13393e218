"""softmax and log_softmax, forward alone and with the gradient: few classes, many, and channels of images."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from reference import softmax as reference
from support.tolerance import tolerance

from benchmarks.functional import functional
from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

CASES = [
    *[((128, 10), 1), ((512, 1000), 1), ((4096, 1000), 1), ((64, 32000), 1), ((8, 21, 64, 64), 1)],
    *[((4096, 64), 1), ((20000, 3), 1), ((1000, 129), 1), ((16, 8, 128, 128), 3), ((1000, 777), 0)],
]


def id_of(value: int | tuple[int, ...]) -> str:
    """A shape's sizes, and the axis where it is not the last."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else "" if value == 1 else str(value)


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("shape", "dim"), CASES, ids=id_of)
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize("function", ["softmax", "log_softmax"])
def bench_softmax(
    race: Race, function: str, gradient: bool, shape: tuple[int, ...], dim: int, threads: int
) -> None:
    rng = np.random.default_rng(0)
    inputs = {"x": rng.uniform(-4, 4, shape).astype(np.float32)}
    expected = getattr(reference, function)(inputs["x"].astype(np.float64), dim)
    if gradient:
        inputs["dy"] = rng.uniform(-1, 1, shape).astype(np.float32)
        expected = getattr(reference, function + "_backward")(inputs["dy"].astype(np.float64), expected, dim)
    size = inputs["x"].size
    race(
        "softmax",
        f"{function} {'gradient' if gradient else 'forward'} {id_of(shape)}" + f" over {dim}" * (dim != 1),
        ours=lambda **arrays: functional(rv, function, arrays, gradient, {"dim": dim}),
        inputs=inputs,
        expected=expected,
        tolerance=tolerance(np.float32, shape[dim], float(np.abs(expected).max())),
        moved=4 * size * (5 if gradient else 2),
        peers={"torch": Peer("torch", {"function": function, "gradient": gradient, "dim": dim})},
        threads=threads,
    )
