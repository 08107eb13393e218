"""The instructions of a compiled step over time, and its temporaries in the arena."""

from __future__ import annotations

from typing import Any

from ranvier.plot.figure import finish, label, new_figure
from ranvier.plot.types import Figure, Panels, Path

__all__ = ["program"]


def program(program: Any, path: Path | None = None, *, figure: Figure | None = None) -> Panels:
    """Draw a compiled step: its instructions over time, and the lifetimes of its temporaries below.

    Above, an instruction is a bar from its start to its end, with its kernel and the kernels fused into it.
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
        right = begin < ends[-1] / 2  # where the panel has space
        place, offset, side = (end, 4, "left") if right else (begin, -4, "right")
        how = {"textcoords": "offset points", "ha": side, "va": "center", "fontsize": 7}
        panel.annotate(text, (place, i.number), (offset, 0), **how)
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
