"""The captured step: `rv.compile` records a step once and replays it as a static program."""

from ranvier.program.compiled import Compiled, compile, constant
from ranvier.program.errors import CaptureError

__all__ = ["CaptureError", "Compiled", "compile", "constant"]
