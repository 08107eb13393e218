"""torch.compiler, and what programs use of torch._dynamo: rv.compile records code while it runs."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

import ranvier as rv
from ranvier.autograd.recording import current, recordings


def is_compiling() -> bool:
    """Whether a compiled function is recorded, or compared with its program: libraries read no values."""
    recording = current() if recordings else None
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


def of_module(module: Any, **settings: Any) -> None:
    """Module.compile: the module's forward is captured from now on."""
    module.forward = rv.compile(module.forward, **settings)


class set_stance(ContextDecorator):
    """A call, block or decorator without effect: a compiled function has the results of the eager one."""

    def __init__(self, stance: str = "default", **settings: Any) -> None: ...

    def __enter__(self) -> None: ...

    def __exit__(self, *error: object) -> None: ...


class TracerWarning(Warning):
    """What programs silence: no call is traced."""
