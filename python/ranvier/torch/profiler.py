"""torch.profiler: marks of a program have no effect, and a profile is refused."""

from __future__ import annotations

from contextlib import ContextDecorator


class record_function(ContextDecorator):
    """A block or decorator without effect: its label is for a profile."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *error: object) -> None:
        pass
