"""torch.profiler and torch.cuda.nvtx: marks of a program have no effect, and a profile is refused."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any


class record_function(ContextDecorator):
    """A block or decorator without effect: its label is for a profile."""

    def __init__(self, name: str, *args: Any, **settings: Any) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def mark(*args: Any) -> int:
    """Does nothing; 0 is the depth of a range."""
    return 0


range = record_function
range_push = range_pop = range_start = range_end = mark
