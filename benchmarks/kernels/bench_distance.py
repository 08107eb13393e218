"""Similarities and distances of pairs of lines: features of a batch, long lines, channels of images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from reference import distance as reference
from support.tolerance import tolerance

from benchmarks.functional import functional
from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

CASES = [((4096, 64), 1), ((512, 1000), 1), ((10000, 3), 1), ((8, 21, 64, 64), 1)]
FUNCTIONS = [("cosine_similarity", {"dim": 1}), ("pairwise_distance", {}), ("pairwise_distance", {"p": 1.0})]


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("shape", "dim"), CASES, ids=lambda s: "x".join(map(str, s)) if s != 1 else "")
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize(("function", "settings"), FUNCTIONS)
def bench_distance(
    race: Race,
    function: str,
    settings: dict[str, Any],
    gradient: bool,
    shape: tuple[int, ...],
    dim: int,
    threads: int,
) -> None:
    if function == "pairwise_distance" and len(shape) > 2:
        pytest.skip("along the last dimension in PyTorch")
    rng = np.random.default_rng(0)
    inputs = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name in ("x1", "x2")}
    exact = [a.astype(np.float64) for a in inputs.values()]
    plain = {key: value for key, value in settings.items() if key != "dim"}
    expected = getattr(reference, function)(*exact, dim, **plain)
    if gradient:
        inputs["dy"] = rng.uniform(-1, 1, expected.shape).astype(np.float32)
        dy = inputs["dy"].astype(np.float64)
        expected = getattr(reference, function + "_backward")(dy, *exact, dim, **plain)[0]
    race(
        "distance",
        f"{function} {plain or ''} {'gradient' if gradient else 'forward'} {'x'.join(map(str, shape))}",
        ours=lambda **arrays: functional(rv, function, arrays, gradient, settings),
        inputs=inputs,
        expected=expected,
        tolerance=tolerance(np.float32, shape[dim], 16 * max(1.0, float(np.abs(expected).max()))),
        moved=4 * inputs["x1"].size * (5 if gradient else 2),
        traffic="read_write" if gradient else "read",
        peers={"torch": Peer("torch", {"function": function, "gradient": gradient, **settings})},
        threads=threads,
    )


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("shape", [(64, 64), (512, 64), (1000, 3)], ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, math.inf])
def bench_pairs(race: Race, p: float, gradient: bool, shape: tuple[int, ...], threads: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, shape).astype(np.float32)
    i, j = np.triu_indices(shape[0], 1)
    pairs = [x[k].astype(np.float64) for k in (i, j)]
    inputs, expected = {"x1": x}, reference.pairwise_distance(*pairs, p=p, eps=0.0)
    if gradient:
        inputs["dy"] = rng.uniform(-1, 1, expected.shape).astype(np.float32)
        slopes = reference.pairwise_distance_backward(inputs["dy"].astype(np.float64), *pairs, p=p, eps=0.0)
        expected = np.zeros(shape)
        for rows, slope in zip((i, j), slopes, strict=True):
            np.add.at(expected, rows, slope)
    race(
        "distance",
        f"pdist p = {p:g} {'gradient' if gradient else 'forward'} {'x'.join(map(str, shape))}",
        ours=lambda **arrays: functional(rv, "pdist", arrays, gradient, {"p": p}),
        inputs=inputs,
        expected=expected,
        tolerance=tolerance(np.float32, shape[0] * shape[1], 16 * max(1.0, float(np.abs(expected).max()))),
        flops=2.0 * (3 if gradient else 1) * i.size * shape[1],
        peers={"torch": Peer("torch", {"function": "pdist", "gradient": gradient, "p": p})},
        threads=threads,
    )
