"""The diagram of one neuron: its inputs, weights, sum and activation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ranvier.plot.colours import BLACK, BLUE, GRAY, ORANGE, RED, SKY, YELLOW
from ranvier.plot.figure import bare, finish, label, one_axes
from ranvier.plot.inputs import shortened
from ranvier.plot.style import SMALL, TEXT
from ranvier.plot.types import Axes, Path

__all__ = ["neuron"]

INPUT, SUM, ACTIVATION, OUTPUT = 0.0, 3.6, 6.1, 8.0  # places on the x axis
RADIUS, ROW = 0.42, 1.15


def neuron(
    neuron: Any,
    x: Any = None,
    *,
    input_names: Sequence[Any] | None = None,
    limit: int = 10,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Axes:
    """Draw a neuron: a line from each input to the sum, with its weight.

    A weight above 0 is red and solid, one below 0 blue and dashed; the larger, the thicker. With an input x,
    the values are written too.

    Args:
        neuron: an `nn.Neuron`; for a unit of a layer, `nn.Neuron.of(layer, i)`.
        x: one input (in_features,); without it, only names and weights are drawn.
        input_names: written next to the inputs; by default x₁, x₂ ...
        limit: of more inputs, only those with the largest weights are drawn.
        ax, path: see :mod:`ranvier.plot`.

    Returns: The Axes; with x, its title is the sum, z = ...

    Raises TypeError: not a neuron; ValueError: x or input_names of another length, or a limit below 1.

    >>> import ranvier as rv
    >>> found = rv.nn.Neuron.with_weights([-0.5, 1.2], 0.3, "sigmoid")
    >>> rv.plot.neuron(found, [0.8, 0.9], input_names=["price", "speed"]).get_title()
    'z = -0.4 + 1.08 + 0.3 = 0.98; a = sigmoid(z) = 0.7271'
    """
    if not hasattr(neuron, "explain"):
        raise TypeError(f"[plot.neuron] got {type(neuron).__name__}; expected an nn.Neuron")
    count = neuron.in_features
    if input_names is not None and len(input_names) != count:
        raise ValueError(f"[plot.neuron] got {len(input_names)} input_names; expected {count}")
    if limit < 1:
        raise ValueError(f"[plot.neuron] got limit {limit}; expected at least 1")
    signal = neuron.explain(np.zeros(count) if x is None else x)
    weights = neuron.weights.detach().numpy()
    names = [f"$x_{{{i + 1}}}$" for i in range(count)] if input_names is None else input_names
    shown = np.sort(np.argsort(-abs(weights), kind="stable")[:limit])
    rows = len(shown)
    height = max(rows, 2) * ROW
    ax = one_axes("plot.neuron", ax, path, (7.6, 0.55 * height + 1.0))
    thickest = abs(weights).max() or 1.0
    for row, i in enumerate(shown):
        y = (rows - 1) * ROW / 2 - row * ROW
        _draw_synapse(ax, y, float(weights[i]), 0.8 + 4.5 * abs(float(weights[i])) / thickest)
        _circle(ax, INPUT, y, YELLOW, "" if x is None else f"{signal.x[i]:.3g}")
        ax.text(INPUT - 0.6, y, shortened(str(names[i]), 18), ha="right", va="center", fontsize=TEXT)
    _draw_body(ax, signal, x is not None)
    title = f"{rows} of {count} inputs, those of the largest weights" if rows < count else ""
    label(ax, str(signal) if x is not None and rows == count <= 5 else title, grid=None)
    bare(ax)
    ax.set_aspect("equal")
    longest = max(len(shortened(str(names[i]), 18)) for i in shown) if input_names is not None else 2
    ax.set_xlim(-0.9 - 0.17 * longest, OUTPUT + 1.1)
    ax.set_ylim(min(-height / 2, -1.35), max(height / 2, 1.1))
    return finish(ax, path)


def _draw_synapse(ax: Any, y: float, weight: float, width: float) -> None:
    ends = np.array([[INPUT, SUM], [y, 0.0]])
    how = {"color": RED, "linestyle": "-"} if weight >= 0 else {"color": BLUE, "linestyle": (0, (2.2, 0.8))}
    ax.plot(*ends, linewidth=width, alpha=0.75, zorder=1, solid_capstyle="butt", **how)
    at = 0.42  # the share of the line where the lines are still apart
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.9}
    text = f"w = {weight:.3g}".replace("-", "\N{MINUS SIGN}")
    ax.text(at * SUM, (1 - at) * y, text, ha="center", va="center", fontsize=SMALL, bbox=box, zorder=2)


def _draw_body(ax: Any, signal: Any, numbers: bool) -> None:
    arrow = {"arrowstyle": "-|>", "color": BLACK, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    ax.annotate("", (ACTIVATION - 0.7, 0), (SUM + RADIUS + 0.06, 0), arrowprops=arrow)
    ax.annotate("", (OUTPUT - RADIUS, 0), (ACTIVATION + 0.7, 0), arrowprops=arrow)
    _circle(ax, SUM, 0, SKY, "Σ", RADIUS + 0.06, 15)
    ax.annotate("", (SUM + 0.2, -RADIUS), (SUM + 0.5, -1.0), arrowprops=arrow)
    bias = f"bias b = {signal.bias:.3g}".replace("-", "\N{MINUS SIGN}")
    ax.text(SUM + 0.3, -1.05, bias, ha="left", va="top", fontsize=SMALL)
    box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": GRAY}
    text = "f = " + signal.activation.replace("_", "\n")
    ax.text(ACTIVATION, 0, text, ha="center", va="center", fontsize=SMALL, bbox=box, zorder=4)
    _circle(ax, OUTPUT, 0, ORANGE, f"{signal.a:.3g}" if numbers else "a")
    between = f"z = {signal.z:.3g}" if numbers else "z"
    ax.text((SUM + ACTIVATION) / 2 - 0.12, 0.1, between, ha="center", va="bottom", fontsize=SMALL)
    ax.text(OUTPUT, -0.55, "output a = f(z)", ha="center", va="top", fontsize=SMALL)


def _circle(
    ax: Any, x: float, y: float, colour: str, text: str, radius: float = RADIUS, size: float = SMALL
) -> None:
    from matplotlib.patches import Circle

    ax.add_patch(Circle((x, y), radius, facecolor=colour, edgecolor=BLACK, linewidth=1.0, zorder=3))
    ax.text(x, y, text.replace("-", "\N{MINUS SIGN}"), ha="center", va="center", fontsize=size, zorder=4)
