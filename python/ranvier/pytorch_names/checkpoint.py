"""`utils.checkpoint`: calls that keep their activations."""

from __future__ import annotations

from typing import Any


def checkpoint(function: Any, *args: Any, use_reentrant: bool | None = None, **settings: Any) -> Any:
    """function(*args). Its activations are kept, not computed again in backward; the gradients are equal.

    >>> import ranvier as rv
    >>> rv.utils.checkpoint.checkpoint(rv.exp, rv.zeros(1), use_reentrant=False)
    tensor([1.])
    """
    for name in ("preserve_rng_state", "determinism_check", "debug", "context_fn", "early_stop"):
        settings.pop(name, None)
    return function(*args, **settings)


def checkpoint_sequential(functions: Any, segments: int, input: Any, **settings: Any) -> Any:
    """The functions (or layers) one after the other; see :func:`checkpoint`."""
    for function in functions:
        input = function(input)
    return input
