"""conv2d in float64, forward and backward, against PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from ranvier.reference import conv2d as reference
from support.layouts import in_layout
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

# n, c, h, w, k, r = s, stride, padding, groups
LAYERS = [
    (32, 1, 28, 28, 32, 3, 1, 0, 1),
    (4, 64, 56, 56, 64, 3, 1, 1, 1),
    (4, 128, 28, 28, 128, 3, 1, 1, 1),
    (4, 256, 14, 14, 256, 3, 2, 1, 1),
    (4, 64, 56, 56, 256, 1, 1, 0, 1),
    (2, 3, 112, 112, 64, 7, 2, 3, 1),
    (4, 96, 28, 28, 96, 3, 1, 1, 96),
]
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer)))
every_count = pytest.mark.parametrize("threads", thread_counts())


def drawn(layer: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    n, c, h, w, k, r, _, _, groups = layer
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (n, c, h, w)), rng.uniform(-1, 1, (k, c // groups, r, r)), rng.uniform(-1, 1, k)


def settings_of(layer: tuple[int, ...]) -> tuple[str, dict[str, int], dict[str, Peer]]:
    """The row's name, the convolution's settings, and PyTorch in both layouts."""
    n, c, h, w, k, r, stride, padding, groups = layer
    settings = {"stride": stride, "padding": padding, "groups": groups}
    peers = {
        "torch": Peer("torch", settings),
        "torch, channels_last": Peer("torch", {**settings, "channels_last": True}),
    }
    name = f"{n},{c},{h},{w} to {k}, {r}x{r}, stride {stride}, pad {padding}, groups {groups}"
    return name, settings, peers


@every_count
@every_layer
def bench_conv2d_float64(race: Race, layer: tuple[int, ...], threads: int) -> None:
    x, w, bias = drawn(layer)
    name, settings, peers = settings_of(layer)
    y = reference.conv2d(x, w, bias, **settings)

    def ours(x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Callable[[], Any]:
        x = in_layout(x, "channels_last")
        return lambda: _core.conv2d(x, w, bias, layer[6], layer[7], 1, layer[8])

    race(
        "conv2d",
        name,
        ours=ours,
        inputs={"x": x, "w": w, "bias": bias},
        expected=y,
        tolerance=tolerance(np.float64, w[0].size + 1),
        flops=2 * y.size * w[0].size,
        moved=x.nbytes + w.nbytes + y.nbytes,
        dtype="float64",
        peers=peers,
        threads=threads,
    )


@every_count
@every_layer
def bench_conv2d_float64_backward(race: Race, layer: tuple[int, ...], threads: int) -> None:
    x, w, _ = drawn(layer)
    name, settings, peers = settings_of(layer)
    dy = np.random.default_rng(1).uniform(-1, 1, _core.conv2d(x, w, None, *layer[6:8], 1, layer[8]).shape)

    def ours(dy: np.ndarray, x: np.ndarray, w: np.ndarray) -> Callable[[], Any]:
        dy, x = in_layout(dy, "channels_last"), in_layout(x, "channels_last")
        return lambda: _core.conv2d_backward(dy, x, w, layer[6], layer[7], 1, layer[8])

    pixels = dy[:, 0].size
    race(
        "conv2d_backward",
        name,
        ours=ours,
        inputs={"dy": dy, "x": x, "w": w},
        expected=list(reference.conv2d_backward(dy, x, w, **settings)),
        tolerance=[tolerance(np.float64, n) for n in (w[:, 0].size, pixels, pixels)],
        flops=4 * dy.size * w[0].size,
        moved=2 * x.nbytes + 2 * w.nbytes + dy.nbytes,
        dtype="float64",
        peers=peers,
        threads=threads,
    )
