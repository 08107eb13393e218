"""The classes that a model predicts over the plane of two features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier.nn as nn
import ranvier.ops as ops
import ranvier.plot.figure as fig
from ranvier.nn.modes import evaluating
from ranvier.plot.figure import Axes, Path
from ranvier.tensors.memory import Array

__all__ = ["decision_boundary"]


def decision_boundary(
    model: Any,
    x: Any,
    y: Any,
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
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.12 * np.where(high > low, high - low, 1)
    low = low - margin
    high = high + margin
    across, up = (np.linspace(low[i], high[i], steps, dtype=np.float32) for i in (0, 1))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    shares, classes, names = _shares(name, model, np.concatenate([grid, points]), labels, class_names)
    right = classes[shares[len(grid) :].argmax(axis=1)] == labels
    ax = fig.one_axes(name, ax, path, (fig.PANEL[0] + 0.4, fig.PANEL[1] + 0.4))
    _draw_background(ax, across, up, shares[: len(grid)].reshape(steps, steps, -1))
    _draw_samples(ax, points, labels, classes, names, right)
    x_name, y_name = map(str, feature_names)
    fig.label(ax, f"{right.sum()} of {len(right)} right ({right.mean():.1%})", x_name, y_name, grid=None)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    if len(names) > 3:  # outside of the axes
        fig.legend(ax, bbox_to_anchor=(1, 1), loc="upper left", ncols=-(-len(names) // 16))
    else:
        fig.legend(ax)
    return fig.finish(ax, path)


def _draw_background(ax: Any, across: Array, up: Array, shares: Array) -> None:
    """Draw the mixed colours and the boundaries; shares (rows, columns, classes): the probabilities."""
    from matplotlib.colors import to_rgb

    count = shares.shape[2]
    pale = 0.45 * np.array([to_rgb(c) for c in fig.colours(count)]) + 0.55
    extent = (across[0], across[-1], up[0], up[-1])
    least = 1 / count  # the least that the largest probability can be: drawn white
    sure = (shares.max(axis=2, keepdims=True) - least) / max(1 - least, 1e-9)
    mixed = 1 - (1 - shares @ pale) * np.clip(sure, 0.15, 1)
    ax.imshow(np.clip(mixed, 0, 1), extent=extent, origin="lower", aspect="auto", interpolation="bilinear")
    borders = count if count > 2 else count - 1
    for k in range(borders):
        lead = shares[..., k] - np.delete(shares, k, axis=2).max(axis=2)
        if lead.min() < 0 < lead.max():
            ax.contour(across, up, lead, levels=[0], colors=fig.BLACK, linewidths=1.2)
    if count == 2:
        inside = [p for p in (0.1, 0.9) if shares[..., 1].min() < p < shares[..., 1].max()]
        fine = len(np.unique(shares)) > 2
        if inside and fine:
            lines = ax.contour(
                across, up, shares[..., 1], levels=inside, colors=fig.GRAY, linewidths=0.8, linestyles="--"
            )
            ax.clabel(lines, fmt=lambda p: f"{p:.0%}", fontsize=fig.SMALL)


def _draw_samples(
    ax: Any, points: Array, labels: Array, classes: Array, names: list[str], right: Array
) -> None:
    size = float(np.clip(6000 / len(points), 10, 45))
    for i, (c, text, colour) in enumerate(zip(classes, names, fig.colours(len(classes)), strict=True)):
        how = {"s": size, "color": colour, "marker": fig.MARKERS[i % len(fig.MARKERS)], "linewidths": 0.5}
        edge = "white" if len(classes) <= len(fig.COLOURS) else fig.BLACK  # some rainbow colours are pale
        ax.scatter(*points[labels == c].T, edgecolors=edge, label=fig.shortened(text, 18), **how)
    if not right.all():
        ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.0}
        ax.scatter(*points[~right].T, s=3 * size, label=f"wrong ({(~right).sum()})", **ring)


def _shares(
    name: str, model: Any, x: Array, labels: Array, class_names: Sequence[Any] | None
) -> tuple[Array, Array, list[str]]:
    """The probability of each class (n, K), the classes and their names."""
    if isinstance(model, nn.Module):
        shares = _of_module(model, x)
    elif hasattr(model, "predict_proba"):
        shares = np.asarray(model.predict_proba(x), np.float64)
    elif hasattr(model, "predict"):
        predicted = np.asarray(model.predict(x)).reshape(-1)
        classes, names = fig.class_names_of(name, np.concatenate([labels, predicted]), class_names)
        return (predicted[:, None] == classes).astype(np.float64), classes, names
    else:
        raise TypeError(
            f"[{name}] got a model of type {type(model).__name__}; expected a Module, or something with "
            "predict_proba or predict"
        )
    if shares.size == len(x):
        shares = np.stack([1 - shares.reshape(-1), shares.reshape(-1)], axis=1)
    classes, names = fig.class_names_of(name, labels, class_names)
    integers = class_names is None and classes.dtype.kind in "biu"
    if integers and shares.ndim == 2 and len(names) < shares.shape[1]:  # a class without samples
        classes, names = fig.class_names_of(name, labels, range(shares.shape[1]))
    if shares.shape != (len(x), len(names)):
        raise ValueError(
            f"[{name}] got an output of shape {shares.shape} for {len(names)} classes; expected (n, classes)"
        )
    return shares, classes, names


def _of_module(model: nn.Module, x: Array) -> Array:
    """Probabilities from a Module, by softmax or sigmoid unless its last layer is one of these."""
    leaves = [layer for layer in model.modules() if not [*layer.children()]]
    last = leaves[-1]
    with evaluating(model):
        output = np.concatenate([model(x[i : i + 8192])._array for i in range(0, len(x), 8192)])
    if not isinstance(last, nn.Sigmoid | nn.Softmax):
        if output.ndim == 2 and output.shape[1] > 1:
            probabilities = ops.softmax(output, 1)
        else:
            probabilities = ops.sigmoid(output)
        output = probabilities._array
    return output.astype(np.float64)
