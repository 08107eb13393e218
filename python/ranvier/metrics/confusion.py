"""Counts of true and predicted labels, and what is computed from them: scores, the matrix, the report."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ranvier.autograd.errors import own_errors
from ranvier.autograd.memory import Array
from ranvier.metrics.metric import StreamingMetric, arguments, distinct, label_arrays, one_of, weights_of

__all__ = ["ClassificationReport", "ConfusionMatrix", "classification_report", "confusion_matrix"]

AVERAGES = ("binary", "macro", "micro", "weighted", None)


class Counts(NamedTuple):
    """`matrix[i, j]`: the number, or weight, of samples of `labels[i]` that are predicted as `labels[j]`."""

    labels: Array  # sorted
    matrix: Array

    def to(self, labels: Array) -> Counts:
        """The counts of these labels, in this order: 0 for a label without samples; others are left out."""
        at = np.searchsorted(self.labels, labels)
        at[at == len(self.labels)] = 0
        present = self.labels[at] == labels if len(self.labels) else np.zeros(len(labels), bool)
        matrix = np.zeros((len(labels), len(labels)), self.matrix.dtype)
        matrix[np.ix_(present, present)] = self.matrix[np.ix_(at[present], at[present])]
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


HEADERS = ("precision", "recall", "f1-score", "support")


def report(
    counts: Counts, labels: Any, target_names: Any, digits: int, output_dict: bool, zero_division: Any
) -> str | dict[str, Any]:
    name = "classification_report"
    chosen = counts.labels if labels is None else np.asarray(labels).reshape(-1)
    names = [str(label) for label in chosen] if target_names is None else list(target_names)
    if len(names) != len(chosen):
        raise ValueError(f"[{name}] got {len(names)} target_names for {len(chosen)} labels; expected as many")
    settings: dict[str, Any] = {"labels": chosen, "zero_division": zero_division}
    columns = scores(name, counts, average=None, **settings)
    rows = dict(zip(names, np.stack(columns, axis=1).tolist(), strict=True))
    total, whole = columns[3].sum(), set(counts.labels.tolist()) <= set(chosen.tolist())
    for average in ("micro", "macro", "weighted"):
        heading = "accuracy" if average == "micro" and whole else f"{average} avg"
        rows[heading] = [*scores(name, counts, average=average, **settings)[:3], float(total)]
    if not output_dict:
        return _text(rows, len(names), digits, columns[3].dtype.kind)
    by_name: dict[str, Any] = {key: dict(zip(HEADERS, row, strict=True)) for key, row in rows.items()}
    if whole:
        by_name["accuracy"] = by_name["accuracy"]["precision"]
    return by_name


def _text(rows: dict[str, list[float]], classes: int, digits: int, kind: str) -> str:
    width = max(*(len(name) for name in [*rows][:classes]), len("weighted avg"), digits)
    lines = [f"{'':>{width}s} " + "".join(f" {header:>9}" for header in HEADERS), ""]
    for number, (name, row) in enumerate(rows.items()):
        values = [f"{value:.{digits}f}" for value in row[:3]]
        if name == "accuracy" and number == classes:
            values[:2] = "", ""
        support = int(row[3]) if kind in "iu" else row[3]
        if number == classes:
            lines.append("")
        lines.append(f"{name:>{width}s} " + "".join(f" {value:>9}" for value in [*values, support]))
    return "\n".join([*lines, ""])


def classification_report(
    y_true: Any,
    y_pred: Any,
    *,
    labels: Any = None,
    target_names: Any = None,
    sample_weight: Any = None,
    digits: int = 2,
    output_dict: bool = False,
    zero_division: Any = 0.0,
) -> Any:
    """Precision, recall, F1 and support of each label and their averages: as text, or as a dictionary.

    Args:
        y_true: labels (n,), numbers or strings.
        y_pred: labels (n,).
        labels: the labels to report; all that occur if None.
        target_names: names to show for them.
        sample_weight: the weight of each sample.
        digits: decimals in the text.
        output_dict: a dictionary of dictionaries with unrounded values.
        zero_division: as of :func:`f1_score`.

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
    counts = counts_of("classification_report", y_true, y_pred, sample_weight)
    return report(counts, labels, target_names, digits, output_dict, zero_division)


class CountingMetric(StreamingMetric):
    _counts: Counts  # once there are samples

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        counts = counts_of(self.__name__, y_true, y_pred, sample_weight)
        self._counts = self._counts.merged(counts, self.__name__) if self.samples else counts


class ConfusionMatrix(CountingMetric):
    """:func:`confusion_matrix` over batches."""

    example = "", "[0, 1], [0, 1]", "[1], [0]", "array([[1, 0],\n           [1, 1]])"
    is_number = False

    def __init__(self, *, labels: Any = None, normalize: str | None = None) -> None:
        super().__init__(labels=labels, normalize=normalize)

    def _value(self) -> Array:
        return normalized(self._counts, **self.settings)


class ClassificationReport(CountingMetric):
    """:func:`classification_report` over batches.

    >>> from ranvier.metrics import ClassificationReport
    >>> metric = ClassificationReport(output_dict=True)
    >>> metric.update([0, 1], [0, 1]); metric.update([1, 1], [0, 1])
    >>> metric.compute()["accuracy"]
    0.75
    """

    is_number = False

    def __init__(
        self,
        *,
        labels: Any = None,
        target_names: Any = None,
        digits: int = 2,
        output_dict: bool = False,
        zero_division: Any = 0.0,
    ) -> None:
        super().__init__(**arguments(locals()))

    def _value(self) -> Any:
        return report(self._counts, **self.settings)


own_errors(globals(), names=__all__)
