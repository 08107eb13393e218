"""pad by one or two pixels, in every mode, against the libraries' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from reference import images as reference
from support.layouts import in_layout

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

SIZES = (2, 2, 1, 1)


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("channels_last", [True, False], ids=["channels_last", "nchw"])
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("shape", [(32, 32, 26, 26), (8, 64, 112, 112)], ids=lambda s: "x".join(map(str, s)))
def bench_pad(race: Race, shape: tuple[int, ...], mode: str, channels_last: bool, threads: int) -> None:
    layout = "channels_last" if channels_last else "plain"
    x = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    y = reference.pad(x, SIZES, mode)

    def ours(x: np.ndarray) -> Callable[[], Any]:
        x = in_layout(x, layout)
        return lambda: _core.pad(x, SIZES, mode)

    race(
        "pad",
        f"{'x'.join(map(str, shape))} {mode} {layout}",
        ours=ours,
        inputs={"x": x},
        expected=y,
        tolerance=0.0,
        moved=4 * (x.size + y.size),
        peers={"torch": Peer("torch", {"sizes": SIZES, "mode": mode, "channels_last": channels_last})},
        threads=threads,
    )
