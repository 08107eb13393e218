"""Recurrent layers: small ones, a sequence alone, a long one; forward, and forward and backward."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from reference import recurrent as reference
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer
from benchmarks.recurrent import NAMES, recurrent

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# steps, batch, inputs, hidden
SHAPES = [(20, 8, 8, 16), (50, 32, 64, 128), (50, 1, 64, 128), (1, 32, 64, 128), (500, 4, 32, 64)]
every_count = pytest.mark.parametrize("threads", thread_counts())


def label(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


@every_count
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize("shape", SHAPES, ids=label)
@pytest.mark.parametrize("kind", GATES)
def bench_recurrent(race: Race, kind: str, shape: tuple[int, ...], gradient: bool, threads: int) -> None:
    steps, batch, inputs, hidden = shape
    rng = np.random.default_rng(0)
    width = GATES[kind] * hidden
    x = rng.standard_normal((steps, batch, inputs), np.float32)
    dy = rng.standard_normal((steps, batch, hidden), np.float32)
    shapes = ((width, inputs), (width, hidden), (width,), (width,))
    weights = [(rng.uniform(-1, 1, s) / np.sqrt(hidden)).astype(np.float32) for s in shapes]

    # the reference takes the rows of all steps in one matrix
    cell = "rnn_tanh" if kind == "RNN" else kind.lower()
    flat, *exact = (a.astype(np.float64) for a in (x.reshape(-1, inputs), *weights))
    zeros, sizes = np.zeros((batch, hidden)), np.full(steps, batch)
    y, _, _, saved = reference.recurrent(cell, flat, zeros, zeros, *exact, sizes)
    expected = y.reshape(dy.shape)
    if gradient:
        back = dy.reshape(y.shape).astype(np.float64)
        found = reference.recurrent_backward(cell, back, zeros, zeros, flat, *exact[:2], saved, sizes)
        expected = found[3:]
    largest = max(float(np.abs(a).max()) for a in (expected if gradient else [expected]))
    settings = {"kind": kind, "gradient": gradient}
    race(
        "recurrent",
        f"{kind} {'gradient' if gradient else 'forward'} {label(shape)}",
        ours=lambda **arrays: recurrent(rv, **settings, **arrays),
        inputs={"x": x, "dy": dy, **dict(zip(NAMES, weights, strict=True))},
        expected=expected,
        tolerance=tolerance(np.float32, steps * hidden if gradient else hidden + inputs, max(largest, 1)),
        flops=2 * steps * batch * width * (inputs + hidden) * (3 if gradient else 1),
        peers={"torch": Peer("torch", settings)},
        threads=threads,
    )
