"""conv2d: layers of small networks and of ResNet-50, forward and backward, against the libraries' own."""

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
    (4, 64, 112, 112, 64, 3, 1, 1, 1),  # VGG
    (4, 128, 56, 56, 128, 3, 1, 1, 1),
    (1, 128, 64, 64, 64, 3, 1, 1, 1),  # U-Net, on the way up
    (1, 32, 128, 128, 32, 3, 1, 1, 1),
    (8, 96, 27, 27, 96, 3, 1, 1, 1),
    (1, 256, 14, 14, 256, 3, 1, 1, 1),
    (2, 160, 19, 21, 80, 3, 1, 0, 1),
]
MORE = [
    (8, 64, 56, 56, 128, 3, 2, 1, 1),  # ResNet-18 between its stages
    (8, 64, 56, 56, 128, 1, 2, 0, 1),
    (4, 64, 112, 112, 64, 3, 1, 1, 1),  # VGG
    (8, 16, 112, 112, 96, 1, 1, 0, 1),  # MobileNetV2
    (8, 96, 56, 56, 24, 1, 1, 0, 1),
    (8, 160, 7, 7, 960, 1, 1, 0, 1),
    (2, 1, 128, 128, 64, 3, 1, 1, 1),  # U-Net, its first and last
    (2, 64, 128, 128, 1, 1, 1, 0, 1),
    (16, 64, 28, 28, 3, 3, 1, 1, 1),
    (8, 7, 33, 33, 13, 5, 1, 2, 1),  # odd sizes
    (8, 128, 28, 28, 128, 3, 1, 1, 32),  # ResNeXt
    (8, 64, 28, 28, 128, 3, 1, 1, 8),
    (1, 64, 56, 56, 64, 3, 1, 1, 1),
    (1, 16, 14, 14, 32, 3, 1, 1, 1),
]
DEPTHWISE = [
    (8, 144, 56, 56, 144, 3, 2, 1, 144),  # MobileNetV2
    (8, 384, 14, 14, 384, 3, 1, 1, 384),
    (8, 960, 7, 7, 960, 3, 1, 1, 960),
    (8, 240, 28, 28, 240, 5, 1, 2, 240),  # EfficientNet
    (8, 72, 56, 56, 72, 5, 2, 2, 72),
    (4, 96, 56, 56, 96, 7, 1, 3, 96),  # ConvNeXt
    (8, 33, 56, 56, 33, 3, 1, 1, 33),
    (8, 48, 56, 56, 96, 3, 1, 1, 48),  # two outputs for each input channel
    (1, 512, 14, 14, 512, 3, 1, 1, 512),
]
DOUBLE = [
    (32, 32, 13, 13, 64, 3, 1, 0, 1),
    (8, 64, 28, 28, 64, 3, 1, 1, 1),
    (8, 64, 56, 56, 256, 1, 1, 0, 1),
    (2, 64, 64, 64, 2, 3, 1, 1, 1),
    (8, 96, 28, 28, 96, 3, 1, 1, 96),
]
CASES = [(layer, "float32") for layer in LAYERS + MORE + DEPTHWISE]
CASES += [(layer, "float64") for layer in DOUBLE]
TORCH = {"torch": Peer("torch"), "torch, channels_last": Peer("torch", {"channels_last": True})}


def name_of(layer: tuple[int, ...], dtype: str) -> str:
    n, c, h, w, k, r, stride, padding, groups = layer
    name = f"{n},{c},{h},{w} to {k}, {r}x{r}, stride {stride}, pad {padding}, groups {groups}"
    return name if dtype == "float32" else f"{name}, {dtype}"


def id_of(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def random_arrays(layer: tuple[int, ...], dtype: str) -> dict[str, np.ndarray]:
    n, c, h, w, k, r, _, _, groups = layer
    rng = np.random.default_rng(0)
    shapes = {"x": (n, c, h, w), "w": (k, c // groups, r, r), "bias": (k,)}
    return {name: rng.uniform(-1, 1, shape).astype(dtype) for name, shape in shapes.items()}


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
@pytest.mark.parametrize(("layer", "dtype"), CASES, ids=id_of)
def bench_conv2d(race: Race, layer: tuple[int, ...], dtype: str, threads: int) -> None:
    settings = {"stride": layer[6], "padding": layer[7], "groups": layer[8]}
    arrays = random_arrays(layer, dtype)

    def ours(x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Callable[[], Any]:
        x = in_layout(x, "channels_last")
        return lambda: _core.conv2d(x, w, bias, layer[6], layer[7], 1, layer[8])

    y = reference.conv2d(*(a.astype(np.float64) for a in arrays.values()), **settings)
    race(
        "conv2d",
        name_of(layer, dtype),
        ours=ours,
        inputs=arrays,
        expected=y,
        tolerance=tolerance(arrays["x"].dtype, arrays["w"][0].size + 1),
        flops=2 * products(y, arrays["w"], settings, arrays["x"]),
        moved=arrays["x"].itemsize * (arrays["x"].size + arrays["w"].size + y.size),
        peers=with_settings({**TORCH, "jax": Peer("jax"), "onnxruntime": Peer("onnxruntime")}, settings)
        if dtype == "float32"
        else with_settings(TORCH, settings),
        threads=threads,
        dtype=dtype,
    )


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("layer", "dtype"), CASES, ids=id_of)
def bench_conv2d_backward(race: Race, layer: tuple[int, ...], dtype: str, threads: int) -> None:
    settings = {"stride": layer[6], "padding": layer[7], "groups": layer[8]}
    x, w, bias = random_arrays(layer, dtype).values()
    y = _core.conv2d(x, w, bias, layer[6], layer[7], 1, layer[8])
    dy = np.random.default_rng(1).uniform(-1, 1, y.shape).astype(dtype)

    def ours(dy: np.ndarray, x: np.ndarray, w: np.ndarray) -> Callable[[], Any]:
        dy, x = in_layout(dy, "channels_last"), in_layout(x, "channels_last")
        return lambda: _core.conv2d_backward(dy, x, w, layer[6], layer[7], 1, layer[8])

    pixels = dy[:, 0].size
    race(
        "conv2d_backward",
        name_of(layer, dtype),
        ours=ours,
        inputs={"dy": dy, "x": x, "w": w},
        expected=list(reference.conv2d_backward(*(a.astype(np.float64) for a in (dy, x, w)), **settings)),
        tolerance=[tolerance(dy.dtype, n) for n in (w[:, 0].size, pixels, pixels)],
        flops=4 * products(y, w, settings, x),
        moved=y.itemsize * (2 * x.size + 2 * w.size + dy.size),
        peers=with_settings(TORCH, settings),
        threads=threads,
        dtype=dtype,
    )
