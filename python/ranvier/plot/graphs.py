"""Pictures of what was recorded: the tape of a computation, the program of a compiled step.

The nodes of the tape are its Functions (with `edges`, the nodes of their inputs) and, for leaves, the Tensors
themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import ranvier.nn as nn
import ranvier.plot.figure as fig
from ranvier.autograd import Tensor
from ranvier.plot.figure import Axes, Figure, Panels, Path
from ranvier.plot.networks import Point, layered
from ranvier.tape.backpropagation import root_gradient, run
from ranvier.tape.trace import outputs_alive, outputs_kept

if TYPE_CHECKING:
    from ranvier.compile import Buffer, Instruction, Program
    from ranvier.tensors.memory import Array

__all__ = ["graph", "program"]

Gradient: TypeAlias = "Array | list[Array | None] | None"
"""Of a node's output: a list for a node of several outputs, None where there is none."""

# the size of a box in inches, and the distances of columns and of rows from middle to middle
WIDTH = 1.7
HEIGHT = 0.78
COLUMN_DISTANCE = 2.25
ROW_DISTANCE = 1.0
FILLS = {"leaf": "#FFF6C8", "op": "#FFFFFF", "loss": "#FBE3B5"}


def graph(
    loss: Tensor | Callable[[], Tensor],
    names: Mapping[str, Tensor] | nn.Module | None = None,
    *,
    limit: int = 60,
    ax: Axes | None = None,
    path: Path | None = None,
) -> Axes:
    """Draw the computation graph of a loss, from the parameters at the left to the loss at the right.

    A box is an operation, or a leaf tensor (yellow): its name, shape, value (blue) and the gradient of the
    loss with respect to it (red). Arrays of more than 4 numbers are written as their range. No `grad`
    changes, and `loss.backward()` still works.

    The tape does not keep every value. For a Tensor, the values of tensors that the program still holds are
    drawn; for a function that computes the loss, all are.

    Args:
        loss: a Tensor of one element on the tape, or a function without arguments that returns one. After
            `loss.backward()` only the leaves have gradients.
        names: names of leaves and intermediate tensors: a mapping, or a Module for those of its parameters.
        limit: the most boxes; a larger graph is refused.
        ax, path: see :mod:`ranvier.plot`.

    Raises TypeError, ValueError: not a loss on the tape, or a graph of more than `limit` boxes.

    >>> import ranvier as rv
    >>> w, x = rv.tensor(3.0, requires_grad=True), rv.tensor(2.0, requires_grad=True)
    >>> ax = rv.plot.graph(lambda: (w * x) ** 2, {"w": w, "x": x})
    >>> sorted(text.get_text() for text in ax.texts if "grad" in text.get_text())
    ['grad 1', 'grad 12', 'grad 24', 'grad 36']
    """
    root, values = _compute_loss(loss)
    inputs = _inputs_of(root.grad_fn)
    if len(inputs) > limit:
        raise ValueError(f"[plot.graph] got a graph of {len(inputs)} nodes; expected at most {limit}")
    values |= outputs_alive(inputs)
    values[root.grad_fn] = root
    for node in inputs:
        if isinstance(node, Tensor):
            values[node] = node
    gradients = _gradients(root, inputs)
    names_by_id = _names_by_id(names)
    places, arrows = layered(inputs)
    corners = [*places.values(), *chain.from_iterable(arrows)]
    columns = 1 + max(column for column, _ in corners)
    rows = 1 + 2 * max(abs(row) for _, row in corners)  # rows are counted from the middle, up and down
    width = COLUMN_DISTANCE * columns
    height = ROW_DISTANCE * rows
    ax = fig.one_axes("plot.graph", ax, path, (width, height + 0.5))
    for points in arrows:
        _draw_arrow(ax, points)
    for node, place in places.items():
        name = names_by_id.get(id(node))
        if isinstance(node, Tensor):
            role = "leaf"
            text = name or "leaf"
        else:
            role = "loss" if node is root.grad_fn else "op"
            op = _op_name(node)
            text = f"{name} = {op}" if name else op
        _draw_box(ax, place, FILLS[role], text, values.get(node), gradients.get(node))
    fig.label(ax, f"Computation graph: {len(inputs)} nodes", grid=None)
    fig.bare(ax)
    ax.set_aspect("equal")
    ax.set_xlim(-WIDTH / 2 - 0.1, COLUMN_DISTANCE * (columns - 1) + WIDTH / 2 + 0.1)
    ax.set_ylim(-height / 2, height / 2)
    return fig.finish(ax, path)


def _names_by_id(names: Mapping[str, Tensor] | nn.Module | None) -> dict[int, str]:
    """{id of the node: name} of the tensors that the user named, or of a Module's parameters."""
    named: dict[str, Tensor] = {}
    if isinstance(names, nn.Module):
        named.update(names.named_parameters())
    elif names is not None:
        named.update(names)
    return {id(tensor.grad_fn or tensor): name for name, tensor in named.items()}


def _compute_loss(loss: Tensor | Callable[[], Tensor]) -> tuple[Tensor, dict[Any, Tensor]]:
    """The loss, and for a function that returns it the outputs of all nodes, by node."""
    values: dict[Any, Tensor] = {}
    if not isinstance(loss, Tensor) and callable(loss):
        with outputs_kept() as values:
            loss = loss()
    if not isinstance(loss, Tensor):
        raise TypeError(
            f"[plot.graph] got {type(loss).__name__}; expected a Tensor, or a function that returns one"
        )
    if loss.grad_fn is None or loss.numel() != 1:
        raise ValueError(
            f"[plot.graph] got a tensor of shape {loss.shape} made by {loss.grad_fn}; expected one number "
            "that was computed from tensors that require gradients"
        )
    return loss, values


def _inputs_of(root: Any) -> dict[Any, list[Any]]:
    """{node: the nodes of its inputs}, in an order in which every node comes after its inputs."""
    inputs_of: dict[Any, list[Any]] = {}
    stack = [(root, False)]
    while stack:
        node, inputs_are_listed = stack.pop()
        if node in inputs_of:
            continue
        inputs = [edge for edge in node.edges if edge is not None]
        if inputs_are_listed:
            inputs_of[node] = inputs
        else:
            stack.append((node, True))  # after its inputs, which are taken from the stack first
            stack += [(edge, False) for edge in reversed(inputs)]
    return inputs_of


def _gradients(root: Tensor, nodes: Iterable[Any]) -> dict[Any, Gradient]:
    """The gradient of the root with respect to each node's output, without a change of any `grad`.

    After `backward()`, which releases what the nodes saved, there are those of the leaves only.
    """
    gradients: dict[Any, Gradient] = {}
    if any(getattr(node, "released", False) for node in nodes):
        for node in nodes:
            if isinstance(node, Tensor) and node.grad is not None:
                gradients[node] = node.grad._array
        return gradients
    gradients = dict.fromkeys(nodes)
    run([(root, root_gradient("plot.graph", root, None))], retain_graph=True, captured=gradients)
    return gradients


def _op_name(node: Any) -> str:
    """The name of the op of a Function: CrossEntropy becomes cross_entropy."""
    name = type(node).__name__
    if name == "Output":
        return f"output {node.index}"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).strip("_").lower()


def _place_in_inches(place: Point) -> Point:
    """The middle of a box, from its column and row."""
    column, row = place
    return column * COLUMN_DISTANCE, row * ROW_DISTANCE


def _draw_box(ax: Axes, place: Point, fill: str, name: str, value: Tensor | None, gradient: Gradient) -> None:
    """Draw a box with four lines of text: name, shape, value and gradient.

    place: (column, row). value, gradient: None where they are not known.
    """
    from matplotlib.patches import FancyBboxPatch

    x, y = _place_in_inches(place)
    pad = 0.08  # of the round corners; it is added to the size that the patch gets
    box = FancyBboxPatch(
        (x - WIDTH / 2 + pad, y - HEIGHT / 2 + pad),
        WIDTH - 2 * pad,
        HEIGHT - 2 * pad,
        boxstyle=f"round,pad={pad}",
        facecolor=fill,
        edgecolor=fig.BLACK,
        zorder=2,
    )
    ax.add_patch(box)
    if isinstance(gradient, list):  # of several outputs, the first one that has a gradient
        gradient = next((g for g in gradient if g is not None), None)
    shape = None
    if value is not None:
        shape = value._array.shape
        value_text = f"value {_array_text(value._array)}"
        value_colour = fig.BLUE
    else:
        if gradient is not None:
            shape = gradient.shape
        value_text = "value not kept"
        value_colour = fig.GRAY
    if shape is None:
        shape_text = ""
    else:
        shape_text = " × ".join(map(str, shape)) or "scalar"
    if gradient is None:
        gradient_text = "no gradient kept"
    else:
        gradient_text = f"grad {_array_text(gradient)}"
    top = y + HEIGHT / 2 - 0.12
    line_height = (HEIGHT - 0.2) / 3.3
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7.5, "zorder": 3}
    ax.text(x, top, fig.shortened(name, 22), color=fig.BLACK, fontweight="bold", **style)
    ax.text(x, top - line_height, shape_text, color=fig.GRAY, **style)
    ax.text(x, top - 2 * line_height, value_text, color=value_colour, **style)
    ax.text(x, top - 3 * line_height, gradient_text, color=fig.WRONG, **style)


def _array_text(array: Array) -> str:
    """Up to 4 numbers, or the range of more."""
    if array.size <= 4:
        digits = 3 if array.size < 3 else 2
        numbers = " ".join(f"{v:.{digits}g}" for v in array.reshape(-1))
        if array.ndim == 0:
            return numbers
        return f"[{numbers}]"
    return f"{np.min(array):.3g} … {np.max(array):.3g}"


def _draw_arrow(ax: Axes, points: list[Point]) -> None:
    """Draw an arrow from the right side of one box, through empty places, to the left side of another.

    points: (column, row) of the first box, of each empty place, and of the second box.
    """
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    first, *between, last = [_place_in_inches(point) for point in points]
    corners = [(first[0] + WIDTH / 2, first[1])]
    for x, y in between:  # straight through the place, from its left to its right side
        corners += [(x - WIDTH / 2, y), (x + WIDTH / 2, y)]
    corners.append((last[0] - WIDTH / 2, last[1]))
    vertices = [corners[0]]
    codes = [Curve.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(corners):  # Bezier curves that are horizontal at both ends
        middle = (x0 + x1) / 2
        vertices += [(middle, y0), (middle, y1), (x1, y1)]
        codes += [Curve.CURVE4] * 3
    arrow = FancyArrowPatch(
        path=Curve(vertices, codes), arrowstyle="-|>", mutation_scale=8, color=fig.GRAY, linewidth=1, zorder=1
    )
    ax.add_patch(arrow)


def program(program: Program, path: Path | None = None, *, figure: Figure | None = None) -> Panels:
    """Draw a compiled step: its instructions over time, and the lifetimes of its temporaries below.

    Above, an instruction is a bar from its start to its end, with its kernel and the kernels fused into it.
    What is prepared once takes no time in a replay; before the first replay all bars have one length.
    Below, a temporary is a box from the instruction that writes it first to the last one that reads it. Its
    height and place are those in the arena; its colour and number are those of the first instruction.

    Args:
        program: one of `rv.compile(step).programs`.
        figure, path: see :mod:`ranvier.plot`.

    Returns: The two Axes.

    Raises TypeError: another object, such as the compiled step.

    >>> import ranvier as rv
    >>> step = rv.compile(lambda x: (rv.exp(x) @ x.T).sum())
    >>> for _ in range(3): y = step(rv.ones(4, 4))
    >>> [panel.get_ylabel() for panel in rv.plot.program(step.programs[0])]
    ['', 'arena']
    """
    if not (hasattr(program, "instructions") and hasattr(program, "buffers")):
        raise TypeError(
            f"[plot.program] got {type(program).__name__}; expected one of the programs of a compiled step"
        )
    code = program.instructions
    buffers = program.buffers
    if figure is None:
        figure = fig.new_figure("plot.program", (10, 5.5 + 0.17 * len(code)), path)
    from matplotlib import colormaps

    panels: Panels = figure.subplots(2, 1, sharex=True, height_ratios=[1 + 0.06 * len(code), 1])
    above, below = panels
    times = np.array([i.ns for i in code], np.float64)  # nanoseconds; NaN before the first replay
    times[np.isnan(times)] = 0
    timed = bool(times.any())
    scale = 1e3
    unit = "µs"
    if times.sum() >= 1e6:
        scale = 1e6
        unit = "ms"
    title = "Instructions"
    lengths = times / scale
    if not timed:
        title = "Instructions, not timed yet: of equal length"
        lengths = np.ones(len(code))
    ends = [0.0, *np.cumsum(lengths).tolist()]
    ops = list(dict.fromkeys(i.op for i in code))
    colours = {op: colormaps["tab20"](n % 20) for n, op in enumerate(ops)}
    _draw_instructions(above, code, ends, colours)
    _draw_arena(below, code, buffers, ends, colours)
    fig.label(above, title, grid="x")
    fig.label(below, "Temporaries, by the instruction that makes them", unit, "arena")
    if not timed:
        below.set_xticks([])
    return fig.finish(panels, path)


def _draw_instructions(
    panel: Axes, code: Sequence[Instruction], ends: list[float], colours: dict[str, Any]
) -> None:
    """Draw the instructions of a program as bars, from top to bottom.

    ends: 0, then the time at which each instruction ends. colours: by the op of the instruction.
    """
    for i in code:
        begin = ends[i.number]
        end = ends[i.number + 1]
        panel.barh(i.number, end - begin, left=begin, color=colours[i.op], height=0.8)
        text = f"{i.op} with {', '.join(i.fused)}" if i.fused else i.op
        style: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": 7}
        if begin < ends[-1] / 2:  # on the side where the panel has space
            panel.annotate(text, (end, i.number), (4, 0), ha="left", **style)
        else:
            panel.annotate(text, (begin, i.number), (-4, 0), ha="right", **style)
    panel.set_ylim(len(code) - 0.4, -0.6)
    step = 5 if len(code) > 12 else 1
    panel.set_yticks(range(0, len(code), step))


def _draw_arena(
    panel: Axes,
    code: Sequence[Instruction],
    buffers: Sequence[Buffer],
    ends: list[float],
    colours: dict[str, Any],
) -> None:
    """Draw the temporaries of a program: when each is in use, and its place in the arena.

    The arena is the memory of a program, where a temporary begins at `offset` and may follow another at the
    same place. `first` and `last` are the numbers of the instructions that use it; ends, colours as above.
    """
    from matplotlib.patches import Rectangle

    temporaries = [b for b in buffers if b.role == "temporary" and b.first >= 0]
    top = max((b.offset + b.bytes for b in temporaries), default=0)
    scale = 1.0
    unit = "bytes"
    if top >= 1e6:
        scale = 1e6
        unit = "MB"
    elif top >= 1e3:
        scale = 1e3
        unit = "KB"
    for b in temporaries:
        begin = ends[b.first]
        width = ends[b.last + 1] - begin
        bottom = b.offset / scale
        height = b.bytes / scale
        colour = colours[code[b.first].op]
        box = Rectangle((begin, bottom), width, height, facecolor=colour, edgecolor="white", linewidth=0.8)
        panel.add_patch(box)
        has_space = b.bytes > 0.06 * top and width > 0.04 * ends[-1]
        if has_space:
            x = begin + width / 2
            y = bottom + height / 2
            panel.text(x, y, str(b.first), ha="center", va="center", fontsize=7)
    panel.set_ylim(0, max(top / scale, 1e-9) * 1.02)

    def with_unit(value: float, position: float) -> str:
        return f"{value:g} {unit}"

    panel.yaxis.set_major_formatter(with_unit)
    panel.set_xlim(0, ends[-1])
