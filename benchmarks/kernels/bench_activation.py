"""Activations, forward alone and with the gradient: a layer's output in the cache, and one beyond it."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from reference import activation as reference
from support.tolerance import tolerance

from benchmarks.functional import functional
from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

SHAPES = [(128, 256), (1024, 2048)]
FUNCTIONS = ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "gelu", "silu", "softplus", "mish", "hardswish"]
IN_NUMPY = ("relu", "tanh")


def expected(function: str, x: np.ndarray, dy: np.ndarray | None) -> np.ndarray:
    """The reference's answer: y, or the gradient of x."""
    forward, backward = getattr(reference, function), getattr(reference, function + "_backward")
    if dy is None:
        return forward(x)
    return backward(dy, x)


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize("function", FUNCTIONS)
def bench_activation(race: Race, function: str, gradient: bool, shape: tuple[int, ...], threads: int) -> None:
    activation(race, function, gradient, shape, threads, "float32")


MORE = [((1000,), "float32"), ((1023, 257), "float32"), ((4096, 4096), "float32"), ((512, 512), "float64")]


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize(("shape", "dtype"), MORE, ids=["1000", "odd", "16M", "float64"])
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize("function", ["relu", "sigmoid", "gelu"])
def bench_more(
    race: Race, function: str, gradient: bool, shape: tuple[int, ...], dtype: str, threads: int
) -> None:
    activation(race, function, gradient, shape, threads, dtype)


def activation(
    race: Race, function: str, gradient: bool, shape: tuple[int, ...], threads: int, dtype: str
) -> None:
    rng = np.random.default_rng(0)
    inputs = {"x": rng.uniform(-4, 4, shape).astype(dtype)}
    dy = rng.uniform(-1, 1, shape).astype(dtype) if gradient else None
    if dy is not None:
        inputs["dy"] = dy
    options = {"function": function, "gradient": gradient}
    race(
        "activation",
        " ".join(
            [function, "gradient" if gradient else "forward", "x".join(map(str, shape))]
            + [dtype] * (dtype == "float64")
        ),
        ours=lambda **arrays: functional(rv, function, arrays, gradient, {}),
        inputs=inputs,
        expected=expected(function, inputs["x"].astype(np.float64), dy),
        tolerance=tolerance(dtype, 1, 4),
        moved=inputs["x"].nbytes * (5 if gradient else 2),
        peers={
            library: Peer(library, options)
            for library in ("torch", "numpy")
            if library == "torch" or (function in IN_NUMPY and not gradient)
        },
        threads=threads,
        dtype=dtype,
    )
