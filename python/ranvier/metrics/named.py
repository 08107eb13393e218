"""Metrics by name: those that `Trainer` finds, and whether more of a quantity is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

import ranvier.metrics.classification as classification
import ranvier.metrics.regression as regression
from ranvier.metrics.ranking import log_loss, roc_auc_score, top_k_accuracy_score

__all__ = ["METRICS"]

Metric = Callable[[npt.NDArray[Any], npt.NDArray[Any]], float]


class _WithSettings:
    """A metric with its settings, under the name that it has in a Trainer's history."""

    def __init__(self, name: str, function: Callable[..., float], scored: str, **settings: Any) -> None:
        self.__name__, self.scored = name, scored  # what `y_pred` holds: "labels" or "probabilities"
        self._function, self._settings = function, settings

    def __call__(self, y_true: Any, y_pred: Any) -> float:
        return self._function(y_true, y_pred, **self._settings)


_OF_PROBABILITIES: list[tuple[str, Callable[..., float], dict[str, Any]]] = [
    *((f"top_{k}_accuracy", top_k_accuracy_score, {"k": k}) for k in (2, 3, 5)),
    ("roc_auc", roc_auc_score, {"multi_class": "ovr"}),
    ("roc_auc_ovo", roc_auc_score, {"multi_class": "ovo"}),
    ("log_loss", log_loss, {}),
]
METRICS: dict[str, Metric] = {
    "accuracy": classification.accuracy_score,
    "binary_accuracy": classification.binary_accuracy,
    "mae": regression.mean_absolute_error,
    "mse": regression.mean_squared_error,
    "r2": regression.r2_score,
    "rmse": regression.root_mean_squared_error,
    "precision": classification.precision_score,
    "recall": classification.recall_score,
    "f1": classification.f1_score,
    **{
        name: _WithSettings(name, function, "labels", average=average)
        for average in ("macro", "micro", "weighted")
        for function in (classification.precision_score, classification.recall_score, classification.f1_score)
        for name in [function.__name__.replace("score", average)]
    },
    **{
        name: _WithSettings(name, function, "probabilities", **settings)
        for name, function, settings in _OF_PROBABILITIES
    },
}

_HIGHER = {"accuracy", "auc", "f1", "precision", "r2", "recall"}


def higher_is_better(name: str) -> bool:
    """True for accuracies, r2 and the like, and scikit-learn's "..._score"; False for losses and errors.

    >>> higher_is_better("val_accuracy"), higher_is_better("f1_macro"), higher_is_better("loss")
    (True, True, False)
    """
    *before, last = words = name.removeprefix("val_").split("_")
    is_score = bool(before) and last == "score"
    return last not in ("loss", "error") and (is_score or not _HIGHER.isdisjoint(words))
