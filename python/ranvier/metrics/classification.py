"""Metrics of predicted labels: accuracy, precision, recall and F; each as a function and as an object."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from ranvier.autograd.errors import own_errors
from ranvier.metrics.confusion import CountingMetric, counts_of, scores
from ranvier.metrics.metric import MeanMetric, arguments, mean_or_sum, same_shape, targets, weights_of
from ranvier.ops.rows import examples

__all__ = [
    "F1", "Accuracy", "Precision", "Recall", "accuracy_score", "binary_accuracy", "f1_score",
    "precision_recall_fscore_support", "precision_score", "recall_score",
]  # fmt: skip


def accuracy_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, normalize: bool = True, sample_weight: Any = None
) -> float:
    """Share of correct labels. Of more than one axis each element counts, where scikit-learn takes rows of 0
    and 1 as wholes.

    Args:
        y_true: labels; or probabilities (n, classes), of which the largest counts, if `y_pred` is (n,).
        y_pred: labels, as `Trainer.predict` gives them for a classification loss.
        normalize: False gives the number of correct labels, not their share.
        sample_weight: the weight of each sample.

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
    correct = np.asarray(true == pred)
    weights = weights_of("accuracy_score", sample_weight, len(correct) if correct.ndim else 0)
    if weights is not None:
        weights = np.repeat(weights, correct.size // len(correct))
    return mean_or_sum(correct.ravel(), weights, normalize)


def binary_accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, threshold: float = 0.5) -> float:
    """Share of values on the correct side of `threshold`, for targets 0 and 1 of any shape.

    Raises ValueError: different shapes, or no samples.
    | rv.metrics.binary_accuracy([[0], [1]], [[0.2], [0.4]]) -> 0.5"""
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
    """Precision, recall, F-beta and the number of samples of each label, or their averages and None.

    The arguments are those of :func:`f1_score`.
    | rv.metrics.precision_recall_fscore_support([0, 1, 1, 1], [0, 0, 1, 1], average="macro")
    -> (0.75, 0.8333333333333333, 0.7333333333333334, None)"""
    name = "precision_recall_fscore_support"
    counts = counts_of(name, y_true, y_pred, sample_weight)
    return scores(name, counts, beta, labels, pos_label, average, zero_division)


def precision_score(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = 0.0,
) -> Any:
    """Share of the samples predicted as a label that have it: tp / (tp + fp).

    Arguments and errors are those of :func:`f1_score`.
    | rv.metrics.precision_score([0, 1, 1, 0], [1, 1, 1, 0]) -> 0.6666666666666666"""
    counts = counts_of("precision_score", y_true, y_pred, sample_weight)
    return scores("precision_score", counts, 1.0, labels, pos_label, average, zero_division)[0]


def recall_score(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    sample_weight: Any = None,
    zero_division: Any = 0.0,
) -> Any:
    """Share of the samples of a label that are predicted as it: tp / (tp + fn).

    Arguments and errors are those of :func:`f1_score`.
    | rv.metrics.recall_score([0, 1, 1, 0], [1, 1, 0, 0]) -> 0.5"""
    counts = counts_of("recall_score", y_true, y_pred, sample_weight)
    return scores("recall_score", counts, 1.0, labels, pos_label, average, zero_division)[1]


def f1_score(
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
        labels: the labels to score; all that occur if None.
        pos_label: the label to score with average "binary".
        average: "binary": the score of `pos_label`, among two labels. None: an array, one score per label.
            "macro": their mean; "weighted": weighted by the number of samples; "micro": from the counts of
            all labels.
        sample_weight: the weight of each sample.
        zero_division: the score where the divisor is 0: 0, 1, or NaN, which averages leave out.
            scikit-learn's "warn" is 0 without a warning.

    Raises:
        ValueError: different shapes, no samples, an unknown average, or more than two labels with average
            "binary".

    >>> from ranvier.metrics import f1_score
    >>> f1_score([0, 1, 2, 0], [0, 2, 1, 0], average="macro")
    0.3333333333333333
    >>> f1_score([0, 1, 2, 0], [0, 2, 1, 0], average=None)
    array([1., 0., 0.])
    """
    counts = counts_of("f1_score", y_true, y_pred, sample_weight)
    return scores("f1_score", counts, 1.0, labels, pos_label, average, zero_division)[2]


class Accuracy(MeanMetric):
    """:func:`accuracy_score` over batches."""

    example = "", "[0, 1], [0, 1]", "[2, 2], [1, 2]", "0.75"

    _function = staticmethod(accuracy_score)


class _Score(CountingMetric):
    _part: ClassVar[int]  # of precision, recall and F

    def __init__(
        self,
        *,
        labels: Any = None,
        pos_label: Any = 1,
        average: str | None = "binary",
        zero_division: Any = 0.0,
    ) -> None:
        super().__init__(**arguments(locals()))
        self.is_number = average is not None

    def _value(self) -> Any:
        return scores(self.__name__, self._counts, **self.settings)[self._part]


class Precision(_Score):
    """:func:`precision_score` over batches."""

    example = "", "[0, 1], [1, 1]", "[1, 0], [1, 0]", "0.6666666666666666"

    _part = 0


class Recall(_Score):
    """:func:`recall_score` over batches."""

    example = 'average="macro"', "[0, 1], [1, 1]", "[1, 0], [1, 0]", "0.75"

    _part = 1


class F1(_Score):
    """:func:`f1_score` over batches."""

    example = 'average="micro"', "[0, 1], [1, 1]", "[1, 0], [1, 0]", "0.75"

    _part = 2


own_errors(globals(), names=__all__)
examples(globals())
