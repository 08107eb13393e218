"""The backward of convolution and max-pool in one call, against the two in turn."""

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

# n, c, h, w, k, r = s, pad, window; the gradient to the input is not asked for where c is 1 or 3
LAYERS = [
    (32, 1, 28, 28, 32, 3, 0, 2),
    (32, 32, 13, 13, 64, 3, 0, 2),
    (128, 32, 13, 13, 64, 3, 0, 2),
    (1, 32, 13, 13, 64, 3, 0, 2),
    (32, 3, 32, 32, 64, 3, 1, 2),
    (32, 64, 16, 16, 128, 3, 1, 2),
    (32, 1, 28, 28, 6, 5, 2, 2),  # LeNet
    (32, 6, 14, 14, 16, 5, 0, 2),
    (8, 32, 28, 28, 64, 5, 2, 2),
    (2, 64, 56, 56, 128, 3, 1, 2),  # VGG
    (16, 24, 30, 30, 48, 3, 1, 3),
    (8, 50, 20, 20, 70, 3, 1, 2),  # odd sizes
]
NONZERO = [0.5, 1.0]  # share of the gradients; a ReLU makes the others zero


def random_arrays(layer: tuple[int, ...], nonzero: float) -> dict[str, np.ndarray]:
    n, c, h, w, k, r, pad, window = layer
    size = [(extent + 2 * pad - r + 1) // window for extent in (h, w)]
    rng = np.random.default_rng(0)
    dy = rng.uniform(-1, 1, (n, k, *size)).astype(np.float32)
    dy[rng.uniform(size=dy.shape) >= nonzero] = 0
    return {
        "dy": dy,
        "where": rng.integers(0, window**2, dy.shape).astype(np.uint8),
        "x": rng.uniform(-1, 1, (n, c, h, w)).astype(np.float32),
        "w": rng.uniform(-1, 1, (k, c, r, r)).astype(np.float32),
    }


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("nonzero", NONZERO)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer)))
def bench_conv2d_pool_backward(race: Race, layer: tuple[int, ...], nonzero: float, threads: int) -> None:
    n, c, h, w, k, r, pad, window = layer
    arrays = random_arrays(layer, nonzero)
    need_dx = c > 3
    settings = {"padding": pad, "window": window, "need_dx": need_dx}

    def ours(**given: np.ndarray) -> Callable[[], Any]:
        dy, where, x = (in_layout(given[name], "channels_last") for name in ("dy", "where", "x"))
        w = given["w"]

        def call() -> Any:
            gradients = _core.conv2d_pool_backward(dy, where, x, w, 1, pad, 1, window, need_dx)
            return gradients if need_dx else gradients[1:]

        return call

    dy, where, x, weight = arrays.values()
    double = [a.astype(np.float64) for a in (dy, x, weight)]
    expected = list(
        reference.conv2d_pool_backward(double[0], where, *double[1:], padding=pad, window=(window, window))
    )
    pixels = dy[:, 0].size
    tolerances = [tolerance(np.float32, terms) for terms in (weight[:, 0].size, pixels, pixels)]
    first = 0 if need_dx else 1
    race(
        "conv2d_pool_backward",
        f"{n},{c},{h},{w} to {k}, {r}x{r}, pad {pad}, pool {window}, {nonzero:.0%} not zero"
        + ("" if need_dx else ", to the weight"),
        ours=ours,
        inputs=arrays,
        expected=expected[first:],
        tolerance=tolerances[first:],
        flops=2 * int(np.count_nonzero(dy)) * weight[0].size * (3 - first - 1),
        moved=4 * (x.size * (2 - first) + dy.size + 2 * weight.size),
        peers={
            "torch": Peer("torch", settings),
            "torch, channels_last": Peer("torch", {**settings, "channels_last": True}),
        },
        threads=threads,
    )
