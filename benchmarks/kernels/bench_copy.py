"""Changes of layout, transposed copies and concatenations: nothing is computed, all is memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ranvier import _core
from support.layouts import in_layout

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

IMAGES = [(8, 64, 56, 56), (32, 3, 224, 224), (128, 3, 32, 32), (32, 32, 13, 13)]
PERMUTED = [((1024, 1024), (1, 0)), ((1000, 300), (1, 0)), ((16, 128, 12, 64), (0, 2, 1, 3))]
PARTS = [((64, 100, 28), 1), ((64, 100, 28), 2), ((8, 64, 28, 28), 1)]
every_count = pytest.mark.parametrize("threads", thread_counts())


def sizes(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


@every_count
@pytest.mark.parametrize("channels_last", [True, False], ids=["to_channels_last", "to_nchw"])
@pytest.mark.parametrize("shape", IMAGES, ids=sizes)
def bench_layout(race: Race, shape: tuple[int, ...], channels_last: bool, threads: int) -> None:
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    before = "plain" if channels_last else "channels_last"

    def ours(x: np.ndarray) -> Any:
        x = in_layout(x, before)
        return lambda: _core.copy(x, channels_last)

    race(
        "copy",
        f"{sizes(shape)} to {'channels_last' if channels_last else 'nchw'}",
        ours=ours,
        inputs={"x": x},
        expected=x,
        tolerance=0.0,
        moved=2 * x.nbytes,
        peers={"torch": Peer("torch", {"channels_last": channels_last})},
        threads=threads,
    )


@every_count
@pytest.mark.parametrize(("shape", "axes"), PERMUTED, ids=str)
def bench_transpose(race: Race, shape: tuple[int, ...], axes: tuple[int, ...], threads: int) -> None:
    x = np.random.default_rng(0).random(shape, dtype=np.float32)

    def ours(x: np.ndarray) -> Any:
        transposed = x.transpose(axes)
        return lambda: _core.copy(transposed)

    race(
        "transpose",
        f"{sizes(shape)} axes {axes}",
        ours=ours,
        inputs={"x": x},
        expected=x.transpose(axes),
        tolerance=0.0,
        moved=2 * x.nbytes,
        peers={"torch": Peer("torch", {"axes": axes})},
        threads=threads,
    )


@every_count
@pytest.mark.parametrize(("shape", "axis"), PARTS, ids=str)
def bench_concatenate(race: Race, shape: tuple[int, ...], axis: int, threads: int) -> None:
    rng = np.random.default_rng(0)
    inputs = {name: rng.random(shape, dtype=np.float32) for name in "abcd"}
    race(
        "concatenate",
        f"4 of {sizes(shape)} along {axis}",
        ours=lambda **arrays: lambda: _core.concatenate(list(arrays.values()), axis),
        inputs=inputs,
        expected=np.concatenate(list(inputs.values()), axis),
        tolerance=0.0,
        moved=2 * 4 * inputs["a"].nbytes,
        peers={"torch": Peer("torch", {"axis": axis})},
        threads=threads,
    )
