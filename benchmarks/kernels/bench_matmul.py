"""matmul: products of the sizes that networks have, against the libraries' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts

# m, k, n: layers of small networks, squares, a wide layer at a small batch, one row, a convolution's pixels
SHAPES = [
    (10, 128, 32),
    (32, 784, 128),
    (64, 64, 64),
    (128, 128, 128),
    (128, 784, 128),
    (256, 256, 256),
    (512, 512, 512),
    (1024, 1024, 1024),
    (2048, 2048, 2048),
    (64, 4096, 4096),
    (1, 1024, 1024),
    (3136, 576, 64),
]


def ours(a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
    return lambda: _core.matmul(a, b, None, "none", None)


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
def bench_matmul(race: Race, shape: tuple[int, int, int], threads: int) -> None:
    m, k, n = shape
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, (m, k)).astype(np.float32)
    b = rng.uniform(-1, 1, (k, n)).astype(np.float32)
    race(
        "matmul",
        f"{m}x{k}x{n}",
        ours=ours,
        inputs={"a": a, "b": b},
        expected=a.astype(np.float64) @ b.astype(np.float64),
        tolerance=tolerance(np.float32, k),
        flops=2 * m * k * n,
        moved=4 * (m * k + k * n + m * n),
        traffic="read",
        peers=["numpy", "torch", "jax", "onnxruntime"],
        threads=threads,
    )
