"""conv1d: layers of networks for sensor signals, forward, against the libraries' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from reference import conv2d as reference
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

# n, c, l, k, s: "same" padding
LAYERS = [(64, 3, 128, 32, 5), (64, 64, 128, 64, 3), (8, 128, 1024, 128, 9)]
LAYERS += [(32, 1, 1024, 64, 7), (16, 64, 512, 1, 3), (4, 13, 333, 29, 5), (1, 256, 200, 256, 1)]


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer)))
def bench_conv1d(race: Race, layer: tuple[int, ...], threads: int) -> None:
    n, c, l, k, s = layer
    rng = np.random.default_rng(0)
    shapes = {"x": (n, c, l), "w": (k, c, s), "bias": (k,)}
    arrays = {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}

    def ours(x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Callable[[], Any]:
        x = np.ascontiguousarray(x.transpose(0, 2, 1)).transpose(0, 2, 1)  # as the layer before leaves it
        return lambda: _core.conv1d(x, w, bias, 1, s // 2)

    y = reference.conv1d(*(a.astype(np.float64) for a in arrays.values()), padding=s // 2)
    race(
        "conv1d",
        f"{n},{c},{l} to {k}, {s} taps",
        ours=ours,
        inputs=arrays,
        expected=y,
        tolerance=tolerance(np.float32, s * c + 1),
        flops=2 * y.size * c * s,
        moved=4 * (arrays["x"].size + arrays["w"].size + y.size),
        peers={"torch": Peer("torch", {"padding": s // 2})},
        threads=threads,
    )
