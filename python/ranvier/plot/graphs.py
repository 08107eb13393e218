"""Graphs: the tape of a computation, the program of a captured step."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

import ranvier.nn as nn
import ranvier.plot.figure as fig
from ranvier.autograd import Tensor
from ranvier.plot.figure import Axes, Figure, Panels, Path
from ranvier.plot.networks import Point, layered
from ranvier.tape.backpropagation import root_gradient, run
from ranvier.tape.trace import outputs_alive, outputs_kept

__all__ = ["graph", "program"]

# the size of a box in inches
WIDTH = 1.7
HEIGHT = 0.78
APART = (2.25, 1.0)  # the distances of columns and of rows in inches
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
    root, values = _loss_of(loss)
    inputs = _inputs_of(root.grad_fn)
    if len(inputs) > limit:
        raise ValueError(f"[plot.graph] got a graph of {len(inputs)} nodes; expected at most {limit}")
    values |= outputs_alive(inputs) | {root.grad_fn: root} | {n: n for n in inputs if isinstance(n, Tensor)}
    gradients = _gradients(root, inputs)
    named: dict[str, Tensor] = {}
    if isinstance(names, nn.Module):
        named.update(names.named_parameters())
    elif names is not None:
        named.update(names)
    texts = {id(tensor.grad_fn or tensor): name for name, tensor in named.items()}
    places, arrows = layered(inputs)
    across = 1 + max(column for column, _ in places.values())
    rows = [abs(row) for _, row in places.values()]
    for points in arrows:
        rows += [abs(row) for _, row in points]
    high = 1 + 2 * max(rows)
    ax = fig.one_axes("plot.graph", ax, path, (APART[0] * across, APART[1] * high + 0.5))
    for points in arrows:
        _draw_arrow(ax, points)
    for node, place in places.items():
        if isinstance(node, Tensor):
            kind = "leaf"
        elif node is root.grad_fn:
            kind = "loss"
        else:
            kind = "op"
        name = _name_of(node) if kind != "leaf" else "leaf"
        if id(node) in texts:
            if kind == "leaf":
                name = texts[id(node)]
            else:
                name = f"{texts[id(node)]} = {name}"
        _draw_box(ax, place, kind, name, values.get(node), gradients.get(node))
    fig.label(ax, f"Computation graph: {len(inputs)} nodes", grid=None)
    fig.bare(ax)
    ax.set_aspect("equal")
    ax.set_xlim(-WIDTH / 2 - 0.1, APART[0] * (across - 1) + WIDTH / 2 + 0.1)
    ax.set_ylim(-APART[1] * high / 2, APART[1] * high / 2)
    return fig.finish(ax, path)


def _loss_of(loss: Any) -> tuple[Tensor, dict[Any, Tensor]]:
    """The loss, and the tensors by node, of an argument that is a loss or a function which returns one."""
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
        node, ready = stack.pop()
        if node in inputs_of:
            continue
        inputs = [edge for edge in node.edges if edge is not None]
        if ready:
            inputs_of[node] = inputs
        else:
            stack += [(node, True), *((edge, False) for edge in reversed(inputs))]
    return inputs_of


def _gradients(root: Tensor, nodes: Any) -> dict[Any, Any]:
    """The gradient of the root with respect to each node's output; of the leaves only after backward."""
    if any(getattr(node, "released", False) for node in nodes):
        leaves = [node for node in nodes if isinstance(node, Tensor)]
        return {leaf: leaf.grad._array for leaf in leaves if leaf.grad is not None}
    gradients: dict[Any, Any] = dict.fromkeys(nodes)
    run([(root, root_gradient("plot.graph", root, None))], retain_graph=True, captured=gradients)
    return gradients


def _name_of(node: Any) -> str:
    """The name of the op of a Function: CrossEntropy becomes cross_entropy."""
    name = type(node).__name__
    if name == "Output":
        return f"output {node.index}"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).strip("_").lower()


def _draw_box(ax: Any, place: Point, kind: str, name: str, value: Any, gradient: Any) -> None:
    from matplotlib.patches import FancyBboxPatch

    x = place[0] * APART[0]
    y = place[1] * APART[1]
    corner = (x - WIDTH / 2 + 0.08, y - HEIGHT / 2 + 0.08)
    how: dict[str, Any] = {"facecolor": FILLS[kind], "edgecolor": fig.BLACK, "zorder": 2}
    box = FancyBboxPatch(corner, WIDTH - 0.16, HEIGHT - 0.16, boxstyle="round,pad=0.08", **how)
    ax.add_patch(box)
    array = None if value is None else value._array
    if isinstance(gradient, list):
        gradients = [g for g in gradient if g is not None]
    else:
        gradients = [gradient]
    if array is not None:
        shape = array.shape
    else:
        shape = getattr(gradients[0], "shape", None)
    if shape is None:
        size = ""
    else:
        size = " × ".join(map(str, shape)) or "scalar"
    if array is None:
        value_line = ("value not kept", fig.GRAY)
    else:
        value_line = (f"value {_text(array)}", fig.BLUE)
    if gradients[0] is None:
        gradient = "no gradient kept"
    else:
        gradient = f"grad {_text(gradients[0])}"
    lines = [(fig.shortened(name, 22), fig.BLACK), (size, fig.GRAY), value_line, (gradient, fig.WRONG)]
    how = {"ha": "center", "va": "center", "fontsize": 7.5, "zorder": 3}
    for n, (text, colour) in enumerate(lines):
        height = y + HEIGHT / 2 - 0.12 - n * (HEIGHT - 0.2) / 3.3
        weight = "normal" if n else "bold"
        ax.text(x, height, text, color=colour, fontweight=weight, **how)


def _text(array: Any) -> str:
    if array.size <= 4:
        digits = 3 if array.size < 3 else 2
        numbers = " ".join(f"{v:.{digits}g}" for v in array.reshape(-1))
        if array.ndim == 0:
            return numbers
        return f"[{numbers}]"
    return f"{np.min(array):.3g} … {np.max(array):.3g}"


def _draw_arrow(ax: Any, points: list[Point]) -> None:
    """Draw an arrow from the right side of one box, through empty places, to the left side of another."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    scaled = [(x * APART[0], y * APART[1]) for x, y in points]
    begin = scaled[0]
    end = scaled[-1]
    corners = [(begin[0] + WIDTH / 2, begin[1])]
    for x, y in scaled[1:-1]:
        corners += [(x - WIDTH / 2, y), (x + WIDTH / 2, y)]
    corners.append((end[0] - WIDTH / 2, end[1]))
    vertices = [corners[0]]
    codes = [Curve.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(corners):
        middle = (x0 + x1) / 2
        vertices += [(middle, y0), (middle, y1), (x1, y1)]
        codes += [Curve.CURVE4] * 3
    how: dict[str, Any] = {"arrowstyle": "-|>", "mutation_scale": 8, "color": fig.GRAY}
    ax.add_patch(FancyArrowPatch(path=Curve(vertices, codes), linewidth=1, zorder=1, **how))


def program(program: Any, path: Path | None = None, *, figure: Figure | None = None) -> Panels:
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
    times = np.array([i.ns for i in code], np.float64)
    times[np.isnan(times)] = 0
    timed = bool(times.any())
    scale, unit = (1e6, "ms") if times.sum() >= 1e6 else (1e3, "µs")
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


def _draw_instructions(panel: Any, code: Any, ends: list[float], colours: dict[str, Any]) -> None:
    for i in code:
        begin = ends[i.number]
        end = ends[i.number + 1]
        panel.barh(i.number, end - begin, left=begin, color=colours[i.op], height=0.8)
        text = f"{i.op} with {', '.join(i.fused)}" if i.fused else i.op
        right = begin < ends[-1] / 2  # where the panel has space
        place, offset, side = (end, 4, "left") if right else (begin, -4, "right")
        how = {"textcoords": "offset points", "ha": side, "va": "center", "fontsize": 7}
        panel.annotate(text, (place, i.number), (offset, 0), **how)
    panel.set_ylim(len(code) - 0.4, -0.6)
    step = 5 if len(code) > 12 else 1
    panel.set_yticks(range(0, len(code), step))


def _draw_arena(panel: Any, code: Any, buffers: Any, ends: list[float], colours: dict[str, Any]) -> None:
    """Draw the temporaries of a program: when each is in use, and its place in memory."""
    from matplotlib.patches import Rectangle

    top = max((b.offset + b.bytes for b in buffers if b.role == "temporary" and b.first >= 0), default=0)
    scale, unit = 1.0, "bytes"
    if top >= 1e6:
        scale, unit = 1e6, "MB"
    elif top >= 1e3:
        scale, unit = 1e3, "KB"
    for b in buffers:
        if b.role != "temporary" or b.first < 0:
            continue
        begin = ends[b.first]
        end = ends[b.last + 1]
        place = b.offset / scale
        high = b.bytes / scale
        colour = colours[code[b.first].op]
        panel.add_patch(
            Rectangle((begin, place), end - begin, high, facecolor=colour, edgecolor="white", linewidth=0.8)
        )
        if b.bytes > 0.06 * top and end - begin > 0.04 * ends[-1]:
            panel.text(
                (begin + end) / 2, place + high / 2, str(b.first), ha="center", va="center", fontsize=7
            )
    panel.set_ylim(0, max(top / scale, 1e-9) * 1.02)
    panel.yaxis.set_major_formatter(lambda value, _: f"{value:g} {unit}")
    panel.set_xlim(0, ends[-1])
