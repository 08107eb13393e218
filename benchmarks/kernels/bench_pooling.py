"""max_pool2d and avg_pool2d, forward and backward, on the images of small and middle-sized networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from ranvier.reference import pooling as reference
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

SHAPES = [(32, 32, 26, 26), (8, 64, 112, 112)]


def images(shape: tuple[int, ...], channels_last: bool) -> np.ndarray:
    n, c, h, w = shape
    values = np.random.default_rng(0).permuted(np.linspace(-1, 1, n * c * h * w, dtype=np.float32))
    return values.reshape(n, h, w, c).transpose(0, 3, 1, 2) if channels_last else values.reshape(shape)


def max_pool2d(x: np.ndarray) -> Callable[[], Any]:
    return lambda: _core.max_pool2d(x, 2)[0]


def max_pool2d_backward(x: np.ndarray, dy: np.ndarray) -> Callable[[], Any]:
    where = _core.max_pool2d(x, 2)[1]
    return lambda: _core.max_pool2d_backward(dy, where, x.shape, 2)


def avg_pool2d(x: np.ndarray) -> Callable[[], Any]:
    return lambda: _core.avg_pool2d(x, 2)


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("channels_last", [True, False], ids=["channels_last", "nchw"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("op", [max_pool2d, max_pool2d_backward, avg_pool2d], ids=lambda f: f.__name__)
def bench_pooling(race: Race, op: Any, shape: tuple[int, ...], channels_last: bool, threads: int) -> None:
    x = images(shape, channels_last)
    rows, columns = (reference.taps(n, 2, 2, 0) for n in shape[2:])
    y, where = reference.max_pool2d(x, rows, columns, 2)
    inputs, moved = {"x": x}, x.nbytes + y.nbytes
    if op is avg_pool2d:
        expected = reference.avg_pool2d(x, rows, columns, np.full((len(rows), len(columns)), 4))
    elif op is max_pool2d:
        expected, moved = y, moved + y.size
    else:
        dy = images(y.shape, channels_last)
        inputs["dy"], moved = dy, moved + y.size
        expected = reference.max_pool2d_backward(dy, where, x.shape, rows, columns, 2)
    race(
        op.__name__,
        f"{'x'.join(map(str, shape))} {'channels_last' if channels_last else 'nchw'}",
        ours=op,
        inputs=inputs,
        expected=expected,
        tolerance=tolerance(np.float32, 4),
        moved=moved,
        peers={"torch": Peer("torch", {"channels_last": channels_last})},
        threads=threads,
    )
