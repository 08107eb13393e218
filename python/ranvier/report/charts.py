"""Charts as SVG: curves, bars, confusion matrices, curves of scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

import ranvier.metrics as metrics
from ranvier.autograd.memory import Array
from ranvier.report.html import as_pixels, data_uri, facts, number, section, table, text

__all__ = ["class_section", "lines", "points"]

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 74, 388, 30, 204  # of the area inside the axes
STYLES = (("var(--first)", ""), ("var(--second)", "6 3"))  # colour and dashes
POWERS = {3: "thousands", 6: "millions", 9: "billions"}
MOST = 1000  # points of a curve; more only make the page larger

Range = tuple[float, float]


def lines(curves: Mapping[str, Sequence[float]], xlabel: str, ylabel: str) -> str:
    """One or two curves over 1, 2, 3 ...; values that are not finite are gaps."""
    values = [v for curve in curves.values() for v in curve if math.isfinite(v)]
    if not values:
        return ""
    length = max(map(len, curves.values()))
    axes = _Axes((1, max(length, 2)), (min(values), max(values)), whole=True)
    body = [axes.svg(xlabel, ylabel)]
    for i, (name, curve) in enumerate(curves.items()):
        colour, dashes = STYLES[i]
        for part in _parts(curve):
            places = [f"{axes.x(n):.1f},{axes.y(v):.1f}" for n, v in part]
            body.append(
                f'<polyline points="{" ".join(places)}" fill="none" style="stroke:{colour}" stroke-width="2" '
                f'stroke-dasharray="{dashes}"/>'
            )
            if length <= 30:
                marks = (place.split(",") for place in places)
                body += [f'<circle cx="{x}" cy="{y}" r="3" style="fill:{colour}"/>' for x, y in marks]
        at = LEFT + 150 * i
        body.append(
            f'<line x1="{at}" x2="{at + 26}" y1="15" y2="15" style="stroke:{colour}" stroke-width="2" '
            f'stroke-dasharray="{dashes}"/><text x="{at + 32}" y="19">{text(name)}</text>'
        )
    last = ", ".join(f"{name} {number(curve[-1])}" for name, curve in curves.items())
    return _figure(f"{ylabel} over {xlabel}; at the end: {last}", body)


def points(x: Array, y: Array, xlabel: str, ylabel: str, guide: str) -> str:
    """Points, with a line for perfect predictions: "diagonal" (y = x) or "zero" (y = 0)."""
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        return ""
    x, y = x[finite], y[finite]
    across, up = (float(x.min()), float(x.max())), (float(y.min()), float(y.max()))
    if guide == "diagonal":
        across = up = min(across[0], up[0]), max(across[1], up[1])
    axes = _Axes(across, (min(up[0], 0.0), max(up[1], 0.0)) if guide == "zero" else up)
    shown = np.linspace(0, len(x) - 1, min(len(x), MOST)).astype(int)
    ends = across if guide == "diagonal" else (0.0, 0.0)
    body = [
        axes.svg(xlabel, ylabel),
        *(
            f'<circle cx="{axes.x(a):.1f}" cy="{axes.y(b):.1f}" r="2.5" style="fill:{STYLES[0][0]}" '
            'fill-opacity="0.5"/>'
            for a, b in zip(x[shown].tolist(), y[shown].tolist(), strict=True)
        ),
        f'<line x1="{axes.x(across[0]):.1f}" x2="{axes.x(across[1]):.1f}" y1="{axes.y(ends[0]):.1f}" '
        f'y2="{axes.y(ends[1]):.1f}" style="stroke:{STYLES[1][0]}" stroke-width="2" stroke-dasharray="6 3"/>',
        f'<text x="{LEFT}" y="19">{len(shown):,} of {len(x):,} points; '
        f"dashed: {'no error' if guide == 'zero' else 'prediction = truth'}</text>",
    ]
    return _figure(f"{ylabel} over {xlabel}, {len(shown)} points", body)


class _Axes:
    """Slightly widened ranges of the data, and their places in the picture."""

    def __init__(self, across: Range, up: Range, whole: bool = False) -> None:
        self.across = across if whole else _widened(across)
        self.up, self.whole = _widened(up), whole

    def x(self, value: float) -> float:
        return LEFT + (value - self.across[0]) / (self.across[1] - self.across[0]) * (RIGHT - LEFT)

    def y(self, value: float) -> float:
        return BOTTOM - (value - self.up[0]) / (self.up[1] - self.up[0]) * (BOTTOM - TOP)

    def svg(self, xlabel: str, ylabel: str) -> str:
        parts = []
        ticks = _ticks(self.up)
        shown, vertical = _shown(ticks)
        for value, name in zip(ticks, shown, strict=True):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
        ticks = _ticks(self.across, 1 if self.whole else 0)
        shown, level = _shown(ticks)
        for value, name in zip(ticks, shown, strict=True):
            x = self.x(value)
            parts.append(f'<line class="grid" y1="{TOP}" y2="{BOTTOM}" x1="{x:.1f}" x2="{x:.1f}"/>')
            parts.append(f'<text x="{x:.1f}" y="{BOTTOM + 17}" text-anchor="middle">{name}</text>')
        middle = (TOP + BOTTOM) / 2
        parts.append(
            f'<text x="{(LEFT + RIGHT) / 2}" y="{HEIGHT - 8}" {_fit(xlabel, level, RIGHT - LEFT)}'
            f'<text transform="translate(13,{middle}) rotate(-90)" {_fit(ylabel, vertical, 2 * middle - 4)}'
        )
        return "".join(parts)


def _widened(span: Range) -> Range:
    margin = 0.05 * (span[1] - span[0]) or 0.5 * abs(span[0]) or 0.5
    return span[0] - margin, span[1] + margin


def _ticks(span: Range, least: float = 0.0) -> list[float]:
    """About five round numbers in a range: multiples of 1, 2 or 5 times a power of ten."""
    rough = (span[1] - span[0]) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = max(least, next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999))
    first, last = math.ceil(span[0] / step - 1e-9), math.floor(span[1] / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def _shown(ticks: list[float]) -> tuple[list[str], str]:
    """The texts of the ticks, and their unit: thousands, millions ... of large and small numbers."""
    largest = max(map(abs, ticks))
    if largest == 0 or 1e-3 <= largest < 2e4:
        return [number(tick) for tick in ticks], ""
    power = 3 * math.floor(math.log10(largest) / 3)
    return [number(tick / 10.0**power) for tick in ticks], f" (in {POWERS.get(power, f'1e{power}')})"


def _fit(label: str, unit: str, room: float) -> str:
    """The rest of a centred text element; a long text is squeezed, a very long label is cut."""
    most = int(room / 4) - len(unit)  # characters; they are about 7 units wide
    label = (label if len(label) <= most else f"{label[: most - 1]}…") + unit
    squeezed = f' textLength="{room:g}" lengthAdjust="spacingAndGlyphs"' if len(label) * 7 > room else ""
    return f'text-anchor="middle"{squeezed}>{text(label)}</text>'


def _parts(curve: Sequence[float]) -> list[list[tuple[int, float]]]:
    """The finite parts of a curve as (1 + index, value); of a long one about every n-th value."""
    every = -(-len(curve) // MOST)
    chosen = [(i + 1, v) for i, v in enumerate(curve) if i % every == 0 or i == len(curve) - 1]
    return [list(part) for good, part in groupby(chosen, lambda p: math.isfinite(p[1])) if good]


def _figure(label: str, body: list[str]) -> str:
    inside = "\n".join(body)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text(label)}">\n{inside}\n</svg>'


SHOWN = 15  # samples, and mistakes
MATRIX = 30  # the most classes of a confusion matrix
PAIRS = 10


def class_section(
    x: Any, true: Array, predicted: Array, probabilities: Any, names: Sequence[str] | None
) -> str:
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
