"""Step: what happens to one batch of a training run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd import borrowed, wrap
from ranvier.nn import utils
from ranvier.optim import LBFGS
from ranvier.train.penalty import Penalty
from ranvier.train.weighting import batch_loss

if TYPE_CHECKING:
    from ranvier.train.trainer import Trainer

__all__ = ["Step", "parameters_of"]

Array = npt.NDArray[Any]


class Step:
    """Loss and gradients of a batch; every `accumulate` batches the penalty, clipping and an update.

    Gradients of several batches add up to those of all their samples together: each counts by its samples (or
    their weights), and the sum is divided by them all. A 'sum' loss just adds up.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._model, self._loss, self._optimizer = trainer.model, trainer.loss, trainer.optimizer
        self._accumulate = trainer.accumulate
        self._clip_norm, self._clip_value = trainer.clip_grad_norm, trainer.clip_grad_value
        self._penalty = Penalty(trainer.model, parameters_of(trainer.optimizer), trainer.l1, trainer.l2)
        self._summed = getattr(trainer.loss, "reduction", "mean") == "sum"
        self._batches, self._weight = 0, 0.0  # of the update to come
        if self._accumulate > 1 and isinstance(self._optimizer, LBFGS):
            raise ValueError(
                "[Trainer] got accumulate with LBFGS, which evaluates a batch several times; expected 1"
            )

    def __call__(
        self, x: Array, y: Array, weights: Array | None, last: bool
    ) -> tuple[float, Array, float, bool]:
        """(loss, output, penalty, whether the weights were updated); after the `last` batch they are."""
        if isinstance(self._optimizer, LBFGS):
            return self._search(x, y, weights)
        if self._batches == 0:
            self._optimizer.zero_grad()
        output = self._model(borrowed(x))
        loss = batch_loss(self._loss, output, wrap(y), weights)
        self._batches += 1
        updates = last or self._batches == self._accumulate
        if updates and self._batches == 1:  # nothing to add up
            loss.backward()
            penalty = self._penalty.add_gradients()
            self._update()
            return float(loss.item()), output._array, penalty, True
        weight = 1.0 if self._summed else float(len(y) if weights is None else weights.sum())
        self._weight += weight
        loss.backward(np.full(loss.shape, weight, loss.dtype))
        penalty = self.finish() if updates else self._penalty.value()
        return float(loss.item()), output._array, penalty, updates

    def _search(self, x: Array, y: Array, weights: Array | None) -> tuple[float, Array, float, bool]:
        """An update by an optimizer that evaluates loss and gradients as often as it likes."""
        seen: list[tuple[float, Array, float, bool]] = []

        def closure() -> float:
            self._optimizer.zero_grad()
            output = self._model(borrowed(x))
            loss = batch_loss(self._loss, output, wrap(y), weights)
            loss.backward()
            penalty = self._penalty.add_gradients()
            self._clip()
            seen.append((float(loss.item()), output._array, penalty, True))
            return seen[-1][0] + penalty

        self._optimizer.step(closure)
        return seen[0]

    def finish(self) -> float:
        """Update with what has been accumulated; returns the penalty."""
        scale = 1.0 if self._summed or self._weight == 0 else 1 / self._weight
        penalty = self._penalty.add_gradients(scale)
        self._update()
        return penalty

    @property
    def unfinished(self) -> bool:
        """Whether gradients wait for their update."""
        return self._batches > 0

    def _update(self) -> None:
        self._clip()
        self._optimizer.step()
        self._batches, self._weight = 0, 0.0

    def _clip(self) -> None:
        if self._clip_value is not None:
            utils.clip_grad_value_(parameters_of(self._optimizer), self._clip_value)
        if self._clip_norm is not None:
            utils.clip_grad_norm_(parameters_of(self._optimizer), self._clip_norm)

    def state_dict(self) -> dict[str, Any]:
        gradients: list[Array | None] = []
        if self.unfinished:
            grads = [p.grad for p in parameters_of(self._optimizer)]
            gradients = [None if grad is None else grad._array for grad in grads]
        return {"batches": self._batches, "weight": self._weight, "gradients": gradients}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._batches, self._weight = state["batches"], state["weight"]
        if self.unfinished:
            for p, gradient in zip(parameters_of(self._optimizer), state["gradients"], strict=True):
                p.grad = None if gradient is None else wrap(gradient)


def parameters_of(optimizer: Any) -> list[Any]:
    """All parameters that an optimizer updates."""
    return [p for group in getattr(optimizer, "param_groups", ()) for p in group["params"]]
