"""Element-wise functions and arithmetic, into a given output: one million elements, and a row broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

SHAPE = (1024, 1024)


def elementwise(name: str) -> Callable[..., Callable[[], Any]]:
    def ours(**arrays: np.ndarray) -> Callable[[], Any]:
        function, operands = getattr(_core, name), tuple(arrays.values())
        out = np.empty(np.broadcast_shapes(*(x.shape for x in operands)), np.float32)
        return lambda: function(*operands, out)

    return ours


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("case", ["add", "add_row", "mul", "div", "sqrt", "exp", "log", "sin", "pow"])
def bench_elementwise(race: Race, case: str, threads: int) -> None:
    rng = np.random.default_rng(0)
    name = case.removesuffix("_row")
    inputs = {"a": rng.uniform(0.1, 4, SHAPE).astype(np.float32)}
    if name in ("add", "mul", "div", "pow"):
        inputs["b"] = rng.uniform(0.1, 4, SHAPE[1:] if case == "add_row" else SHAPE).astype(np.float32)
    numpy_name = {"mul": "multiply", "div": "divide", "pow": "power"}.get(name, name)
    expected = getattr(np, numpy_name)(*(x.astype(np.float64) for x in inputs.values()))
    race(
        "elementwise",
        f"{case} {'x'.join(map(str, SHAPE))}",
        ours=elementwise(name),
        inputs=inputs,
        expected=expected,
        tolerance=tolerance(np.float32, 1, float(np.abs(expected).max())),
        moved=4 * (expected.size + sum(x.size for x in inputs.values())),
        peers={library: Peer(library, {"function": numpy_name}) for library in ("numpy", "torch")},
        threads=threads,
    )
