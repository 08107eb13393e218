"""Metrics of predicted labels: accuracy, precision, recall and F1."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.errors import own_errors
from ranvier.metrics.checks import same_shape, targets
from ranvier.metrics.confusion import counts_of, scores
from ranvier.ops.rows import examples

__all__ = ["accuracy_score", "binary_accuracy", "f1_score", "precision_score", "recall_score"]


def accuracy_score(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Share of correct labels. Of more than one axis each element counts, where scikit-learn takes rows of 0
    and 1 as wholes.

    Args:
        y_true: labels; or probabilities (n, classes), of which the largest counts, if `y_pred` is (n,).
        y_pred: labels, as `Trainer.predict` gives them for a classification loss.

    Raises TypeError: `y_pred` has floats (see `binary_accuracy`).
    Raises ValueError: different shapes, or no samples.
    | rv.metrics.accuracy_score([0, 1, 2, 2], [0, 1, 1, 2]) -> 0.75"""
    true, pred = targets("accuracy_score", y_true, y_pred)
    if pred.dtype.kind not in "iubUSO":
        raise TypeError(
            f"[accuracy_score] got predictions of dtype {pred.dtype}; expected labels "
            "(for values around 0.5, as with MSELoss on targets 0 and 1, see binary_accuracy)"
        )
    if true.dtype.kind == "f" and true.ndim == pred.ndim + 1:
        true = true.argmax(axis=1)
    same_shape("accuracy_score", true, pred)
    return float(np.mean(true == pred))


def binary_accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, threshold: float = 0.5) -> float:
    """Share of values on the correct side of `threshold`, for targets 0 and 1 of any shape.

    Raises ValueError: different shapes, or no samples.
    | rv.metrics.binary_accuracy([[0], [1]], [[0.2], [0.4]]) -> 0.5"""
    true, pred = targets("binary_accuracy", y_true, y_pred)
    same_shape("binary_accuracy", true, pred)
    return float(np.mean((true > threshold) == (pred > threshold)))


def precision_score(y_true: Any, y_pred: Any, *, pos_label: Any = 1, average: str | None = "binary") -> Any:
    """Share of the samples predicted as a label that have it: tp / (tp + fp).

    Arguments and errors are those of :func:`f1_score`.
    | rv.metrics.precision_score([0, 1, 1, 0], [1, 1, 1, 0]) -> 0.6666666666666666"""
    return scores("precision_score", counts_of("precision_score", y_true, y_pred), pos_label, average)[0]


def recall_score(y_true: Any, y_pred: Any, *, pos_label: Any = 1, average: str | None = "binary") -> Any:
    """Share of the samples of a label that are predicted as it: tp / (tp + fn).

    Arguments and errors are those of :func:`f1_score`.
    | rv.metrics.recall_score([0, 1, 1, 0], [1, 1, 0, 0]) -> 0.5"""
    return scores("recall_score", counts_of("recall_score", y_true, y_pred), pos_label, average)[1]


def f1_score(y_true: Any, y_pred: Any, *, pos_label: Any = 1, average: str | None = "binary") -> Any:
    """The harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn). A score is 0 where the divisor is.

    Args:
        y_true: labels (n,), numbers or strings.
        y_pred: labels (n,).
        pos_label: the label to score with average "binary".
        average: "binary": the score of `pos_label`, among two labels. None: an array, one score per label.
            "macro": their mean; "weighted": weighted by the number of samples; "micro": from the counts of
            all labels.

    Raises:
        ValueError: different shapes, no samples, an unknown average, or more than two labels with average
            "binary".

    >>> from ranvier.metrics import f1_score
    >>> f1_score([0, 1, 2, 0], [0, 2, 1, 0], average="macro")
    0.3333333333333333
    >>> f1_score([0, 1, 2, 0], [0, 2, 1, 0], average=None)
    array([1., 0., 0.])
    """
    return scores("f1_score", counts_of("f1_score", y_true, y_pred), pos_label, average)[2]


own_errors(globals(), names=__all__)
examples(globals())
