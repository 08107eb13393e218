"""Measures of how good predictions are: functions `(y_true, y_pred)` on NumPy arrays, with scikit-learn's
order, argument names and numbers; and objects that take batches (:mod:`ranvier.metrics.streaming`).

`Trainer(metrics=["accuracy", "f1_macro"])` finds them by name, and computes them once per epoch over all
samples. An object (`F1(average="macro")`) or any other function of `(y_true, y_pred)` can be given too,
scikit-learn's included. Functions have short names, and scikit-learn's as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt

from ranvier.metrics.classification import (
    accuracy,
    binary_accuracy,
    f1,
    precision,
    precision_recall_fscore_support,
    recall,
)
from ranvier.metrics.confusion import confusion_matrix
from ranvier.metrics.ranking import log_loss, roc_auc, top_k_accuracy
from ranvier.metrics.regression import mae, mse, r2, rmse
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

# scikit-learn's names
accuracy_score = accuracy
f1_score = f1
mean_absolute_error = mae
mean_squared_error = mse
precision_score = precision
r2_score = r2
recall_score = recall
roc_auc_score = roc_auc
root_mean_squared_error = rmse
top_k_accuracy_score = top_k_accuracy

METRICS: dict[str, Metric] = {
    **{f.__name__: f for f in (accuracy, binary_accuracy, mae, mse, r2, rmse, precision, recall, f1)},
    **{
        metric.__name__: metric
        for average in ("macro", "micro", "weighted")
        for metric in (Precision(average=average), Recall(average=average), F1(average=average))
    },
    **{metric.__name__: metric for metric in (TopKAccuracy(k=k) for k in (2, 3, 5))},
    **{metric.__name__: metric for metric in (RocAuc(), RocAuc(multi_class="ovo"), LogLoss())},
}
"""The metrics that `Trainer` knows by name."""

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
    "accuracy",
    "accuracy_score",
    "binary_accuracy",
    "classification_report",
    "confusion_matrix",
    "f1",
    "f1_score",
    "log_loss",
    "mae",
    "mean_absolute_error",
    "mean_squared_error",
    "mse",
    "precision",
    "precision_recall_fscore_support",
    "precision_score",
    "r2",
    "r2_score",
    "recall",
    "recall_score",
    "rmse",
    "roc_auc",
    "roc_auc_score",
    "root_mean_squared_error",
    "top_k_accuracy",
    "top_k_accuracy_score",
]
