"""The weights of a model: their distribution, their values, their norms over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import ranvier.nn as nn
import ranvier.plot.figure as fig
from ranvier.autograd.errors import own_errors
from ranvier.plot.figure import Axes, Figure, Panels, Path

__all__ = ["heatmap", "norms", "weights"]


def weights(
    model: Any, *, biases: bool = False, figure: Figure | None = None, path: Path | None = None
) -> Panels:
    """Draw a histogram of the weights of each layer, with their mean and standard deviation.

    Args:
        model: a Module.
        biases: also draw parameters of one dimension (biases, scales of norms).
        figure, path: see :mod:`ranvier.plot`.

    Returns:
        Array of Axes, one for each parameter. Values that are not finite are counted in red and not drawn.

    Raises TypeError: a model that is not a Module; ValueError: a model without such parameters.

    >>> import ranvier as rv
    >>> model = rv.nn.Sequential(rv.nn.Linear(3, 40), rv.nn.ReLU(), rv.nn.Linear(40, 2))
    >>> [panel.get_title() for panel in rv.plot.weights(model)]
    ['0.weight (40, 3)', '2.weight (2, 40)']
    """
    matrices = [
        (name, p)
        for name, p in fig.module_of("plot.weights", model).named_parameters()
        if biases or p.ndim > 1
    ]
    if not matrices:
        raise ValueError("[plot.weights] got a model without weights; expected at least one")
    panels = fig.grid_axes("plot.weights", figure, path, len(matrices), 3, (3.4, 2.5))
    for panel, (name, p) in zip(panels, matrices, strict=True):
        values = p._array[np.isfinite(p._array)].astype(np.float64)
        panel.hist(
            values,
            bins=int(np.clip(np.sqrt(p.numel()), 8, 60)),
            color=fig.BLUE,
            edgecolor="white",
            linewidth=0.3,
        )
        panel.axvline(0, color=fig.GRAY, linewidth=0.8)
        fig.label(panel, f"{fig.shortened(name, 26)} {p.shape}", "weight" if p.ndim > 1 else "value", "count")
        text = f"mean {values.mean():.2g}\nstd {values.std():.2g}" if values.size else ""
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        note = {"transform": panel.transAxes, "va": "top", "fontsize": fig.SMALL, "bbox": paper}
        panel.text(0.98, 0.96, text, ha="right", **note)
        if values.size < p.numel():
            panel.text(
                0.02, 0.96, f"{p.numel() - values.size} not finite", ha="left", color=fig.WRONG, **note
            )
        panel.set_ylim(0, 1.4 * panel.get_ylim()[1])
        panel.locator_params(axis="x", nbins=6)
        fig.whole_numbers(panel.yaxis)
    return fig.finish(panels, path)


def heatmap(
    matrix: Any,
    *,
    x_names: Sequence[Any] | None = None,
    y_names: Sequence[Any] | None = None,
    title: str = "",
    x: str = "input",
    y: str = "output",
    ax: Axes | None = None,
    path: Path | None = None,
) -> Axes:
    """Draw a matrix in colours: red above 0 and blue below, or dark to bright if no number is below 0.

    Up to 150 numbers are written, with the digits that matter next to the largest.

    Args:
        matrix: (rows, columns), or a Linear layer: its weight (outputs, inputs).
        x_names, y_names: of the columns and the rows.
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
    few = values.size <= 150
    cell = 0.5 if few else min(0.3, 7 / max(rows, columns))
    ax = fig.one_axes("plot.heatmap", ax, path, (max(3.2, cell * columns + 1.6), max(1.9, cell * rows + 1.0)))
    signed = fig.extremes(values)[0] < 0
    image = ax.imshow(values, aspect="auto", **(fig.around_zero(values) if signed else {"cmap": fig.AMOUNTS}))
    if few:
        most = max(map(abs, fig.extremes(values)))
        for (i, j), value in np.ndenumerate(values):
            red, green, blue, seen = image.cmap(image.norm(value))
            ink = "white" if seen and 0.3 * red + 0.6 * green + 0.1 * blue < 0.5 else "black"
            ax.text(j, i, fig.number(value, most), ha="center", va="center", fontsize=fig.SMALL, color=ink)
    fig.label(ax, title, x, y, grid=None)
    for axis, names in ((ax.xaxis, x_names), (ax.yaxis, y_names)):
        fig.whole_numbers(axis)
        if names is not None:
            axis.set_ticks(range(len(names)), [fig.shortened(str(n), 18) for n in names])
    if x_names is not None and max(len(str(n)) for n in x_names) > 14 * cell:
        ax.tick_params(axis="x", rotation=90)
    fig.colour_bar(ax, image)
    return fig.finish(ax, path)


def norms(norms: Any, *, figure: Figure | None = None, path: Path | None = None) -> Panels:
    """Draw the norms of weights and of their gradients over the epochs.

    The scale is logarithmic if they differ by more than a factor of 20. Gradients that shrink from the last
    layer to the first vanish; gradients that grow from epoch to epoch explode; weights that always grow need
    weight decay.

    Args:
        norms: an `rv.NormHistory` that was a callback of `Trainer.fit`; or a mapping from panels ("weights",
            "gradients") to mappings from names to values for each epoch.
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of Axes, one for the weights and one for the gradients.

    Raises TypeError, ValueError: another object, or no recorded norms.

    >>> import ranvier as rv
    >>> panels = rv.plot.norms({"weights": {"0.weight": [1.0, 1.2]}, "gradients": {"0.weight": [0.5, 0.1]}})
    >>> [panel.get_ylabel() for panel in panels]
    ['norm of weights', 'norm of gradients']
    """
    if not isinstance(norms, Mapping) and not hasattr(norms, "gradients"):
        raise TypeError(
            f"[plot.norms] got {type(norms).__name__}; expected an rv.NormHistory, or a mapping of mappings"
        )
    kinds: Mapping[str, Any] = (
        norms if isinstance(norms, Mapping) else {"weights": norms.weights, "gradients": norms.gradients}
    )
    if not any(len(values) for curves in kinds.values() for values in curves.values()):
        raise ValueError("[plot.norms] got no norms; expected those of at least one epoch")
    fig.require_matplotlib("plot.norms")
    from matplotlib.ticker import LogLocator, NullFormatter

    panels = fig.several_axes("plot.norms", figure, path, 1, len(kinds), (fig.PANEL[0] + 0.6, fig.PANEL[1]))[
        0
    ]
    for panel, (kind, curves) in zip(panels, kinds.items(), strict=True):
        for i, ((name, values), colour) in enumerate(
            zip(curves.items(), fig.colours(len(curves)), strict=True)
        ):
            mark = fig.MARKERS[i % len(fig.MARKERS)] if len(values) <= 40 else ""
            text = fig.shortened(name, 24)
            panel.plot(range(1, len(values) + 1), values, marker=mark, markersize=4, color=colour, label=text)
        fig.label(panel, "", "epoch", f"norm of {kind}")
        low, high = fig.extremes(np.concatenate([np.asarray(v, np.float64) for v in curves.values()]))
        if low > 0 and high > 20 * low:
            panel.set_yscale("log")
            if high < 1000 * low:  # powers of 10 are too few ticks
                panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                panel.yaxis.set_major_formatter("{x:g}")
                panel.yaxis.set_minor_formatter(NullFormatter())
        fig.whole_numbers(panel.xaxis)
    if max(map(len, kinds.values())) > 12:
        _depth_note(panels[-1])
    else:
        fig.legend(panels[-1], loc="upper left", bbox_to_anchor=(1, 1))
    return fig.finish(panels, path)


def _depth_note(ax: Any) -> None:
    """For many curves: their colours follow the depth; the legend names the first and the last."""
    first, *_, last = ax.lines
    for line, text in ((first, "first"), (last, "last")):
        line.set_label(f"{text}: {line.get_label()}")
    ax.legend(handles=[first, last], fontsize=fig.SMALL, edgecolor=fig.BLACK)


own_errors(globals(), names=__all__)
