"""A program as a table."""

from __future__ import annotations

from ranvier.program.parts import Instruction, Memory, Operand

_HEADS = ("#", "instruction", "reads", "writes", "threads", "time", "share")
_WIDE = 40  # characters of operands; an update has some for each parameter


def table(instructions: list[Instruction], memory: Memory) -> str:
    """Totals, then a line for each instruction, and one for what was fused into it."""
    total = sum(i.ns for i in instructions if not i.prepared)
    rows = [_row(i, total) for i in instructions]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    indent = " " * widths[0]
    lines = [*_header(instructions, memory, total), "", _line(_HEADS, widths), "-" * (sum(widths) + 12)]
    place = ""
    prepared = sum(i.prepared for i in instructions)
    if prepared:
        lines.append(f"{indent}  prepared, again after a change of what they read:")
    for i, row in zip(instructions, rows, strict=True):
        if prepared and i.number == prepared:
            place = ""
            lines.append(f"{indent}  in each replay:")
        if i.prepared:
            lines.append(_line(row, widths))
            continue
        if i.place and i.place != place:
            place = i.place
            lines.append(f"{indent}  {_short(place)}:")
        lines.append(_line(row, widths))
        if i.fused:
            lines.append(f"{indent}    with {', '.join(i.fused)}")
    return "\n".join(line.rstrip() for line in lines)


def _row(i: Instruction, total: float) -> tuple[str, ...]:
    if i.prepared:
        return str(i.number), i.op, _operands(i.reads), _operands(i.writes), "", "", ""
    threads, share = "team" if i.team else "1", f"{i.ns / total:.0%}" if 0 < total < 1e29 else ""
    return str(i.number), i.op, _operands(i.reads), _operands(i.writes), threads, _time(i.ns), share


def _header(instructions: list[Instruction], memory: Memory, total: float) -> list[str]:
    replayed, fused = sum(not i.prepared for i in instructions), sum(len(i.fused) for i in instructions)
    return [
        f"{replayed} instructions, {fused} more fused into them, {_time(total)}",
        f"{size(memory.arena)} arena (temporaries @offset) + {size(memory.made)} results and gradients, "
        f"where the eager step held {size(memory.eager)}",
        f"{size(memory.workspace)} workspace; {size(memory.persistent)} parameters, gradients, other state"
        + (f"; {size(memory.prepared)} prepared from them" if memory.prepared else ""),
    ]


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = zip(row, widths, strict=True)
    return "  ".join(f"{x:>{w}}" if i in (0, 5, 6) else f"{x:<{w}}" for i, (x, w) in enumerate(cells))


def _operands(operands: tuple[Operand, ...]) -> str:
    shown = ""
    for n, o in enumerate(operands):
        longer = f"{shown}, {o.name} {_shape(o)}" if shown else f"{o.name} {_shape(o)}"
        if n and len(longer) > _WIDE:
            return f"{shown}, {len(operands) - n} more"
        shown = longer
    return shown


def _shape(operand: Operand) -> str:
    return "x".join(map(str, operand.shape)) or "number"


def _short(place: str) -> str:
    path, _, line = place.rpartition(":")
    return f"{path.replace(chr(92), '/').rpartition('/')[2]}:{line}"


def _time(ns: float) -> str:
    if ns >= 1e29:
        return "?"
    return f"{ns / 1e6:.2f} ms" if ns >= 1e6 else f"{ns / 1e3:.2f} us"


def size(count: int) -> str:
    """Bytes for people."""
    for unit, scale in (("MB", 1e6), ("KB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count} B"
