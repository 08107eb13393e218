"""Measures of predicted labels: accuracy, precision, recall and F."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.metrics.confusion import counts_of, scores
from ranvier.metrics.inputs import average_of, same_shape, targets, weights_of


def accuracy(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, normalize: bool = True, sample_weight: Any = None
) -> float:
    """Share of labels that are right.

    Args:
        y_true: labels; or probabilities (n, classes), of which the largest counts, if `y_pred` is (n,).
        y_pred: labels, as `Trainer.predict` gives them for a classification loss.
        normalize: False gives the number of right labels, not their share.
        sample_weight: what each sample counts.

    Raises:
        TypeError: `y_pred` is of floats (see `binary_accuracy`).
        ValueError: shapes that differ, or no samples.

    >>> from ranvier.metrics import accuracy
    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    true, pred = targets("accuracy", y_true, y_pred)
    if pred.dtype.kind not in "iubUSO":
        raise TypeError(
            f"[accuracy] got predictions of dtype {pred.dtype}; expected labels "
            "(for values around 0.5, as with MSELoss on targets 0 and 1, see binary_accuracy)"
        )
    if true.dtype.kind == "f" and true.ndim == pred.ndim + 1:
        true = true.argmax(axis=1)
    same_shape("accuracy", true, pred)
    return _share("accuracy", true == pred, normalize, sample_weight)


def _share(name: str, right: Any, normalize: bool, sample_weight: Any) -> float:
    """The share of True, or their number; samples lie along axis 0."""
    weights = weights_of(name, sample_weight, len(right) if np.ndim(right) else 0)
    if weights is not None:
        weights = np.repeat(weights, right.size // len(right))
    if normalize:
        return average_of(np.ravel(right), weights)
    return float(np.sum(right) if weights is None else np.ravel(right) @ weights)


def binary_accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, threshold: float = 0.5) -> float:
    """Share of values on the right side of `threshold`, for targets 0 and 1 of any shape.

    Raises:
        ValueError: shapes that differ, or no samples.

    >>> from ranvier.metrics import binary_accuracy
    >>> binary_accuracy([[0], [1]], [[0.2], [0.4]])
    0.5
    """
    true, pred = targets("binary_accuracy", y_true, y_pred)
    same_shape("binary_accuracy", true, pred)
    return float(np.mean((true > threshold) == (pred > threshold)))


def precision_recall_fscore_support(
    y_true: Any,
    y_pred: Any,
    *,
    beta: float = 1.0,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = None,
    sample_weight: Any = None,
    zero_division: Any = 0.0,
) -> tuple[Any, Any, Any, Any]:
    """Precision, recall, F-beta and the number of samples of each label, or their averages (and None).

    Arguments as of :func:`f1`.

    >>> from ranvier.metrics import precision_recall_fscore_support
    >>> precision_recall_fscore_support([0, 1, 1, 1], [0, 0, 1, 1], average="macro")
    (0.75, 0.8333333333333333, 0.7333333333333334, None)
    """
    name = "precision_recall_fscore_support"
    return scores(
        name,
        counts_of(name, y_true, y_pred, sample_weight),
        beta=beta,
        labels=labels,
        pos_label=pos_label,
        average=average,
        zero_division=zero_division,
    )


def precision(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = 0.0,
) -> Any:
    """The share of what was taken for a label that has it: tp / (tp + fp).

    Arguments and errors as of :func:`f1`.

    >>> from ranvier.metrics import precision
    >>> precision([0, 1, 1, 0], [1, 1, 1, 0])
    0.6666666666666666
    """
    settings = {"labels": labels, "pos_label": pos_label, "average": average, "zero_division": zero_division}
    return scores("precision", counts_of("precision", y_true, y_pred, sample_weight), **settings)[0]


def recall(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = 0.0,
) -> Any:
    """The share of what has a label that was taken for it: tp / (tp + fn).

    Arguments and errors as of :func:`f1`.

    >>> from ranvier.metrics import recall
    >>> recall([0, 1, 1, 0], [1, 1, 0, 0])
    0.5
    """
    settings = {"labels": labels, "pos_label": pos_label, "average": average, "zero_division": zero_division}
    return scores("recall", counts_of("recall", y_true, y_pred, sample_weight), **settings)[1]


def f1(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = 0.0,
) -> Any:
    """The harmonic mean of precision and recall: 2 tp / (2 tp + fp + fn).

    Args:
        y_true: labels (n,), numbers or strings.
        y_pred: labels (n,).
        labels: the labels that are scored; all that occur if None.
        pos_label: the label that is scored with average "binary".
        average: "binary": of `pos_label`, among two labels. None: an array, one score for each label.
            "macro": their mean; "weighted": by the number of samples; "micro": of the counts of all labels.
        sample_weight: what each sample counts.
        zero_division: the score where nothing is to be divided: 0, 1 or NaN, which averages leave out.
            (scikit-learn's "warn" is 0; no warning is given.)

    Raises:
        ValueError: shapes that differ, no samples, more than two labels with average "binary", or another
            average.

    >>> from ranvier.metrics import f1
    >>> f1([0, 1, 2, 0], [0, 2, 1, 0], average="macro")
    0.3333333333333333
    >>> f1([0, 1, 2, 0], [0, 2, 1, 0], average=None)
    array([1., 0., 0.])
    """
    settings = {"labels": labels, "pos_label": pos_label, "average": average, "zero_division": zero_division}
    return scores("f1", counts_of("f1", y_true, y_pred, sample_weight), **settings)[2]
