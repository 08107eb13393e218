"""Measured: loss and metrics of a pass over data. Evaluator: passes that evaluate and predict.

`Run` has a Measured for each epoch of training, and an Evaluator for its validation data; `Trainer.evaluate`
and `Trainer.predict` make an Evaluator for each call.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.autograd import Tensor
from ranvier.nn.modes import evaluating
from ranvier.tensors.memory import BF16, Array
from ranvier.train.batch_source import Source
from ranvier.train.callbacks.base import Training
from ranvier.train.compiled_parts import CompiledOrEager, CompiledParts
from ranvier.train.hints import raise_with_hint
from ranvier.train.losses import EpochLoss, Loss, batch_loss, labels, link_of, probabilities, weighting
from ranvier.train.step import Penalty, parameters_of

if TYPE_CHECKING:
    from ranvier.metrics.named import Metric


class Measured:
    """Sums up batches: the loss, and predictions and targets for the metrics, which are computed over all.

    link: what makes probabilities of the model's output, see `link_of`; None for a loss of values.
    source: where the batches come from; it knows their weights.
    """

    def __init__(self, loss: Loss, metrics: Mapping[str, Metric], link: str | None, source: Source) -> None:
        self._metrics = metrics
        self._link = link
        self._source = source
        self._ignored = getattr(loss, "ignore_index", None)
        # Outputs are kept only where a metric needs probabilities: labels take less memory.
        self._keeps_labels = link is not None and not any(map(_needs_scores, metrics.values()))
        self._criterion = loss
        self._loss = EpochLoss(loss)
        # the outputs (or labels) and the targets of each batch, if there are metrics
        self._predicted: list[Array] = []
        self._true: list[Array] = []

    def add(
        self, value: float, output: Array | None, y: Array, weights: Array | None, penalty: float = 0.0
    ) -> float:
        """Add a batch whose loss is `value`; returns its loss with the penalty."""
        if self._metrics and output is not None:
            self._add_output(output, y)
        weight = self._source.weight(self._criterion, y, weights)
        return self._loss.add(value, weight, penalty)

    def add_all(
        self,
        values: Array,
        output: Array | None,
        y: Array | None,
        weights: Array | int,
        penalties: Array | None,
    ) -> None:
        """Add several batches.

        Args:
            values: the losses (batches).
            output: the outputs (batches, samples of a batch, ...), or None.
            y: the targets of all samples, one batch after the other, or None.
            weights: the weight of each batch, or one number for all.
            penalties: the penalty of each batch, or None.
        """
        if self._metrics and output is not None and y is not None:
            if output.ndim > 1:
                # A copy: the output is a view of more memory, which it would keep from being freed.
                joined = np.array(output).reshape(-1, *output.shape[2:])
                self._add_output(joined, y)
            else:  # one number for each batch
                for number in output:
                    self._add_output(number, y)
        self._loss.add_all(values, weights, penalties)

    def _add_output(self, output: Array, y: Array) -> None:
        """Keep the predictions for some samples, and their targets y."""
        if output.shape in ((*y.shape, 1), y.shape[:-1]) and output.size == y.size:
            output = output.reshape(y.shape)  # `batch_loss` pairs them in the same way.
        if self._keeps_labels:
            output = labels(output, self._link or "")
        self._predicted.append(output)
        self._true.append(y)

    def logs(self) -> dict[str, float]:
        """`{"loss": ..., name of a metric: ...}` over all batches that were added."""
        measured = {"loss": self._loss.value()}
        if self._metrics:
            y_true, outputs = self._counted(np.concatenate(self._true), np.concatenate(self._predicted))
            if self._link is None or self._keeps_labels:
                y_pred = outputs
            else:
                y_pred = labels(outputs, self._link)
            for name, metric in self._metrics.items():
                # `_scored` says what the metric receives: "labels", "probabilities", or "positive", the
                # probabilities of the second of two classes.
                receives = "labels" if self._link is None else _scored(metric)
                if receives == "labels":
                    answers = y_pred
                else:
                    answers = probabilities(outputs, self._link or "")
                if receives == "positive":
                    answers = _second_class(answers, y_true)
                measured[name] = float(metric(y_true, answers))
        return measured

    def _counted(self, y: Array, outputs: Array) -> tuple[Array, Array]:
        """Targets and predictions without those whose class index is the loss's `ignore_index`."""
        if self._ignored is None or y.dtype.kind not in "iu":
            return y, outputs
        counted = y != self._ignored
        if counted.all() or not counted.any():  # a metric needs at least one
            return y, outputs
        # classes last
        if outputs.shape == y.shape:
            rows = outputs
        else:
            rows = np.moveaxis(outputs, 1, -1)
        return y[counted], rows[counted]

    def state_dict(self) -> dict[str, Any]:
        predicted = np.concatenate(self._predicted) if self._predicted else None
        true = np.concatenate(self._true) if self._true else None
        return {"loss": self._loss.state(), "predicted": predicted, "true": true}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._loss.load_state(state["loss"])
        self._predicted = [] if state["predicted"] is None else [state["predicted"]]
        self._true = [] if state["true"] is None else [state["true"]]


def _scored(metric: Metric) -> str:
    """What a metric receives. Only a run with metrics loads their module."""
    from ranvier.metrics.named import scored

    return scored(metric)


def _needs_scores(metric: Metric) -> bool:
    """Whether a metric receives probabilities, not labels."""
    return _scored(metric) != "labels"


def _second_class(answers: Array, y_true: Array) -> Array:
    """Probabilities as scikit-learn's functions take them: (n) of the second class where there are two."""
    if answers.ndim == 2 and answers.shape[1] == 2 and y_true.ndim == 1:
        return answers[:, 1]
    if answers.shape[1:] == (1,):
        return answers.reshape(-1)
    return answers


class Evaluator:
    """Measures and predicts with a Trainer's model, in evaluation mode and without gradients."""

    # The attributes that the compiled methods depend on: what the guards of a captured step compare before
    # each replay (compile/guarding/library_guards.py).
    step_state = ("_trainer.model", "_trainer.loss", "_trainer.metrics")

    def __init__(self, trainer: Training, parts: CompiledParts) -> None:
        self._trainer = trainer
        self._parts = parts

    def measure(self, source: Source) -> dict[str, float]:
        """Loss and metrics over one pass."""
        trainer = self._trainer
        measured, penalty, evaluate = self._begin(source, begins_eagerly=True)
        with evaluating(trainer.model, "Trainer.evaluate"):
            for batch in source:
                measured.add(*self._one(evaluate, *batch), penalty)
                _measure_ahead(evaluate, source, measured, penalty, trainer.loss)
        return measured.logs()

    def _begin(self, source: Source, **settings: Any) -> tuple[Measured, float, CompiledOrEager]:
        """For a pass: the Measured of its results, the penalty, and the compiled `_evaluate`.

        settings: those of `CompiledOrEager`.
        """
        trainer = self._trainer
        measured = Measured(trainer.loss, trainer.metrics, link_of(trainer.loss), source)
        evaluate = self._parts.of(trainer, "evaluate", self._evaluate, **settings)
        return measured, self._penalty_now(), evaluate

    def _one(
        self, evaluate: CompiledOrEager, x: Array, y: Array, weights: Array | None
    ) -> tuple[float, Array | None, Array, Array | None]:
        """The arguments of `Measured.add` for a batch."""
        try:
            loss, output = evaluate(x, y, *weighting(weights))
        except (TypeError, ValueError) as error:
            raise_with_hint(error, self._trainer.model, link_of(self._trainer.loss), x, y)
        array = None if output is None else output._array
        return float(loss.item()), array, y, weights

    def _penalty_now(self) -> float:
        trainer = self._trainer
        if trainer.l1 == trainer.l2 == 0:
            return 0.0
        return Penalty(trainer.model, parameters_of(trainer.optimizer), trainer.l1, trainer.l2).value()

    def output(self, name: str, batches: Iterable[Array]) -> Array:
        """The model's output for all batches; `name` is the method that errors name."""
        trainer = self._trainer
        predict = self._parts.of(trainer, "predict", self._predict, begins_eagerly=True)
        outputs = []
        with evaluating(trainer.model, name):
            for x in batches:
                try:
                    output = predict(x)._array
                    if output.ndim == 0 or len(output) != len(x):
                        raise ValueError(
                            f"[{name}] got x of shape {x.shape} and an output of shape {output.shape}; "
                            "expected an output for each sample (a single sample is x[None])"
                        )
                except (TypeError, ValueError) as error:
                    raise_with_hint(error, trainer.model, None, x)
                outputs.append(output)
        joined = outputs[0] if len(outputs) == 1 else np.concatenate(outputs)
        # NumPy has no bfloat16.
        if joined.dtype == BF16:
            return joined.astype(np.float32)
        return joined

    def _evaluate(
        self, x: Tensor, y: Tensor, weights: Tensor | bool, total: Tensor | bool
    ) -> tuple[Tensor, Tensor | None]:
        """The loss of one batch, and the output where a metric needs it."""
        output = self._trainer.model(x)
        loss = batch_loss(self._trainer.loss, output, y, weights, total)
        if self._trainer.metrics:
            return loss, output
        return loss, None

    def _predict(self, x: Tensor) -> Tensor:
        return self._trainer.model(x)


def _measure_ahead(
    evaluate: CompiledOrEager, source: Source, measured: Measured, penalty: float, loss: Loss
) -> None:
    """Add the batches of the pass that the core can run without Python, if there are some."""
    while True:
        ahead = source.ahead()
        if ahead is None:
            return
        try:
            results = evaluate.run_batches(ahead.arguments(), ahead.batches)
        except (TypeError, ValueError):
            return  # The batch is then run separately, so that its error has the hint.
        if results is None:
            return
        losses, output = results
        count = ahead.batches.done
        outputs = None
        y = None
        if output is not None:
            outputs = output._array
            y = ahead.targets()
        values = losses._array.astype(float).reshape(-1)
        weights = ahead.weight(source.counts(loss))
        measured.add_all(values, outputs, y, weights, np.full(count, penalty))
        source.skip(count)
