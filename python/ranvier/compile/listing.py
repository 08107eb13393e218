"""What a program shows of itself: instructions, operands, buffers, memory, and all of them as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ranvier.autograd import random
from ranvier.compile.gradients import address_of

_DTYPES = {"f": "float32", "d": "float64", "l": "int64", "i": "int32", "B": "uint8", "?": "bool"}
_HEADS = ("#", "instruction", "reads", "writes", "threads", "time", "share")
_WIDE = 40  # characters of operands; an update has some for each parameter


@dataclass(frozen=True)
class Operand:
    """What an instruction reads or writes.

    Attributes:
        buffer: number of its memory; two operands with the same number share memory.
        role: "argument", "persistent" (parameters, gradients, state ...), "temporary", "output" or "prepared"
            (computed from parameters alone).
        name: of a parameter, by its module ("0.weight", "0.weight.grad", "0.weight.exp_avg"); else the place:
            "argument 0", "result 0", "prepared 2", "@128" (bytes from the start of the arena).
        shape, dtype: of the elements that are used.
    """

    buffer: int
    role: str
    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Instruction:
    """One kernel call of a program.

    Attributes:
        number: its place in the order of execution.
        op: the kernel.
        fused: kernels of the recorded step whose work it does as well.
        prepared: whether it runs only after a parameter or statistic has changed, not in each replay.
        reads, writes: operands; what is changed in place is in both.
        team: whether all threads share it; else one thread runs it alone. The faster way is measured.
        ns: the shortest time measured.
        place: file and line of the step that made the call.
    """

    number: int
    op: str
    fused: tuple[str, ...]
    prepared: bool
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    team: bool
    ns: float
    place: str


@dataclass(frozen=True)
class Memory:
    """Bytes that a program holds.

    Attributes:
        arena: one block for all temporaries; two whose lifetimes do not overlap share a place.
        workspace: scratch memory of the kernel that needs most.
        persistent: memory that outlives the step: parameters, gradients, optimizer state.
        prepared: computed from parameters alone: packed weights, and the lines of batch norms.
        made: gradients and results, which every step leaves.
    """

    arena: int
    workspace: int
    persistent: int
    prepared: int
    made: int


@dataclass(frozen=True)
class Buffer:
    """Memory of a program: role and name as in Operand, and the instructions that use it first and last.

    offset: of a temporary in the arena.
    """

    role: str
    name: str
    bytes: int
    first: int
    last: int
    offset: int


def instructions_of(core: Any, names: dict[int, str]) -> list[Instruction]:
    """The instructions of a `_core.Program`. names: of memory, by address."""
    buffers = core.buffers()
    return [_instruction(i, row, names, buffers) for i, row in enumerate(core.instructions())]


def _instruction(
    number: int, row: dict[str, Any], names: dict[int, str], buffers: list[dict[str, Any]]
) -> Instruction:
    op, views, solo = row["name"], row["views"], row["solo"]
    if op == "numpy":  # the last says whether it has failed
        views = views[:-1]
    checks = op in ("index_range", "value_range")  # the core reads the result
    operands: tuple[list[Operand], list[Operand]] = [], []
    for at, role, written, kind, shape, byte in views:
        name = "found" if checks and written else _name(buffers[at], names, byte)
        operands[written].append(Operand(at, role, name, shape, _DTYPES[kind]))
    reads, writes = map(tuple, operands)
    ns = row["solo_ns"] if solo else row["team_ns"]
    return Instruction(
        number, op, tuple(row["fused"]), row["prepared"], reads, writes, not solo, ns, row["place"]
    )


def buffers_of(core: Any, names: dict[int, str]) -> list[Buffer]:
    """The buffers of a `_core.Program`, by number."""
    rows = core.buffers()
    return [Buffer(b["role"], _name(b, names), b["bytes"], b["first"], b["last"], b["offset"]) for b in rows]


def _name(buffer: dict[str, Any], names: dict[int, str], byte: int | None = None) -> str:
    role = buffer["role"]
    if role == "temporary":
        return f"@{buffer['offset'] + (byte or 0)}"
    if role in ("argument", "output", "prepared"):
        return f"{'result' if role == 'output' else role} {buffer['number']}"
    start, size = buffer["address"], buffer["bytes"]
    if byte is not None and start + byte in names:
        return names[start + byte]
    return next((name for address, name in names.items() if start <= address < start + size), "constant")


def names_of(modules: list[Any], gradients: list[tuple[Any, Any]], plans: list[Any]) -> dict[int, str]:
    """Names of memory by address: parameters, gradients, optimizer state.

    modules: those that were called; plans: (plan, optimizer, group) of each update.
    """
    names = {address_of(random.current()._state): "random stream"}
    of: dict[int, str] = {}  # names of parameters by id
    for prefix, root in _roots(modules):
        for name, p in (*root.named_parameters(), *root.named_buffers()):
            of.setdefault(id(p), prefix + name)
            names.setdefault(address_of(p._array), of[id(p)])
    for number, (leaf, grad) in enumerate(gradients):
        name = of.setdefault(id(leaf), f"leaf {number}")
        names.setdefault(address_of(leaf._array), name)
        if grad is not None:  # None: the step ended with zero_grad
            names.setdefault(address_of(grad._array), f"{name}.grad")
    for plan, optimizer, _ in plans:
        names[address_of(plan.numbers)] = f"settings of {type(optimizer).__name__}"
        for p, state in optimizer.state.items():
            for key, value in state.items():
                if hasattr(value, "ctypes"):
                    names.setdefault(address_of(value), f"{of.get(id(p), 'parameter')}.{key}")
    return names


def _roots(modules: list[Any]) -> list[tuple[str, Any]]:
    """(prefix, module) of those that are not inside others; one has no prefix, several their class."""
    inner = {id(child) for m in modules for child in m.modules() if child is not m}
    roots = [m for m in modules if id(m) not in inner and any(True for _ in (*m.parameters(), *m.buffers()))]
    if len(roots) == 1:
        return [("", roots[0])]
    return [(f"{type(root).__name__}({number}).", root) for number, root in enumerate(roots)]


def table(instructions: list[Instruction], memory: Memory) -> str:
    """Totals, then a line for each instruction, and one for what was fused into it."""
    total = sum(i.ns for i in instructions if not i.prepared)
    rows = [_row(i, total) for i in instructions]
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    indent = " " * (widths[0] + 2)
    lines = [*_header(instructions, memory, total), "", _line(_HEADS, widths), "-" * (sum(widths) + 12)]
    place, prepared = "", instructions[:1] and instructions[0].prepared
    if prepared:
        lines.append(f"{indent}prepared, again after a change of what they read:")
    for i, row in zip(instructions, rows, strict=True):
        if prepared and not i.prepared:
            prepared = False
            lines.append(f"{indent}in each replay:")
        if i.place not in ("", place) and not i.prepared:
            place = i.place
            path, _, line = place.replace("\\", "/").rpartition(":")
            lines.append(f"{indent}{path.rpartition('/')[2]}:{line}:")
        lines.append(_line(row, widths))
        if i.fused and not i.prepared:
            lines.append(f"{indent}  with {', '.join(i.fused)}")
    return "\n".join(line.rstrip() for line in lines)


def _row(i: Instruction, total: float) -> tuple[str, ...]:
    row = str(i.number), i.op, _operands(i.reads), _operands(i.writes)
    if i.prepared:
        return *row, "", "", ""
    share = f"{i.ns / total:.0%}" if 0 < total < 1e29 else ""
    return *row, "team" if i.team else "1", _time(i.ns), share


def _header(instructions: list[Instruction], memory: Memory, total: float) -> list[str]:
    replayed, fused = sum(not i.prepared for i in instructions), sum(len(i.fused) for i in instructions)
    return [
        f"{replayed} instructions, {fused} more fused into them, {_time(total)}",
        f"{size(memory.arena)} arena (temporaries @offset) + {size(memory.made)} results and gradients",
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
