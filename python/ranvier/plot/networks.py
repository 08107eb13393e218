"""Networks as circles and lines, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import ranvier.nn as nn
import ranvier.plot.figure as fig
from ranvier.plot.figure import Axes, Path
from ranvier.tensors.memory import Array

__all__ = ["network"]

Point = tuple[float, float]


def layered(inputs: dict[Any, list[Any]]) -> tuple[dict[Any, Point], list[list[Point]]]:
    """(column, row) of every node, and the points that each arrow passes, from an input to its node.

    A node is one column to the right of its last input; a node without inputs is to the left of its first
    use. An arrow over several columns has an empty place in each (Sugiyama, Tagawa, Toda, "Methods for Visual
    Understanding of Hierarchical System Structures", IEEE Transactions on Systems, Man, and Cybernetics,
    1981).

    Args:
        inputs: the inputs of every node; each node comes after its inputs.

    >>> places, arrows = layered({"a": [], "b": ["a"], "c": ["a", "b"]})
    >>> [places[node][0] for node in "abc"], len(arrows[1])
    ([0, 1, 2], 3)
    """
    column: dict[Any, int] = {}
    for node, sources in inputs.items():
        column[node] = 1 + max((column[source] for source in sources), default=-1)
    first_use: dict[Any, int] = {}
    for node, sources in inputs.items():
        for source in sources:
            first_use[source] = min(column[node], first_use.get(source, column[node]))
    column |= {node: at - 1 for node, at in first_use.items() if not inputs[node]}
    columns: list[list[Any]] = [[] for _ in range(max(column.values()) + 1)]
    for node, at in column.items():
        columns[at].append(node)
    chains: list[list[Any]] = []
    for node, sources in inputs.items():
        for n, source in enumerate(sources):
            between = range(column[source] + 1, column[node])
            steps = [("arrow", id(node), n, at) for at in between]
            for at, step in zip(between, steps, strict=True):
                columns[at].append(step)
            chains.append([source, *steps, node])
    _order(columns, chains)
    places: dict[Any, Point] = {}
    for at, members in enumerate(columns):
        for row, member in enumerate(members):
            places[member] = (at, (len(members) - 1) / 2 - row)
    arrows = []
    for chain in chains:
        arrows.append([places[step] for step in chain])
    return {node: places[node] for node in inputs}, arrows


def _order(columns: list[list[Any]], chains: list[list[Any]]) -> None:
    """Sorts the columns by the places of their neighbours, in sweeps in both directions."""
    before: dict[Any, list[Any]] = {}
    after: dict[Any, list[Any]] = {}
    for chain in chains:
        for a, b in pairwise(chain):
            before.setdefault(b, []).append(a)
            after.setdefault(a, []).append(b)
    for sweep in range(8):
        forward = sweep % 2 == 1
        in_order = columns if forward else columns[::-1]
        for members in in_order:
            row: dict[Any, float] = {}
            for column in columns:
                for n, member in enumerate(column):
                    row[member] = n / max(len(column) - 1, 1)
            near = before if forward else after

            def middle(member: Any, near: Any = near, row: Any = row) -> float:
                rows = [row[other] for other in near.get(member, ())]
                if rows:
                    return sum(rows) / len(rows)
                return row[member]

            members.sort(key=middle)


class _Layer(NamedTuple):
    units: int
    kind: str  # "Linear", "Conv2d", "" for the input
    activation: str
    weight: Array | None  # (units, units before)


def network(
    model: Any,
    *,
    input_names: Sequence[Any] | None = None,
    output_names: Sequence[Any] | None = None,
    limit: int = 12,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Axes:
    """Draw a network as columns of units, from the input at the left to the output at the right.

    Each line is a weight of the model: blue and solid above 0, red and dashed below; the larger it is
    relative to its layer, the thicker. Channels of convolutions are squares. Layers are in the order of their
    definition; activations are named, other layers are left out.

    Args:
        model: a Module with Linear or convolution layers.
        input_names, output_names: written next to the units of the first and the last column.
        limit: the most units drawn of a layer: of more, only the first and the last ones.
        ax, path: see :mod:`ranvier.plot`.

    Returns: The Axes; its title counts layers and parameters.

    Raises TypeError, ValueError: no Module with such layers, or another number of names.

    >>> import ranvier as rv
    >>> ax = rv.plot.network(rv.mlp([3, 4, 2]), output_names=["no", "yes"])
    >>> ax.get_title(), len(ax.patches)
    ('2 layers, 26 parameters', 9)
    """
    layers = _layers_of(model)
    parameters = sum(p.numel() for p in model.parameters())
    if limit < 3:
        raise ValueError(f"[plot.network] got limit {limit}; expected at least 3")
    for what, names, layer in (("input", input_names, layers[0]), ("output", output_names, layers[-1])):
        if names is not None and len(names) != layer.units:
            raise ValueError(
                f"[plot.network] got {len(names)} {what}_names; expected {layer.units}, one for each unit"
            )
    shown = [_shown(layer.units, limit) for layer in layers]
    rows = max(len(s) + (len(s) < layer.units) for s, layer in zip(shown, layers, strict=True))
    gap = max(2.2, 0.45 * rows)
    ax = fig.one_axes("plot.network", ax, path, (max(4.0, 0.5 * gap * len(layers) + 1.2), 0.48 * rows + 1.4))
    pairs = enumerate(zip(shown, layers, strict=True))
    places = [_places(gap * i, s, layer.units) for i, (s, layer) in pairs]
    for i in range(1, len(layers)):
        _draw_weights(ax, layers[i].weight, places[i - 1], places[i])
    colour = [fig.YELLOW] + [fig.SKY] * (len(layers) - 2) + [fig.ORANGE]
    for i, layer in enumerate(layers):
        _draw_units(ax, layer, places[i], colour[i])
        unit = "channel" if layer.kind.startswith("Conv") else "unit"
        if layer.units != 1:
            unit += "s"
        text = f"{_caption(i, layers)}\n{layer.units:,} {unit}"
        if layer.activation:
            text += f"\n{layer.activation}"
        ax.text(gap * i, -rows / 2 - 0.25, text, ha="center", va="top", fontsize=fig.SMALL)
    _draw_names(ax, input_names, places[0], -0.5)
    _draw_names(ax, output_names, places[-1], 0.5)
    fig.label(ax, f"{len(layers) - 1} layer{'s' * (len(layers) > 2)}, {parameters:,} parameters", grid=None)
    fig.bare(ax)
    ax.set_aspect("equal")
    left = 1.0 if input_names is None else 2.6
    right = 1.0 if output_names is None else 2.6
    ax.set_xlim(-left, gap * (len(layers) - 1) + right)
    lines = 3 if any(layer.activation for layer in layers) else 2
    ax.set_ylim(-rows / 2 - 0.35 - 0.38 * lines, rows / 2 + 0.1)
    return fig.finish(ax, path)


def _layers_of(model: Any) -> list[_Layer]:
    """The layers of a model to draw: linear and convolution layers with their activations."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"[plot.network] got model of type {type(model).__name__}; expected a Module")
    layers: list[_Layer] = []
    module: Any
    for module in model.modules():
        kind = module.__class__.__name__
        if isinstance(module, nn.Linear):
            before = module.in_features
            units = module.out_features
            weight = module.weight._array
        elif kind.startswith("Conv"):
            before = module.in_channels
            units = module.out_channels
            weight = None
        else:
            if layers and module.__class__.__module__.startswith("ranvier.nn.activation"):
                layers[-1] = layers[-1]._replace(activation=kind)
            continue
        if not layers:
            input_kind = kind if weight is None else ""
            layers.append(_Layer(before, input_kind, "", None))
        if layers[-1].units != before:
            weight = None
        layers.append(_Layer(units, kind, "", weight))
    if not layers:
        raise ValueError("[plot.network] got a model without a Linear or convolution layer")
    return layers


def _caption(i: int, layers: list[_Layer]) -> str:
    if i == 0:
        role = "input"
    elif i == len(layers) - 1:
        role = "output"
    else:
        role = f"hidden {i}"
    if i and layers[i].kind != "Linear":
        return f"{role}: {layers[i].kind}"
    return role


def _shown(units: int, limit: int) -> list[int]:
    """The units to draw: all, or the first and the last ones."""
    if units <= limit:
        return list(range(units))
    half = (limit - 1) // 2
    return [*range(limit - 1 - half), *range(units - half, units)]


def _places(x: float, shown: list[int], units: int) -> dict[int, Point]:
    """The places of the drawn units, from top to bottom, with an empty place if some are left out."""
    slots = len(shown) + (len(shown) < units)
    return {unit: (x, (slots - 1) / 2 - n - (unit != n)) for n, unit in enumerate(shown)}


def _draw_units(ax: Any, layer: _Layer, places: dict[int, Point], colour: str) -> None:
    """Draw the units of a layer; dots stand for those that are left out."""
    from matplotlib.patches import Circle, Rectangle

    for x, y in places.values():
        how: dict[str, Any] = {"facecolor": colour, "edgecolor": fig.BLACK, "linewidth": 0.8, "zorder": 3}
        if layer.kind.startswith("Conv"):
            ax.add_patch(Rectangle((x - 0.3, y - 0.3), 0.6, 0.6, **how))
        else:
            ax.add_patch(Circle((x, y), 0.32, **how))
    if len(places) < layer.units:
        heights = [y for _, y in places.values()]
        hole = next(a - 1 for a, b in pairwise(heights) if a - b > 1.5)
        x = next(iter(places.values()))[0]
        ax.plot([x] * 3, [hole - 0.22, hole, hole + 0.22], "o", color=fig.BLACK, markersize=1.8, zorder=3)


def _draw_names(ax: Any, names: Sequence[Any] | None, places: dict[int, Point], step: float) -> None:
    if names is not None:
        side = "left" if step > 0 else "right"
        for unit, (x, y) in places.items():
            name = fig.shortened(str(names[unit]), 18)
            ax.text(x + step, y, name, ha=side, va="center", fontsize=fig.SMALL)


def _draw_weights(ax: Any, weight: Array | None, before: dict[int, Point], after: dict[int, Point]) -> None:
    """Draw lines between the units of two layers, coloured by the weights if they are given."""
    from matplotlib.collections import LineCollection

    pairs = [(i, j) for i in before for j in after]
    lines = [(before[i], after[j]) for i, j in pairs]
    if weight is None:
        ax.add_collection(LineCollection(lines, colors=fig.GRAY, linewidths=0.5, alpha=0.6))
        return
    values = np.array([weight[j, i] for i, j in pairs])
    most = max(float(np.abs(weight).max()), 1e-30)
    for sign, colour, style in ((1, fig.BLUE, "-"), (-1, fig.RED, "--")):
        of_sign = [n for n, v in enumerate(values) if sign * v > 0]
        widths = 0.25 + 1.75 * np.abs(values[of_sign]) / most
        how: dict[str, Any] = {"colors": colour, "linewidths": widths, "linestyles": style, "alpha": 0.65}
        ax.add_collection(LineCollection([lines[n] for n in of_sign], **how))
    if ax.get_legend() is None:
        for colour, style, text in ((fig.BLUE, "-", "weight above 0"), (fig.RED, "--", "below 0")):
            ax.plot([], [], style, color=colour, linewidth=1.2, label=text)
        fig.legend(ax, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2)
