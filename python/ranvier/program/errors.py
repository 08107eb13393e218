"""What can go wrong when a step is captured."""

from __future__ import annotations

from typing import Any


class CaptureError(RuntimeError):
    """A step that cannot be replayed: the message names the line and the remedy.

    The step itself has been carried out once, eagerly; ``result`` is what it returned.
    """

    def __init__(self, message: str, result: Any = None) -> None:
        super().__init__(message)
        self.result = result
        self.large: Any = None  # large arrays that it may not have read, and what they lie in: touches.py
        self.kept = False  # because a result was kept, as by a step that sets something up at its first call
