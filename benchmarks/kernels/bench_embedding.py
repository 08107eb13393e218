"""embedding, forward and backward: words of a sentence, and a table that fits no cache."""

from __future__ import annotations

import numpy as np
import pytest
from ranvier import _core
from reference import embedding as reference
from support.tolerance import tolerance

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
