"""The captured step: `rv.compile` records a step once and replays it as a static program."""

from ranvier.program.api import compile, constant
from ranvier.program.compiled import CompiledFunction
from ranvier.program.errors import CaptureError
from ranvier.program.program import Buffer, Instruction, Memory, Operand, Program

__all__ = [
    "Buffer",
    "CaptureError",
    "CompiledFunction",
    "Instruction",
    "Memory",
    "Operand",
    "Program",
    "compile",
    "constant",
]
