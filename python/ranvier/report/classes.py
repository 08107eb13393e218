"""The results of a classification: confusion matrix, table of the classes, samples with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier.metrics as metrics
from ranvier.autograd.memory import Array
from ranvier.report.html import facts, section, table, text
from ranvier.report.images import as_pixels, data_uri

__all__ = ["results"]

SHOWN = 15  # samples, and mistakes
MATRIX = 30  # the most classes of a confusion matrix
PAIRS = 10


def results(x: Any, true: Array, predicted: Array, probabilities: Any, names: Sequence[str] | None) -> str:
    """The section of a classification; `true` and `predicted` are (n,)."""
    p = _columns(probabilities, len(true))
    labels = _labels(true, predicted, p, names)
    known = [str(label) for label in labels] if names is None else list(map(str, names))
    at = {label: i for i, label in enumerate(labels.tolist())}
    unknown = (set(true.tolist()) | set(predicted.tolist())) - set(at)
    if unknown:
        raise ValueError(
            f"[report.write] got the label {min(unknown)!r} and {len(known)} class_names; expected labels "
            f"0 to {len(known) - 1}"
        )
    matrix = metrics.confusion_matrix(true, predicted, labels=labels)
    scores = metrics.precision_recall_fscore_support(true, predicted, labels=labels)
    wrong = int((true != predicted).sum())
    listed = [
        ("accuracy", f"{metrics.accuracy_score(true, predicted):.4f}"),
        ("F1, mean of the classes", f"{float(np.mean(scores[2])):.4f}"),
        ("samples", len(true)),
        ("of them wrong", wrong),
    ]
    rows, columns = ([at[label] for label in side.tolist()] for side in (true, predicted))
    certainty = None if p is None else p[np.arange(len(p)), columns]
    samples = _Samples(x, rows, columns, certainty, known)
    chosen = np.linspace(0, len(true) - 1, min(SHOWN, len(true))).astype(int)
    return section(
        "Results",
        facts(listed),
        f'<div class="beside">{_matrix(matrix, known)}{_classes(scores, known)}{_pairs(matrix, known)}</div>',
        samples.gallery("Samples", f"{len(chosen)} of {len(true):,}, evenly spaced.", chosen),
        samples.mistakes(np.flatnonzero(true != predicted)),
    )


def _columns(probabilities: Any, n: int) -> Array | None:
    if probabilities is None:
        return None
    p = probabilities.reshape(n, -1)
    return np.hstack([1 - p, p]) if p.shape[1] == 1 else p


def _labels(true: Array, predicted: Array, p: Array | None, names: Sequence[str] | None) -> Array:
    """All labels: one for each name or probability, else those that occur."""
    if names is not None:
        labels = np.arange(len(names))
    else:
        labels = np.unique(np.concatenate([true, predicted]))
        if p is not None and labels.dtype.kind in "iu" and labels[0] >= 0 and labels[-1] < p.shape[1]:
            labels = np.arange(p.shape[1])
    if p is not None and p.shape[1] != len(labels):
        raise ValueError(
            f"[report.write] got probabilities of {p.shape[1]} classes and {len(labels)} labels; expected as "
            "many"
        )
    return labels


def _matrix(matrix: Array, names: list[str]) -> str:
    if len(names) > MATRIX:
        return f'<p class="note">{len(names)} classes: too many to show the confusion matrix.</p>'
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)

    def cell(i: int, j: int) -> str:
        count, share = int(matrix[i, j]), float(shares[i, j])
        colour = f"background:rgba(0,84,147,{share:.3f})" + (";color:#fff" if share > 0.5 else "")
        kind = "hit" if i == j else "" if count else "none"
        return f'<td class="{kind}" style="{colour}">{count}</td>'

    n = range(len(names))
    rows = [(names[i], [cell(i, j) for j in n]) for i in n]
    wide = len(names) * len(str(int(matrix.max()))) > 30  # digits; smaller on a narrow page
    kind = "matrix wide" if wide else "matrix"
    note = '<p class="note">Rows are true classes, columns predicted ones.</p>'
    return f"<div>{table('Confusion matrix', ['true', *names], rows, kind=kind)}{note}</div>"


def _classes(scores: tuple[Any, ...], names: list[str]) -> str:
    """Precision, recall, F1, support, and their means."""
    *measured, support = scores
    rows = [
        (name, [*(f"{column[i]:.4f}" for column in measured), f"{int(support[i]):,}"])
        for i, name in enumerate(names)
    ]
    for name, weights in (("mean", None), ("weighted mean", support)):
        means = [f"{float(np.average(column, weights=weights)):.4f}" for column in measured]
        rows.append((name, [*means, f"{int(support.sum()):,}"]))
    return table("Each class", ["class", "precision", "recall", "F1", "support"], rows)


def _pairs(matrix: Array, names: list[str]) -> str:
    """The largest counts of wrong predictions."""
    off = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-off, axis=None, kind="stable")[:PAIRS]
    places = [divmod(int(place), len(names)) for place in order]
    rows = [
        (names[i], [text(names[j]), f"{int(off[i, j]):,}", f"{off[i, j] / matrix[i].sum():.1%}"])
        for i, j in places
        if off[i, j]
    ]
    columns = ["true", "taken for", "times", "of this class"]
    return table("Confused most", columns, rows) if rows else ""


class _Samples:
    """Samples with their true and predicted classes: pictures, or rows of a table."""

    def __init__(
        self, x: Any, true: list[int], predicted: list[int], certainty: Array | None, names: list[str]
    ) -> None:
        self._x, self._true, self._predicted = x, true, predicted
        self._certainty, self._names = certainty, names

    def mistakes(self, wrong: Array) -> str:
        """The most certain mistakes, or the first ones without probabilities."""
        if len(wrong) == 0:
            return ""
        if self._certainty is not None:
            wrong = wrong[np.argsort(-self._certainty[wrong], kind="stable")]
        which = "in their order" if self._certainty is None else "the most certain first"
        note = f"{min(len(wrong), SHOWN)} of {len(wrong):,}, {which}."
        return self.gallery("Mistakes", note, wrong[:SHOWN])

    def gallery(self, heading: str, note: str, chosen: Array) -> str:
        pixels = None if self._x is None else as_pixels(self._x[chosen])
        if pixels is None:
            return self._table(heading, note, chosen)
        figures = "\n".join(map(self._figure, chosen.tolist(), pixels))
        return f'<h3>{heading}</h3>\n<p class="note">{note}</p>\n<div class="samples">\n{figures}\n</div>'

    def _figure(self, n: int, pixels: Array) -> str:
        true, found = text(self._names[self._true[n]]), text(self._names[self._predicted[n]])
        right = self._true[n] == self._predicted[n]
        said = f"<b>&#10003; {found}</b>right" if right else f"<b>&#10007; {found}</b>wrong: it is {true}"
        sure = "" if self._certainty is None else f"<br>{self._certainty[n]:.0%} certain"
        return (
            f'<figure class="{"right" if right else "wrong"}"><img src="{data_uri(pixels)}" '
            f'alt="sample {n}: true {true}, predicted {found}"><figcaption>{said}{sure}</figcaption></figure>'
        )

    def _table(self, heading: str, note: str, chosen: Array) -> str:
        columns = ["sample", "true", "predicted", "result", *["probability"] * (self._certainty is not None)]
        rows = []
        for n in chosen.tolist():
            true, found = (text(self._names[side[n]]) for side in (self._true, self._predicted))
            right = self._true[n] == self._predicted[n]
            mark = (
                '<td class="right">&#10003; right</td>' if right else '<td class="wrong">&#10007; wrong</td>'
            )
            cells = [true, found, mark]
            cells += [] if self._certainty is None else [f"{self._certainty[n]:.1%}"]
            rows.append((n, cells))
        return table(f"{heading}: {note[0].lower()}{note[1:]}", columns, rows)
