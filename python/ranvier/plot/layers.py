"""What is inside a model: the signals of its layers, at each depth, for one input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier.plot.figure as fig
from ranvier.autograd.errors import own_errors
from ranvier.autograd.memory import Array
from ranvier.plot.figure import Axes, Figure, Panels, Path
from ranvier.plot.images import draw_maps

__all__ = ["dead_units", "gradient_flow", "inside", "signals"]


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
    panels = fig.several_axes("plot.signals", figure, path, 1, 2)[0]
    for panel, part, title, what in (
        (panels[0], "forward", "signals, from the input on", "activations"),
        (panels[1], "backward", "gradients, from the output back", "gradients"),
    ):
        for i, (name, one) in enumerate(several.items()):
            values = np.asarray(getattr(one, part), float)
            seen = np.where(np.isfinite(values) & (values > 0), values, np.nan)
            style = {"color": fig.COLOURS[i % len(fig.COLOURS)], "marker": fig.MARKERS[i % len(fig.MARKERS)]}
            panel.plot(range(1, len(seen) + 1), seen, label=f"{name}: {one.verdict}", markersize=4, **style)
        panel.set_yscale("log")
        fig.label(panel, title, "layer", f"variance of the {what}")
        fig.whole_numbers(panel.xaxis)
    fig.legend(panels[1], loc="lower right")
    return fig.finish(panels, path)


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
    ax = fig.one_axes("plot.gradient_flow", ax, path, (fig.PANEL[0] * 1.2, 1.3 + 0.24 * len(rows)))
    places = np.arange(len(rows))
    means = np.array([np.abs(g).mean() if g.size else 0.0 for _, _, g in rows])
    most = np.array([np.abs(g).max(initial=0) for _, _, g in rows])
    parameters = np.array([parameter for _, parameter, _ in rows])
    for chosen, colour, text in (
        (parameters, fig.BLUE, "parameter"),
        (~parameters, fig.ORANGE, "output of a layer"),
    ):
        if chosen.any():
            ax.barh(places[chosen], means[chosen], color=colour, height=0.7, label=text)
    ax.plot(most, places, "|", color=fig.GRAY, markersize=9, markeredgewidth=2, label="largest")
    ax.set_yticks(places, [name for name, _, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -2.2)  # space for the legend
    if (means > 0).any():
        ax.set_xscale("log")
    fig.label(ax, "gradients on their way back", "|gradient|: mean and largest", "input (top) to loss", "x")
    fig.legend(ax, loc="upper center", ncols=3, columnspacing=1.2, handlelength=1.4)
    return fig.finish(ax, path)


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
    ax = fig.one_axes("plot.dead_units", ax, path, (fig.PANEL[0], 1.4 + 0.3 * len(off)))
    masks = [np.asarray(mask, bool) for mask in off.values()]
    shares = [100 * mask.mean() for mask in masks]
    places = range(len(masks))
    ax.barh(places, shares, color=fig.RED, height=0.7)
    for place, share, mask in zip(places, shares, masks, strict=True):
        inside = share > 80
        ax.annotate(
            f"{mask.sum()} of {mask.size}",
            (share, place),
            (-4 if inside else 4, 0),
            textcoords="offset points",
            ha="right" if inside else "left",
            va="center",
            fontsize=fig.SMALL,
            color="white" if inside else "black",
        )
    ax.set_yticks(places, list(off))
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    fig.label(ax, "units that are 0 for every sample", "share of the layer's units (%)", "layer", "x")
    return fig.finish(ax, path)


MAPS = 16  # the most maps of a layer


def inside(
    model: Any,
    x: Any,
    class_names: Sequence[Any] | None = None,
    *,
    figure: Figure | None = None,
    path: Path | None = None,
) -> Panels:
    """Draw the values of every layer of a model for one input.

    Vectors are bars, images are maps; red is above 0 and blue below. A layer that changes no value (Flatten,
    Dropout) is left out. The title gives the share of units that are 0, as after a ReLU; the largest value of
    the output is written next to its bar.

    Args:
        model: a Module; it runs in evaluation mode and is not changed.
        x: one input without the batch, or a batch of one.
        class_names: of the units of the output.
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of Axes: the input, then one for each layer.

    Raises TypeError: a model that is not a Module.
    Raises ValueError: an input that the model does not take, or another number of class names.

    >>> import ranvier as rv
    >>> model = rv.nn.Sequential(rv.nn.Linear(2, 8), rv.nn.ReLU(), rv.nn.Linear(8, 3))
    >>> panels = rv.plot.inside(model, [0.5, -1.0], ["red", "green", "blue"])
    >>> [panel.get_title().split(":")[0] for panel in panels]
    ['input', '0 Linear', '1 ReLU', '2 Linear']
    """
    name = "plot.inside"
    sample, calls = fig.traced(name, model, np.asarray(x, np.float32) if isinstance(x, Sequence) else x)
    stages = [("input", sample)]
    for call in calls:
        activates = type(call.layer).__module__.startswith("ranvier.nn.activation")
        same = np.array_equal(call.output.reshape(-1), stages[-1][1].reshape(-1), equal_nan=True)
        if activates or not same:
            stages.append((f"{call.name} {type(call.layer).__name__}".strip(), call.output))
    if class_names is not None and len(class_names) != stages[-1][1].size:
        raise ValueError(
            f"[{name}] got {len(class_names)} class names for an output of {stages[-1][1].size} values; "
            "expected one for each"
        )
    panels = fig.grid_axes(name, figure, path, len(stages), 3, (3.8, 2.6))
    for i, (panel, (text, values)) in enumerate(zip(panels, stages, strict=True)):
        last = i == len(stages) - 1
        _draw_values(
            panel, values, fig.PIXELS if i == 0 else fig.AMOUNTS, class_names if last else None, last
        )
        zeros = np.mean(values == 0) if 0 < i < len(stages) - 1 else 0
        extra = f", {zeros:.0%} are 0" if zeros else ""
        extra += f" (the first {MAPS})" if values.ndim == 3 and len(values) > MAPS else ""
        panel.set_title(f"{text}: {' × '.join(map(str, values.shape)) or 1}{extra}", fontsize=fig.SMALL + 1)
    return fig.finish(panels, path)


def _draw_values(ax: Any, values: Array, cmap: str, names: Sequence[Any] | None, is_output: bool) -> None:
    if values.ndim in (2, 3) and min(values.shape[-2:]) > 1:
        maps = values.reshape(-1, *values.shape[-2:])[:MAPS]
        fig.label(ax, grid=None)
        draw_maps(ax, maps, min(len(maps), 4 if len(maps) > 4 else 2), cmap)
        return
    flat = values.reshape(-1).astype(np.float64)
    inks = np.where(flat < 0, fig.BLUE, fig.RED)
    if len(flat) <= 64:
        ax.bar(range(len(flat)), flat, color=inks, width=0.8)
    else:
        ax.vlines(range(len(flat)), 0, flat, colors=inks, linewidth=max(0.3, 200 / len(flat)))
    ax.axhline(0, color=fig.BLACK, linewidth=0.8)
    fig.label(ax, x="unit", y="value", grid="y")
    ax.margins(y=0.15)
    fig.whole_numbers(ax.xaxis)
    if len(flat) < 4:  # else the bars are very wide
        ax.set(xlim=(len(flat) / 2 - 2.5, len(flat) / 2 + 1.5), xticks=range(len(flat)))
    if names is not None:
        ax.set_xlabel("")
        ax.set_xticks(range(len(names)), [fig.shortened(str(n), 12) for n in names])
        if max(len(str(n)) for n in names) * len(names) > 36:
            ax.tick_params(axis="x", rotation=90)
    if is_output and np.isfinite(flat).any():
        top = int(np.nanargmax(flat))
        place = "bottom" if flat[top] >= 0 else "top"
        ax.text(
            top, flat[top], f"{flat[top]:.3g}", ha="center", va=place, fontsize=fig.SMALL, fontweight="bold"
        )


own_errors(globals(), names=__all__)
