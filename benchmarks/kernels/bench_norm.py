"""The normalisations, forward and backward, on images and lines of small and middle-sized networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ranvier import _core
from reference import norm as reference
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

IMAGES = [(32, 32, 26, 26), (32, 64, 32, 32), (8, 64, 56, 56), (16, 24, 27, 29), (128, 256, 1, 1)]
LINES = [(64, 128), (2048, 768), (32 * 128, 768), (500, 1001)]
every_count = pytest.mark.parametrize("threads", thread_counts())
images_and_layouts = pytest.mark.parametrize(
    ("shape", "channels_last"),
    [(shape, last) for shape in IMAGES for last in (True, False) if last or shape[2] > 1],
    ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else str(value),
)


def values(shape: tuple[int, ...], seed: int = 0, channels_last: bool = False) -> np.ndarray:
    array = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2) if channels_last else array


def label(shape: tuple[int, ...], channels_last: bool | None = None) -> str:
    sizes = "x".join(map(str, shape))
    return sizes if channels_last is None else f"{sizes} {'channels_last' if channels_last else 'nchw'}"


@every_count
@images_and_layouts
def bench_batch_norm(race: Race, shape: tuple[int, ...], channels_last: bool, threads: int) -> None:
    x, weight, bias = values(shape, 0, channels_last), *values((2, shape[1]), 1)
    race(
        "batch_norm",
        label(shape, channels_last),
        ours=lambda x, weight, bias: lambda: _core.batch_norm(x, weight, bias)[0],
        inputs={"x": x, "weight": weight, "bias": bias},
        expected=reference.batch_norm(x.astype(np.float64), weight, bias),
        tolerance=tolerance(np.float32, x.size // shape[1], 4),
        moved=3 * x.nbytes,
        peers={"torch": Peer("torch", {"channels_last": channels_last})},
        threads=threads,
    )


@every_count
@images_and_layouts
def bench_batch_norm_inference(race: Race, shape: tuple[int, ...], channels_last: bool, threads: int) -> None:
    x, weight, bias = values(shape, 0, channels_last), *values((2, shape[1]), 1)
    mean, var = values((shape[1],), 2), np.square(values((shape[1],), 3)) + 1
    scale = weight.astype(np.float64) / np.sqrt(var + 1e-5)
    expected = x * scale[:, None, None] + (bias - mean * scale)[:, None, None]
    race(
        "batch_norm_inference",
        label(shape, channels_last),
        ours=lambda x, weight, bias, mean, var: (
            lambda: _core.batch_norm(x, weight, bias, mean, var, None, False)[0]
        ),
        inputs={"x": x, "weight": weight, "bias": bias, "mean": mean, "var": var},
        expected=expected,
        tolerance=tolerance(np.float32, 4, float(np.abs(expected).max())),
        moved=2 * x.nbytes,
        peers={"torch": Peer("torch", {"channels_last": channels_last})},
        threads=threads,
    )


@every_count
@images_and_layouts
def bench_batch_norm_backward(race: Race, shape: tuple[int, ...], channels_last: bool, threads: int) -> None:
    x, dy = (values(shape, seed, channels_last) for seed in (0, 1))
    weight = values((shape[1],), 2)

    def ours(x: np.ndarray, dy: np.ndarray, weight: np.ndarray) -> Any:
        _, mean, rstd = _core.batch_norm(x, weight)
        return lambda: _core.batch_norm_backward(dy, x, weight, mean, rstd)

    race(
        "batch_norm_backward",
        label(shape, channels_last),
        ours=ours,
        inputs={"x": x, "dy": dy, "weight": weight},
        expected=list(reference.batch_norm_backward(dy.astype(np.float64), x.astype(np.float64), weight)),
        tolerance=tolerance(np.float32, x.size // shape[1], 4),
        moved=5 * x.nbytes,
        peers={"torch": Peer("torch", {"channels_last": channels_last})},
        threads=threads,
    )


@every_count
@images_and_layouts
def bench_group_norm(race: Race, shape: tuple[int, ...], channels_last: bool, threads: int) -> None:
    x, weight, bias = values(shape, 0, channels_last), *values((2, shape[1]), 1)
    race(
        "group_norm",
        label(shape, channels_last),
        ours=lambda x, weight, bias: lambda: _core.group_norm(x, 8, weight, bias)[0],
        inputs={"x": x, "weight": weight, "bias": bias},
        expected=reference.group_norm(x.astype(np.float64), 8, weight, bias),
        tolerance=tolerance(np.float32, x.size // shape[0] // 8, 4),
        moved=2 * x.nbytes,
        peers={"torch": Peer("torch", {"channels_last": channels_last, "groups": 8})},
        threads=threads,
    )


@every_count
@pytest.mark.parametrize("shape", LINES, ids=label)
@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def bench_layer_norm(race: Race, name: str, shape: tuple[int, ...], threads: int) -> None:
    x, weight, bias = values(shape), *values((2, shape[1]), 1)
    inputs = {"x": x, "weight": weight, "bias": bias} if name == "layer_norm" else {"x": x, "weight": weight}
    compute, exact = getattr(_core, name), getattr(reference, name)
    extra = list(inputs.values())[1:]
    race(
        name,
        label(shape),
        ours=lambda x, **parameters: lambda: compute(x, shape[1:], *parameters.values(), 1e-5)[0],
        inputs=inputs,
        expected=exact(x.astype(np.float64), 1, *extra, 1e-5),
        tolerance=tolerance(np.float32, shape[1], 4),
        moved=2 * x.nbytes,
        peers=["torch"],
        threads=threads,
    )


@every_count
@pytest.mark.parametrize("shape", LINES, ids=label)
def bench_layer_norm_backward(race: Race, shape: tuple[int, ...], threads: int) -> None:
    x, dy, weight = values(shape), values(shape, 1), values(shape[1:], 2)

    def ours(x: np.ndarray, dy: np.ndarray, weight: np.ndarray) -> Any:
        _, mean, rstd = _core.layer_norm(x, shape[1:], weight)
        return lambda: _core.layer_norm_backward(dy, x, shape[1:], weight, mean, rstd)

    race(
        "layer_norm_backward",
        label(shape),
        ours=ours,
        inputs={"x": x, "dy": dy, "weight": weight},
        expected=list(reference.layer_norm_backward(dy.astype(np.float64), x.astype(np.float64), 1, weight)),
        tolerance=tolerance(np.float32, max(shape), 4),
        moved=3 * x.nbytes,
        peers=["torch"],
        threads=threads,
    )
