"""Images: samples, the maps and kernels of convolutions, many small ones in one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier.nn as nn
import ranvier.plot.figure as fig
from ranvier.autograd.errors import own_errors
from ranvier.autograd.memory import Array
from ranvier.plot.figure import Axes, Figure, Panels, Path

__all__ = ["feature_maps", "images", "kernels", "predictions"]


def mosaic(tiles: Array, columns: int) -> Array:
    """Tiles (n, h, w) in rows with one pixel between them; gaps are NaN.

    >>> mosaic(np.ones((2, 1, 2)), 2)
    array([[ 1.,  1., nan,  1.,  1.]])
    """
    n, h, w = tiles.shape
    rows = -(-n // columns)
    whole = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1), np.nan)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (h + 1), i % columns * (w + 1)
        whole[top : top + h, left : left + w] = tile
    return whole


def draw_mosaic(ax: Any, tiles: Array, columns: int, **how: Any) -> Any:
    """The image of a mosaic, each tile in a thin frame."""
    from matplotlib.collections import LineCollection

    image = ax.imshow(mosaic(tiles, columns), **how)
    n, h, w = tiles.shape
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h], [0, 0]]) - 0.5
    places = [np.array([i % columns * (w + 1), i // columns * (h + 1)]) for i in range(n)]
    frames = [corners + place for place in places]
    ax.add_collection(LineCollection(frames, colors=fig.GRAY, linewidths=0.5, clip_on=False), autolim=False)
    return image


def draw_maps(ax: Any, maps: Array, columns: int, cmap: str) -> None:
    """Channels (C, height, width) in rows, on one scale, with its colour bar."""
    low, high = fig.extremes(maps)
    how = fig.around_zero(maps) if low < 0 else {"cmap": cmap, "vmin": 0, "vmax": high or 1}
    image = draw_mosaic(ax, maps, columns, **how)
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
        columns: of the grid; by default the grid is a little wider than high.
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
    pixels = _pixels("plot.images", images)
    if titles is not None and len(titles) < min(len(pixels), limit):
        raise ValueError(f"[plot.images] got {len(titles)} titles; expected one for each of {len(pixels)}")
    panels = _grid("plot.images", pixels, columns, limit, figure, path, 0.25 if titles is not None else 0.0)
    for panel, title in zip(panels, () if titles is None else titles, strict=False):
        panel.set_title(fig.shortened(str(title), 16), fontsize=fig.SMALL)
    return fig.finish(panels, path)


def predictions(
    images: Any,
    labels: Any,
    predicted: Any,
    probabilities: Any = None,
    class_names: Sequence[Any] | None = None,
    *,
    columns: int | None = None,
    limit: int = 25,
    figure: Figure | None = None,
    path: Path | None = None,
) -> Panels:
    """Draw images with their predictions: correct ones green with a check mark, wrong ones red with a cross.

    A wrong one has a dashed frame, and the true class below the predicted one.

    Args:
        images: as in `plot.images`.
        labels, predicted: the true and the predicted classes (n,).
        probabilities: (n, classes) of `Trainer.predict_proba`, or (n,) of the predicted classes; written
            after the predictions.
        class_names: of the labels 0 ... K-1; by default the labels themselves.
        columns, limit, figure, path: as in `plot.images`.

    Returns: Array of Axes, one for each image drawn. The figure's title counts the correct ones of all n.

    Raises ValueError: shapes that do not match, or a label without a name.

    >>> import ranvier as rv
    >>> x, y = rv.data.datasets.load_digits()
    >>> panels = rv.plot.predictions(x[:2], y[:2], [0, 7], [0.98, 0.51])
    >>> [panel.get_title() for panel in panels]
    ['✓ 0 (98%)', '✗ 7 (51%)\\ntrue: 1']
    """
    name = "plot.predictions"
    pixels = _pixels(name, images)
    true = fig.labels_of(name, "labels", labels, len(pixels))
    pred = fig.labels_of(name, "predicted", predicted, len(pixels))
    classes, names = fig.class_names_of(name, np.concatenate([true, pred]), class_names)
    text = dict(zip(classes.tolist(), (fig.shortened(n, 14) for n in names), strict=True))
    sure = None if probabilities is None else _sureness(name, probabilities, pred, classes)
    panels = _grid(name, pixels, columns, limit, figure, path, 0.5)
    for i, panel in enumerate(panels):
        right = true[i] == pred[i]
        title = f"{'✓' if right else '✗'} {text[pred[i].item()]}"
        title += "" if sure is None else f" ({sure[i]:.0%})"
        title += "" if right else f"\ntrue: {text[true[i].item()]}"
        colour = fig.RIGHT if right else fig.WRONG
        panel.set_title(title, fontsize=fig.SMALL, color=colour, fontweight="normal" if right else "bold")
        for spine in panel.spines.values():
            spine.set(
                visible=True, color=colour, linewidth=1.5 if right else 2.2, linestyle="-" if right else "--"
            )
    count = (true == pred).sum()
    drawn = f" (the first {len(panels)} shown)" if len(panels) < len(pixels) else ""
    panels[0].figure.suptitle(f"{count} of {len(pixels)} right{drawn}", fontsize=fig.TITLE)
    return fig.finish(panels, path)


def _sureness(name: str, probabilities: Any, pred: Array, classes: Array) -> Array:
    sure = fig.array_of(name, "probabilities", probabilities)
    if sure.shape in ((len(pred),), (len(pred), 1)):
        return sure.reshape(-1)
    at = np.searchsorted(classes, pred) if classes.dtype.kind not in "iu" or pred.min() < 0 else pred
    if sure.ndim != 2 or len(sure) != len(pred) or sure.shape[1] <= at.max():
        raise ValueError(
            f"[{name}] got probabilities of shape {sure.shape} for {len(pred)} images; "
            "expected (n, classes) or (n,)"
        )
    return sure[np.arange(len(pred)), at]


def _pixels(name: str, images: Any) -> Array:
    """Images as (n, height, width), or (n, height, width, 3) with values in [0, 1] or bytes."""
    pixels = fig.array_of(name, "images", images)
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    if pixels.ndim == 4 and pixels.shape[1] == 1:
        pixels = pixels[:, 0]
    if not (pixels.ndim == 3 or (pixels.ndim == 4 and pixels.shape[1] == 3)) or pixels.size == 0:
        raise ValueError(
            f"[{name}] got images of shape {pixels.shape}; expected (n, height, width), "
            "(n, 1, height, width) or (n, 3, height, width) with n at least 1"
        )
    if pixels.ndim == 3:
        return pixels
    pixels = pixels.transpose(0, 2, 3, 1)
    low, high = fig.extremes(pixels)
    if pixels.dtype == np.uint8 or (low >= 0 and high <= 1):
        return pixels
    return (pixels - low) / max(high - low, 1e-12)


def _grid(
    name: str,
    pixels: Array,
    columns: int | None,
    limit: int,
    figure: Figure | None,
    path: Path | None,
    title_height: float,
) -> Panels:
    if limit < 1 or (columns is not None and columns < 1):
        raise ValueError(f"[{name}] got columns {columns} and limit {limit}; expected at least 1")
    count = min(len(pixels), limit)
    columns = min(count, columns or int(np.ceil(np.sqrt(1.6 * count))))
    width = min(1.35, max(0.6, 14 / columns)) if count > 1 else 2.6
    height = width * min(3.0, max(0.3, pixels.shape[1] / pixels.shape[2])) + title_height
    panels = fig.grid_axes(name, figure, path, count, columns, (width, height))
    low, high = fig.extremes(pixels)
    for panel, image in zip(panels, pixels[:count], strict=True):
        panel.imshow(image, cmap=fig.PIXELS, vmin=low, vmax=high if high > low else low + 1)
        fig.bare(panel)
    return panels


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
    ax = fig.one_axes("plot.kernels", ax, path, size)
    image = draw_mosaic(ax, shown.reshape(-1, h, w), columns, **fig.around_zero(array))
    if numbers:
        _write_numbers(ax, image)
    less = f" (the first {len(shown)} × {shown.shape[1]} drawn)" if shown.size < array.size else ""
    title = f"{k} kernel{'s' * (k > 1)} of {h} × {w} on {c} channel{'s' * (c > 1)}{less}"
    names = ("input channel", "output channel") if c > 1 else ("", "output channel" if rows > 1 else "")
    fig.label(ax, title, *names, None)
    fig.bare(ax)
    if c > 1:
        row_names = [str(i) for i in range(rows)]
    else:
        row_names = [f"{i} … {min(i + 8, len(shown)) - 1}" for i in range(0, len(shown), 8)]
    if c > 1 or rows == 1:
        ax.set_xticks([(w + 1) * i + (w - 1) / 2 for i in range(columns)], [str(i) for i in range(columns)])
    if rows > 1:
        ax.set_yticks([(h + 1) * i + (h - 1) / 2 for i in range(rows)], row_names)
    ax.tick_params(length=0, labelsize=fig.SMALL if max(rows, columns) <= 24 else 6)
    fig.colour_bar(ax, image, "weight")
    return fig.finish(ax, path)


def _write_numbers(ax: Any, image: Any) -> None:
    most = image.get_clim()[1]
    for (i, j), value in np.ndenumerate(image.get_array().filled(np.nan)):
        if np.isfinite(value):
            ink = "white" if abs(value) > 0.6 * most else "black"
            ax.text(j, i, fig.number(value, most), ha="center", va="center", fontsize=fig.SMALL, color=ink)


def _weight_of(weight: Any) -> Array:
    if isinstance(weight, nn.Module):
        weights = [p for p in weight.parameters() if p.ndim == 4]
        if not weights:
            raise ValueError("[plot.kernels] got a model without a weight of shape (K, C, height, width)")
        weight = weights[0]
    array = fig.array_of("plot.kernels", "weight", weight)
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
    sample, calls = fig.traced(name, model, x)
    if limit < 1:
        raise ValueError(f"[{name}] got limit {limit}; expected at least 1")
    names = {call.name for call in calls}
    for wanted in layers or ():
        if wanted not in names:
            raise ValueError(f"[{name}] got layer '{wanted}'; expected some of {', '.join(sorted(names))}")
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
        figure = fig.new_figure(name, (max(3.0, 1.0 * columns + 0.8), sum(heights)), path)
    panels: Panels = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (text, array) in zip(panels, maps, strict=True):
        draw_maps(panel, array[:limit], columns, fig.PIXELS if text == "input" else fig.AMOUNTS)
        less = f" (the first {limit} drawn)" if len(array) > limit else ""
        fig.label(panel, f"{text}: {' × '.join(map(str, array.shape))}{less}", grid=None)
    return fig.finish(panels, path)


own_errors(globals(), names=__all__)
