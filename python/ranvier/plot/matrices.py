"""Matrices in colours, with their numbers: weights and other values, counts of true and predicted classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier.metrics as metrics
import ranvier.nn as nn
import ranvier.plot.figure as fig
from ranvier.plot.figure import Axes, Axis, Path
from ranvier.tensors.memory import Array
from ranvier.tensors.types import ArrayLike

__all__ = ["confusion_matrix", "heatmap"]

MOST_NUMBERS = 30  # classes: with more, the numbers of a confusion matrix would be too small to read
FEW_CLASSES = 12  # up to this number, a confusion matrix has large cells with zeros and shares
FEW_VALUES = 150  # up to this number, the values of a heatmap are written


def confusion_matrix(
    y_true: ArrayLike,
    y_pred: ArrayLike | None = None,
    class_names: Sequence[Any] | None = None,
    *,
    shares: bool | None = None,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Axes:
    """Draw how many samples of each true class (row) are predicted as each class (column).

    The colour is the share of the row, so that rare and frequent classes look alike. Counts are written for
    up to 30 classes.

    Args:
        y_true: labels (n,), or a matrix of counts (K, K), as of `rv.metrics.confusion_matrix`.
        y_pred: labels (n,); None with a matrix.
        class_names: the names of the labels 0 ... K-1; by default the sorted labels.
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
    few = count <= FEW_CLASSES
    largest_cell = 0.75 if few else 0.38  # inches
    side = max(3.2, min(largest_cell, 12 / count) * count)
    ax = fig.one_axes("plot.confusion_matrix", ax, path, (side + 1.6, side + 0.9))
    rows = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, rows, out=np.zeros(matrix.shape), where=rows > 0)
    written = count <= MOST_NUMBERS
    top = 1.0 if written else max(share.max(), 1e-9)  # without numbers, the colours use their full range
    image = ax.imshow(share, cmap=fig.SHARES, vmin=0, vmax=top)
    size = min(fig.TEXT, 22 * side / count)
    if shares is None:
        shares = few
    for (i, j), n in np.ndenumerate(matrix):
        if not written:
            break
        if n == 0 and not few:
            continue
        text = f"{n:g}"
        if n and shares:
            text += f"\n{share[i, j]:.0%}"
        if share[i, j] > 0.55:  # the cell is dark
            ink = "white"
        elif n:
            ink = "black"
        else:
            ink = fig.GRAY
        ax.text(j, i, text, ha="center", va="center", fontsize=size, color=ink)
    total = matrix.sum()
    right = np.trace(matrix)
    if total:
        accuracy = f"Accuracy {right / total:.1%} of {total:g}"
    else:
        accuracy = "No samples"
    fig.label(ax, accuracy, "predicted class", "true class", grid=None)
    _name_ticks(ax.xaxis, names, longest=int(12 * side / count))
    _name_ticks(ax.yaxis, names, longest=18)
    fig.colour_bar(ax, image, "share of the true class")
    return fig.finish(ax, path)


def _counts(
    y_true: ArrayLike, y_pred: ArrayLike | None, class_names: Sequence[Any] | None
) -> tuple[Array, list[str]]:
    """The matrix to draw, from labels or given as counts, and the names of the classes."""
    name = "plot.confusion_matrix"
    if y_pred is None:
        matrix = fig.array_of(name, "matrix", y_true)
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size or (matrix < 0).any():
            raise ValueError(f"[{name}] got shape {matrix.shape}; expected y_pred, or counts of shape (K, K)")
        if class_names is None:
            class_names = range(len(matrix))
        names = [str(c) for c in class_names]
        if len(names) != len(matrix):
            raise ValueError(
                f"[{name}] got {len(names)} class names for {len(matrix)} classes; expected one for each"
            )
        return matrix, names
    true = fig.labels_of(name, "y_true", y_true)
    pred = fig.labels_of(name, "y_pred", y_pred, len(true))
    classes, names = fig.class_names_of(name, np.concatenate([true, pred]), class_names)
    return metrics.confusion_matrix(true, pred, labels=classes), names


def _name_ticks(axis: Axis, names: list[str], longest: int) -> None:
    """The classes along an axis, slanted if one is longer than `longest` characters."""
    short = [fig.shortened(text, 18) for text in names]
    slanted = max(map(len, short)) > longest
    axis.set_ticks(range(len(short)), short)
    if slanted:
        for text in axis.get_ticklabels():
            text.set(rotation=45, ha="right", rotation_mode="anchor")
    size = fig.SMALL if len(short) <= 24 else 7
    axis.set_tick_params(length=0, labelsize=size)


def heatmap(
    matrix: ArrayLike,
    *,
    x_names: Sequence[Any] | None = None,
    y_names: Sequence[Any] | None = None,
    title: str = "",
    x: str = "input",
    y: str = "output",
    ax: Axes | None = None,
    path: Path | None = None,
) -> Axes:
    """Draw a matrix in colours: blue above 0 and red below, or dark to bright if no number is below 0.

    Up to 150 numbers are written, with the digits that matter next to the largest.

    Args:
        matrix: (rows, columns), or a Linear layer: its weight (outputs, inputs).
        x_names, y_names: the names of the columns and of the rows.
        title, x, y: the texts above, below and at the left.
        ax, path: see :mod:`ranvier.plot`.

    Raises ValueError: not a matrix, or another number of names.

    >>> import ranvier as rv
    >>> ax = rv.plot.heatmap([[0.5, -1.0]], x_names=["age", "height"], y_names=["score"])
    >>> [text.get_text() for text in ax.texts]
    ['0.5', '-1']
    """
    if isinstance(matrix, nn.Module):
        matrix = getattr(matrix, "weight", matrix)
    values = fig.array_of("plot.heatmap", "matrix", matrix)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"[plot.heatmap] got shape {values.shape}; expected a matrix (rows, columns)")
    rows, columns = values.shape
    for what, names, count in (("x_names", x_names, columns), ("y_names", y_names, rows)):
        if names is not None and len(names) != count:
            raise ValueError(f"[plot.heatmap] got {len(names)} {what}; expected {count}")
    written = values.size <= FEW_VALUES
    cell = 0.5 if written else min(0.3, 7 / max(rows, columns))  # inches
    size = (max(3.2, cell * columns + 1.6), max(1.9, cell * rows + 1.0))
    ax = fig.one_axes("plot.heatmap", ax, path, size)
    least, most = fig.extremes(values)
    colours = fig.around_zero(values) if least < 0 else {"cmap": fig.AMOUNTS}
    image = ax.imshow(values, aspect="auto", **colours)
    if written:
        largest = max(abs(least), abs(most))
        for (i, j), value in np.ndenumerate(values):
            red, green, blue, opacity = image.cmap(image.norm(value))  # of NaN the opacity is 0
            brightness = 0.3 * red + 0.6 * green + 0.1 * blue
            ink = "white" if opacity and brightness < 0.5 else "black"
            text = fig.number(value, largest)
            ax.text(j, i, text, ha="center", va="center", fontsize=fig.SMALL, color=ink)
    fig.label(ax, title, x, y, grid=None)
    for axis, names in ((ax.xaxis, x_names), (ax.yaxis, y_names)):
        fig.whole_numbers(axis)
        if names is not None:
            axis.set_ticks(range(len(names)), [fig.shortened(str(n), 18) for n in names])
    if x_names is not None and max(len(str(n)) for n in x_names) > 14 * cell:
        ax.tick_params(axis="x", rotation=90)
    fig.colour_bar(ax, image)
    return fig.finish(ax, path)
