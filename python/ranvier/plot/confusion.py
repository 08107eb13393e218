"""Classes: their numbers of samples, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier.metrics as metrics
import ranvier.plot.figure as fig
from ranvier.autograd.errors import own_errors
from ranvier.autograd.memory import Array
from ranvier.plot.figure import Axes, Path

__all__ = ["classes", "confusion_matrix"]


def confusion_matrix(
    y_true: Any,
    y_pred: Any = None,
    class_names: Sequence[Any] | None = None,
    *,
    shares: bool | None = None,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Axes:
    """Draw how many samples of each true class (row) are predicted as each class (column).

    The colour is the share of the row, so that rare and frequent classes look alike.

    Args:
        y_true: labels (n,), or a matrix of counts (K, K), as of `rv.metrics.confusion_matrix`.
        y_pred: labels (n,); None with a matrix.
        class_names: of the labels 0 ... K-1; by default the sorted labels.
        shares: write the share of the row below each count; by default for up to 12 classes.
        ax, path: see :mod:`ranvier.plot`.

    Returns: The Axes; its title is the accuracy.

    Raises ValueError: shapes that do not match, a label without a name, a matrix that is not square.

    >>> import ranvier as rv
    >>> ax = rv.plot.confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], ["cat", "dog"])
    >>> [text.get_text().split() for text in ax.texts]
    [['1', '50%'], ['1', '50%'], ['0'], ['2', '100%']]
    """
    matrix, names = _counts(y_true, y_pred, class_names)
    count = len(names)
    side = max(3.2, min(0.75 if count <= 12 else 0.38, 12 / count) * count)
    ax = fig.one_axes("plot.confusion_matrix", ax, path, (side + 1.6, side + 0.9))
    rows = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, rows, out=np.zeros(matrix.shape), where=rows > 0)
    image = ax.imshow(share, cmap=fig.SHARES, vmin=0, vmax=1)
    size = min(fig.TEXT, 22 * side / count)
    for (i, j), n in np.ndenumerate(matrix):
        if n or count <= 12:
            text = f"{n:g}"
            if n and (count <= 12 if shares is None else shares):
                text += f"\n{share[i, j]:.0%}"
            ink = "white" if share[i, j] > 0.55 else "black" if n else fig.GRAY
            ax.text(j, i, text, ha="center", va="center", fontsize=size, color=ink)
    total, right = matrix.sum(), np.trace(matrix)
    accuracy = f"Accuracy {right / total:.1%} of {total:g}" if total else "No samples"
    fig.label(ax, accuracy, "predicted class", "true class", grid=None)
    _name_ticks(ax.xaxis, names, longest=int(12 * side / count))
    _name_ticks(ax.yaxis, names, longest=18)
    fig.colour_bar(ax, image, "share of the true class")
    return fig.finish(ax, path)


def _counts(y_true: Any, y_pred: Any, class_names: Sequence[Any] | None) -> tuple[Array, list[str]]:
    name = "plot.confusion_matrix"
    if y_pred is None:
        matrix = fig.array_of(name, "matrix", y_true)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size or (matrix < 0).any():
            raise ValueError(f"[{name}] got shape {matrix.shape}; expected y_pred, or counts of shape (K, K)")
        names = [str(c) for c in range(len(matrix)) if class_names is None] or [*map(str, class_names or ())]
        if len(names) != len(matrix):
            raise ValueError(
                f"[{name}] got {len(names)} class names for {len(matrix)} classes; expected one for each"
            )
        return matrix, names
    true = fig.labels_of(name, "y_true", y_true)
    pred = fig.labels_of(name, "y_pred", y_pred, len(true))
    classes, names = fig.class_names_of(name, np.concatenate([true, pred]), class_names)
    return metrics.confusion_matrix(true, pred, labels=classes), names


def _name_ticks(axis: Any, names: list[str], longest: int) -> None:
    """The classes along an axis, slanted if one is longer than `longest` characters."""
    short = [fig.shortened(text, 18) for text in names]
    slanted = max(map(len, short)) > longest
    axis.set_ticks(range(len(short)), short)
    for text in axis.get_ticklabels() if slanted else ():
        text.set(rotation=45, ha="right", rotation_mode="anchor")
    axis.set_tick_params(length=0, labelsize=fig.SMALL if len(short) <= 24 else 7)


def classes(
    y: Any, class_names: Sequence[Any] | None = None, *, ax: Axes | None = None, path: Path | None = None
) -> Axes:
    """Draw the number of samples of each class, and its share of all.

    Args:
        y: labels (n,).
        class_names: of the labels 0 ... K-1; by default the sorted labels.
        ax, path: see :mod:`ranvier.plot`.

    Returns: The Axes: a bar for each class, from the top; the dashed line is the mean.

    Raises ValueError: labels of another shape, or without a name.

    >>> import ranvier as rv
    >>> ax = rv.plot.classes([0, 0, 0, 1], ["cat", "dog"])
    >>> [text.get_text() for text in ax.texts]
    [' 3 (75%)', ' 1 (25%)']
    """
    labels = fig.labels_of("plot.classes", "y", y)
    present, names = fig.class_names_of("plot.classes", labels, class_names)
    counts = np.array([(labels == c).sum() for c in present])
    ax = fig.one_axes("plot.classes", ax, path, (5.6, max(1.8, 1.1 + 0.27 * len(names))))
    bars = ax.barh(range(len(names)), counts, color=fig.BLUE, height=0.75)
    texts = [f" {n} ({n / len(labels):.{0 if n / len(labels) >= 0.01 else 2}%})" for n in counts]
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.85}
    ax.bar_label(bars, texts, fontsize=fig.SMALL, bbox=paper)
    ax.axvline(len(labels) / len(names), color=fig.GRAY, linestyle="--", linewidth=1)
    ax.set_xlim(0, 1.22 * counts.max())
    ax.set_ylim(len(names) - 0.4, -0.6)
    least = counts.min()
    ratio = f"largest class {counts.max() / least:.3g} × smallest" if least else "some classes empty"
    fig.label(ax, f"{len(labels)} samples, {ratio}", "samples (dashed: all classes equal)", "class", grid="x")
    ax.set_yticks(range(len(names)), [fig.shortened(text, 24) for text in names])
    ax.tick_params(axis="y", length=0)
    return fig.finish(ax, path)


own_errors(globals(), names=__all__)
