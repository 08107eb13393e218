"""Images: samples in a grid, and the outputs of convolutions."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import ranvier.plot.figure as fig
from ranvier.autograd import Tensor
from ranvier.nn import Module
from ranvier.nn.modes import LayerCall, layer_outputs
from ranvier.plot.figure import Figure, Panels, Path
from ranvier.tensors.memory import Array

__all__ = ["feature_maps", "images"]

_PER_INCH = 14  # characters of a title in an inch of width


def draw_maps(ax: Any, maps: Array, columns: int, cmap: str) -> None:
    """Draw channels (C, height, width) in rows, each in a thin frame, all with one colour scale."""
    from matplotlib.collections import LineCollection

    n, h, w = maps.shape
    corners = [(i // columns * (h + 1), i % columns * (w + 1)) for i in range(n)]
    whole = np.full((-(-n // columns) * (h + 1) - 1, columns * (w + 1) - 1), np.nan)
    for (top, left), channel in zip(corners, maps, strict=True):
        whole[top : top + h, left : left + w] = channel
    low, high = fig.extremes(maps)
    if low < 0:
        how = fig.around_zero(maps)
    else:
        how = {"cmap": cmap, "vmin": 0, "vmax": high or 1}
    image = ax.imshow(whole, **how)
    outline = np.array([[0, 0], [w, 0], [w, h], [0, h], [0, 0]]) - 0.5
    frames = [outline + np.array([left, top]) for top, left in corners]
    ax.add_collection(LineCollection(frames, colors=fig.GRAY, linewidths=0.5, clip_on=False), autolim=False)
    fig.bare(ax)
    fig.colour_bar(ax, image)


def images(
    images: Any,
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
    columns = min(count, columns or int(np.ceil(np.sqrt(1.6 * count))))
    width = min(1.35, max(0.6, 14 / columns)) if count > 1 else 2.6
    characters = int(width * _PER_INCH)
    if titles is None:
        shown = []
    else:
        shown = [_in_lines(str(titles[n]), characters) for n in range(count)]
    lines = [title.count("\n") + 1 for title in shown]
    height = width * min(3.0, max(0.3, pixels.shape[1] / pixels.shape[2])) + 0.25 * max(lines, default=0)
    panels = fig.grid_axes("plot.images", figure, path, count, columns, (width, height))
    low, high = fig.extremes(pixels)
    if high <= low:
        high = low + 1
    for n, panel in enumerate(panels):
        panel.imshow(pixels[n], cmap=fig.PIXELS, vmin=low, vmax=high)
        fig.bare(panel)
        if shown:
            longest = max(map(len, shown[n].split("\n")))
            size = fig.SMALL * min(1.0, max(0.6, characters / max(longest, 1)))
            panel.set_title(shown[n], fontsize=size)
    return fig.finish(panels, path)


def _in_lines(title: str, characters: int) -> str:
    """A title in lines of at most this many characters, broken at spaces where there are some."""
    lines = textwrap.wrap(title, max(characters, 4), break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines) or title


def _pixels(images: Any) -> Array:
    """Images as (n, height, width), or (n, height, width, 3) with values in [0, 1] or bytes."""
    pixels = fig.array_of("plot.images", "images", images)
    if pixels.ndim == 2:
        pixels = pixels[None]
    if pixels.ndim == 4 and pixels.shape[1] == 1:
        pixels = pixels[:, 0]
    if not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[1] == 3)) or pixels.size == 0:
        raise ValueError(
            f"[plot.images] got images of shape {pixels.shape}; expected (n, height, width), "
            "(n, 1, height, width) or (n, 3, height, width) with n at least 1"
        )
    if pixels.ndim == 3:
        return pixels
    pixels = pixels.transpose(0, 2, 3, 1)
    low, high = fig.extremes(pixels)
    if pixels.dtype == np.uint8 or (low >= 0 and high <= 1):
        return pixels
    return (pixels - low) / max(high - low, 1e-12)


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
        chosen = [c for c in calls if type(c.layer).__name__ == "Conv2d"]
    else:
        chosen = [c for c in calls if c.name in layers]
    maps = [(f"{c.name} {type(c.layer).__name__}", c.output) for c in chosen if c.output.ndim == 3]
    if not maps:
        raise ValueError(
            f"[{name}] got no layer that gives (channels, height, width); expected a convolution"
        )
    maps = [("input", sample), *maps]
    columns = min(8, limit, max(len(array) for _, array in maps))
    heights = [-(-min(len(a), limit) // columns) * a.shape[1] / a.shape[2] + 0.35 for _, a in maps]
    if figure is None:
        figure = fig.new_figure(name, (max(3.0, 1.0 * columns + 0.8), sum(heights)), path)
    panels: Panels = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (text, array) in zip(panels, maps, strict=True):
        colours = fig.PIXELS if text == "input" else fig.AMOUNTS
        draw_maps(panel, array[:limit], columns, colours)
        less = f" (the first {limit} drawn)" if len(array) > limit else ""
        fig.label(panel, f"{text}: {' × '.join(map(str, array.shape))}{less}", grid=None)
    return fig.finish(panels, path)


def _traced(model: Any, x: Any) -> tuple[Array, list[LayerCall]]:
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
    return sample, [replace(call, output=call.value[0]) for call in single]
