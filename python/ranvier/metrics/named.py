"""Metrics by name: those that `Trainer` finds, and whether more of a quantity is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from ranvier.metrics.classification import (
    F1,
    Precision,
    Recall,
    accuracy_score,
    binary_accuracy,
    f1_score,
    precision_score,
    recall_score,
)
from ranvier.metrics.ranking import LogLoss, RocAuc, TopKAccuracy
from ranvier.metrics.regression import (
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    root_mean_squared_error,
)

__all__ = ["METRICS"]

Metric = Callable[[npt.NDArray[Any], npt.NDArray[Any]], float]

METRICS: dict[str, Metric] = {
    "accuracy": accuracy_score,
    "binary_accuracy": binary_accuracy,
    "mae": mean_absolute_error,
    "mse": mean_squared_error,
    "r2": r2_score,
    "rmse": root_mean_squared_error,
    "precision": precision_score,
    "recall": recall_score,
    "f1": f1_score,
    **{
        metric.__name__: metric
        for average in ("macro", "micro", "weighted")
        for metric in (Precision(average=average), Recall(average=average), F1(average=average))
    },
    **{metric.__name__: metric for metric in (TopKAccuracy(k=k) for k in (2, 3, 5))},
    **{metric.__name__: metric for metric in (RocAuc(), RocAuc(multi_class="ovo"), LogLoss())},
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
