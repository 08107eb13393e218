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


def trace(*args: Any, **settings: Any) -> Any:
    """Raises RuntimeError: see ranvier.compile."""
    raise RuntimeError("[jit.trace] expected ranvier.compile, which captures a model's calls")


def save(*args: Any, **settings: Any) -> None:
    """Raises RuntimeError: see ranvier.save."""
    raise RuntimeError("[jit.save] expected ranvier.save, which keeps a model's layers and weights")


def load(*args: Any, **settings: Any) -> None:
    """Raises RuntimeError: see ranvier.load."""
    raise RuntimeError(
        "[jit.load] expected ranvier.load, which makes a model again from a file of ranvier.save"
    )
