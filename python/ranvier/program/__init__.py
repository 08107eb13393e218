"""The captured step: `rv.compile`, in three nouns.

A *compiled function* (`CompiledFunction`) is what `rv.compile` returns. Its first call with new shapes makes
a *recording* (`autograd.recording.Recording`): one eager run that notes every kernel call and all that Python
read. From the recording follows a *program* (`Program`): the kernel calls on fixed memory, and guards on what
was read. Later calls replay the program while its guards hold.
"""

from ranvier.program.api import compile, constant
from ranvier.program.compiled import CompiledFunction
from ranvier.program.listing import Buffer, Instruction, Memory, Operand
from ranvier.program.program import Program
from ranvier.program.record import CaptureError

__all__ = [
    "Buffer", "CaptureError", "CompiledFunction", "Instruction", "Memory", "Operand", "Program", "compile",
    "constant",
]  # fmt: skip
