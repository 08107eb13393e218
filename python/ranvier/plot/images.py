"""Images in a grid, alone or with predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.plot.colours import PIXELS, RIGHT, WRONG
from ranvier.plot.figure import bare, finish, grid_axes
from ranvier.plot.inputs import array_of, class_names_of, labels_of, shortened
from ranvier.plot.style import SMALL, TITLE, extremes
from ranvier.plot.types import Figure, Panels, Path

__all__ = ["images", "predictions"]


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
        panel.set_title(shortened(str(title), 16), fontsize=SMALL)
    return finish(panels, path)


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
    true = labels_of(name, "labels", labels, len(pixels))
    pred = labels_of(name, "predicted", predicted, len(pixels))
    known, names = class_names_of(name, np.concatenate([true, pred]), class_names)
    text = dict(zip(known.tolist(), (shortened(n, 14) for n in names), strict=True))
    sure = None if probabilities is None else _sureness(name, probabilities, pred, known)
    panels = _grid(name, pixels, columns, limit, figure, path, 0.5)
    for i, panel in enumerate(panels):
        right = true[i] == pred[i]
        title = f"{'✓' if right else '✗'} {text[pred[i].item()]}"
        title += "" if sure is None else f" ({sure[i]:.0%})"
        title += "" if right else f"\ntrue: {text[true[i].item()]}"
        colour = RIGHT if right else WRONG
        panel.set_title(title, fontsize=SMALL, color=colour, fontweight="normal" if right else "bold")
        for spine in panel.spines.values():
            spine.set(
                visible=True, color=colour, linewidth=1.5 if right else 2.2, linestyle="-" if right else "--"
            )
    count = (true == pred).sum()
    drawn = f" (the first {len(panels)} shown)" if len(panels) < len(pixels) else ""
    panels[0].figure.suptitle(f"{count} of {len(pixels)} right{drawn}", fontsize=TITLE)
    return finish(panels, path)


def _sureness(name: str, probabilities: Any, pred: Array, known: Array) -> Array:
    given = array_of(name, "probabilities", probabilities)
    if given.shape in ((len(pred),), (len(pred), 1)):
        return given.reshape(-1)
    at = np.searchsorted(known, pred) if known.dtype.kind not in "iu" or pred.min() < 0 else pred
    if given.ndim != 2 or len(given) != len(pred) or given.shape[1] <= at.max():
        raise ValueError(
            f"[{name}] got probabilities of shape {given.shape} for {len(pred)} images; "
            "expected (n, classes) or (n,)"
        )
    return given[np.arange(len(pred)), at]


def _pixels(name: str, images: Any) -> Array:
    """Images as (n, height, width), or (n, height, width, 3) with values in [0, 1] or bytes."""
    pixels = array_of(name, "images", images)
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
    low, high = extremes(pixels)
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
    panels = grid_axes(name, figure, path, count, columns, (width, height))
    low, high = extremes(pixels)
    for panel, image in zip(panels, pixels[:count], strict=True):
        panel.imshow(image, cmap=PIXELS, vmin=low, vmax=high if high > low else low + 1)
        bare(panel)
    return panels
