"""torch.compiler and torch._dynamo: rv.compile records code while it runs. torch.profiler and
torch.cuda.nvtx: marks of a program have no effect, and a profile is refused."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

from ranvier.observe import current


def is_compiling() -> bool:
    """True if a compiled function is recorded, or compared with its program: libraries read no values."""
    recording = current()
    return recording is not None and recording.wanted


def is_exporting() -> bool:
    """False: there is no graph of a module."""
    return False


is_dynamo_compiling = is_compiling


def disable(fn: Any = None, recursive: bool = True, **settings: Any) -> Any:
    """The function itself, as decorator too."""
    return disable if fn is None else fn


def allow_in_graph(fn: Any) -> Any:
    """The function itself."""
    return fn


assume_constant_result = allow_in_graph


def mark(*args: Any, **settings: Any) -> Any:
    """A decorator that gives the function itself."""
    return allow_in_graph


def reset() -> None:
    """Does nothing: programs go with the compiled function that has them."""


graph_break = cudagraph_mark_step_begin = reset


class NoEffect(ContextDecorator):
    """A call, block or decorator without effect: a compiled function has the results of the eager one, and
    the label of a part of a program is for a profile."""

    def __init__(self, name: str = "", *args: Any, **settings: Any) -> None:
        self.name = name

    def __enter__(self) -> NoEffect:
        return self

    def __exit__(self, *error: object) -> None: ...


set_stance = record_function = range = NoEffect


def range_push(*args: Any) -> int:
    """Does nothing; 0 is the depth of a range."""
    return 0


range_pop = range_start = range_end = range_push


class TracerWarning(Warning):
    """A warning that programs silence; it is never given, since no call is traced."""
