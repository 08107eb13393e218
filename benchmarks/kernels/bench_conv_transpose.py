"""conv_transpose2d: a decoder's layers, forward, against the libraries' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from reference import conv2d as reference
from support.layouts import in_layout
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

# n, c, h, w, k; 4 x 4 taps, stride 2, padding 1: twice the size
LAYERS = [(32, 64, 7, 7, 32), (32, 32, 14, 14, 1), (8, 256, 16, 16, 128)]
LAYERS += [(8, 128, 28, 28, 64), (16, 64, 32, 32, 3), (1, 64, 32, 32, 32), (4, 19, 21, 23, 11)]


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer)))
def bench_conv_transpose2d(race: Race, layer: tuple[int, ...], threads: int) -> None:
    n, c, h, w, k = layer
    rng = np.random.default_rng(0)
    shapes = {"x": (n, c, h, w), "w": (c, k, 4, 4), "bias": (k,)}
    arrays = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}

    def ours(x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Callable[[], Any]:
        x = in_layout(x, "channels_last")
        return lambda: _core.conv_transpose2d(x, w, bias, 2, 1)

    exact = [a.astype(np.float64) for a in arrays.values()]
    y = reference.conv_transpose2d(*exact, (2, 2), (1, 1), (0, 0), 1, (1, 1))
    race(
        "conv_transpose2d",
        f"{n},{c},{h},{w} to {k}, 4x4, stride 2, pad 1",
        ours=ours,
        inputs=arrays,
        expected=y,
        tolerance=tolerance(np.float32, 16 * c + 1),
        flops=2 * arrays["x"].size * k * 16,
        moved=4 * (arrays["x"].size + arrays["w"].size + y.size),
        peers={
            "torch": Peer("torch", {"stride": 2, "padding": 1}),
            "torch, channels_last": Peer("torch", {"stride": 2, "padding": 1, "channels_last": True}),
        },
        threads=threads,
    )
