"""Functions of torch that also take objects of other libraries, by `__torch_function__`, and any `out=`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, wraps
from typing import Any

from ranvier import is_tensor, no_grad


@cache
def foreign(function: Callable[..., Any], path: str) -> Callable[..., Any]:
    """The function under its path in torch. What it refuses goes to the class of an argument that has
    `__torch_function__`; calls that succeed cost nothing more than a call."""

    @wraps(function)
    def call(*args: Any, **settings: Any) -> Any:
        try:
            return function(*args, **settings)
        except Exception:
            kinds = [type(x) for x in (*args, *settings.values()) if _takes_calls(x)]
            for kind in dict.fromkeys(kinds):
                answer = kind.__torch_function__(call, tuple(dict.fromkeys(kinds)), args, settings)
                if answer is not NotImplemented:
                    return answer
            if kinds or "out" not in settings:
                raise
            out = settings.pop("out")
        result = function(*args, **settings)
        return result if out is None else _written(function.__name__, out, result)

    module, _, name = f"torch.{path}".rpartition(".")
    call.__module__, call.__qualname__ = module, name  # pickles look it up there
    return call


def _takes_calls(x: Any) -> bool:
    return hasattr(type(x), "__torch_function__") and not is_tensor(x)


def _written(name: str, out: Any, result: Any) -> Any:
    """`out` with the values of the result, off the tape; several of several. It gets the shape of the result,
    with PyTorch's warning if it has elements."""
    if isinstance(out, (tuple, list)):
        parts = [_written(name, *pair) for pair in zip(out, result, strict=True)]
        return getattr(type(result), "_make", tuple)(parts)
    if result.requires_grad or out.requires_grad:
        raise RuntimeError(f"[{name}] got out in a call with gradients; expected a call under no_grad()")
    with no_grad():
        if out.numel() == 0 != result.numel():
            out.data = result.to(out.dtype)
        if out.shape != result.shape:
            warnings.warn(
                f"[{name}] got out of shape {tuple(out.shape)}; it is resized to {tuple(result.shape)}",
                stacklevel=3,
            )
            out.resize_(result.shape)
        return out.copy_(result)
