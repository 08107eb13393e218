"""torch.compiler, torch._dynamo, torch.profiler and torch.cuda.nvtx: names that have no effect here.

`rv.compile` records code while it runs, so it needs no hints in the code; and labels of a profile are
ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ranvier.observe import is_compiling as is_compiling
from ranvier.torch.devices.no_effect import NoEffect


def is_exporting() -> bool:
    """False: there is no graph of a module."""
    return False


is_dynamo_compiling = is_compiling


def disable(fn: Callable[..., Any] | None = None, recursive: bool = True, **settings: Any) -> Any:
    """The function itself, as decorator too."""
    if fn is None:
        return disable
    return fn


def allow_in_graph(fn: Callable[..., Any]) -> Any:
    """The function itself."""
    return fn


assume_constant_result = allow_in_graph


def mark(*args: Any, **settings: Any) -> Any:
    """A decorator that returns the function unchanged."""
    return allow_in_graph


def reset() -> None:
    """Does nothing: the recorded programs belong to their compiled function."""


graph_break = cudagraph_mark_step_begin = reset


set_stance = record_function = range = NoEffect


def range_push(*args: Any) -> int:
    """Does nothing; 0 is the depth of a range."""
    return 0


range_pop = range_start = range_end = range_push


class TracerWarning(Warning):
    """A warning that programs silence; it is never given, since no call is traced."""
