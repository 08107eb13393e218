"""The classes that a model predicts over the plane of two features.

"Shares" are the probabilities of the classes, which sum to 1 at each point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

import ranvier.nn as nn
import ranvier.ops as ops
import ranvier.plot.figure as fig
from ranvier.nn.modes import evaluating
from ranvier.plot.figure import Axes, Path
from ranvier.tensors.memory import Array
from ranvier.tensors.types import ArrayLike

__all__ = ["decision_boundary"]

MODULE_BATCH = 8192  # points that a Module gets at once
PALE = 0.45  # the share of a class's colour in the background; the rest is white


class _GivesProbabilities(Protocol):
    def predict_proba(self, x: Array, /) -> ArrayLike: ...


class _GivesClasses(Protocol):
    def predict(self, x: Array, /) -> ArrayLike: ...


Classifier: TypeAlias = nn.Module | _GivesProbabilities | _GivesClasses


def decision_boundary(
    model: Classifier,
    x: ArrayLike,
    y: ArrayLike,
    class_names: Sequence[Any] | None = None,
    *,
    steps: int = 200,
    feature_names: Sequence[Any] = ("feature 1", "feature 2"),
    ax: Axes | None = None,
    path: Path | None = None,
) -> Axes:
    """Draw samples of two features over the classes that the model predicts at every point of their plane.

    The background mixes the colours of the classes by their probabilities: it is pale where these are
    similar. Black lines are the boundaries; with two classes, dashed lines show a probability of 10% and 90%.
    Wrongly classified samples have a black ring.

    Args:
        model: a Module with an output of scores (n, classes), or (n,) or (n, 1) for the second of two
            classes; softmax or sigmoid turns them into probabilities, unless the last layer does. Or an
            object with `predict_proba` or `predict` (a Trainer, a scikit-learn classifier).
        x: samples (n, 2).
        y: labels (n,).
        class_names: the names of the labels 0 ... K-1; by default the sorted labels.
        steps: points along each side of the grid.
        feature_names: the names of the two columns of x.
        ax, path: see :mod:`ranvier.plot`.

    Returns: The Axes; its title counts the correct samples.

    Raises:
        TypeError: a model that cannot predict.
        ValueError: x of another shape, labels without a name, or more classes in the labels than in the
            model.

    >>> import numpy as np, ranvier as rv
    >>> model = rv.nn.Linear(2, 1)
    >>> _ = model.load_state_dict({"weight": np.array([[1.0, 0.0]]), "bias": np.zeros(1)})
    >>> ax = rv.plot.decision_boundary(model, [[-1.0, 0.0], [1.0, 1.0], [2.0, 0.0]], [0, 1, 0])
    >>> ax.get_title()
    '2 of 3 right (66.7%)'
    """
    name = "plot.decision_boundary"
    points = fig.array_of(name, "x", x).astype(np.float32)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points) or not np.isfinite(points).all():
        raise ValueError(f"[{name}] got x of shape {points.shape}; expected finite values of shape (n, 2)")
    if steps < 2:
        raise ValueError(f"[{name}] got steps {steps}; expected at least 2")
    labels = fig.labels_of(name, "y", y, len(points))
    low = points.min(axis=0)
    high = points.max(axis=0)
    margin = 0.12 * np.where(high > low, high - low, 1)
    low = low - margin
    high = high + margin
    across = np.linspace(low[0], high[0], steps, dtype=np.float32)
    up = np.linspace(low[1], high[1], steps, dtype=np.float32)
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    # the grid and the samples go through the model together
    all_points = np.concatenate([grid, points])
    predicted = _predict(name, model, all_points, labels, class_names)
    grid_shares = predicted.shares[: len(grid)].reshape(steps, steps, -1)
    sample_shares = predicted.shares[len(grid) :]
    right = predicted.classes[sample_shares.argmax(axis=1)] == labels
    ax = fig.one_axes(name, ax, path, (fig.PANEL[0] + 0.4, fig.PANEL[1] + 0.4))
    _draw_background(ax, across, up, grid_shares)
    _draw_samples(ax, points, labels, predicted, right)
    x_name, y_name = map(str, feature_names)
    fig.label(ax, f"{right.sum()} of {len(right)} right ({right.mean():.1%})", x_name, y_name, grid=None)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    count = len(predicted.names)
    if count > 3:  # outside of the axes
        legend_columns = math.ceil(count / 16)
        fig.legend(ax, bbox_to_anchor=(1, 1), loc="upper left", ncols=legend_columns)
    else:
        fig.legend(ax)
    return fig.finish(ax, path)


def _draw_background(ax: Axes, across: Array, up: Array, shares: Array) -> None:
    """Draw the mixed colours and the boundaries over the plane.

    across, up: the coordinates of the grid's columns and rows.
    shares: the probabilities, (rows, columns, classes).
    """
    from matplotlib.colors import to_rgb

    count = shares.shape[2]
    pale = PALE * np.array([to_rgb(c) for c in fig.colours(count)]) + (1 - PALE)
    extent = (across[0], across[-1], up[0], up[-1])
    least = 1 / count  # the least that the largest probability can be: drawn white
    sure = (shares.max(axis=2, keepdims=True) - least) / max(1 - least, 1e-9)
    # from white (1) towards the mixed colour, by `sure`, but by 15 % at least
    mixed = 1 - (1 - shares @ pale) * np.clip(sure, 0.15, 1)
    ax.imshow(np.clip(mixed, 0, 1), extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
    if count > 2:
        outlined = range(count)
    else:
        outlined = range(count - 1)  # the boundary of one of two classes is that of the other
    for k in outlined:
        lead = shares[..., k] - np.delete(shares, k, axis=2).max(axis=2)
        if lead.min() < 0 < lead.max():
            ax.contour(across, up, lead, levels=[0], colors=fig.BLACK, linewidths=1.2)
    if count == 2:
        _draw_levels(ax, across, up, shares)


def _draw_levels(ax: Axes, across: Array, up: Array, shares: Array) -> None:
    """Draw the lines where the second of two classes has a probability of 10 % and of 90 %."""
    second = shares[..., 1]
    levels = [p for p in (0.1, 0.9) if second.min() < p < second.max()]
    only_classes = len(np.unique(shares)) <= 2  # 0 or 1, of a model without probabilities
    if not levels or only_classes:
        return
    lines = ax.contour(across, up, second, levels=levels, colors=fig.GRAY, linewidths=0.8, linestyles="--")

    def percent(p: float) -> str:
        return f"{p:.0%}"

    ax.clabel(lines, fmt=percent, fontsize=fig.SMALL)


def _draw_samples(ax: Axes, points: Array, labels: Array, predicted: _Predicted, right: Array) -> None:
    """Draw samples (n, 2) in the colours of their classes, with a ring around those that are not `right`."""
    count = len(predicted.classes)
    size = float(np.clip(6000 / len(points), 10, 45))
    if count <= len(fig.COLOURS):
        edge = "white"
    else:
        edge = fig.BLACK  # some colours of a rainbow are pale
    colours = fig.colours(count)
    for i, (label, text) in enumerate(zip(predicted.classes, predicted.names, strict=True)):
        x, y = points[labels == label].T
        ax.scatter(
            x,
            y,
            s=size,
            color=colours[i],
            marker=fig.MARKERS[i % len(fig.MARKERS)],
            linewidths=0.5,
            edgecolors=edge,
            label=fig.shortened(text, 18),
        )
    if not right.all():
        wrong = ~right
        x, y = points[wrong].T
        text = f"wrong ({wrong.sum()})"
        ax.scatter(x, y, s=3 * size, label=text, facecolors="none", edgecolors="black", linewidths=1.0)


class _Predicted(NamedTuple):
    shares: Array  # (n, K): the probability of each class
    classes: Array  # (K,): the labels
    names: list[str]  # of the K classes


def _predict(
    name: str, model: Classifier, x: Array, labels: Array, class_names: Sequence[Any] | None
) -> _Predicted:
    """Apply the model to x (n, 2); labels: those of the samples, which decide the classes."""
    if isinstance(model, nn.Module):
        shares = _module_probabilities(model, x)
    elif hasattr(model, "predict_proba"):
        shares = np.asarray(model.predict_proba(x), np.float64)
    elif hasattr(model, "predict"):
        predicted = np.asarray(model.predict(x)).reshape(-1)
        classes, names = fig.class_names_of(name, np.concatenate([labels, predicted]), class_names)
        certain = (predicted[:, None] == classes).astype(np.float64)  # 1 for the predicted class
        return _Predicted(certain, classes, names)
    else:
        raise TypeError(
            f"[{name}] got a model of type {type(model).__name__}; expected a Module, or something with "
            "predict_proba or predict"
        )
    if shares.size == len(x):  # of the second of two classes
        second = shares.reshape(-1)
        shares = np.stack([1 - second, second], axis=1)
    classes, names = fig.class_names_of(name, labels, class_names)
    integers = class_names is None and classes.dtype.kind in "biu"
    if integers and shares.ndim == 2 and len(names) < shares.shape[1]:  # a class without samples
        classes, names = fig.class_names_of(name, labels, range(shares.shape[1]))
    if shares.shape != (len(x), len(names)):
        raise ValueError(
            f"[{name}] got an output of shape {shares.shape} for {len(names)} classes; expected (n, classes)"
        )
    return _Predicted(shares, classes, names)


def _module_probabilities(model: nn.Module, x: Array) -> Array:
    """Probabilities from a Module, by softmax or sigmoid unless its last layer is one of these."""
    last = model
    for layer in model.modules():  # a Sequential itself is not a layer
        if not list(layer.children()):
            last = layer
    outputs = []
    with evaluating(model):
        for start in range(0, len(x), MODULE_BATCH):
            batch = x[start : start + MODULE_BATCH]
            outputs.append(model(batch)._array)
    output = np.concatenate(outputs)
    if isinstance(last, nn.Sigmoid | nn.Softmax):
        probabilities = output
    elif output.ndim == 2 and output.shape[1] > 1:
        probabilities = ops.softmax(output, 1)._array
    else:
        probabilities = ops.sigmoid(output)._array
    return probabilities.astype(np.float64)
