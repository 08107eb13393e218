"""embedding, forward and backward: words of a sentence, and a table that fits no cache."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from reference import index as reference
from support.tolerance import tolerance

from benchmarks.functional import bags
from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

SIZES = [(1000, 64, 32 * 20), (50000, 128, 64 * 256)]  # rows, width, words
every_size = pytest.mark.parametrize("size", SIZES, ids=lambda s: "x".join(map(str, s)))
every_count = pytest.mark.parametrize("threads", thread_counts())


def indices(rows: int, words: int) -> np.ndarray:
    """Some words are frequent, as in a language."""
    return np.random.default_rng(0).zipf(1.3, words) % rows


@every_count
@every_size
def bench_embedding(race: Race, size: tuple[int, int, int], threads: int) -> None:
    rows, width, words = size
    weight = np.random.default_rng(1).standard_normal((rows, width), np.float32)
    index = indices(rows, words)
    race(
        "embedding",
        "x".join(map(str, size)),
        ours=lambda index, weight: lambda: _core.embedding(index, weight),
        inputs={"index": index, "weight": weight},
        expected=reference.embedding(index, weight),
        tolerance=0.0,
        moved=2 * words * width * 4,
        peers=["torch"],
        threads=threads,
    )


@every_count
@every_size
def bench_embedding_backward(race: Race, size: tuple[int, int, int], threads: int) -> None:
    rows, width, words = size
    index, dy = indices(rows, words), np.random.default_rng(2).standard_normal((words, width), np.float32)
    race(
        "embedding_backward",
        "x".join(map(str, size)),
        ours=lambda index, dy: lambda: _core.embedding_backward(dy, index, rows),
        inputs={"index": index, "dy": dy},
        expected=reference.embedding_backward(dy.astype(np.float64), index, rows),
        tolerance=tolerance(np.float32, int(np.bincount(index).max()), 4),
        moved=(words + rows) * width * 4,
        peers={"torch": Peer("torch", {"rows": rows})},
        threads=threads,
    )


@every_count
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize("size", [(1000, 32, 64 * 16), (10000, 64, 512 * 32)], ids=["small", "large"])
def bench_bag(race: Race, size: tuple[int, int, int], gradient: bool, mode: str, threads: int) -> None:
    rows, width, words = size
    weight = np.random.default_rng(1).standard_normal((rows, width), np.float32)
    index = indices(rows, words).reshape(-1, 16)
    wide = weight.astype(np.float64)
    expected = getattr(np, mode)(wide[index], axis=1)
    inputs = {"index": index, "weight": weight}
    if gradient:
        dy = np.random.default_rng(2).standard_normal(expected.shape, np.float32)
        expected, inputs["dy"] = np.zeros(weight.shape), dy
        shares = (
            (wide[index] == wide[index].max(1, keepdims=True))
            if mode == "max"
            else np.ones(index.shape)[..., None]
        )
        shares = shares / (1 if mode == "sum" else shares.sum(1, keepdims=True))
        np.add.at(expected, index, shares * dy[:, None].astype(np.float64))
    race(
        "embedding_bag",
        f"{'x'.join(map(str, size))} {mode} {'gradient' if gradient else 'forward'}",
        ours=lambda **arrays: bags(rv, gradient=gradient, mode=mode, **arrays),
        inputs=inputs,
        expected=expected,
        tolerance=tolerance(np.float32, words, 4 * max(1.0, float(np.abs(expected).max()))),
        moved=words * width * 4,
        peers={"torch": Peer("torch", {"gradient": gradient, "mode": mode})}
        if mode != "max" or not gradient
        else {},
        threads=threads,
    )
