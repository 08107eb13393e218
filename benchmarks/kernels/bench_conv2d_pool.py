"""conv2d, ReLU and max-pooling as one call: the blocks that small networks begin with.

A peer's row is its three ops one after the other. `ranvier's ops` in a row's name: our own three, so that
the two rows of a shape tell what the fusion gives.
"""

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
from benchmarks.kernels.bench_conv2d import TORCH, id_of, products, random_arrays, with_settings
from benchmarks.machine import thread_counts

# n, c, h, w, k, r = s, stride, padding, groups, and the window's size
LAYERS = [
    (1, 1, 28, 28, 32, 3, 1, 0, 1, 2),
    (32, 1, 28, 28, 32, 3, 1, 0, 1, 2),
    (128, 1, 28, 28, 32, 3, 1, 0, 1, 2),
    (32, 32, 13, 13, 64, 3, 1, 0, 1, 2),  # its second block: Winograd
    (128, 32, 13, 13, 64, 3, 1, 0, 1, 2),
    (32, 3, 32, 32, 64, 3, 1, 1, 1, 2),
    (64, 1, 28, 28, 6, 5, 1, 2, 1, 2),  # LeNet
    (64, 6, 14, 14, 16, 5, 1, 0, 1, 2),
    (32, 64, 16, 16, 128, 3, 1, 1, 1, 2),
    (32, 32, 14, 14, 64, 5, 1, 2, 1, 2),
    (32, 1, 28, 28, 32, 3, 1, 0, 1, 3),
    (32, 32, 32, 32, 64, 3, 1, 1, 1, 3),
    (32, 16, 30, 30, 40, 3, 2, 1, 1, 2),
]
FUSED, SEPARATE = "", ", ranvier's ops"


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("kind", [FUSED, SEPARATE], ids=["fused", "separate"])
@pytest.mark.parametrize("layer", LAYERS, ids=id_of)
def bench_conv2d_pool(race: Race, layer: tuple[int, ...], kind: str, threads: int) -> None:
    n, c, h, w, k, r, stride, padding, groups, window = layer
    settings = {"stride": stride, "padding": padding, "groups": groups}
    arrays = random_arrays(layer[:-1], "float32")

    def fused(x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Callable[[], Any]:
        x = in_layout(x, "channels_last")
        return lambda: _core.conv2d_pool(x, w, bias, stride, padding, 1, window, "relu")[0]

    def separate(x: np.ndarray, w: np.ndarray, bias: np.ndarray) -> Callable[[], Any]:
        x = in_layout(x, "channels_last")
        return lambda: _core.max_pool2d(_core.conv2d(x, w, bias, stride, padding, 1, 1, "relu"), window)[0]

    double = [a.astype(np.float64) for a in arrays.values()]
    y, _ = reference.conv2d_pool(*double, stride, padding, 1, (window, window), "relu")
    pixels = np.empty((n, k, y.shape[2] * window, y.shape[3] * window), np.int8)  # the pooled ones
    race(
        "conv2d_pool",
        f"{n},{c},{h},{w} to {k}, {r}x{r}, stride {stride}, pad {padding}, pool {window}{kind}",
        ours=separate if kind else fused,
        inputs=arrays,
        expected=y,
        tolerance=tolerance(np.float32, arrays["w"][0].size + 1),
        flops=2 * products(pixels, arrays["w"], settings, arrays["x"]),
        moved=4 * (arrays["x"].size + arrays["w"].size + y.size) + y.size,
        peers=with_settings(TORCH, {**settings, "window": window}),
        threads=threads,
        dtype="float32",
    )
