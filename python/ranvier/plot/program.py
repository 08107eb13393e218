"""A captured step along its time, and its temporaries in the arena."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ranvier.plot.figure import Path, finish, label, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ranvier.plot.figure import Panels

__all__ = ["program"]


def program(program: Any, path: Path | None = None, *, figure: Figure | None = None) -> Panels:
    """Draw a captured step: its instructions along time, and below how long each temporary lives.

    Above, an instruction is a bar from its begin to its end, named by its kernel and what was fused into it.
    Below, a temporary is a box over the time from the instruction that makes it to the last that reads it, as
    high as its bytes, at its place in the arena, in the colour and with the number of the instruction that
    makes it.

    Args:
        program: of `rv.compile(step).programs`.
        path: where to save the picture; its ending chooses the format (.png, .svg, .pdf ...).
        figure: the matplotlib Figure to draw in; a new one when not given.

    Returns:
        The two Axes.

    Raises:
        ImportError: matplotlib is not installed (`pip install 'ranvier[plot]'`).
        TypeError: program is something else, such as the compiled step itself.

    >>> import numpy as np, ranvier as rv
    >>> step = rv.compile(lambda x: (rv.exp(x) @ x.T).sum())
    >>> for _ in range(3): y = step(np.ones((4, 4), np.float32))
    >>> [panel.get_ylabel() for panel in rv.plot.program(step.programs[0])]
    ['', 'arena']
    """
    if not (hasattr(program, "instructions") and hasattr(program, "buffers")):
        raise TypeError(
            f"[plot.program] got {type(program).__name__}; expected one of the programs of a compiled step"
        )
    code, buffers = program.instructions, program.buffers
    if figure is None:
        figure = new_figure("plot.program", (10, 5.5 + 0.17 * len(code)), path)
    from matplotlib import colormaps

    panels: Panels = figure.subplots(2, 1, sharex=True, height_ratios=[1 + 0.06 * len(code), 1])
    above, below = panels
    scale, unit = (1e6, "ms") if sum(i.ns for i in code) >= 1e6 else (1e3, "µs")
    ends = [0.0]
    for i in code:
        ends.append(ends[-1] + i.ns / scale)
    ops = list(dict.fromkeys(i.op for i in code))
    colours = {op: colormaps["tab20"](n % 20) for n, op in enumerate(ops)}
    _draw_instructions(above, code, ends, colours)
    _draw_arena(below, code, buffers, ends, colours)
    label(above, "Instructions", grid="x")
    label(below, "Temporaries, by the instruction that makes them", unit, "arena")
    return finish(panels, path)


def _draw_instructions(panel: Any, code: Any, ends: list[float], colours: dict[str, Any]) -> None:
    for i in code:
        begin, end = ends[i.number], ends[i.number + 1]
        panel.barh(i.number, end - begin, left=begin, color=colours[i.op], height=0.8)
        text = f"{i.op} with {', '.join(i.fused)}" if i.fused else i.op
        right = begin < ends[-1] / 2  # where there is room
        panel.annotate(
            text,
            (end if right else begin, i.number),
            (4 if right else -4, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=7,
        )
    panel.set_ylim(len(code) - 0.4, -0.6)
    panel.set_yticks(range(0, len(code), 5 if len(code) > 12 else 1))


def _draw_arena(panel: Any, code: Any, buffers: Any, ends: list[float], colours: dict[str, Any]) -> None:
    from matplotlib.patches import Rectangle

    top = max((b.offset + b.bytes for b in buffers if b.role == "temporary" and b.first >= 0), default=0)
    scale, unit = (1e6, "MB") if top >= 1e6 else (1e3, "KB") if top >= 1e3 else (1, "bytes")
    for b in buffers:
        if b.role != "temporary" or b.first < 0:
            continue
        begin, end = ends[b.first], ends[b.last + 1]
        place, high, colour = b.offset / scale, b.bytes / scale, colours[code[b.first].op]
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
