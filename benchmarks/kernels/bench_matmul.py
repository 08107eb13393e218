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

PEERS = ["numpy", "torch", "jax", "onnxruntime"]

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
    # an LSTM's gates
    (32, 512, 2048),
    (64, 256, 1024),
    # 1x1 convolutions of ResNet and U-Net: pixels, input channels, output channels
    (3136, 64, 256),
    (784, 512, 128),
    (196, 1024, 256),
    (16384, 64, 32),
    # multiples of no block size
    (33, 77, 129),
    (127, 255, 513),
    (1000, 1000, 1000),
    # few rows
    (2, 1024, 1024),
    (4, 4096, 1024),
    (8, 4096, 4096),
    # many rows of a classifier; long sums
    (4096, 128, 10),
    (64, 20000, 64),
]

# The products of a linear layer, x (batch, inputs), weight (outputs, inputs): x W^T, in backward dy^T x.
LINEAR = [(32, 784, 128), (128, 784, 128), (8, 1024, 1024), (64, 4096, 1024), (1, 784, 128)]

# Few rows of a linear layer whose weights no cache holds: the limit is that of reading them.
FROM_MEMORY = [
    (1, 896, 36864),
    (2, 896, 36864),
    (4, 896, 36864),
    (8, 896, 36864),
    (16, 896, 36864),
    (1, 9216, 4096),
]

FLOAT64 = [
    (64, 64, 64),
    (256, 256, 256),
    (1000, 1000, 1000),
    (1024, 1024, 1024),
    (1, 1024, 1024),
    (32, 784, 128),
]

# batch, m, k, n: attention's heads, small matrices
BATCHED = [(64, 128, 64, 128), (1000, 8, 8, 8), (256, 32, 32, 32)]

every_row = pytest.mark.parametrize("threads", thread_counts())


def by_size(*rows: Any) -> Any:
    return pytest.mark.parametrize("shape", rows, ids=lambda s: "x".join(map(str, s)))


def ours(a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
    return lambda: _core.matmul(a, b, None, "none", None)


def run(race: Race, name: str, a: np.ndarray, b: np.ndarray, threads: int, peers: list[str]) -> None:
    expected = a.astype(np.float64) @ b.astype(np.float64)
    race(
        "matmul",
        name,
        ours=ours,
        inputs={"a": a, "b": b},
        expected=expected,
        tolerance=tolerance(a.dtype, a.shape[-1]),
        flops=2 * expected.size * a.shape[-1],
        moved=a.nbytes + b.nbytes + expected.size * a.itemsize,
        traffic="read",
        dtype="float64" if a.dtype == np.float64 else "float32",  # in which it is computed
        peers=peers,
        threads=threads,
    )


def drawn(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-1, 1, shape).astype(dtype)


@every_row
@by_size(*SHAPES)
def bench_matmul(race: Race, shape: tuple[int, int, int], threads: int) -> None:
    m, k, n = shape
    run(race, f"{m}x{k}x{n}", drawn(m, k), drawn(k, n), threads, PEERS)


@every_row
@by_size(*LINEAR)
def bench_linear_forward(race: Race, shape: tuple[int, int, int], threads: int) -> None:
    m, k, n = shape
    run(race, f"{m}x{k}x{n} x W^T", drawn(m, k), drawn(n, k).T, threads, ["numpy", "torch"])


@every_row
@by_size(*FROM_MEMORY)
def bench_few_rows(race: Race, shape: tuple[int, int, int], threads: int) -> None:
    m, k, n = shape
    run(race, f"{m}x{k}x{n} x W^T", drawn(m, k), drawn(n, k).T, threads, ["numpy", "torch"])


@every_row
@by_size(*FROM_MEMORY)
def bench_few_rows_float16(race: Race, shape: tuple[int, int, int], threads: int) -> None:
    m, k, n = shape
    a, w = drawn(m, k).astype(np.float16), drawn(n, k).astype(np.float16)
    run(race, f"{m}x{k}x{n} x W^T float16", a, w.T, threads, ["torch"])


@every_row
@by_size(*LINEAR)
def bench_linear_backward(race: Race, shape: tuple[int, int, int], threads: int) -> None:
    m, k, n = shape
    run(race, f"{n}x{m}x{k} dy^T x", drawn(m, n).T, drawn(m, k), threads, ["numpy", "torch"])


@every_row
@by_size(*FLOAT64)
def bench_matmul_float64(race: Race, shape: tuple[int, int, int], threads: int) -> None:
    m, k, n = shape
    a, b = drawn(m, k, dtype="float64"), drawn(k, n, dtype="float64")
    run(race, f"{m}x{k}x{n} float64", a, b, threads, ["numpy", "torch"])


@every_row
@by_size(*BATCHED)
def bench_matmul_batched(race: Race, shape: tuple[int, int, int, int], threads: int) -> None:
    count, m, k, n = shape
    run(race, f"{count} of {m}x{k}x{n}", drawn(count, m, k), drawn(count, k, n), threads, ["numpy", "torch"])
