"""Losses, forward alone and with the gradient: a batch of few classes, of many, and of single numbers."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from reference import class_loss, loss
from support.tolerance import tolerance

from benchmarks.functional import functional
from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer

NAMES = {  # here and in PyTorch: in the reference
    "cross_entropy": "cross_entropy",
    "mse_loss": "mse",
    "binary_cross_entropy_with_logits": "bce_with_logits",
    "huber_loss": "huber",
    "nll_loss": "nll",
}
SHAPES = [(128, 10), (512, 1000), (64, 32000)]
CLASS_SHAPES = [  # few classes, many, pixels of images
    *[
        (32, 10),
        (128, 1000),
        (4096, 1000),
        (100000, 10),
        (4096, 64),
        (333, 129),
        (8, 21, 64, 64),
        (2, 5, 97, 101),
    ],
]
CASES = [
    *((function, shape) for function in NAMES for shape in SHAPES),
    *((function, shape) for function in ("cross_entropy", "nll_loss") for shape in CLASS_SHAPES),
]


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("gradient", [False, True], ids=["forward", "gradient"])
@pytest.mark.parametrize(
    ("function", "shape"), CASES, ids=lambda s: s if isinstance(s, str) else "x".join(map(str, s))
)
def bench_loss(race: Race, function: str, gradient: bool, shape: tuple[int, ...], threads: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-4, 4, shape).astype(np.float32)
    classes = function in ("cross_entropy", "nll_loss")
    reference = class_loss if classes else loss
    of_lines = (shape[0], *shape[2:])
    target = rng.integers(0, shape[1], of_lines) if classes else rng.uniform(0, 1, shape).astype(np.float32)
    exact = x.astype(np.float64)
    if gradient:
        expected = getattr(reference, NAMES[function]).backward(np.asarray(1.0), exact, target)[0]
    else:
        expected = np.asarray(getattr(reference, NAMES[function])(exact, target))
    # a target's class is all that this one reads
    read = target.size if function == "nll_loss" and not gradient else x.size
    race(
        "loss",
        f"{function} {'gradient' if gradient else 'forward'} {'x'.join(map(str, shape))}",
        ours=lambda **arrays: functional(rv, function, arrays, gradient, {}),
        inputs={"x": x, "target": target},
        expected=expected,
        tolerance=tolerance(np.float32, x.size, float(np.abs(expected).max())),
        moved=4 * read * (3 if gradient else 1) + target.nbytes,
        peers={"torch": Peer("torch", {"function": function, "gradient": gradient})},
        threads=threads,
    )
