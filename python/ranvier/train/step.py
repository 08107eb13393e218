"""TrainingStep: what happens to one batch of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd import Tensor, borrowed, wrap
from ranvier.nn import utils
from ranvier.optim import LBFGS, Optimizer
from ranvier.train.compiled import CompiledParts
from ranvier.train.links import link_of
from ranvier.train.penalty import Penalty
from ranvier.train.protocol import Training
from ranvier.train.source import Ahead
from ranvier.train.weighting import batch_loss, name_of, weighting

__all__ = ["TrainingStep", "parameters_of"]

Array = npt.NDArray[Any]


class _Unusable(Exception):
    """The first loss of a search is not finite."""


class TrainingStep:
    """Loss and gradients of a batch; every `accumulate` batches the penalty, clipping and an update.

    Gradients of several batches add up to those of all their samples together: each counts by its samples (or
    their weights), and the sum is divided by them all. A 'sum' loss just adds up.
    """

    # what `_take` depends on (rv.compile): the rest are arguments, or counts of the batches so far
    step_state = (
        "_model", "_loss", "_optimizer", "_clip_norm", "_clip_value", "_penalty", "_own", "_careful",
        "_of_classes", "_classes",
    )  # fmt: skip

    def __init__(self, trainer: Training, parts: CompiledParts) -> None:
        self._trainer = trainer
        self._model, self._loss, self._optimizer = trainer.model, trainer.loss, trainer.optimizer
        self._accumulate = trainer.accumulate
        self._clip_norm, self._clip_value = trainer.clip_grad_norm, trainer.clip_grad_value
        self._penalty = Penalty(trainer.model, parameters_of(trainer.optimizer), trainer.l1, trainer.l2)
        self._summed = getattr(trainer.loss, "reduction", "mean") == "sum"
        self._batches, self._weight = 0, 0.0  # of the update to come
        own = getattr(type(self._optimizer), "step", None) is not Optimizer.step
        self._of_classes = link_of(trainer.loss) == "softmax"
        classes = trainer.classes_
        self._classes = len(classes) if classes is not None and self._of_classes else 0
        self._own, self._careful = own, trainer.on_nonfinite != "ignore"
        self._compiled = parts.of(
            trainer,
            "fit",
            self._take,
            eager=isinstance(self._optimizer, LBFGS),
            # the first step makes the optimizer's state; a fit of one step records nothing
            after=int(type(self) is TrainingStep),
            shares=type(self) is TrainingStep,
            refused=f"{name_of(self._optimizer)} updates by its own Python code" if own else "",
        )
        if self._accumulate > 1 and isinstance(self._optimizer, LBFGS):
            raise ValueError(
                "[Trainer] got accumulate with LBFGS, which evaluates a batch several times; expected 1"
            )

    def __call__(
        self, x: Array, y: Array, weights: Array | None, last: bool
    ) -> tuple[float, Array | None, float, bool]:
        """(loss, output where a metric needs it, penalty, whether the weights were updated).

        After the `last` batch they are.
        """
        if isinstance(self._optimizer, LBFGS):
            return self._search(x, y, weights)
        first = self._batches == 0
        self._batches += 1
        updates = last or self._batches == self._accumulate
        share: Array | bool = False
        scale: Array | bool = False
        if not (first and updates):
            weight = 1.0 if self._summed else float(len(y) if weights is None else weights.sum())
            self._weight += weight
            share = np.array(weight)
            if updates and not self._summed:
                scale = np.array([self._scale()])
        more = (share, scale, first, updates, bool(self._trainer.metrics))
        loss, output, penalty = self._compiled(x, y, *weighting(weights), *more)
        if updates:
            self._batches, self._weight = 0, 0.0
        value = 0.0 if penalty is None else float(penalty.item())
        return float(loss.item()), None if output is None else output._array, value, updates

    def run_ahead(self, ahead: Ahead) -> tuple[Array, Array | None, Array | None] | None:
        """Updates with several batches in one call to the core: (losses, outputs or None, penalties or None).

        None where the next batch has to be taken alone: it is recorded or compared with an eager step, some
        batches make an update together, or Python makes the update.
        """
        if self._accumulate > 1:
            return None
        more = (False, False, True, True, bool(self._trainer.metrics))
        found = self._compiled.run_batches((*ahead.arguments(), *more), ahead.batches)
        if found is None:
            return None
        loss, output, penalty = found
        penalties = None if penalty is None else penalty._array.astype(float).reshape(-1)
        return loss._array.astype(float).reshape(-1), None if output is None else output._array, penalties

    def _take(
        self,
        x: Tensor,
        y: Tensor,
        weights: Tensor | bool,
        total: Tensor | bool,
        share: Tensor | bool,
        scale: Tensor | bool,
        first: bool,
        updates: bool,
        measured: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """One batch: (loss, output where a metric needs it, penalty). This function is compiled.

        weights, total: as `batch_loss` takes them. share: what the gradients of this batch are multiplied by,
        scale: what those of all batches are, both False where there is one to an update.
        measured: whether a metric needs the output.
        """
        if first:
            self._optimizer.zero_grad()
        output, loss = self._forward(x, y, weights, total)
        loss.backward(share.expand(loss.shape) if isinstance(share, Tensor) else None)
        if updates:
            penalty = self._penalty.penalise(scale._array if isinstance(scale, Tensor) else None)
            self._clip()
            self._update(loss)
        else:
            penalty = self._penalty.measure()
        value = None if penalty is None else wrap(penalty)
        return loss.detach(), output.detach() if measured else None, value

    def _forward(
        self, x: Tensor, y: Tensor, weights: Tensor | bool, total: Tensor | bool, loss: Any = None
    ) -> tuple[Tensor, Tensor]:
        """(output, loss) of samples; loss: in place of the Trainer's."""
        output = self._model(x)
        if self._of_classes and output.ndim == 2 and output.shape[1] == 1:
            raise ValueError(
                f"[Trainer.fit] got an output of shape {output.shape} for {name_of(self._loss)}, whose loss "
                "over one class is always 0; expected an output for each class, or BCEWithLogitsLoss"
            )
        if self._classes and output.shape[1] != self._classes:
            raise ValueError(
                f"[Trainer.fit] got {self._classes} different labels and an output of shape {output.shape}; "
                f"expected {self._classes} outputs, one for each label"
            )
        return output, batch_loss(loss or self._loss, output, y, weights, total)

    def _update(self, loss: Tensor) -> None:
        """An update; it is not made where the loss is not finite, unless that is ignored."""
        if not self._careful:
            self._optimizer.step()
        elif self._own:
            if math.isfinite(loss.item()):
                self._optimizer.step()
        else:
            self._optimizer.finite = loss.detach()
            try:
                self._optimizer.step()
            finally:
                self._optimizer.finite = None

    def _search(self, x: Array, y: Array, weights: Array | None) -> tuple[float, Array, float, bool]:
        """An update by an optimizer that evaluates loss and gradients several times."""
        seen: list[tuple[float, Array, float, bool]] = []

        def closure() -> float:
            self._optimizer.zero_grad()
            output = self._model(borrowed(x))
            loss = batch_loss(self._loss, output, wrap(y), *weighting(weights))
            loss.backward()
            penalty = self._penalty.add_gradients()
            self._clip()
            seen.append((float(loss.item()), output._array, penalty, True))
            if self._careful and len(seen) == 1 and not math.isfinite(seen[0][0]):
                raise _Unusable
            return seen[-1][0] + penalty

        with suppress(_Unusable):
            self._optimizer.step(closure)
        return seen[0]

    def finish(self) -> None:
        """Update with what has been accumulated."""
        self._penalty.penalise(None if self._summed else np.array([self._scale()]))
        self._clip()
        self._optimizer.step()
        self._batches, self._weight = 0, 0.0

    def drop(self) -> None:
        """Leave out the batches of the update to come, one of which has a loss that is not finite."""
        if self.unfinished:
            self._optimizer.zero_grad()
            self._batches, self._weight = 0, 0.0

    def expect(self, steps: int) -> None:
        """So many steps come in this fit; 0 where that is not known."""
        if type(self) is TrainingStep:
            self._compiled.expect(steps)

    def check_soon(self) -> None:
        """Compare a replay with an eager step soon, if that takes little of the time."""
        self._compiled.check_soon()

    @property
    def program(self) -> Any:
        """The program that ran last and the number of its checks; None before the first."""
        return self._compiled.latest

    def draws(self) -> bool:
        """Whether the program that ran last draws random numbers."""
        return self._compiled.draws()

    @property
    def unfinished(self) -> bool:
        """Whether there are gradients that no update has used."""
        return self._batches > 0

    def _scale(self) -> float:
        return 1.0 if self._weight == 0 else 1 / self._weight

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
