"""CaptureError: a step cannot be replayed."""

from __future__ import annotations

from typing import Any


class CaptureError(RuntimeError):
    """A step that cannot be replayed: the message names the line and the remedy.

    The step itself has run once, eagerly; ``result`` is what it returned.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result
        self.large: Any = (
            None  # large arrays that it may have read, and the containers that hold them: touches.py
        )
        self.kept = (
            False  # whether a result was kept, as by a step that initialises something in its first call
        )
