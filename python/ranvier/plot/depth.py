"""Signals and gradients layer by layer, and dead units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.plot.colours import BLUE, COLOURS, GRAY, ORANGE, RED
from ranvier.plot.figure import finish, label, legend, one_axes, several_axes, whole_numbers
from ranvier.plot.style import MARKERS, PANEL, SMALL
from ranvier.plot.types import Axes, Figure, Panels, Path

__all__ = ["dead_units", "gradient_flow", "signals"]


def signals(found: Any, path: Path | None = None, *, figure: Figure | None = None) -> Panels:
    """Draw how the variance of signals (left) and of gradients (right) changes from layer to layer.

    Args:
        found: the result of `rv.explore.signals`, a list of results, or a mapping from names to them.
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of two Axes.

    Raises ValueError: nothing to draw.

    >>> import ranvier as rv
    >>> found = [rv.explore.signals(init, "relu", depth=5) for init in ("he", 0.01)]
    >>> [panel.get_ylabel() for panel in rv.plot.signals(found)]
    ['variance of the activations', 'variance of the gradients']
    """
    several = found if isinstance(found, (list, tuple, Mapping)) else [found]
    if not isinstance(several, Mapping):
        several = {f"{one.init}, {one.activation}": one for one in several}
    if not several:
        raise ValueError("[plot.signals] got nothing to draw; expected at least one measurement")
    panels = several_axes("plot.signals", figure, path, 1, 2)[0]
    for panel, part, title, what in (
        (panels[0], "forward", "signals, from the input on", "activations"),
        (panels[1], "backward", "gradients, from the output back", "gradients"),
    ):
        for i, (name, one) in enumerate(several.items()):
            values = np.asarray(getattr(one, part), float)
            seen = np.where(np.isfinite(values) & (values > 0), values, np.nan)
            style = {"color": COLOURS[i % len(COLOURS)], "marker": MARKERS[i % len(MARKERS)]}
            panel.plot(range(1, len(seen) + 1), seen, label=f"{name}: {one.verdict}", markersize=4, **style)
        panel.set_yscale("log")
        label(panel, title, "layer", f"variance of the {what}")
        whole_numbers(panel.xaxis)
    legend(panels[1], loc="lower right")
    return finish(panels, path)


def gradient_flow(gradients: Any, path: Path | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the sizes of the gradients, from the input at the top to the loss at the bottom.

    A bar is the mean of |gradient| of a parameter or of a layer's output; the mark after it is the largest.
    The backward pass goes upwards: bars that shrink by decades towards the top are vanishing gradients.

    Args:
        gradients: the result of `rv.explore.gradients`; or a model after backward, for the `.grad` of its
            parameters.
        ax, path: see :mod:`ranvier.plot`.

    Raises ValueError: there are no gradients.

    >>> import numpy as np, ranvier as rv
    >>> from ranvier import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    >>> found = rv.explore.gradients(model, nn.MSELoss(), np.ones((4, 2)), np.zeros((4, 1)))
    >>> ax = rv.plot.gradient_flow(found)
    >>> [text.get_text() for text in ax.get_yticklabels()][-1]
    '2 Linear'
    """
    rows: list[tuple[str, bool, npt.NDArray[Any]]] = []
    if hasattr(gradients, "named_parameters"):
        grads = [(name, p.grad) for name, p in gradients.named_parameters()]
        rows = [(name, True, g._array) for name, g in grads if g is not None]
    else:
        for row in gradients.values():
            if row.gradient is not None and row.name != "loss":
                parameter = row.kind == "parameter"
                rows.append((row.name if parameter else f"{row.name} {row.kind}", parameter, row.gradient))
    if not rows:
        raise ValueError("[plot.gradient_flow] got no gradients; expected a model after backward")
    ax = one_axes("plot.gradient_flow", ax, path, (PANEL[0] * 1.2, 1.3 + 0.24 * len(rows)))
    places = np.arange(len(rows))
    means = np.array([np.abs(g).mean() if g.size else 0.0 for _, _, g in rows])
    most = np.array([np.abs(g).max(initial=0) for _, _, g in rows])
    parameters = np.array([parameter for _, parameter, _ in rows])
    for chosen, colour, text in ((parameters, BLUE, "parameter"), (~parameters, ORANGE, "output of a layer")):
        if chosen.any():
            ax.barh(places[chosen], means[chosen], color=colour, height=0.7, label=text)
    ax.plot(most, places, "|", color=GRAY, markersize=9, markeredgewidth=2, label="largest")
    ax.set_yticks(places, [name for name, _, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -2.2)  # space for the legend
    if (means > 0).any():
        ax.set_xscale("log")
    label(ax, "gradients on their way back", "|gradient|: mean and largest", "input (top) to loss", "x")
    legend(ax, loc="upper center", ncols=3, columnspacing=1.2, handlelength=1.4)
    return finish(ax, path)


def dead_units(off: Mapping[str, npt.ArrayLike], path: Path | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the share of units of each layer that are 0 for every sample.

    Args:
        off: the result of `rv.explore.dead_units`: for each layer, an array that is True for dead units.
        ax, path: see :mod:`ranvier.plot`.

    Raises ValueError: no layers.

    >>> import ranvier as rv
    >>> ax = rv.plot.dead_units({"1": [True, False, False, False], "3": [False, False]})
    >>> [text.get_text() for text in ax.texts]
    ['1 of 4', '0 of 2']
    """
    if not off:
        raise ValueError("[plot.dead_units] got no layers; expected those of a model with ReLU layers")
    ax = one_axes("plot.dead_units", ax, path, (PANEL[0], 1.4 + 0.3 * len(off)))
    masks = [np.asarray(mask, bool) for mask in off.values()]
    shares = [100 * mask.mean() for mask in masks]
    places = range(len(masks))
    ax.barh(places, shares, color=RED, height=0.7)
    for place, share, mask in zip(places, shares, masks, strict=True):
        inside = share > 80
        ax.annotate(
            f"{mask.sum()} of {mask.size}",
            (share, place),
            (-4 if inside else 4, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            fontsize=SMALL,
            color="white" if inside else "black",
        )
    ax.set_yticks(places, list(off))
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    label(ax, "units that are 0 for every sample", "share of the layer's units (%)", "layer", "x")
    return finish(ax, path)
