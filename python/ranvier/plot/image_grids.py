"""Images: samples in a grid, and the outputs of convolutions ("feature maps")."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import ranvier.plot.figure as fig
from ranvier.autograd import Tensor
from ranvier.nn import Module
from ranvier.nn.modes import LayerCall, layer_outputs
from ranvier.plot.figure import Axes, Figure, Panels, Path
from ranvier.tensors.memory import Array
from ranvier.tensors.types import ArrayLike

__all__ = ["feature_maps", "images"]

CHARACTERS_PER_INCH = 14  # of a title


def _draw_maps(ax: Axes, maps: Array, columns: int, cmap: str) -> None:
    """Draw channels (C, height, width) in rows, each in a thin frame, all with one colour scale.

    They are copied into one large image, with an empty (NaN) pixel between neighbours.
    """
    from matplotlib.collections import LineCollection

    count, height, width = maps.shape
    rows = math.ceil(count / columns)
    canvas = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    outline = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]]) - 0.5  # x, y
    frames = []
    for i, channel in enumerate(maps):
        row, column = divmod(i, columns)
        top = row * (height + 1)
        left = column * (width + 1)
        canvas[top : top + height, left : left + width] = channel
        frames.append(outline + np.array([left, top]))
    low, high = fig.extremes(maps)
    if low < 0:
        scale = fig.around_zero(maps)
    else:
        scale = {"cmap": cmap, "vmin": 0, "vmax": high or 1}
    image = ax.imshow(canvas, **scale)
    ax.add_collection(LineCollection(frames, colors=fig.GRAY, linewidths=0.5, clip_on=False), autolim=False)
    fig.bare(ax)
    fig.colour_bar(ax, image)


def images(
    images: ArrayLike,
    titles: Sequence[Any] | None = None,
    *,
    columns: int | None = None,
    limit: int = 100,
    figure: Figure | None = None,
    path: Path | None = None,
) -> Panels:
    """Draw images in a grid.

    Grey images share one scale from the smallest to the largest pixel, so that they can be compared. Colour
    images of bytes or values in [0, 1] are drawn unchanged; others, such as normalized ones, are scaled to
    [0, 1].

    Args:
        images: (n, height, width), (n, 1, height, width), (n, 3, height, width), or one grey (height, width).
        titles: a text or number above each image, such as its label.
        columns: the columns of the grid; by default the grid is a little wider than high.
        limit: the most images to draw; the first ones are drawn.
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of Axes, one for each image.

    Raises ValueError: another shape, no images, too few titles, or a count below 1.

    >>> import ranvier as rv
    >>> x, y = rv.data.datasets.load_digits()
    >>> panels = rv.plot.images(x[:12], y[:12])
    >>> len(panels), panels[7].get_title()
    (12, '7')
    """
    pixels = _pixels(images)
    if limit < 1 or (columns is not None and columns < 1):
        raise ValueError(f"[plot.images] got columns {columns} and limit {limit}; expected at least 1")
    count = min(len(pixels), limit)
    if titles is not None and len(titles) < count:
        raise ValueError(f"[plot.images] got {len(titles)} titles; expected one for each of {count}")
    if not columns:
        columns = math.ceil(math.sqrt(1.6 * count))
    columns = min(count, columns)
    if count > 1:
        width = min(1.35, max(0.6, 14 / columns))  # inches for an image
    else:
        width = 2.6
    characters = int(width * CHARACTERS_PER_INCH)
    wrapped: list[str] = []
    if titles is not None:
        wrapped = [_wrap(str(title), characters) for title in titles[:count]]
    most_lines = max((title.count("\n") + 1 for title in wrapped), default=0)
    height_by_width = min(3.0, max(0.3, pixels.shape[1] / pixels.shape[2]))
    height = width * height_by_width + 0.25 * most_lines
    panels = fig.grid_axes("plot.images", figure, path, count, columns, (width, height))
    low, high = fig.extremes(pixels)
    if high <= low:
        high = low + 1
    for n, panel in enumerate(panels):
        panel.imshow(pixels[n], cmap=fig.PIXELS, vmin=low, vmax=high)
        fig.bare(panel)
        if wrapped:
            longest = max(map(len, wrapped[n].split("\n")))  # a long word is not broken, but written smaller
            size = fig.SMALL * min(1.0, max(0.6, characters / max(longest, 1)))
            panel.set_title(wrapped[n], fontsize=size)
    return fig.finish(panels, path)


def _wrap(title: str, characters: int) -> str:
    """A title in lines of at most this many characters, broken at spaces where there are some."""
    lines = textwrap.wrap(title, max(characters, 4), break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) or title


def _pixels(images: ArrayLike) -> Array:
    """Images as (n, height, width), or (n, height, width, 3) with values in [0, 1] or bytes."""
    pixels = fig.array_of("plot.images", "images", images)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim == 4 and pixels.shape[1] == 1:
        pixels = pixels[:, 0]
    gray = pixels.ndim == 3
    coloured = pixels.ndim == 4 and pixels.shape[1] == 3
    if not (gray or coloured) or pixels.size == 0:
        raise ValueError(
            f"[plot.images] got images of shape {pixels.shape}; expected (n, height, width), "
            "(n, 1, height, width) or (n, 3, height, width) with n at least 1"
        )
    if gray:
        return pixels
    pixels = pixels.transpose(0, 2, 3, 1)
    low, high = fig.extremes(pixels)
    if pixels.dtype == np.uint8 or (low >= 0 and high <= 1):
        return pixels
    return (pixels - low) / max(high - low, 1e-12)


def feature_maps(
    model: Module,
    x: ArrayLike,
    layers: Sequence[str] | None = None,
    *,
    limit: int = 16,
    figure: Figure | None = None,
    path: Path | None = None,
) -> Panels:
    """Draw the output of each convolution of a model for one image.

    Each layer has one scale for all its maps: from dark at 0 to bright, or, if there are values below 0, blue
    above 0 and red below.

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
    sample, calls = _traced(model, x)
    if limit < 1:
        raise ValueError(f"[{name}] got limit {limit}; expected at least 1")
    names = {call.name for call in calls}
    for wanted in layers or ():
        if wanted not in names:
            raise ValueError(f"[{name}] got layer '{wanted}'; expected some of {', '.join(sorted(names))}")
    if layers is None:
        chosen = [call for call in calls if type(call.layer).__name__ == "Conv2d"]
    else:
        chosen = [call for call in calls if call.name in layers]
    drawn = [_Maps("input", sample, fig.PIXELS)]
    for call in chosen:
        if call.output.ndim == 3:
            drawn.append(_Maps(f"{call.name} {type(call.layer).__name__}", call.output, fig.AMOUNTS))
    if len(drawn) == 1:
        raise ValueError(
            f"[{name}] got no layer that gives (channels, height, width); expected a convolution"
        )
    columns = min(8, limit, max(len(maps.array) for maps in drawn))
    heights = []  # inches of each panel: a map is one inch wide, and the title needs 0.35
    for maps in drawn:
        channels, map_height, map_width = maps.array.shape
        rows = math.ceil(min(channels, limit) / columns)
        heights.append(rows * map_height / map_width + 0.35)
    if figure is None:
        figure = fig.new_figure(name, (max(3.0, 1.0 * columns + 0.8), sum(heights)), path)
    panels: Panels = figure.subplots(len(drawn), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, maps in zip(panels, drawn, strict=True):
        _draw_maps(panel, maps.array[:limit], columns, maps.colours)
        title = f"{maps.name}: {' × '.join(map(str, maps.array.shape))}"
        if len(maps.array) > limit:
            title += f" (the first {limit} drawn)"
        fig.label(panel, title, grid=None)
    return fig.finish(panels, path)


class _Maps(NamedTuple):
    """What a panel of `feature_maps` shows."""

    name: str
    array: Array  # (channels, height, width)
    colours: str  # the name of a colour map


def _traced(model: Module, x: ArrayLike) -> tuple[Array, list[LayerCall]]:
    """One input as an array, and the output of every layer for it, both without the batch axis."""
    if not isinstance(model, Module):
        raise TypeError(f"[plot.feature_maps] got a model of type {type(model).__name__}; expected a Module")
    sample = fig.array_of("plot.feature_maps", "x", x)
    try:
        calls = layer_outputs(model, sample[None])
    except (ValueError, RuntimeError, IndexError):
        if len(sample) != 1:  # an axis of length 1 may be a batch axis: tried next
            raise
        sample = sample[0]
        calls = layer_outputs(model, sample[None])
    single = [call for call in calls if isinstance(call.output, Tensor) and len(call.output) == 1]
    for call in single:
        call.output = call.value[0]
    return sample, single
