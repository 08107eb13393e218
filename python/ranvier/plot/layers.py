"""What is inside a model: the signals of its layers, at each depth, for one input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier.plot.figure as fig
from ranvier.autograd.errors import own_errors
from ranvier.autograd.memory import Array
from ranvier.plot.figure import Axes, Figure, Panels, Path
from ranvier.plot.images import draw_maps

__all__ = ["gradient_flow", "inside"]


def gradient_flow(model: Any, path: Path | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the sizes of the gradients of a model's parameters, from the input at the top to the loss.

    A bar is the mean of |gradient| of a parameter; the mark after it is the largest.
    The backward pass goes upwards: bars that shrink by decades towards the top are vanishing gradients.

    Args:
        model: a Module after backward.
        ax, path: see :mod:`ranvier.plot`.

    Raises ValueError: there are no gradients.

    >>> import ranvier as rv
    >>> model = rv.nn.Sequential(rv.nn.Linear(2, 3), rv.nn.Tanh(), rv.nn.Linear(3, 1))
    >>> model(rv.ones(4, 2)).sum().backward()
    >>> [text.get_text() for text in rv.plot.gradient_flow(model).get_yticklabels()][-1]
    '2.bias'
    """
    rows = [(name, p.grad._array) for name, p in model.named_parameters() if p.grad is not None]
    if not rows:
        raise ValueError("[plot.gradient_flow] got no gradients; expected a model after backward")
    ax = fig.one_axes("plot.gradient_flow", ax, path, (fig.PANEL[0] * 1.2, 1.3 + 0.24 * len(rows)))
    places = np.arange(len(rows))
    means = np.array([np.abs(g).mean() if g.size else 0.0 for _, g in rows])
    most = np.array([np.abs(g).max(initial=0) for _, g in rows])
    ax.barh(places, means, color=fig.BLUE, height=0.7, label="mean")
    ax.plot(most, places, "|", color=fig.GRAY, markersize=9, markeredgewidth=2, label="largest")
    ax.set_yticks(places, [name for name, _ in rows])
    ax.set_ylim(len(rows) - 0.4, -2.2)  # space for the legend
    if (means > 0).any():
        ax.set_xscale("log")
    fig.label(ax, "gradients on their way back", "|gradient|: mean and largest", "input (top) to loss", "x")
    fig.legend(ax, loc="upper center", ncols=3, columnspacing=1.2, handlelength=1.4)
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
