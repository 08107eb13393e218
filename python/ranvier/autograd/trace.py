"""The tensors of a tape: the tape itself keeps only what backward needs."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor

__all__ = ["outputs_alive", "outputs_kept"]


@contextmanager
def outputs_kept() -> Iterator[dict[Any, Tensor]]:
    """Keeps, by node, the tensor that each node of the tape makes inside the block.

    >>> import ranvier as rv
    >>> x = rv.tensor(3.0, requires_grad=True)
    >>> with outputs_kept() as outputs:
    ...     y = (x * x).exp()
    >>> [round(out.item(), 1) for out in outputs.values()]
    [9.0, 8103.1]
    """
    kept: dict[Any, Tensor] = {}
    original = Function._recorded

    def recorded(self: Function, y: Any, x: Any, version: list[Any]) -> Any:
        out = original(self, y, x, version)
        for tensor in out if isinstance(out, tuple) else (out,):
            if tensor.grad_fn is not None:
                kept[tensor.grad_fn] = tensor
        return out

    Function._recorded = recorded  # type: ignore[method-assign]
    try:
        yield kept
    finally:
        Function._recorded = original  # type: ignore[method-assign]


def outputs_alive(nodes: Iterable[Any]) -> dict[Any, Tensor]:
    """The tensors made by these nodes that are still alive, by node."""
    wanted = set(nodes)
    return {t.grad_fn: t for t in gc.get_referrers(*wanted) if isinstance(t, Tensor) and t.grad_fn in wanted}
