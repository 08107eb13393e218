"""scikit-learn's classification report, as text and as a dictionary."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.metrics.confusion import Counts, counts_of, scores

__all__ = ["classification_report"]

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
    found: dict[str, Any] = {key: dict(zip(HEADERS, row, strict=True)) for key, row in rows.items()}
    if whole:
        found["accuracy"] = found["accuracy"]["precision"]
    return found


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
