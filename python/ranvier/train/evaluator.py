"""Evaluator: passes over data without training, as `evaluate`, `predict` and the validation need them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd import Tensor
from ranvier.nn.modes import evaluating
from ranvier.train.compiled import CompiledOrEager, CompiledParts
from ranvier.train.hints import raise_with_hint
from ranvier.train.links import link_of
from ranvier.train.measured import Measured
from ranvier.train.penalty import Penalty
from ranvier.train.protocol import Training
from ranvier.train.source import Source
from ranvier.train.step import parameters_of
from ranvier.train.weighting import batch_loss, weighting

__all__ = ["Evaluator"]

Array = npt.NDArray[Any]


class Evaluator:
    """Measures and predicts with a Trainer's model, in evaluation mode and without gradients."""

    step_state = ("_trainer.model", "_trainer.loss", "_trainer.metrics")  # of what is compiled

    def __init__(self, trainer: Training, parts: CompiledParts) -> None:
        self._trainer, self._parts = trainer, parts

    def measure(self, source: Source) -> dict[str, float]:
        """Loss and metrics over one pass."""
        trainer, link = self._trainer, link_of(self._trainer.loss)
        measured = Measured(trainer.loss, trainer.metrics, link)
        penalty = self._penalty_now()
        evaluate = self._parts.of(trainer, "evaluate", self._evaluate, waits=True)
        with evaluating(trainer.model, "Trainer.evaluate"):
            for x, y, weights in source:
                try:
                    loss, output = evaluate(x, y, *weighting(weights))
                except (TypeError, ValueError) as error:
                    raise_with_hint(error, trainer.model, link, x, y)
                found = None if output is None else output._array
                measured.add(float(loss.item()), found, y, weights, penalty)
                _measure_ahead(evaluate, source, measured, penalty)
        return measured.logs()

    def _penalty_now(self) -> float:
        trainer = self._trainer
        return Penalty(trainer.model, parameters_of(trainer.optimizer), trainer.l1, trainer.l2).value()

    def output(self, name: str, batches: Iterable[Array]) -> Array:
        """The model's output for all batches; `name` is the method that errors name."""
        trainer = self._trainer
        predict = self._parts.of(trainer, "predict", self._predict, waits=True)
        parts = []
        with evaluating(trainer.model, name):
            for x in batches:
                try:
                    parts.append(_one_each(name, predict(x)._array, x))
                except (TypeError, ValueError) as error:
                    raise_with_hint(error, trainer.model, None, x)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _evaluate(
        self, x: Tensor, y: Tensor, weights: Tensor | bool, total: Tensor | bool
    ) -> tuple[Tensor, Tensor | None]:
        """The loss of one batch, and the output where a metric needs it."""
        output = self._trainer.model(x)
        loss = batch_loss(self._trainer.loss, output, y, weights, total)
        return loss, output if self._trainer.metrics else None

    def _predict(self, x: Tensor) -> Tensor:
        return self._trainer.model(x)


def _measure_ahead(evaluate: CompiledOrEager, source: Source, measured: Measured, penalty: float) -> None:
    """Adds the batches that the core can run by itself."""
    while (ahead := source.ahead()) is not None:
        try:
            found = evaluate.run_batches(ahead.arguments(), ahead.batches)
        except (TypeError, ValueError):
            return  # the batch is run again by itself, for the hint in its error
        if found is None:
            return
        (loss, output), done = found, ahead.batches.done
        y, found = (None, None) if output is None else (ahead.targets(), output._array)
        values = loss._array.astype(float).reshape(-1)
        measured.add_all(values, found, y, ahead.weight(), np.full(done, penalty))
        source.skip(done)


def _one_each(name: str, output: Array, x: Array) -> Array:
    """The output of a batch, which has to have one entry for each sample."""
    if output.ndim == 0 or len(output) != len(x):
        raise ValueError(
            f"[{name}] got x of shape {x.shape} and an output of shape {output.shape}; expected an output "
            "for each sample (a single sample is x[None])"
        )
    return output
