"""CaptureError: a step cannot be replayed."""

from __future__ import annotations

import sys
from typing import Any

from ranvier.autograd.recording import package


class CaptureError(RuntimeError):
    """A step that cannot be replayed: the message names the line and the remedy.

    The step itself has run once, eagerly; ``result`` is what it returned.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result
        self.kept = (
            False  # whether a result was kept, as by a step that initialises something in its first call
        )


def callers_level() -> int:
    """The level of the stack, for a warning, at which the library was called."""
    frame: Any = sys._getframe(1)
    level = 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package()):
        frame, level = frame.f_back, level + 1
    return level
