"""NormHistory: how large weights and gradients were in each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ranvier.train.callbacks.base import Callback

__all__ = ["NormHistory"]


class NormHistory(Callback):
    """Records the Euclidean norms of all parameters and of their gradients; `rv.plot.norms` draws them.

    Args:
        biases: also parameters of one dimension (biases, scales of norms).

    Attributes:
        weights: a list by parameter name, with its norm after each epoch.
        gradients: the same for gradients: the root mean square over the updates of each epoch, of the
            gradient that the optimizer used, after clipping. NaN for a frozen parameter.

    >>> import ranvier as rv
    >>> norms = rv.NormHistory()
    >>> model = rv.nn.Linear(1, 1)
    >>> _ = model.load_state_dict({"weight": [[0.0]], "bias": [0.0]})
    >>> trainer = rv.Trainer(model, rv.nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    >>> history = trainer.fit([[1.0]], [[2.0]], epochs=1, callbacks=[norms])
    >>> [round(norm, 3) for norm in norms.weights["weight"] + norms.gradients["weight"]]
    [0.4, 4.0]
    """

    def __init__(self, *, biases: bool = False) -> None:
        self.biases = biases
        self.weights: dict[str, list[float]] = {}
        self.gradients: dict[str, list[float]] = {}
        self._forget_epoch()

    def on_train_begin(self) -> None:
        self._parameters = {
            name: p for name, p in self.trainer.model.named_parameters() if self.biases or p.ndim > 1
        }
        self._seen = self.trainer.updates
        self._forget_epoch()

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self._add_update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._add_update()
        for name, p in self._parameters.items():
            mean = self._squares[name] / self._updates if name in self._squares else math.nan
            self.weights.setdefault(name, []).append(float(np.linalg.norm(p._array)))
            self.gradients.setdefault(name, []).append(math.sqrt(mean))
        self._forget_epoch()

    def _add_update(self) -> None:
        """Adds the gradients of an update since the last call."""
        if self._seen == self.trainer.updates:
            return
        self._seen = self.trainer.updates
        self._updates += 1
        for name, p in self._parameters.items():
            if p.grad is not None:
                square = float(np.linalg.norm(p.grad._array)) ** 2
                self._squares[name] = self._squares.get(name, 0.0) + square

    def _forget_epoch(self) -> None:
        self._squares: dict[str, float] = {}
        self._updates = 0

    def state_dict(self) -> dict[str, Any]:
        epoch = {"squares": self._squares, "updates": self._updates, "seen": self._seen}
        return {"weights": self.weights, "gradients": self.gradients, **epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weights, self.gradients = state["weights"], state["gradients"]
        self._squares, self._updates, self._seen = state["squares"], state["updates"], state["seen"]
