"""Whole fits as cases: what is fitted, and the answer that each library has to reach.

Imports NumPy only: the peers' processes read this file too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

LR = 1e-3
LEARNED = 10  # epochs, at least, before an answer


@dataclass(frozen=True)
class Case:
    """An MLP with ReLU, cross-entropy and Adam on shuffled batches of samples whose classes it can learn."""

    sizes: tuple[int, ...]
    batch: int
    samples: int
    epochs: int  # epochs of a fit that is timed

    def data(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(self.samples, self.sizes[0])).astype(np.float32)
        return {"x": x, "y": (x @ rng.normal(size=(self.sizes[0], self.sizes[-1]))).argmax(1)}

    @property
    def flops(self) -> float:
        """FLOP of the products of a fit: outputs, gradients of weights, and of inputs but for the first
        layer."""
        layers = [2.0 * a * b for a, b in pairwise(self.sizes)]
        return self.samples * self.epochs * (3 * sum(layers) - layers[0])


CASES = {
    "20-32-2, batch 32": Case((20, 32, 2), 32, 4096, 20),
    "784-128-64-10, batch 32": Case((784, 128, 64, 10), 32, 8192, 2),
    "784-128-64-10, batch 128": Case((784, 128, 64, 10), 128, 8192, 2),
}


@dataclass(frozen=True)
class Fit:
    """A model that fits some epochs more with each call; its answer is the share of samples learned."""

    fit: Callable[[int], Any]  # this many epochs
    predict: Callable[[], np.ndarray]  # the class of each sample
    y: np.ndarray
    epochs: int

    def __call__(self) -> None:
        self.fit(self.epochs)

    def answer(self) -> np.ndarray:
        self.fit(max(LEARNED, self.epochs))
        return np.array(np.mean(self.predict() == self.y))
