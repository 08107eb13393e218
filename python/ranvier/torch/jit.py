"""torch.jit: `script` gives the function or module itself. :func:`ranvier.compile` captures steps."""

from __future__ import annotations

from typing import Any


def script(obj: Any, *args: Any, **settings: Any) -> Any:
    """The function, class or module itself, as decorator too: it runs as Python.

    >>> import ranvier as rv
    >>> @rv.jit.script
    ... def double(x):
    ...     return 2 * x
    >>> double(rv.ones(2))
    tensor([2., 2.])
    """
    return obj


script_method = export = unused = script


def ignore(drop: Any = False, **settings: Any) -> Any:
    """The function itself, as ``@ignore`` and ``@ignore()``."""
    return drop if callable(drop) else script


def is_scripting() -> bool:
    return False


is_tracing = is_scripting


def _refused(name: str, instead: str) -> Any:
    def refuse(*args: Any, **settings: Any) -> Any:
        raise RuntimeError(f"[jit.{name}] expected {instead}")

    refuse.__name__ = refuse.__qualname__ = name
    refuse.__doc__ = f"Raises RuntimeError: see {instead.split(',')[0]}."
    return refuse


trace = _refused("trace", "ranvier.compile, which captures a model's calls")
save = _refused("save", "ranvier.save, which keeps a model's layers and weights")
load = _refused("load", "ranvier.load, which makes a model again from a file of ranvier.save")
