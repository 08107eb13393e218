"""Convolutions: their kernels, and their outputs for an input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier.nn as nn
from ranvier.autograd.memory import Array
from ranvier.plot.colours import AMOUNTS, PIXELS, around_zero
from ranvier.plot.figure import bare, colour_bar, finish, label, new_figure, one_axes
from ranvier.plot.inputs import array_of, traced
from ranvier.plot.mosaic import draw_maps, draw_mosaic
from ranvier.plot.style import SMALL, number
from ranvier.plot.types import Axes, Figure, Panels, Path

__all__ = ["feature_maps", "kernels"]


def kernels(weight: Any, *, limit: int = 16, ax: Axes | None = None, path: Path | None = None) -> Axes:
    """Draw the kernels of a convolution: red above 0, blue below, white at 0.

    With several input channels, a row is an output channel and a column an input channel; with one, the
    kernels are in rows of 8. If there are few, their numbers are written.

    Args:
        weight: (output channels, input channels, height, width), a layer with such a weight, or a model: its
            first such weight.
        limit: the most output and input channels to draw (with one input channel, 8 times as many).
        ax, path: see :mod:`ranvier.plot`.

    Raises ValueError: a weight of another shape, or a model without one.

    >>> import numpy as np, ranvier as rv
    >>> sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    >>> ax = rv.plot.kernels(sobel.reshape(1, 1, 3, 3))
    >>> [text.get_text() for text in ax.texts][3:6]
    ['-2', '0', '2']
    """
    array = _weight_of(weight)
    k, c, h, w = array.shape
    if limit < 1:
        raise ValueError(f"[plot.kernels] got limit {limit}; expected at least 1")
    shown = array[: limit if c > 1 else 8 * limit, :limit]
    columns = shown.shape[1] if c > 1 else min(8, k)
    rows = -(-shown.shape[0] * shown.shape[1] // columns)
    numbers = columns * w <= 15 and rows * h <= 15
    side = min(0.42 * w if numbers else 1.1, 9 / max(columns, rows * h / w))
    size = (max(3.4, side * columns + 1.6), max(1.8, side * rows * h / w + 1.0))
    ax = one_axes("plot.kernels", ax, path, size)
    image = draw_mosaic(ax, shown.reshape(-1, h, w), columns, **around_zero(array))
    if numbers:
        _write_numbers(ax, image)
    less = f" (the first {len(shown)} × {shown.shape[1]} drawn)" if shown.size < array.size else ""
    title = f"{k} kernel{'s' * (k > 1)} of {h} × {w} on {c} channel{'s' * (c > 1)}{less}"
    names = ("input channel", "output channel") if c > 1 else ("", "output channel" if rows > 1 else "")
    label(ax, title, *names, None)
    bare(ax)
    if c > 1:
        row_names = [str(i) for i in range(rows)]
    else:
        row_names = [f"{i} … {min(i + 8, len(shown)) - 1}" for i in range(0, len(shown), 8)]
    if c > 1 or rows == 1:
        ax.set_xticks([(w + 1) * i + (w - 1) / 2 for i in range(columns)], [str(i) for i in range(columns)])
    if rows > 1:
        ax.set_yticks([(h + 1) * i + (h - 1) / 2 for i in range(rows)], row_names)
    ax.tick_params(length=0, labelsize=SMALL if max(rows, columns) <= 24 else 6)
    colour_bar(ax, image, "weight")
    return finish(ax, path)


def _write_numbers(ax: Any, image: Any) -> None:
    most = image.get_clim()[1]
    for (i, j), value in np.ndenumerate(image.get_array().filled(np.nan)):
        if np.isfinite(value):
            ink = "white" if abs(value) > 0.6 * most else "black"
            ax.text(j, i, number(value, most), ha="center", va="center", fontsize=SMALL, color=ink)


def _weight_of(weight: Any) -> Array:
    if isinstance(weight, nn.Module):
        found = [p for p in weight.parameters() if p.ndim == 4]
        if not found:
            raise ValueError("[plot.kernels] got a model without a weight of shape (K, C, height, width)")
        weight = found[0]
    array = array_of("plot.kernels", "weight", weight)
    if array.ndim != 4 or array.size == 0:
        raise ValueError(
            f"[plot.kernels] got a weight of shape {array.shape}; expected (K, C, height, width)"
        )
    return array


def feature_maps(
    model: Any,
    x: Any,
    layers: Sequence[str] | None = None,
    *,
    limit: int = 16,
    figure: Figure | None = None,
    path: Path | None = None,
) -> Panels:
    """Draw the output of each convolution of a model for one image.

    Each layer has one scale for all its maps: from dark at 0 to bright, or, if there are values below 0, red
    above 0 and blue below.

    Args:
        model: a Module; it runs in evaluation mode and is not changed.
        x: one input (channels, height, width), or a batch of one.
        layers: paths of the layers to draw, as in `rv.summary`; by default all Conv2d layers.
        limit: the most maps of a layer to draw; the first ones are drawn.
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of Axes: the input, then one for each layer.

    Raises TypeError: a model that is not a Module.
    Raises ValueError: an unknown layer, or no layer with an output (channels, height, width).

    >>> import ranvier as rv
    >>> x, _ = rv.data.datasets.load_digits()
    >>> model = rv.nn.Sequential(rv.nn.Conv2d(1, 4, 3), rv.nn.ReLU(), rv.nn.Conv2d(4, 6, 3))
    >>> [panel.get_title() for panel in rv.plot.feature_maps(model, x[0])]
    ['input: 1 × 8 × 8', '0 Conv2d: 4 × 6 × 6', '2 Conv2d: 6 × 4 × 4']
    """
    name = "plot.feature_maps"
    sample, calls = traced(name, model, x)
    if limit < 1:
        raise ValueError(f"[{name}] got limit {limit}; expected at least 1")
    known = {call.name for call in calls}
    for wanted in layers or ():
        if wanted not in known:
            raise ValueError(f"[{name}] got layer '{wanted}'; expected some of {', '.join(sorted(known))}")
    kept = [c for c in calls if (type(c.layer).__name__ == "Conv2d" if layers is None else c.name in layers)]
    maps = [(f"{c.name} {type(c.layer).__name__}", c.output) for c in kept if c.output.ndim == 3]
    if not maps:
        raise ValueError(
            f"[{name}] got no layer that gives (channels, height, width); expected a convolution"
        )
    maps = [("input", sample), *maps]
    columns = min(8, limit, max(len(array) for _, array in maps))
    heights = [-(-min(len(a), limit) // columns) * a.shape[1] / a.shape[2] + 0.35 for _, a in maps]
    if figure is None:
        figure = new_figure(name, (max(3.0, 1.0 * columns + 0.8), sum(heights)), path)
    panels: Panels = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (text, array) in zip(panels, maps, strict=True):
        draw_maps(panel, array[:limit], columns, PIXELS if text == "input" else AMOUNTS)
        less = f" (the first {limit} drawn)" if len(array) > limit else ""
        label(panel, f"{text}: {' × '.join(map(str, array.shape))}{less}", grid=None)
    return finish(panels, path)
