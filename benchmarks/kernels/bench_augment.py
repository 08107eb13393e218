"""augment's kernels on batches of small images, against what PyTorch does with a whole batch at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from reference import images as reference
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

SHAPES = [(128, 1, 28, 28), (128, 3, 32, 32)]


def flip_images(x: np.ndarray, place: np.ndarray) -> Callable[[], Any]:
    return lambda: _core.move_images(x, place)


def affine_images(x: np.ndarray, matrix: np.ndarray) -> Callable[[], Any]:
    return lambda: _core.affine_images(x, matrix)


def mix_images(x: np.ndarray, partner: np.ndarray, weight: np.ndarray) -> Callable[[], Any]:
    return lambda: _core.mix_images(x, partner, weight)


def arguments(op: str, n: int, size: int) -> dict[str, np.ndarray]:
    """The operation on each image: half are mirrored, all are rotated, and mixed with the next."""
    if op == "flip_images":
        place = np.zeros((n, 4), np.int64)
        place[::2, 3] = 1
        return {"place": place}
    if op == "affine_images":
        angle, middle = np.linspace(-0.3, 0.3, n), (size - 1) / 2
        cos, sin = np.cos(angle), np.sin(angle)
        shift_column, shift_row = middle - cos * middle + sin * middle, middle - sin * middle - cos * middle
        return {"matrix": np.column_stack([cos, -sin, shift_column, sin, cos, shift_row])}
    if op == "mix_images":
        return {"partner": np.roll(np.arange(n), 1), "weight": np.linspace(0, 1, n)}
    return {}


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("shape", SHAPES, ids=lambda s: "x".join(map(str, s)))
@pytest.mark.parametrize("op", [flip_images, affine_images, mix_images], ids=lambda f: f.__name__)
def bench_augment(race: Race, op: Any, shape: tuple[int, ...], threads: int) -> None:
    x = np.random.default_rng(0).random(shape, dtype=np.float32)
    inputs = arguments(op.__name__, shape[0], shape[2])
    if op is flip_images:
        expected = reference.move_images(x, inputs["place"], *shape[2:])
    else:
        expected = getattr(reference, op.__name__)(x, **inputs)
    race(
        op.__name__,
        "x".join(map(str, shape)),
        ours=op,
        inputs={"x": x, **inputs},
        expected=expected,
        # PyTorch finds a pixel's place in float32: off by some eps of the image's size
        tolerance=tolerance(np.float32, 2 * shape[2], 1.0),
        moved=2 * x.nbytes,
        peers={"torch": Peer("torch")},
        threads=threads,
    )
