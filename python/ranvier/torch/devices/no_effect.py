"""What PyTorch has and this library does not need: it is accepted, and does nothing."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any


class NoEffect(ContextDecorator):
    """An object that is accepted as a call, a block or a decorator, and has no effect."""

    def __init__(self, name: str = "", *args: Any, **settings: Any) -> None:
        self.name = name

    def __enter__(self) -> NoEffect:
        return self

    def __exit__(self, *error: object) -> None: ...
