"""Metrics of predicted labels: accuracy, precision, recall and F1, the matrix and the report of counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ranvier.metrics.checks import distinct, label_arrays, same_shape, targets
from ranvier.tensors.errors import one_of, own_errors
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "accuracy_score", "binary_accuracy", "classification_report", "confusion_matrix", "f1_score",
    "precision_score", "recall_score",
]  # fmt: skip


class Scores(NamedTuple):
    """Scores of labels: arrays (labels), or averages over them, which have no support."""

    precision: Array | float
    recall: Array | float
    f1: Array | float
    support: Array | None  # the number of samples of each label


class Counts:
    """`matrix[i, j]`: the number of samples of `labels[i]` that are predicted as `labels[j]`. The labels are
    sorted."""

    def __init__(self, labels: Array, matrix: Array) -> None:
        self.labels = labels
        self.matrix = matrix

    def to(self, labels: Array) -> Counts:
        """The counts of these labels, in this order: 0 for a label without samples; others are left out."""
        at = np.searchsorted(self.labels, labels)
        at[at == len(self.labels)] = 0  # Behind all labels: any place, since `present` compares.
        present = self.labels[at] == labels
        matrix = np.zeros((len(labels), len(labels)), self.matrix.dtype)
        matrix[np.ix_(present, present)] = self.matrix[np.ix_(at[present], at[present])]
        return Counts(labels, matrix)


def count(name: str, y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> Counts:
    """The counts of all labels that occur. name: the metric, for errors."""
    true, pred = label_arrays(name, y_true, y_pred)
    labels = distinct(name, true, pred)
    n = len(labels)
    cells = np.searchsorted(labels, true) * n + np.searchsorted(labels, pred)
    return Counts(labels, np.bincount(cells, minlength=n * n).reshape(n, n))


def confusion_matrix(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, labels: npt.ArrayLike | None = None
) -> Array:
    """The number of samples of label i (row) that are predicted as label j (column), labels sorted.

    Args:
        y_true: labels (n,), numbers or strings.
        y_pred: labels (n,).
        labels: the labels of rows and columns, in this order; others are left out.

    Raises ValueError: different shapes, no samples, or no label of `labels` in the data.

    >>> from ranvier.metrics import confusion_matrix
    >>> confusion_matrix([0, 1, 2, 2], [0, 2, 2, 1])
    array([[1, 0, 0],
           [0, 0, 1],
           [0, 1, 1]])
    """
    counts = count("confusion_matrix", y_true, y_pred)
    if labels is None:
        return counts.matrix
    chosen = np.asarray(labels).reshape(-1)
    if not np.isin(chosen, counts.labels).any():
        raise ValueError("[confusion_matrix] got labels that are not in y_true; expected one that is")
    return counts.to(chosen).matrix


def _divide(above: Array, below: Array) -> Array:
    """above / below, and 0 where below is 0."""
    return np.divide(above, below, out=np.zeros(len(below)), where=below != 0)


def _selected(name: str, counts: Counts, pos_label: int | str, average: str | None) -> Array:
    """The labels that count for this average: all, or `pos_label` of two for "binary"."""
    if average != "binary":
        return counts.labels
    if len(counts.labels) > 2:
        raise ValueError(
            f"[{name}] got {len(counts.labels)} labels and average 'binary'; expected another average: "
            "None, 'micro', 'macro' or 'weighted'"
        )
    if pos_label not in counts.labels.tolist() and len(counts.labels) >= 2:
        raise ValueError(f"[{name}] got pos_label {pos_label!r}; expected one of {counts.labels.tolist()}")
    return np.asarray([pos_label])


def scores(
    name: str,
    counts: Counts,
    pos_label: int | str = 1,
    average: str | None = "binary",
    labels: Array | None = None,
) -> Scores:
    """Precision, recall and F1 from the counts: arrays (labels) with average None, otherwise numbers.

    labels: the labels to score.
    """
    one_of(name, "average", average, ("binary", "macro", "micro", "weighted", None))
    if labels is None:
        chosen = _selected(name, counts, pos_label, average)
    else:
        chosen = labels
    everything = counts.to(distinct(name, counts.labels, chosen))
    at = np.searchsorted(everything.labels, chosen)
    right = np.diag(everything.matrix)[at]
    predicted = everything.matrix.sum(axis=0)[at]
    true = everything.matrix.sum(axis=1)[at]
    if average == "micro":
        right = np.atleast_1d(right.sum())
        predicted = np.atleast_1d(predicted.sum())
        true = np.atleast_1d(true.sum())
    precision = _divide(right, predicted)
    recall = _divide(right, true)
    f1 = _divide(2 * right, true + predicted)
    if average is None:
        return Scores(precision, recall, f1, true)
    weights = true if average == "weighted" and true.any() else None
    return Scores(_average(precision, weights), _average(recall, weights), _average(f1, weights), None)


def _average(values: Array, weights: Array | None) -> float:
    return float(np.average(values, weights=weights))


def classification_report(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    labels: npt.ArrayLike | None = None,
    target_names: Sequence[str] | Array | None = None,
) -> str:
    """Precision, recall, F1 and support of each label and their averages, as text.

    Args:
        y_true: labels (n,), numbers or strings.
        y_pred: labels (n,).
        labels: the labels to report; all that occur if None.
        target_names: names to show for them.

    Raises ValueError: different shapes, no samples, or another number of names than labels.

    >>> from ranvier.metrics import classification_report
    >>> print(classification_report([0, 1, 1, 1], [0, 0, 1, 1]))
                  precision    recall  f1-score   support
    <BLANKLINE>
               0       0.50      1.00      0.67         1
               1       1.00      0.67      0.80         3
    <BLANKLINE>
        accuracy                           0.75         4
       macro avg       0.75      0.83      0.73         4
    weighted avg       0.88      0.75      0.77         4
    <BLANKLINE>
    """
    name = "classification_report"
    counts = count(name, y_true, y_pred)
    if labels is None:
        chosen = counts.labels
    else:
        chosen = np.asarray(labels).reshape(-1)
    if target_names is None:
        names = [str(label) for label in chosen]
    else:
        names = list(target_names)
    if len(names) != len(chosen):
        raise ValueError(f"[{name}] got {len(names)} target_names for {len(chosen)} labels; expected as many")
    precisions, recalls, f1s, support = map(np.asarray, scores(name, counts, average=None, labels=chosen))
    total = support.sum()
    width = max(*map(len, names), len("weighted avg"))
    headings = ["precision", "recall", "f1-score", "support"]
    lines = [_report_line("", headings, width), ""]
    for i, heading in enumerate(names):
        values = [_two_digits(value) for value in (precisions[i], recalls[i], f1s[i])]
        lines.append(_report_line(heading, [*values, support[i]], width))
    lines.append("")
    has_all_labels = set(counts.labels.tolist()) <= set(chosen.tolist())
    for average in ("micro", "macro", "weighted"):
        precision, recall, f1, _ = scores(name, counts, average=average, labels=chosen)
        if average == "micro" and has_all_labels:  # then the three are equal, and are the accuracy
            lines.append(_report_line("accuracy", ["", "", _two_digits(f1), total], width))
        else:
            averages = [_two_digits(value) for value in (precision, recall, f1)]
            lines.append(_report_line(f"{average} avg", [*averages, total], width))
    return "\n".join([*lines, ""])


def _two_digits(value: Any) -> str:
    return f"{value:.2f}"


def _report_line(heading: str, cells: Sequence[Any], width: int) -> str:
    """A line of a report; width: that of the headings."""
    columns = "".join(f" {cell:>9}" for cell in cells)
    return f"{heading:>{width}s} {columns}"


def accuracy_score(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Share of correct labels. In arrays of more than one axis each element counts; scikit-learn counts a row
    of 0 and 1 as right only as a whole.

    Args:
        y_true: labels; or probabilities (n, classes), of which the largest counts, if `y_pred` is (n,).
        y_pred: labels, as `Trainer.predict` gives them for a classification loss.

    Raises TypeError: `y_pred` has floats (see `binary_accuracy`).
    Raises ValueError: different shapes, or no samples.

    >>> import ranvier as rv
    >>> rv.metrics.accuracy_score([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
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

    >>> import ranvier as rv
    >>> rv.metrics.binary_accuracy([[0], [1]], [[0.2], [0.4]])
    0.5
    """
    true, pred = targets("binary_accuracy", y_true, y_pred)
    same_shape("binary_accuracy", true, pred)
    return float(np.mean((true > threshold) == (pred > threshold)))


def precision_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, pos_label: int | str = 1, average: str | None = "binary"
) -> Any:
    """Share of the samples predicted as a label that have it: tp / (tp + fp).

    Arguments and errors are those of :func:`f1_score`.

    >>> import ranvier as rv
    >>> rv.metrics.precision_score([0, 1, 1, 0], [1, 1, 1, 0])
    0.6666666666666666
    """
    return scores("precision_score", count("precision_score", y_true, y_pred), pos_label, average).precision


def recall_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, pos_label: int | str = 1, average: str | None = "binary"
) -> Any:
    """Share of the samples of a label that are predicted as it: tp / (tp + fn).

    Arguments and errors are those of :func:`f1_score`.

    >>> import ranvier as rv
    >>> rv.metrics.recall_score([0, 1, 1, 0], [1, 1, 0, 0])
    0.5
    """
    return scores("recall_score", count("recall_score", y_true, y_pred), pos_label, average).recall


def f1_score(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, pos_label: int | str = 1, average: str | None = "binary"
) -> Any:
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
    return scores("f1_score", count("f1_score", y_true, y_pred), pos_label, average).f1


own_errors(globals(), __all__)
