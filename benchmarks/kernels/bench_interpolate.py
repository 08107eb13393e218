"""interpolate to twice the size, forward and backward, as decoders of small and middle-sized networks do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from reference import images as reference, images as sampled
from support.layouts import in_layout
from support.tolerance import tolerance

from benchmarks.functional import functional
from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

SHAPES = [(32, 32, 14, 14), (8, 64, 56, 56)]


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("channels_last", [True, False], ids=["channels_last", "nchw"])
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
def bench_interpolate(
    race: Race, backward: bool, shape: tuple[int, ...], mode: str, channels_last: bool, threads: int
) -> None:
    layout = "channels_last" if channels_last else "plain"
    small = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    large = np.random.default_rng(1).uniform(-1, 1, (*shape[:2], 2 * shape[2], 2 * shape[3]))
    kind = "linear" if mode == "bilinear" else mode
    matrices = [reference.weights(n, 2 * n, kind) for n in shape[2:]]

    def forward(x: np.ndarray) -> Callable[[], Any]:
        x = in_layout(x, layout)
        return lambda: _core.interpolate(x, None, 2.0, mode)

    def gradient(dy: np.ndarray) -> Callable[[], Any]:
        dy = in_layout(dy, layout)
        return lambda: _core.interpolate_backward(dy, shape, 2.0, mode)

    if backward:
        expected = reference.interpolate_backward(large, *matrices)
        inputs, settings = {"dy": large.astype(np.float32)}, {"mode": mode}
    else:
        expected = reference.interpolate(small.astype(float), *matrices)
        inputs, settings = {"x": small}, {"mode": mode, "scale_factor": 2.0}
    race(
        "interpolate_backward" if backward else "interpolate",
        f"{'x'.join(map(str, shape))} {mode} {layout}",
        ours=gradient if backward else forward,
        inputs=inputs,
        expected=expected,
        tolerance=tolerance(np.float32, 16),
        moved=4 * (small.size + large.size),
        peers={"torch": Peer("torch", {**settings, "channels_last": channels_last})},
        threads=threads,
    )


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(2, 8, 32, 32), (4, 16, 32, 32)], ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
def bench_grid_sample(race: Race, gradient: bool, shape: tuple[int, ...], mode: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    inputs = {
        "input": rng.uniform(-1, 1, shape).astype(np.float32),
        "grid": rng.uniform(-1.1, 1.1, (shape[0], *shape[2:], 2)).astype(np.float32),
    }
    wide = [a.astype(np.float64) for a in inputs.values()]
    settings = {"mode": mode, "align_corners": False}
    expected = sampled.grid_sample(*wide, mode)
    if gradient:
        inputs["dy"] = rng.uniform(-1, 1, shape).astype(np.float32)
        expected = rv.kernels.grid_sample_backward(inputs["dy"].astype(np.float64), *wide, mode)[0]
    race(
        "grid_sample",
        f"{'x'.join(map(str, shape))} {mode} {'gradient' if gradient else 'forward'}",
        ours=lambda **arrays: functional(rv, "grid_sample", arrays, gradient, settings),
        inputs=inputs,
        expected=expected,
        tolerance=tolerance(np.float32, 16, 64),
        moved=4 * 2 * inputs["input"].size,
        peers={"torch": Peer("torch", {"function": "grid_sample", "gradient": gradient, **settings})},
        threads=threads,
    )
