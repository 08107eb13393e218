"""conv2d: layers of small networks and of ResNet-50, forward and backward, against the libraries' own."""

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
    (32, 32, 13, 13, 64, 3, 1, 0, 1),
    (8, 64, 56, 56, 64, 3, 1, 1, 1),
    (8, 128, 28, 28, 128, 3, 1, 1, 1),
    (8, 256, 14, 14, 256, 3, 1, 1, 1),
    (8, 512, 7, 7, 512, 3, 1, 1, 1),
    (8, 64, 56, 56, 256, 1, 1, 0, 1),
    (8, 1024, 14, 14, 256, 1, 1, 0, 1),
    (8, 3, 224, 224, 64, 7, 2, 3, 1),
    (8, 96, 56, 56, 96, 3, 1, 1, 96),
    (128, 64, 32, 32, 64, 3, 1, 1, 1),
]
CHANNELS_LAST = {"torch": Peer("torch"), "torch, channels_last": Peer("torch", {"channels_last": True})}


def name_of(layer: tuple[int, ...]) -> str:
    n, c, h, w, k, r, stride, padding, groups = layer
    return f"{n},{c},{h},{w} to {k}, {r}x{r}, stride {stride}, pad {padding}, groups {groups}"


def random_arrays(layer: tuple[int, ...]) -> dict[str, np.ndarray]:
    n, c, h, w, k, r, _, _, groups = layer
    rng = np.random.default_rng(0)
    shapes = {"x": (n, c, h, w), "w": (k, c // groups, r, r), "bias": (k,)}
    return {name: rng.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def with_settings(peers: dict[str, Peer], settings: dict[str, int]) -> dict[str, Peer]:
    return {label: Peer(p.library, {**p.options, **settings}, p.environment) for label, p in peers.items()}


def products(y: np.ndarray, w: np.ndarray, settings: dict[str, int], x: np.ndarray) -> int:
    """Multiply-adds with pixels of the image: those with its padding are not work."""
    r, stride, padding = w.shape[2], settings["stride"], settings["padding"]
    sizes = zip(x.shape[2:], y.shape[2:], strict=True)
    rows, columns = (
        sum(0 <= o * stride - padding + tap < size for o in range(out) for tap in range(r))
        for size, out in sizes
    )
    return y.shape[0] * y.shape[1] * w.shape[1] * rows * columns


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer)))
def bench_conv2d(race: Race, layer: tuple[int, ...], threads: int) -> None:
    settings = {"stride": layer[6], "padding": layer[7], "groups": layer[8]}
    arrays = random_arrays(layer)

    def ours(x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Callable[[], Any]:
        x = in_layout(x, "channels_last")
        return lambda: _core.conv2d(x, w, bias, layer[6], layer[7], 1, layer[8])

    y = reference.conv2d(*(a.astype(np.float64) for a in arrays.values()), **settings)
    race(
        "conv2d",
        name_of(layer),
        ours=ours,
        inputs=arrays,
        expected=y,
        tolerance=tolerance(np.float32, arrays["w"][0].size + 1),
        flops=2 * products(y, arrays["w"], settings, arrays["x"]),
        moved=4 * (arrays["x"].size + arrays["w"].size + y.size),
        peers=with_settings(CHANNELS_LAST, settings),
        threads=threads,
    )


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer)))
def bench_conv2d_backward(race: Race, layer: tuple[int, ...], threads: int) -> None:
    settings = {"stride": layer[6], "padding": layer[7], "groups": layer[8]}
    x, w, bias = random_arrays(layer).values()
    y = _core.conv2d(x, w, bias, layer[6], layer[7], 1, layer[8])
    dy = np.random.default_rng(1).uniform(-1, 1, y.shape).astype(np.float32)

    def ours(dy: np.ndarray, x: np.ndarray, w: np.ndarray) -> Callable[[], Any]:
        dy, x = in_layout(dy, "channels_last"), in_layout(x, "channels_last")
        return lambda: _core.conv2d_backward(dy, x, w, layer[6], layer[7], 1, layer[8])

    pixels = dy[:, 0].size
    race(
        "conv2d_backward",
        name_of(layer),
        ours=ours,
        inputs={"dy": dy, "x": x, "w": w},
        expected=list(reference.conv2d_backward(*(a.astype(np.float64) for a in (dy, x, w)), **settings)),
        tolerance=[tolerance(np.float32, n) for n in (w[:, 0].size, pixels, pixels)],
        flops=4 * products(y, w, settings, x),
        moved=4 * (2 * x.size + 2 * w.size + dy.size),
        peers=with_settings(CHANNELS_LAST, settings),
        threads=threads,
    )
