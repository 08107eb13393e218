"""Counts of true and predicted labels, and the scores computed from them: precision, recall, F."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.metrics.inputs import distinct, label_arrays, one_of, weights_of

__all__ = ["confusion_matrix"]

AVERAGES = ("binary", "macro", "micro", "weighted", None)


class Counts(NamedTuple):
    """`matrix[i, j]`: the number, or weight, of samples of `labels[i]` that are predicted as `labels[j]`."""

    labels: Array  # sorted
    matrix: Array

    def to(self, labels: Array) -> Counts:
        """The counts of these labels, in this order: 0 for a label without samples; others are left out."""
        at = np.searchsorted(self.labels, labels)
        at[at == len(self.labels)] = 0
        known = self.labels[at] == labels if len(self.labels) else np.zeros(len(labels), bool)
        matrix = np.zeros((len(labels), len(labels)), self.matrix.dtype)
        matrix[np.ix_(known, known)] = self.matrix[np.ix_(at[known], at[known])]
        return Counts(labels, matrix)

    def merged(self, other: Counts, name: str) -> Counts:
        labels = distinct(name, self.labels, other.labels)
        return Counts(labels, self.to(labels).matrix + other.to(labels).matrix)


def counts_of(name: str, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Counts:
    true, pred = label_arrays(name, y_true, y_pred)
    weights = weights_of(name, sample_weight, len(true))
    labels = distinct(name, true, pred)
    n = len(labels)
    cells = np.searchsorted(labels, true) * n + np.searchsorted(labels, pred)
    return Counts(labels, np.bincount(cells, weights, n * n).reshape(n, n))


def normalized(counts: Counts, labels: Any, normalize: str | None) -> Array:
    one_of("confusion_matrix", "normalize", normalize, ("true", "pred", "all", None))
    if labels is not None:
        labels = np.asarray(labels).reshape(-1)
        if len(labels) == 0:
            raise ValueError("[confusion_matrix] got no labels; expected at least one")
        if not np.isin(labels, counts.labels).any():
            raise ValueError("[confusion_matrix] got labels that are not in y_true; expected one that is")
        counts = counts.to(labels)
    matrix = counts.matrix
    if normalize is None:
        return matrix
    totals = {
        "true": matrix.sum(axis=1, keepdims=True),
        "pred": matrix.sum(axis=0, keepdims=True),
        "all": matrix.sum(),
    }[normalize]
    with np.errstate(all="ignore"):
        return np.nan_to_num(matrix / totals)


def confusion_matrix(
    y_true: Any, y_pred: Any, *, labels: Any = None, sample_weight: Any = None, normalize: str | None = None
) -> Array:
    """How many samples of label i (row) are predicted as label j (column), labels sorted.

    Args:
        y_true: labels (n,), numbers or strings.
        y_pred: labels (n,).
        labels: the labels of rows and columns, in this order; others are left out.
        sample_weight: the weight of each sample.
        normalize: divide by the sum of the row ("true"), the column ("pred") or of "all".

    Raises ValueError: different shapes, no samples, or no label of `labels` in the data.

    >>> from ranvier.metrics import confusion_matrix
    >>> confusion_matrix([0, 1, 2, 2], [0, 2, 2, 1])
    array([[1, 0, 0],
           [0, 0, 1],
           [0, 1, 1]])
    """
    return normalized(counts_of("confusion_matrix", y_true, y_pred, sample_weight), labels, normalize)


def zero_division_value(name: str, value: Any) -> float:
    if isinstance(value, str) and value == "warn":
        return 0.0
    if isinstance(value, (int, float, np.floating)) and (value in (0, 1) or np.isnan(value)):
        return float(value)
    raise ValueError(f"[{name}] got zero_division {value!r}; expected 0, 1, nan or 'warn'")


def _divide(above: Array, below: Array, otherwise: float) -> Array:
    return np.where(below == 0, otherwise, above / np.where(below == 0, 1, below))


def _mean(values: Array, weights: Array | None) -> float:
    """The mean of the values that are not NaN."""
    used = ~np.isnan(values)
    if not used.any():
        return float("nan")
    if weights is None or not weights[used].sum():
        return float(values[used].mean())
    return float(np.average(values[used], weights=weights[used]))


def _selected(name: str, counts: Counts, labels: Any, pos_label: Any, average: str | None) -> Array:
    if average != "binary":
        return counts.labels if labels is None else np.asarray(labels).reshape(-1)
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
    beta: float = 1.0,
    labels: Any = None,
    pos_label: Any = 1,
    average: str | None = "binary",
    zero_division: Any = 0.0,
) -> tuple[Any, Any, Any, Any]:
    """Precision, recall, F-beta and support of counts."""
    one_of(name, "average", average, AVERAGES)
    otherwise = zero_division_value(name, zero_division)
    if isinstance(beta, str) or not beta >= 0:
        raise ValueError(f"[{name}] got beta {beta!r}; expected a number of at least 0")
    chosen = _selected(name, counts, labels, pos_label, average)
    everything = counts.to(distinct(name, counts.labels, chosen))
    at = np.searchsorted(everything.labels, chosen)
    right = np.diag(everything.matrix)[at]
    predicted, true = everything.matrix.sum(axis=0)[at], everything.matrix.sum(axis=1)[at]
    if average == "micro":
        right, predicted, true = (np.atleast_1d(a.sum()) for a in (right, predicted, true))
    precision, recall = _divide(right, predicted, otherwise), _divide(right, true, otherwise)
    if np.isposinf(beta):
        f = recall
    else:
        f = _divide((1 + beta**2) * right, beta**2 * true + predicted, otherwise)
    if average is None:
        return precision, recall, f, true
    weights = true if average == "weighted" else None
    return _mean(precision, weights), _mean(recall, weights), _mean(f, weights), None
