"""Scaled dot-product attention, and whole training steps of an encoder layer around it."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from reference import attention as reference
from support.tolerance import tolerance

from benchmarks.attention import attention, encoder_parameters, encoder_step
from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer
from benchmarks.training.cases import KEEP_MEMORY

# batch, heads, length, width of a head
SHAPES = [
    *((8, 4, 64, 32), (1, 4, 64, 32), (32, 4, 17, 16), (1, 4, 256, 32)),
    *((4, 8, 128, 64), (8, 4, 256, 32), (1, 4, 1024, 64)),
]
ATTENTIONS = [*((shape, False) for shape in SHAPES), ((8, 4, 64, 32), True), ((1, 4, 256, 32), True)]
ENCODERS = [
    (8, 64, 128, 4),
    (1, 64, 128, 4),
    (32, 17, 64, 4),
    (2, 256, 128, 4),
]  # batch, length, width, heads
every_count = pytest.mark.parametrize("threads", thread_counts())


def label(value: tuple[int, ...] | bool) -> str:
    """Sizes, and whether a query sees what comes after it."""
    return "x".join(map(str, value)) if isinstance(value, tuple) else "causal" if value else "whole"


@every_count
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize(("shape", "causal"), ATTENTIONS, ids=label)
def bench_attention(race: Race, shape: tuple[int, ...], gradient: bool, causal: bool, threads: int) -> None:
    q, k, v, dy = np.random.default_rng(0).standard_normal((4, *shape), np.float32)
    exact = [x.astype(np.float64) for x in (q, k, v)]
    mask = reference.causal_mask(shape[2], shape[2]) if causal else None
    expected = reference.attention(*exact, mask)
    if gradient:
        expected = reference.attention_backward(dy.astype(np.float64), *exact, mask)[:3]
    settings = {"gradient": gradient, "causal": causal}
    scores = shape[0] * shape[1] * shape[2] ** 2
    race(
        "attention",
        f"{'gradient' if gradient else 'forward'} {label(shape)}" + " causal" * causal,
        ours=lambda **arrays: attention(rv, **settings, **arrays),
        inputs={"q": q, "k": k, "v": v, "dy": dy},
        expected=expected,
        tolerance=tolerance(np.float32, shape[2] + shape[3], 8),
        flops=scores * shape[3] * 2 * (7 if gradient else 2),
        peers={"torch": Peer("torch", settings), "torch, memory kept": Peer("torch", settings, KEEP_MEMORY)},
        threads=threads,
    )


@every_count
@pytest.mark.parametrize("sizes", ENCODERS, ids=label)
def bench_encoder_step(race: Race, sizes: tuple[int, ...], threads: int) -> None:
    batch, length, width, heads = sizes
    x = np.random.default_rng(0).standard_normal((batch, length, width), np.float32)
    values = encoder_parameters(width, 2 * width)
    exact = {name: p.astype(np.float64) for name, p in values.items()}
    expected = encoder_step(rv, heads, x.astype(np.float64), **exact)().numpy()
    words = batch * length
    products = words * width * (4 * width + 4 * width + 2 * length)
    race(
        "encoder_step",
        f"batch {batch}, {length} words, width {width}, {heads} heads",
        ours=lambda x, **values: encoder_step(rv, heads, x, rv.compile, **values),
        beside={"encoder_step, eager": lambda x, **values: encoder_step(rv, heads, x, **values)},
        inputs={"x": x, **values},
        expected=expected,
        tolerance=tolerance(np.float32, words, float(np.abs(expected).max())),
        flops=3 * 2 * products,
        peers={
            "torch": Peer("torch", {"heads": heads}),
            "torch, memory kept": Peer("torch", {"heads": heads}, KEEP_MEMORY),
        },
        threads=threads,
    )
