"""Networks as circles and lines, layer by layer; and the places of nodes in a graph with layers.

`layered` is used by `plot.graph` too: it finds the column and row of each node of a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

import ranvier.nn as nn
import ranvier.plot.figure as fig
from ranvier.plot.figure import Axes, Path
from ranvier.tensors.memory import Array

__all__ = ["network"]

Point: TypeAlias = tuple[float, float]
"""x and y, or a column and a row."""

SWEEPS = 8  # over the columns of a graph, which are sorted in each


def layered(inputs: dict[Any, list[Any]]) -> tuple[dict[Any, Point], list[list[Point]]]:
    """(column, row) of every node, and the points that each arrow passes, from an input to its node.

    Columns are counted from 0, rows up and down from the middle. A node is one column to the right of its
    last input; a node without inputs is to the left of its first use. An arrow over several columns has an
    empty place in each (Sugiyama, Tagawa, Toda, "Methods for Visual Understanding of Hierarchical System
    Structures", IEEE Transactions on Systems, Man, and Cybernetics, 1981).

    Args:
        inputs: the inputs of every node; each node comes after its inputs.

    >>> places, arrows = layered({"a": [], "b": ["a"], "c": ["a", "b"]})
    >>> [places[node][0] for node in "abc"], len(arrows[1])
    ([0, 1, 2], 3)
    """
    column_of = _assign_columns(inputs)
    columns: list[list[Any]] = [[] for _ in range(max(column_of.values()) + 1)]
    for node, column in column_of.items():
        columns[column].append(node)
    paths: list[list[Any]] = []  # of each arrow: the first node, its empty places, the second node
    for node, sources in inputs.items():
        for n, source in enumerate(sources):
            path = [source]
            for column in range(column_of[source] + 1, column_of[node]):
                empty_place = ("arrow", id(node), n, column)  # a key that no other place has
                columns[column].append(empty_place)
                path.append(empty_place)
            paths.append([*path, node])
    _sort_columns(columns, paths)
    places: dict[Any, Point] = {}
    for column, members in enumerate(columns):
        highest = (len(members) - 1) / 2
        for n, member in enumerate(members):
            places[member] = (column, highest - n)
    node_places = {node: places[node] for node in inputs}
    arrows = [list(map(places.__getitem__, path)) for path in paths]
    return node_places, arrows


def _assign_columns(inputs: dict[Any, list[Any]]) -> dict[Any, int]:
    """{node: its column}; see `layered`."""
    column_of: dict[Any, int] = {}
    for node, sources in inputs.items():
        column_of[node] = 1 + max((column_of[source] for source in sources), default=-1)
    first_use: dict[Any, int] = {}  # of each node: the column of the first node that takes it as an input
    for node, sources in inputs.items():
        for source in sources:
            first_use[source] = min(column_of[node], first_use.get(source, column_of[node]))
    for node, column in first_use.items():
        if not inputs[node]:
            column_of[node] = column - 1
    return column_of


def _sort_columns(columns: list[list[Any]], paths: list[list[Any]]) -> None:
    """Sort each column by the mean place of the neighbours of its members, so that fewer arrows cross.

    In turn from right to left, by the neighbours at the right, and from left to right, by those at the left.
    """
    left: dict[Any, list[Any]] = {}
    right: dict[Any, list[Any]] = {}
    for path in paths:
        for a, b in pairwise(path):
            left.setdefault(b, []).append(a)
            right.setdefault(a, []).append(b)
    for sweep in range(SWEEPS):
        if sweep % 2 == 0:
            in_order = columns[::-1]
            neighbours = right
        else:
            in_order = columns
            neighbours = left
        for members in in_order:
            heights = _relative_heights(columns)
            means = {member: _mean_height(member, neighbours, heights) for member in members}
            members.sort(key=means.__getitem__)


def _relative_heights(columns: list[list[Any]]) -> dict[Any, float]:
    """The place of each member in its column: 0 for the first, 1 for the last."""
    heights: dict[Any, float] = {}
    for column in columns:
        for n, member in enumerate(column):
            heights[member] = n / max(len(column) - 1, 1)
    return heights


def _mean_height(member: Any, neighbours: dict[Any, list[Any]], heights: dict[Any, float]) -> float:
    """The mean height of the neighbours; without neighbours, the height of the member itself."""
    near = [heights[neighbour] for neighbour in neighbours.get(member, ())]
    if near:
        return sum(near) / len(near)
    return heights[member]


class _Layer(NamedTuple):
    """A column of the picture."""

    units: int  # channels for a convolution
    type_name: str  # "Linear", "Conv2d"; of the input "", or that of a convolution that it goes into
    activation: str  # the name of the layer that follows; "" for none
    weight: Array | None  # (units, units before), to be drawn as lines; None for a convolution

    @property
    def is_convolution(self) -> bool:
        return self.type_name.startswith("Conv")


def network(
    model: nn.Module,
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
    layers = _find_layers(model)
    parameters = sum(p.numel() for p in model.parameters())
    if limit < 3:
        raise ValueError(f"[plot.network] got limit {limit}; expected at least 3")
    for what, names, layer in (("input", input_names, layers[0]), ("output", output_names, layers[-1])):
        if names is not None and len(names) != layer.units:
            raise ValueError(
                f"[plot.network] got {len(names)} {what}_names; expected {layer.units}, one for each unit"
            )
    # a unit and the space around it have the height 1; all columns have their middle at y = 0
    rows = max(min(layer.units, limit) for layer in layers)
    gap = max(2.2, 0.45 * rows)  # from column to column
    size = (max(4.0, 0.5 * gap * len(layers) + 1.2), 0.48 * rows + 1.4)
    ax = fig.one_axes("plot.network", ax, path, size)
    places = [_unit_places(layer, limit, gap * i) for i, layer in enumerate(layers)]
    for i in range(1, len(layers)):
        _draw_weights(ax, layers[i].weight, places[i - 1], places[i])
    colours = [fig.YELLOW] + [fig.SKY] * (len(layers) - 2) + [fig.ORANGE]
    for i, layer in enumerate(layers):
        _draw_units(ax, layer, places[i], colours[i])
        text = _caption(i, layers)
        ax.text(gap * i, -rows / 2 - 0.25, text, ha="center", va="top", fontsize=fig.SMALL)
    if input_names is not None:
        _draw_names(ax, input_names, places[0], -0.5, "right")
    if output_names is not None:
        _draw_names(ax, output_names, places[-1], 0.5, "left")
    count = len(layers) - 1  # without the input
    noun = "layer" if count == 1 else "layers"
    fig.label(ax, f"{count} {noun}, {parameters:,} parameters", grid=None)
    fig.bare(ax)
    ax.set_aspect("equal")
    left_margin = 1.0 if input_names is None else 2.6
    right_margin = 1.0 if output_names is None else 2.6
    ax.set_xlim(-left_margin, gap * count + right_margin)
    caption_lines = 3 if any(layer.activation for layer in layers) else 2
    ax.set_ylim(-rows / 2 - 0.35 - 0.38 * caption_lines, rows / 2 + 0.1)
    return fig.finish(ax, path)


def _find_layers(model: nn.Module) -> list[_Layer]:
    """The layers of a model to draw: linear and convolution layers with their activations."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"[plot.network] got model of type {type(model).__name__}; expected a Module")
    layers: list[_Layer] = []
    module: Any
    for module in model.modules():
        name = module.__class__.__name__
        if isinstance(module, nn.Linear):
            before = module.in_features
            units = module.out_features
            weight = module.weight._array
        elif name.startswith("Conv"):
            before = module.in_channels
            units = module.out_channels
            weight = None
        else:
            if layers and module.__class__.__module__.startswith("ranvier.nn.activation"):
                layers[-1] = layers[-1]._replace(activation=name)
            continue
        if not layers:
            input_type = name if weight is None else ""
            layers.append(_Layer(before, input_type, activation="", weight=None))
        if layers[-1].units != before:  # as after a Flatten: the lines would join other units
            weight = None
        layers.append(_Layer(units, name, activation="", weight=weight))
    if not layers:
        raise ValueError("[plot.network] got a model without a Linear or convolution layer")
    return layers


def _caption(i: int, layers: list[_Layer]) -> str:
    """The text below column i: its role, its units, and its activation if it has one."""
    layer = layers[i]
    if i == 0:
        role = "input"
    elif i == len(layers) - 1:
        role = "output"
    else:
        role = f"hidden {i}"
    if i > 0 and layer.type_name != "Linear":
        role += f": {layer.type_name}"
    unit = "channel" if layer.is_convolution else "unit"
    if layer.units != 1:
        unit += "s"
    lines = [role, f"{layer.units:,} {unit}"]
    if layer.activation:
        lines.append(layer.activation)
    return "\n".join(lines)


def _unit_places(layer: _Layer, limit: int, x: float) -> dict[int, Point]:
    """{unit: its place} of the units to draw, from top to bottom.

    Of more than `limit`, the first and the last ones, with an empty place between them.
    """
    if layer.units <= limit:
        top = (layer.units - 1) / 2
        return {unit: (x, top - unit) for unit in range(layer.units)}
    top = (limit - 1) / 2
    last_count = (limit - 1) // 2
    first_count = limit - 1 - last_count  # one of the `limit` places is empty
    left_out = layer.units - limit
    places = {unit: (x, top - unit) for unit in range(first_count)}
    for unit in range(layer.units - last_count, layer.units):
        row = unit - left_out
        places[unit] = (x, top - row)
    return places


def _draw_units(ax: Axes, layer: _Layer, places: dict[int, Point], colour: str) -> None:
    """Draw the units of a layer at their places; three dots stand for those that are left out."""
    from matplotlib.patches import Circle, Rectangle

    style: dict[str, Any] = {"facecolor": colour, "edgecolor": fig.BLACK, "linewidth": 0.8, "zorder": 3}
    for x, y in places.values():
        if layer.is_convolution:
            ax.add_patch(Rectangle((x - 0.3, y - 0.3), 0.6, 0.6, **style))
        else:
            ax.add_patch(Circle((x, y), 0.32, **style))
    for (x, upper), (_, lower) in pairwise(places.values()):
        if upper - lower > 1.5:  # neighbours have the distance 1: the place between these is empty
            dots = np.array([-0.22, 0, 0.22]) + (upper - 1)
            ax.plot([x] * 3, dots, "o", color=fig.BLACK, markersize=1.8, zorder=3)


def _draw_names(
    ax: Axes,
    names: Sequence[Any],
    places: dict[int, Point],
    shift: float,
    alignment: Literal["left", "right"],
) -> None:
    """Draw the names of a column of units, `shift` to the right of each."""
    for unit, (x, y) in places.items():
        name = fig.shortened(str(names[unit]), 18)
        ax.text(x + shift, y, name, ha=alignment, va="center", fontsize=fig.SMALL)


def _draw_weights(ax: Axes, weight: Array | None, before: dict[int, Point], after: dict[int, Point]) -> None:
    """Draw a line from each unit of a layer to each unit of the next: gray, or by its weight if there is one.

    before, after: the units that are drawn, with their places. weight: (units after, units before).
    """
    from matplotlib.collections import LineCollection

    if weight is None:
        lines = list(product(before.values(), after.values()))
        ax.add_collection(LineCollection(lines, colors=fig.GRAY, linewidths=0.5, alpha=0.6))
        return
    largest = max(float(np.abs(weight).max()), 1e-30)
    _draw_lines_above_0(ax, weight, largest, before, after, fig.BLUE, "-")
    _draw_lines_above_0(ax, -weight, largest, before, after, fig.RED, "--")
    if ax.get_legend() is None:
        ax.plot([], [], "-", color=fig.BLUE, linewidth=1.2, label="weight above 0")
        ax.plot([], [], "--", color=fig.RED, linewidth=1.2, label="below 0")
        fig.legend(ax, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=2)


def _draw_lines_above_0(
    ax: Axes,
    weight: Array,
    largest: float,
    before: dict[int, Point],
    after: dict[int, Point],
    colour: str,
    style: str,
) -> None:
    """Draw the lines of weights above 0, the thicker the nearer to `largest`."""
    from matplotlib.collections import LineCollection

    lines = []
    widths = []
    for source, unit in product(before, after):
        value = weight[unit, source]
        if value > 0:
            lines.append((before[source], after[unit]))
            widths.append(0.25 + 1.75 * value / largest)
    collection = LineCollection(lines, colors=colour, linewidths=widths, linestyles=style, alpha=0.65)
    ax.add_collection(collection)
