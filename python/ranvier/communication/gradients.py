"""MeanGradients: the gradients of a module as means over all ranks, at the end of each backward."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.autograd.hooks as hooks
from ranvier.autograd.recording import refuse
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.autograd.views import bump
from ranvier.communication.collectives import broadcast, mpi_reduce
from ranvier.communication.flat import Flat
from ranvier.communication.tree import tree_sum
from ranvier.communication.waiting import agree
from ranvier.communication.world import world

__all__ = ["MeanGradients"]

NAME = "DistributedDataParallel"


class MeanGradients:
    """Exchanges the gradients of a module's parameters after each backward that has reached one of them.

    They are copied to one buffer for each dtype, and the means are copied from it: a program may keep them.
    The buffer begins with a number for each parameter: how many ranks have a gradient for it.

    enabled: whether they are exchanged (`no_sync`).
    """

    def __init__(self, module: Any) -> None:
        self.enabled, self._due = True, False
        self._module = module
        self._layout: list[tuple[int, Any]] = []
        self._parts: list[tuple[list[Any], Flat, Any]] = []  # these keep the parameters, so ids stay theirs
        self._hooks: list[Any] = []
        self.renew()
        for tensor in [*module.parameters(), *module.buffers()]:
            _from_first(tensor)

    def renew(self) -> None:
        """Take the parameters that require gradients now; every rank calls it."""
        parameters = [p for p in self._module.parameters() if p.requires_grad]
        layout = [(id(p), p._array.dtype) for p in parameters]
        if layout == self._layout:
            return
        shapes = " ".join(f"{p.dtype}{tuple(p.shape)}" for p in parameters)
        agree(world(), NAME, f"of {len(parameters)} parameters, {_hash_of(shapes)}")
        for hook in self._hooks:
            hook.remove()
        self._layout, self._parts = layout, []
        for dtype in {p._array.dtype: None for p in parameters}:
            own = [p for p in parameters if p._array.dtype == dtype]
            flat = Flat([p._array for p in own], dtype, len(own))
            self._parts.append((own, flat, np.empty_like(flat.values)))
        self._hooks = [p.register_post_accumulate_grad_hook(self._reached) for p in parameters]

    def share_buffers(self) -> None:
        """Give every rank the buffers of rank 0."""
        for buffer in self._module.buffers():
            _from_first(buffer)

    def _reached(self, _: Tensor) -> None:
        refuse(f"{NAME} exchanges gradients", "call backward outside the compiled step, or use Trainer")
        if self.enabled and not self._due:
            self._due = True
            hooks.at_end.append(self._exchange)

    def _exchange(self) -> None:
        self._due = False
        here = world()
        for parameters, flat, spare in self._parts:
            for i, (p, view) in enumerate(zip(parameters, flat.views, strict=True)):
                flat.numbers[i] = p._grad is not None
                if p._grad is None:
                    view[...] = 0
                else:
                    view[...] = p._grad._array
            if here.size & (here.size - 1):
                mpi_reduce(here, flat.values, "sum", NAME)
            else:
                tree_sum(here, flat.values, spare, NAME)
            flat.rest *= 1 / here.size
            for p, view, ranks in zip(parameters, flat.views, flat.numbers.tolist(), strict=True):
                p._grad = wrap(view.copy("K")) if ranks else None


def _hash_of(text: str) -> str:
    import zlib

    return f"{zlib.crc32(text.encode()):08x}"


def _from_first(tensor: Any) -> None:
    array = tensor._array
    values = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    broadcast(values)
    if values is not array:
        array[...] = values
    bump(tensor)
