"""Program: what a captured step has become, for people to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import ranvier.program.explain as explain

_DTYPES = {"f": "float32", "d": "float64", "l": "int64", "i": "int32", "B": "uint8", "?": "bool"}


@dataclass(frozen=True)
class Operand:
    """What an instruction reads or writes.

    Attributes:
        buffer: number of the memory that it lies in; two operands of one number share memory.
        role: "argument", "persistent" (parameters, gradients, state ...), "temporary", "output" or "prepared"
            (what follows from parameters alone).
        name: a parameter's by its module ("0.weight", "0.weight.grad", "0.weight.exp_avg"), or where it is:
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
        reads, writes: operands; what is changed in place is in both.
        prepared: whether it runs only after a parameter or statistic has changed, not in each replay.
        team: whether all threads share it, or one runs it alone, whichever was measured to be faster.
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
        arena: one block for all temporaries; two that do not live at the same time share a place.
        workspace: scratch of the kernel that wants most.
        persistent: memory that outlives the step: parameters, gradients, optimizer state.
        prepared: what follows from parameters alone: packed weights, and the lines of batch norms.
        made: gradients and results, which every step leaves behind.
        eager: the most that the eager step held at once of what it made: temporaries, gradients, results. To
            be compared with `arena + made`.
    """

    arena: int
    workspace: int
    persistent: int
    prepared: int
    made: int
    eager: int


@dataclass(frozen=True)
class Buffer:
    """Memory of a program: its role and name as Operand's, and the instructions that use it first and last.

    offset: of a temporary in the arena.
    """

    role: str
    name: str
    bytes: int
    first: int
    last: int
    offset: int


class Program:
    """A captured step as a list of instructions on numbered buffers; from `rv.compile(step).programs`.

    ``print(program)`` or ``program.explain()`` shows it as a table, `rv.plot.program(program)` as a picture.

    >>> import numpy as np, ranvier as rv
    >>> norm = rv.compile(lambda x: (x * x).sum().sqrt())
    >>> for _ in range(3): y = norm(np.array([3.0, 4.0], np.float32))
    >>> [i.op for i in norm.programs[0].instructions]
    ['elementwise', 'reduce', 'elementwise']
    """

    def __init__(self, core: Any, names: Callable[[], dict[int, str]]) -> None:
        self._core, self._names = core, names

    @property
    def instructions(self) -> list[Instruction]:
        """In the order of execution, each measured, if there are as many threads as when it was recorded."""
        self._core.measure_now()
        names, buffers = self._names(), self._core.buffers()
        return [self._instruction(i, d, names, buffers) for i, d in enumerate(self._core.instructions())]

    def _instruction(
        self, number: int, d: dict[str, Any], names: dict[int, str], buffers: list[dict[str, Any]]
    ) -> Instruction:
        operands = [
            (written, Operand(at, role, _name(buffers[at], names, byte), shape, _DTYPES[kind]))
            for at, role, written, kind, shape, byte in d["views"]
        ]
        if d["name"] == "index_range":  # the core reads it, and raises the error
            operands = [(written, replace(o, name="found") if written else o) for written, o in operands]
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

    @property
    def buffers(self) -> list[Buffer]:
        """Memory that the instructions use, by number."""
        names = self._names()
        return [
            Buffer(b["role"], _name(b, names), b["bytes"], b["first"], b["last"], b["offset"])
            for b in self._core.buffers()
        ]

    @property
    def memory(self) -> Memory:
        return Memory(**self._core.memory())

    def explain(self) -> None:
        """Prints the table of instructions: operands, what was fused, threads, time and share of the whole.

        Times are those of the first replays; where there were too few, some are run now, on a copy of the
        state. Operands are shown as `Operand.name` says.
        """
        print(self)

    def __str__(self) -> str:
        return explain.table(self.instructions, self.memory)

    def __repr__(self) -> str:
        return f"<Program of {len(self._core.instructions())} instructions>"


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
