"""The table of the functions that write calls as nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ranvier.onnx.site import Site

WRITERS: dict[str, Callable[[Site], Any]] = {}
"""By the name of the Function: a function that adds nodes and returns the names of the results."""

Write = Callable[[Site], Any]


def writes(*kinds: str) -> Callable[[Write], Write]:
    def register(function: Write) -> Write:
        WRITERS.update(dict.fromkeys(kinds, function))
        return function

    return register
