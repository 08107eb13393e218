"""The text about predictions: scores of the classes, confusion matrix, errors of values, samples."""

from __future__ import annotations

from typing import Any

WIDEST = 100  # characters of a confusion matrix; a wider one does not fit a terminal
SHOWN = 10


def results(y: Any, p: Any, names: list[str] | None) -> str:
    """For labels (n,) and probabilities (n, classes); without names, for values (n, outputs)."""
    import ranvier.metrics as metrics

    if names is None:
        return _errors(y, p)
    labels, predicted = list(range(len(names))), p.argmax(1)
    scores = metrics.classification_report(y, predicted, labels=labels, target_names=names, zero_division=0.0)
    matrix = metrics.confusion_matrix(y, predicted, labels=labels)
    parts = (scores, _matrix(matrix.tolist(), names), _samples(y, predicted, p, names))
    return "\n".join(filter(None, parts))


def _matrix(matrix: list[list[int]], names: list[str]) -> str:
    first = max(map(len, names))
    widths = [max(len(name), *(len(str(row[j])) for row in matrix)) + 2 for j, name in enumerate(names)]
    if first + sum(widths) > WIDEST:
        return ""
    rows: list[tuple[str, list[Any]]] = [("", [*names]), *zip(names, matrix, strict=True)]
    lines = [
        f"{name:>{first}}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        for name, cells in rows
    ]
    return "\n".join(["confusion matrix: rows are true classes, columns predicted ones", "", *lines, ""])


def _samples(y: Any, predicted: Any, p: Any, names: list[str]) -> str:
    width = max(len("predicted"), *map(len, names))
    lines = [f"sample  {'true':>{width}}  {'predicted':>{width}}  probability"]
    for i in range(0, len(y), -(-len(y) // SHOWN)):
        true, found = names[int(y[i])], names[int(predicted[i])]
        line = f"{i:6}  {true:>{width}}  {found:>{width}}  {p[i, predicted[i]]:11.4f}"
        lines.append(line if true == found else f"{line}  wrong")
    return "\n".join([*lines, ""])


def _errors(y: Any, predicted: Any) -> str:
    import ranvier.metrics as metrics

    absolute = metrics.mean_absolute_error(y, predicted)
    squared = metrics.root_mean_squared_error(y, predicted)
    lines = [
        f"mean absolute error {_short(absolute, 4)}, root mean squared error {_short(squared, 4)}",
        "",
        f"sample  {'true':>12}  {'predicted':>12}",
    ]
    for i in range(0, len(y), -(-len(y) // SHOWN)):
        pairs = zip(y[i].tolist(), predicted[i].tolist(), strict=True)
        lines += [f"{i:6}  {_short(true):>12}  {_short(found):>12}" for true, found in pairs]
    return "\n".join([*lines, ""])


def _short(value: float, digits: int = 5) -> str:
    """So many digits, or all digits before the decimal point."""
    return f"{value:.0f}" if 10**digits <= abs(value) < 1e15 else f"{value:.{digits}g}"
