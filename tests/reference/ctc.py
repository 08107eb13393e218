"""ctc_loss in NumPy: sums of logarithms over the places of a target with blanks (Graves et al. 2006)."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _tables(x: Array, label: Array) -> tuple[Array, Array]:
    """log of the sums over paths that come to a place at a step, and over their ends after it."""
    steps, places = x.shape[0], label.size
    come, leave = np.full((2, steps, places), -np.inf)
    come[0, :2] = x[0, label[:2]]
    leave[-1, -2:] = 0
    for t in range(1, steps):
        for s in range(places):
            skip = s % 2 == 1 and s > 1 and label[s] != label[s - 2]
            come[t, s] = np.logaddexp.reduce(come[t - 1, max(s - 1 - skip, 0) : s + 1]) + x[t, label[s]]
    for t in range(steps - 2, -1, -1):
        for s in range(places):
            skip = s % 2 == 1 and s + 2 < places and label[s] != label[s + 2]
            ends = slice(s, s + 2 + skip)
            leave[t, s] = np.logaddexp.reduce(leave[t + 1, ends] + x[t + 1, label[ends]])
    return come, leave


def ctc_loss(x: Array, targets: list[list[int]], lengths: list[int], blank: int = 0) -> tuple[Array, Array]:
    """The loss of each sample, and its gradient by log-probabilities x (t, n, c) of log_softmax."""
    x = x.astype(np.float64)
    loss, dx = np.empty(x.shape[1]), np.zeros_like(x)
    for n, (target, steps) in enumerate(zip(targets, lengths, strict=True)):
        label = np.full(2 * len(target) + 1, blank)
        label[1::2] = target
        if steps == 0:
            loss[n] = np.inf if target else 0
            continue
        come, leave = _tables(x[:steps, n], label)
        total = np.logaddexp.reduce(come[-1, -2:])
        loss[n] = -total
        dx[:steps, n] = np.exp(x[:steps, n])
        for s, c in enumerate(label):
            with np.errstate(invalid="ignore"):
                dx[:steps, n, c] -= np.exp(come[:, s] + leave[:, s] - total)
        if total == -np.inf:
            dx[:steps, n] = np.nan
    return loss, dx
