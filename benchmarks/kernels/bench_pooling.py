"""max_pool2d and avg_pool2d, forward and backward, on the images of small and middle-sized networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from reference import pooling as reference
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

Window = tuple[int, int, int]
SHAPES = [(32, 32, 26, 26), (8, 64, 112, 112)]
SQUARES = (2, 2, 0)  # kernel_size, stride, padding
# pools of ResNet (3x3, overlapping) and Inception (stride 1), odd sizes, few channels; float64
OTHERS = [
    ((8, 64, 112, 112), (3, 2, 1), "float32"),
    ((32, 64, 32, 32), (3, 2, 1), "float32"),
    ((8, 192, 28, 28), (3, 1, 1), "float32"),
    ((16, 48, 55, 57), (3, 2, 0), "float32"),
    ((128, 10, 24, 24), (2, 2, 0), "float32"),
    ((16, 64, 56, 56), (2, 2, 0), "float64"),
]
CASES = [(shape, SQUARES, "float32") for shape in SHAPES] + OTHERS


def images(shape: tuple[int, ...], channels_last: bool, dtype: str = "float32") -> np.ndarray:
    n, c, h, w = shape
    values = np.random.default_rng(0).permuted(np.linspace(-1, 1, n * c * h * w, dtype=dtype))
    return values.reshape(n, h, w, c).transpose(0, 3, 1, 2) if channels_last else values.reshape(shape)


def max_pool2d(x: np.ndarray, window: Window) -> Callable[[], Any]:
    return lambda: _core.max_pool2d(x, *window)[0]


def max_pool2d_backward(x: np.ndarray, window: Window, dy: np.ndarray) -> Callable[[], Any]:
    where = _core.max_pool2d(x, *window)[1]
    return lambda: _core.max_pool2d_backward(dy, where, x.shape, *window)


def avg_pool2d(x: np.ndarray, window: Window) -> Callable[[], Any]:
    return lambda: _core.avg_pool2d(x, *window)


def label(shape: tuple[int, ...], window: Window, dtype: str) -> str:
    sizes = "x".join(map(str, shape))
    kind = "" if window == SQUARES else " {0}x{0} stride {1} pad {2}".format(*window)
    return sizes + kind + ("" if dtype == "float32" else f" {dtype}")


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("channels_last", [True, False], ids=["channels_last", "nchw"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: label(*case).replace(" ", "-"))
@pytest.mark.parametrize("op", [max_pool2d, max_pool2d_backward, avg_pool2d], ids=lambda f: f.__name__)
def bench_pooling(race: Race, op: Any, case: Any, channels_last: bool, threads: int) -> None:
    shape, window, dtype = case
    kernel = window[0]
    x = images(shape, channels_last, dtype)
    rows, columns = (reference.taps(n, *window) for n in shape[2:])
    y, where = reference.max_pool2d(x, rows, columns, kernel)
    inputs, moved = {"x": x}, x.nbytes + y.nbytes
    if op is avg_pool2d:
        divisor = np.full((len(rows), len(columns)), kernel**2)
        expected = reference.avg_pool2d(x, rows, columns, divisor)
    elif op is max_pool2d:
        expected, moved = y, moved + y.size
    else:
        dy = images(y.shape, channels_last, dtype)
        inputs["dy"], moved = dy, moved + y.size
        expected = reference.max_pool2d_backward(dy, where, x.shape, rows, columns, kernel)
    race(
        op.__name__,
        f"{label(*case)} {'channels_last' if channels_last else 'nchw'}",
        ours=lambda x, **others: op(x, window, **others),
        inputs=inputs,
        expected=expected,
        tolerance=tolerance(np.float32, kernel**2),
        moved=moved,
        dtype=dtype,
        peers={"torch": Peer("torch", {"channels_last": channels_last, "window": window})},
        threads=threads,
    )


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("channels_last", [True, False], ids=["channels_last", "nchw"])
@pytest.mark.parametrize("shape", [(8, 512, 7, 7), (32, 320, 13, 13)], ids=lambda s: "x".join(map(str, s)))
def bench_global_average(race: Race, shape: tuple[int, ...], channels_last: bool, threads: int) -> None:
    """Global average pooling, as before the last layer of ResNet and MobileNet."""
    x = images(shape, channels_last)
    race(
        "global_average",
        f"{'x'.join(map(str, shape))} {'channels_last' if channels_last else 'nchw'}",
        ours=lambda x: lambda: _core.adaptive_avg_pool2d(x, 1),
        inputs={"x": x},
        expected=x.mean((2, 3), dtype=np.float64, keepdims=True),
        tolerance=tolerance(np.float32, shape[2] * shape[3]),
        moved=x.nbytes,
        traffic="read",
        peers={"torch": Peer("torch", {"channels_last": channels_last})},
        threads=threads,
    )
