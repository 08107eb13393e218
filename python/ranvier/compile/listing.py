"""Makes the printable form of a program: its instructions, operands, buffers, memory, and a table of all.

The core knows memory by numbers and addresses only. This file finds the names that a user knows, of
parameters, gradients, optimizer state and arguments, by comparing addresses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ranvier.compile.guarding.step_gradients import address_of
from ranvier.ops.making import random

if TYPE_CHECKING:
    import ranvier._core as _core
    from ranvier.nn import Module

# The core's letter of a dtype -> its name.
_DTYPES = {"f": "float32", "d": "float64", "l": "int64", "i": "int32", "B": "uint8", "?": "bool"}
_DTYPES |= {"e": "float16", "E": "bfloat16"}
_ROW = "{:>3}  {:<22} {:<44} {:<44} {:<7} {:>9} {:>5}"
_NOT_MEASURED = 1e30  # The seconds of an `Instruction` before it is measured (cpp/program/program.h).
# The most characters in which operands are listed: an optimizer's update has several for each parameter.
_WIDE = 42


@dataclass(frozen=True)
class Operand:
    """An operand that an instruction reads or writes.

    Attributes:
        buffer: number of its memory; two operands with the same number share memory.
        role: "argument", "persistent" (parameters, gradients, state ...), "temporary", "output" or "prepared"
            (computed from parameters alone).
        name: the name of a parameter, its gradient or its state, with the path of its module ("0.weight",
            "0.weight.grad", "0.weight.exp_avg"); else the place: "argument 0", "result 0", "prepared 2",
            "@128" (bytes from the start of the arena), "0.weight.grad@128" (from that of a gradient).
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
        fused: kernels of the recorded step whose work this instruction does as well.
        prepared: whether it runs only after a parameter or statistic has changed, not in each replay.
        reads, writes: operands; an operand that is changed in place is in both.
        team: whether all threads share it; else one thread runs it alone. The faster way is measured.
        ns: the shortest time measured, in nanoseconds; NaN before the first replay, and if it is prepared.
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
class MemoryUse:
    """Bytes that a program holds.

    Attributes:
        arena: one block for all temporaries; temporaries whose lifetimes do not overlap share a place in it.
        workspace: scratch memory, as large as the kernel that needs most asks for.
        persistent: memory that outlives the step: parameters, gradients, optimizer state.
        prepared: data computed from parameters alone: packed weights, and the lines of batch norms.
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

    offset: of a temporary in the arena, or in the gradient `host`: the number of a buffer; -1: in the arena.
    """

    role: str
    name: str
    bytes: int
    first: int
    last: int
    offset: int
    host: int


def instructions_of(core: _core.Program, names: dict[int, str]) -> list[Instruction]:
    """The instructions of a `_core.Program`. names: of memory, by its address."""
    buffers = core.buffers()
    made = []
    for number, row in enumerate(core.instructions()):
        op = row["name"]
        operands: tuple[list[Operand], list[Operand]] = [], []
        # The result of such a check of values is read by the core alone.
        checks = op in ("index_range", "value_range")
        views = row["views"]
        if op == "numpy":
            views = views[:-1]  # the last one is the core's flag that the call has failed
        for at, role, written, kind, shape, byte in views:
            if checks and written:
                name = "found"
            else:
                name = _name(buffers, at, names, byte)
            operands[written].append(Operand(at, role, name, shape, _DTYPES[kind]))
        reads, writes = map(tuple, operands)
        ns = row["solo_ns"] if row["solo"] else row["team_ns"]
        if not (ns < _NOT_MEASURED):
            ns = math.nan
        instruction = Instruction(
            number=number,
            op=op,
            fused=tuple(row["fused"]),
            prepared=row["prepared"],
            reads=reads,
            writes=writes,
            team=not row["solo"],
            ns=ns,
            place=row["place"],
        )
        made.append(instruction)
    return made


def buffers_of(core: _core.Program, names: dict[int, str]) -> list[Buffer]:
    """The buffers of a `_core.Program`, by number."""
    rows = core.buffers()
    made = []
    for at, b in enumerate(rows):
        name = _name(rows, at, names)
        made.append(Buffer(b["role"], name, b["bytes"], b["first"], b["last"], b["offset"], b["host"]))
    return made


def _name(buffers: list[dict[str, Any]], at: int, names: dict[int, str], byte: int = 0) -> str:
    """The name of the operand that begins `byte` bytes after the start of buffer number `at`."""
    buffer = buffers[at]
    role = buffer["role"]
    start = buffer["address"]
    if role == "temporary":
        place = f"@{buffer['offset'] + byte}"
        if buffer["host"] < 0:
            return place
        return _name(buffers, buffer["host"], names) + place
    if role == "output":
        return f"result {buffer['number']}"
    if role in ("argument", "prepared"):
        return f"{role} {buffer['number']}"
    inside = (name for address, name in names.items() if start <= address < start + buffer["bytes"])
    return names.get(start + byte) or next(inside, "constant")


def names_of(modules: list[Any], gradients: list[tuple[Any, Any]], plans: list[Any]) -> dict[int, str]:
    """Names of memory by address: parameters, gradients, optimizer state.

    modules: the modules that were called. gradients: (leaf, gradient or None). plans: (plan, optimizer,
    group) of each update.
    """
    names = {address_of(random.current()._state): "random stream"}
    of: dict[int, str] = {}  # names of parameters by id
    # Names begin at the outermost modules: `inner` has the ids of all modules inside others.
    inner: set[int] = set()
    for module in modules:
        inner |= {id(child) for child in module.modules() if child is not module}
    roots = [module for module in modules if id(module) not in inner and _has_tensors(module)]
    for number, root in enumerate(roots):
        if len(roots) > 1:
            prefix = f"{type(root).__name__}({number})."
        else:
            prefix = ""
        for name, p in (*root.named_parameters(), *root.named_buffers()):
            of.setdefault(id(p), prefix + name)
            names.setdefault(address_of(p._array), of[id(p)])
    for number, (leaf, grad) in enumerate(gradients):
        name = of.setdefault(id(leaf), f"leaf {number}")
        names.setdefault(address_of(leaf._array), name)
        if grad is not None:  # None: the step ended with zero_grad
            names.setdefault(address_of(grad._array), f"{name}.grad")
    for plan, optimizer, _ in plans:
        names[address_of(plan._numbers)] = f"settings of {type(optimizer).__name__}"
        for p, state in optimizer.state.items():
            for key, value in state.items():
                value = getattr(value, "_array", value)
                if hasattr(value, "ctypes"):
                    names.setdefault(address_of(value), f"{of.get(id(p), 'parameter')}.{key}")
        # The state of some optimizers, such as SGD, has no array for the count of steps: the plan has it.
        for parameters, steps, *_ in plan.by_dtype:
            for p, step in zip(parameters, steps, strict=True):
                names.setdefault(address_of(step), f"{of.get(id(p), 'parameter')}.step")
    return names


def _has_tensors(module: Module) -> bool:
    return bool([*module.parameters(), *module.buffers()])


def table(instructions: list[Instruction], memory: MemoryUse) -> str:
    """Totals, then a line for each instruction, and a line for the kernels that were fused into it."""
    replayed = [i for i in instructions if not i.prepared]
    total = sum(i.ns for i in replayed)
    fused = sum(len(i.fused) for i in instructions)
    lines = [
        f"{len(replayed)} instructions, {fused} more fused into them, {_time(total)}",
        f"{_size(memory.arena)} arena (temporaries @offset) + {_size(memory.made)} results and gradients",
        f"{_size(memory.workspace)} workspace; {_size(memory.persistent)} parameters, gradients, other state"
        f"; {_size(memory.prepared)} prepared from them",
        "",
        _ROW.format("#", "instruction", "reads", "writes", "threads", "time", "share"),
        "-" * 140,
    ]
    heading = ""
    for i in instructions:
        path, _, line = i.place.replace("\\", "/").rpartition(":")
        above = f"{path.rpartition('/')[2]}:{line}:" if path else heading
        if i.prepared:
            above = "prepared, again after a change of what they read:"
        elif heading.startswith("prepared"):
            lines.append("     in each replay:")
        if above != heading:
            heading = above
            lines.append(f"     {heading}")
        threads = time = share = ""
        if not i.prepared:
            threads = "team" if i.team else "1"
            time = _time(i.ns)
            if total > 0:
                share = f"{i.ns / total:.0%}"
        row = _ROW.format(i.number, i.op, _operands(i.reads), _operands(i.writes), threads, time, share)
        lines.append(row.rstrip())
        if i.fused:
            lines.append(f"       with {', '.join(i.fused)}")
    return "\n".join(lines)


def _operands(operands: tuple[Operand, ...]) -> str:
    """The names and shapes of the first operands, as many as fit into _WIDE characters, at least one."""
    texts = [f"{o.name} {'x'.join(map(str, o.shape)) or 'number'}" for o in operands]
    shown = next(n for n in range(len(texts), -1, -1) if n < 2 or len(", ".join(texts[:n])) <= _WIDE)
    more = [f"{len(texts) - shown} more"] if shown < len(texts) else []
    return ", ".join(texts[:shown] + more)


def _time(ns: float) -> str:
    if math.isnan(ns):
        return "?"
    if ns >= 1e6:
        return f"{ns / 1e6:.2f} ms"
    return f"{ns / 1e3:.2f} us"


def _size(count: int) -> str:
    """A number of bytes as text."""
    if count >= 1e6:
        return f"{count / 1e6:.1f} MB"
    if count >= 1e3:
        return f"{count / 1e3:.1f} KB"
    return f"{count} B"
