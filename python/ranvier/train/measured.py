"""Measured: the loss and the metrics of one pass over data, batch by batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.metrics.named import Metric
from ranvier.train.links import labels, probabilities
from ranvier.train.weighting import EpochLoss

__all__ = ["Measured"]

Array = npt.NDArray[Any]


class Measured:
    """Sums up batches: the loss, and predictions and targets for the metrics, which are computed over all."""

    def __init__(self, loss: Any, metrics: Mapping[str, Metric], link: str | None) -> None:
        self._metrics, self._link = metrics, link
        self._ignored = getattr(loss, "ignore_index", None)
        # outputs are kept only where a metric needs probabilities: labels take less memory
        self._of_labels = link is not None and not any(map(_needs_probabilities, metrics.values()))
        self._loss = EpochLoss(loss)
        self._predicted: list[Array] = []
        self._true: list[Array] = []

    def add(
        self, value: float, output: Array | None, y: Array, weights: Array | None, penalty: float = 0.0
    ) -> float:
        """Add a batch whose loss is `value`; returns its loss with the penalty."""
        if self._metrics and output is not None:
            self._add_output(output, y)
        return self._loss.add(value, len(y) if weights is None else float(weights.sum()), penalty)

    def add_all(
        self,
        values: Array,
        output: Array | None,
        y: Array | None,
        weights: Array | int,
        penalties: Array | None,
    ) -> None:
        """Add batches: their losses, outputs (batches, ...), all targets, the weight of each or of all."""
        if self._metrics and output is not None and y is not None:
            # copies: these are parts of more memory
            for part in [np.array(output).reshape(-1, *output.shape[2:])] if output.ndim > 1 else output:
                self._add_output(part, y)
        self._loss.add_all(values, weights, penalties)

    def _add_output(self, output: Array, y: Array) -> None:
        if output.shape in ((*y.shape, 1), y.shape[:-1]) and output.size == y.size:
            output = output.reshape(y.shape)  # as `batch_loss` pairs them
        self._predicted.append(labels(output, self._link or "") if self._of_labels else output)
        self._true.append(y)

    def logs(self) -> dict[str, float]:
        """`{"loss": ..., metric: ...}` of what was added."""
        measured = {"loss": self._loss.value()}
        if self._metrics:
            y_true, found = self._counted(np.concatenate(self._true), np.concatenate(self._predicted))
            y_pred = found if self._link is None or self._of_labels else labels(found, self._link)
            for name, metric in self._metrics.items():
                scored = self._link is not None and _needs_probabilities(metric)
                measured[name] = float(
                    metric(y_true, probabilities(found, self._link or "") if scored else y_pred)
                )
        return measured

    def _counted(self, y: Array, found: Array) -> tuple[Array, Array]:
        """Targets and predictions without those whose class index is the loss's `ignore_index`."""
        if self._ignored is None or y.dtype.kind not in "iu" or not (kept := y != self._ignored).any():
            return y, found
        if kept.all():
            return y, found
        return y[kept], (found if found.shape == y.shape else np.moveaxis(found, 1, -1))[kept]

    def state_dict(self) -> dict[str, Any]:
        def joined(parts: list[Array]) -> Array | None:
            return np.concatenate(parts) if parts else None

        return {
            "loss": self._loss.state(),
            "predicted": joined(self._predicted),
            "true": joined(self._true),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._loss.load_state(state["loss"])
        self._predicted, self._true = (
            [] if state[name] is None else [state[name]] for name in ("predicted", "true")
        )


def _needs_probabilities(metric: Any) -> bool:
    return getattr(metric, "scored", "labels") == "probabilities"
