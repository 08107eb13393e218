"""Metrics: functions `(y_true, y_pred)` on NumPy arrays with scikit-learn's names, arguments and results, and
objects that take batches (:mod:`ranvier.metrics.streaming`).

`Trainer(metrics=["accuracy", "f1_macro"])` finds them by the names in `METRICS` and computes them once per
epoch over all samples. It also takes objects (`F1(average="macro")`) and any other function of
`(y_true, y_pred)`, such as scikit-learn's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from ranvier.metrics.classification import (
    accuracy_score,
    binary_accuracy,
    f1_score,
    precision_recall_fscore_support,
    precision_score,
    recall_score,
)
from ranvier.metrics.confusion import confusion_matrix
from ranvier.metrics.ranking import log_loss, roc_auc_score, top_k_accuracy_score
from ranvier.metrics.regression import (
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    root_mean_squared_error,
)
from ranvier.metrics.report import classification_report
from ranvier.metrics.streaming import (
    F1,
    Accuracy,
    ClassificationReport,
    ConfusionMatrix,
    LogLoss,
    Precision,
    Recall,
    RocAuc,
    StreamingMetric,
    TopKAccuracy,
)
from ranvier.metrics.streaming_values import MAE, MSE, R2, RMSE

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
"""The metrics that `Trainer` finds by name."""

__all__ = [
    "F1",
    "MAE",
    "METRICS",
    "MSE",
    "R2",
    "RMSE",
    "Accuracy",
    "ClassificationReport",
    "ConfusionMatrix",
    "LogLoss",
    "Precision",
    "Recall",
    "RocAuc",
    "StreamingMetric",
    "TopKAccuracy",
    "accuracy_score",
    "binary_accuracy",
    "classification_report",
    "confusion_matrix",
    "f1_score",
    "log_loss",
    "mean_absolute_error",
    "mean_squared_error",
    "precision_recall_fscore_support",
    "precision_score",
    "r2_score",
    "recall_score",
    "roc_auc_score",
    "root_mean_squared_error",
    "top_k_accuracy_score",
]
