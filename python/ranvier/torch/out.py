"""`out=` of functions that have none of their own."""

from __future__ import annotations

import warnings
from typing import Any

from ranvier import no_grad


def written(name: str, out: Any, result: Any) -> Any:
    """`out` with the values of the result, off the tape; several of several. It gets the shape of the result,
    with PyTorch's warning if it has elements."""
    if isinstance(out, (tuple, list)):
        parts = [written(name, *pair) for pair in zip(out, result, strict=True)]
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
