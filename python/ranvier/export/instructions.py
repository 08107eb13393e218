"""The instructions of an exported C function (`Routine`), and the plan of its memory.

A Value is an array at a place in a buffer (CArray). Each value is written once, by the instruction that makes
it; a sum of gradients is a new value. So the first and the last instruction that use a buffer tell how long
it lives, and temporaries that do not live at the same time share memory (`Routine.planned`).

c_source.py writes an instruction as a call of a helper, its temporaries as places in `ram`:

    linear(x, w_0_weight, w_0_bias, ram + 0, 2, 4, 8);
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(eq=False)
class CArray:
    """Memory of `size` elements.

    kind: "constant" (weights that no step changes), "state" (arrays that a step changes), "argument" (of the
    function) or "temporary" (in the block that all functions share). values: the numbers of constants and of
    the state at the start. type: the type of an element, in C. offset: the offset of a temporary in the
    block, in words of 4 bytes.
    """

    name: str
    size: int
    kind: str
    values: Array | None = None
    type: str = "float"
    offset: int = 0

    @property
    def integer(self) -> bool:
        return self.type != "float"

    @property
    def bytes(self) -> int:
        bytes_of_element = 1 if self.type == "int8_t" else 4
        return self.size * bytes_of_element

    @property
    def words(self) -> int:
        return -(-self.bytes // 4)  # rounded up


@dataclass(eq=False)
class Value:
    """An array in C order that begins `offset` elements after the start of its buffer."""

    buffer: CArray
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def as_shape(self, shape: Iterable[int], offset: int = 0) -> Value:
        """A Value on the same memory, or on a part that begins `offset` elements later."""
        return Value(self.buffer, tuple(map(int, shape)), self.offset + offset)


@dataclass(eq=False)
class Instruction:
    """A call of a helper (C function).

    args: Values (written as pointers), None (NULL), numbers, strings (C as it is), tuples (arrays of int) and
    dicts (structs). writes: the Values among them that it writes to; all of them count as operands.
    replaced: operands of which it reads each element before it writes the result's element at this index, so
    that a result of the same size may have the operand's memory.
    """

    helper: str
    args: list[Any]
    writes: list[Value]
    replaced: list[Value] = field(default_factory=list)
    comment: str = ""

    def operands(self) -> list[Value]:
        """The Values among the arguments, those within structs too."""
        flat: list[Any] = []
        for arg in self.args:
            if isinstance(arg, dict):
                flat += arg.values()
            else:
                flat.append(arg)
        return [arg for arg in flat if isinstance(arg, Value)]


class Report(NamedTuple):
    """The needs of an exported file on its target.

    Attributes:
        path: the file that was written; its header is in the same folder.
        functions: names of the C functions.
        weights: bytes of constants, which can stay in flash.
        state: bytes of what a step changes: parameters, momentum, running statistics. They are in RAM.
        ram: bytes of RAM in all: `state` and the block for intermediate values, which is as large as those
            that are in use at the same time.
        unplanned: bytes that the intermediate values would need if each had its own memory.
        code: an estimate of the bytes of machine code.
        multiplications: the number of multiplications in one call of each function.
    """

    path: str
    functions: tuple[str, ...]
    weights: int
    state: int
    ram: int
    unplanned: int
    code: int
    multiplications: tuple[int, ...]

    def __str__(self) -> str:
        return (
            f"{self.path}: {', '.join(self.functions)}\n"
            f"weights {self.weights} bytes, RAM {self.ram} bytes ({self.state} of them learned or kept; each "
            f"value apart: {self.state + self.unplanned}), code about {self.code} bytes"
        )


class Routine:
    """One function of the file: its arguments, instructions and result.

    exporter.py makes it, and at last calls `without_unused`, `without_copies` and `planned` in this order: an
    unused instruction would count as a reader, and a temporary that becomes an argument takes no memory.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.instructions: list[Instruction] = []
        self.arguments: list[tuple[str, Value, bool]] = []  # name, value, whether it is written
        self.result: Value | None = None  # the loss, which a step returns
        self.comment = ""  # the comment of the next instruction
        self.prologue: list[str] = []  # C before and after the instructions
        self.epilogue: list[str] = []
        self.multiplications = 0
        self._parts = 0

    def new(self, shape: Iterable[int], type: str = "float") -> Value:
        """A new temporary; type: of its elements, in C."""
        shape = tuple(map(int, shape))
        self._parts += 1
        return Value(CArray(f"t{self._parts}", math.prod(shape), "temporary", type=type), shape)

    def call(
        self, helper: str, *args: Any, writes: Value | Sequence[Value], replaced: Sequence[Value] = ()
    ) -> None:
        """Adds a call; args, writes, replaced: as in Instruction."""
        written = [writes] if isinstance(writes, Value) else list(writes)
        self.instructions.append(Instruction(helper, list(args), written, list(replaced), self.comment))
        self.comment = ""

    def made(self, helper: str, *args: Any, shape: Iterable[int], replaced: Sequence[Value] = ()) -> Value:
        """Adds a call whose result is a new temporary y, and returns y; `...` among the args is its place."""
        y = self.new(shape)
        with_result = list(args)
        with_result[args.index(...)] = y
        self.call(helper, *with_result, writes=y, replaced=replaced)
        return y

    def without_unused(self) -> None:
        """Drops the instructions whose results nothing reads; writes to the state outlive the call."""
        needed = {id(v.buffer) for _, v, written in self.arguments if written}
        if self.result is not None:
            needed.add(id(self.result.buffer))
        kept = []
        for one in reversed(self.instructions):
            if any(id(w.buffer) in needed or w.buffer.kind == "state" for w in one.writes):
                needed.update(id(v.buffer) for v in one.operands())
                kept.append(one)
        self.instructions = kept[::-1]

    def without_copies(self) -> None:
        """Lets instructions write results where the function has them, in place of a copy at its end.

        A result may lie in the array of an input of the same size, as the header tells callers. So this is
        done where no instruction reads such an input once the result is being written.

        Every instruction that writes to a result is such a copy, with the arguments (value, result, size):
        `exporter._results` adds them last, and no other instruction gets a result as operand.
        """
        written = {id(value.buffer): value for _, value, is_result in self.arguments if is_result}
        inputs = [value.buffer for _, value, is_result in self.arguments if not is_result]
        for copy in [one for one in self.instructions if id(one.writes[0].buffer) in written]:
            value = copy.args[0]
            result = written[id(copy.writes[0].buffer)]
            temporary = value.buffer
            if temporary.kind != "temporary" or temporary.size != result.size or temporary.integer:
                continue
            same = {id(x) for x in inputs if x.size == result.size}
            if self._reads_after_write(temporary, same):
                continue
            self.instructions.remove(copy)
            temporary.kind = "argument"
            temporary.name = result.buffer.name
            place = next(i for i, argument in enumerate(self.arguments) if argument[1] is result)
            name = self.arguments[place][0]
            self.arguments[place] = (name, value, True)

    def _reads_after_write(self, buffer: CArray, inputs: set[int]) -> bool:
        """True if an instruction reads one of these inputs when a buffer is written, or later.

        The instruction that writes it may read an input of which each element is read before it is written.
        """
        is_written = False
        for one in self.instructions:
            writes = any(value.buffer is buffer for value in one.writes)
            read = {id(value.buffer) for value in one.operands()} & inputs
            if writes and not is_written and len(one.writes) == 1:
                read -= {id(value.buffer) for value in one.replaced}
            is_written = is_written or writes
            if is_written and read:
                return True
        return False

    def planned(self) -> tuple[int, int]:
        """Gives the temporaries their offsets in the block of memory that they share.

        Returns the words of the block, and the words that the temporaries would need without sharing. The
        largest are placed first, each at the lowest offset that is free while it lives.
        """
        spans = self._spans()
        owner = self._merged(spans)
        # owner -> [first instruction, last instruction, buffers]: buffers that take each other's memory
        blocks: dict[int, list[Any]] = {}
        for key, (first, last, buffer) in spans.items():
            block = blocks.setdefault(owner.get(key, key), [first, last, []])
            block[0], block[1] = min(block[0], first), max(block[1], last)
            block[2].append(buffer)
        placed: list[tuple[int, int, int, int]] = []  # offset, end, first, last
        for first, last, buffers in sorted(blocks.values(), key=lambda b: (-b[2][0].words, b[0])):
            size = max(b.words for b in buffers)
            offset = 0  # moves behind each block that overlaps in place and time, by their offsets
            for start, end, begin, until in sorted(placed):
                if begin <= last and first <= until and start < offset + size and offset < end:
                    offset = end
            placed.append((offset, offset + size, first, last))
            for buffer in buffers:
                buffer.offset = offset
        return max((end for _, end, _, _ in placed), default=0), sum(b.words for _, _, b in spans.values())

    def _spans(self) -> dict[int, tuple[int, int, CArray]]:
        """id of each temporary -> the first and the last instruction that uses it, and the buffer."""
        spans: dict[int, tuple[int, int, CArray]] = {}
        for i, one in enumerate(self.instructions):
            for v in (*one.operands(), *one.writes):
                if v.buffer.kind == "temporary":
                    spans[id(v.buffer)] = (spans.get(id(v.buffer), (i,))[0], i, v.buffer)
        if self.result is not None and id(self.result.buffer) in spans:
            first, _, buffer = spans[id(self.result.buffer)]
            spans[id(self.result.buffer)] = (first, len(self.instructions), buffer)
        return spans

    def _merged(self, spans: dict[int, tuple[int, int, CArray]]) -> dict[int, int]:
        """Results that take the memory of an operand (`replaced`) which no later instruction reads.

        id of the result's buffer -> id of the buffer whose memory it takes.
        """
        owner: dict[int, int] = {}
        for i, one in enumerate(self.instructions):
            for old in one.replaced:
                new = one.writes[0].buffer
                key = id(old.buffer)
                fits = old.buffer.words == new.words and old.buffer.kind == new.kind == "temporary"
                if fits and spans[key][1] == i and spans[id(new)][0] == i and key != id(new):
                    owner[id(new)] = owner.get(key, key)
                    break
        return owner


def literal(x: float | np.floating[Any]) -> str:
    """A float32 as a literal of C, with as many digits as are needed to read the same number."""
    value = np.float32(x)
    if np.isnan(value):
        return "NAN"
    if np.isinf(value):
        if value > 0:
            return "INFINITY"
        return "-INFINITY"
    text = str(value)
    if "." not in text and "e" not in text:
        text += ".0"
    return text + "f"
