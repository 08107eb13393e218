"""The parts of a program as `Program` and `explain` show them: instructions, operands, buffers, memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Buffer", "Instruction", "Memory", "Operand", "buffers_of", "instructions_of"]

_DTYPES = {"f": "float32", "d": "float64", "l": "int64", "i": "int32", "B": "uint8", "?": "bool"}


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
        eager: the most that the eager step held at once of temporaries, gradients and results. Compare it
            with `arena + made`.
    """

    arena: int
    workspace: int
    persistent: int
    prepared: int
    made: int
    eager: int


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
    return [_instruction(i, d, names, buffers) for i, d in enumerate(core.instructions())]


def _instruction(
    number: int, d: dict[str, Any], names: dict[int, str], buffers: list[dict[str, Any]]
) -> Instruction:
    operands = [
        (written, Operand(at, role, _name(buffers[at], names, byte), shape, _DTYPES[kind]))
        for at, role, written, kind, shape, byte in d["views"]
    ]
    if d["name"] in ("index_range", "value_range"):  # the core reads its result
        operands = [(written, replace(o, name="found") if written else o) for written, o in operands]
    if d["name"] == "numpy":  # whether it has failed, for the core
        del operands[-1]
    return Instruction(
        number,
        d["name"],
        tuple(d["fused"]),
        d["prepared"],
        tuple(operand for written, operand in operands if not written),
        tuple(operand for written, operand in operands if written),
        not d["solo"],
        d["solo_ns"] if d["solo"] else d["team_ns"],
        d["place"],
    )


def buffers_of(core: Any, names: dict[int, str]) -> list[Buffer]:
    """The buffers of a `_core.Program`, by number."""
    return [
        Buffer(b["role"], _name(b, names), b["bytes"], b["first"], b["last"], b["offset"])
        for b in core.buffers()
    ]


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
