"""The loss around the trained weights, along random directions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ranvier.autograd import Tensor, bump
from ranvier.autograd.memory import Array
from ranvier.nn.modes import evaluating
from ranvier.plot.colours import AMOUNTS, BLUE, RED
from ranvier.plot.figure import colour_bar, finish, label, legend, one_axes
from ranvier.plot.inputs import module_of
from ranvier.plot.style import PANEL, SMALL, extremes
from ranvier.plot.types import Axes, Path

__all__ = ["loss_landscape"]


def loss_landscape(
    model: Any,
    loss: Callable[[Any, Any], Tensor],
    x: Any,
    y: Any,
    *,
    dimensions: int = 2,
    distance: float = 1.0,
    steps: int | None = None,
    seed: int = 0,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Axes:
    """Draw the loss along one or two random directions through the weights of a model.

    At a the weights are w + a d, at (a, b) w + a d + b e. A direction is normal noise; each of its filters
    (the weights of one unit) is scaled to the norm of the model's filter. So a distance of 1 is relative to
    the size of the weights of each layer, and pictures of different networks can be compared. Biases and
    scales of norms do not change.

    Source: H. Li, Z. Xu, G. Taylor, C. Studer, T. Goldstein, "Visualizing the Loss Landscape of Neural Nets",
    NeurIPS 2018, https://arxiv.org/abs/1712.09913

    Args:
        model: a Module. It runs in evaluation mode; its weights are restored to the same bits.
        loss: called as `loss(model(x), y)`; returns one number.
        x, y: a batch of samples and targets.
        dimensions: 1 draws a curve, 2 contours.
        distance: the largest distance on each side.
        steps: points along each direction, an odd number, so that the weights are one of them; by default 51
            for a curve, 25 for contours.
        seed: of the directions.
        ax, path: see :mod:`ranvier.plot`.

    Returns: The Axes; its title is the loss at the weights. Points with a loss that is not finite are white.

    Raises:
        TypeError, ValueError: a model without weights, a loss that is not a number, a setting out of range.

    >>> import numpy as np, ranvier as rv
    >>> model = rv.nn.Linear(1, 1)
    >>> _ = model.load_state_dict({"weight": [[2.0]], "bias": [0.0]})
    >>> x = np.array([[1.0], [2.0]], np.float32)
    >>> ax = rv.plot.loss_landscape(model, rv.nn.MSELoss(), x, 2 * x, dimensions=1, steps=5)
    >>> ax.lines[0].get_ydata()  # (1 + 4) / 2 times the square of the change of the weight, which is 2
    array([10. ,  2.5,  0. ,  2.5, 10. ])
    """
    name = "plot.loss_landscape"
    steps = (51 if dimensions == 1 else 25) if steps is None else steps
    if dimensions not in (1, 2) or steps < 3 or steps % 2 == 0 or not distance > 0:
        raise ValueError(
            f"[{name}] got dimensions {dimensions}, steps {steps} and distance {distance}; "
            "expected 1 or 2, an odd number of at least 3, and more than 0"
        )
    weights = [p for p in module_of(name, model).parameters() if p.ndim > 1 and p.dtype.kind == "f"]
    if not weights:
        raise ValueError(f"[{name}] got a model without weights; expected at least one")
    along = np.linspace(-distance, distance, steps)
    others = along if dimensions == 2 else np.zeros(1)
    directions = _directions(weights, dimensions, np.random.default_rng(seed))
    values = np.empty((len(others), steps))
    x, y = (np.asarray(v) if isinstance(v, list | tuple) else v for v in (x, y))
    with evaluating(model), _weights_kept(weights) as kept:
        for (j, i), _ in np.ndenumerate(values):
            for n, p in enumerate(weights):
                moved = along[i] * directions[0][n] + others[j] * directions[-1][n]
                p._array[...] = kept[n] + moved
                bump(p)
            values[j, i] = _number(name, loss(model(x), y))
    ax = one_axes(name, ax, path, PANEL if dimensions == 1 else (PANEL[0] + 0.6, PANEL[1] + 0.5))
    values[~np.isfinite(values)] = np.nan
    here = values[len(others) // 2, steps // 2]
    title = f"Loss around the weights: {f'{here:.4g}' if np.isfinite(here) else 'not finite'} in the middle"
    if dimensions == 1:
        ax.plot(along, values[0], color=BLUE)
        ax.plot(0, here, "o", color=RED, label="the weights")
        label(ax, title, "distance along a random direction", "loss")
        legend(ax)
    else:
        _draw_contours(ax, along, values)
        ax.plot(0, 0, "*", color=RED, markersize=12, markeredgecolor="white", label="the weights")
        label(ax, title, "distance along a first direction", "along a second one", None)
        ax.set_aspect("equal")
    return finish(ax, path)


def _directions(weights: list[Any], count: int, rng: np.random.Generator) -> list[list[Array]]:
    """Random directions; each filter (first axis) has the norm of that of the weights."""
    directions: list[list[Array]] = [[] for _ in range(count)]
    for direction in directions:
        for p in weights:
            w = p._array.reshape(len(p._array), -1).astype(np.float64)
            d = rng.standard_normal(w.shape)
            d *= np.linalg.norm(w, axis=1, keepdims=True) / np.maximum(
                np.linalg.norm(d, axis=1, keepdims=True), 1e-30
            )
            direction.append(d.reshape(p.shape))
    return directions


@contextmanager
def _weights_kept(weights: list[Any]) -> Iterator[list[Array]]:
    """Copies of the weights, which are restored at the end, also after an error."""
    before = [p._array.copy() for p in weights]
    try:
        yield before
    finally:
        for p, values in zip(weights, before, strict=True):
            p._array[...] = values
            bump(p)


def _number(name: str, value: Any) -> float:
    array = value._array if isinstance(value, Tensor) else np.asarray(value)
    if array.size != 1:
        raise ValueError(f"[{name}] got a loss of shape {array.shape}; expected one number")
    return float(array.reshape(()))


def _draw_contours(ax: Any, along: Array, values: Array) -> None:
    from matplotlib.colors import LogNorm

    low, high = extremes(values)
    if not high > low:  # constant, or no finite value
        ax.set(xlim=along[[0, -1]], ylim=along[[0, -1]])
        return
    steep = low > 0 and high > 20 * low
    levels = np.geomspace(low, high, 16) if steep else np.linspace(low, high, 16)
    with np.errstate(invalid="ignore"):
        filled = ax.contourf(
            along, along, values, levels, cmap=AMOUNTS, norm=LogNorm() if steep else None, alpha=0.9
        )
        lines = ax.contour(
            along, along, values, levels[1:-1:2], colors="white", linewidths=0.8, linestyles="-"
        )
    ax.clabel(lines, fmt="%.3g", fontsize=SMALL - 1)
    colour_bar(ax, filled, "loss")
