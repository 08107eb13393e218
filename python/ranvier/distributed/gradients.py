"""Mean gradients of a module over ranks."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.autograd.hooks as hooks
from ranvier.autograd import Tensor, bump, wrap
from ranvier.autograd.recording import refuse
from ranvier.distributed.collectives import broadcast, mark
from ranvier.distributed.exchange import Flat
from ranvier.distributed.ranks import World, agree
from ranvier.distributed.shared import Sum

__all__ = ["MeanGradients"]


NAME = "DistributedDataParallel"


class MeanGradients:
    """Exchanges the gradients of a module's parameters after each backward that has reached one of them.

    They are copied to one buffer for each dtype, and the means are copied from it: a program may keep them.
    The buffer begins with a number for each parameter: how many ranks have a gradient for it.

    enabled: whether they are exchanged (`no_sync`).
    """

    def __init__(self, module: Any, here: World) -> None:
        self.enabled, self._due = True, False
        self.here = here
        self._module = module
        self._layout: list[tuple[int, Any]] = []
        # for each dtype: the parameters (kept, so that no other gets an id in _layout), the buffer, its sum
        self._parts: list[tuple[list[Any], Flat, Sum]] = []
        self._hooks: list[Any] = []
        self.renew()
        for tensor in [*module.parameters(), *module.buffers()]:
            _from_rank(here, tensor)

    def renew(self) -> None:
        """Take the parameters that require gradients now; every rank calls it."""
        parameters = [p for p in self._module.parameters() if p.requires_grad]
        layout = [(id(p), p._array.dtype) for p in parameters]
        if layout == self._layout:
            return
        shapes = " ".join(f"{p.dtype}{tuple(p.shape)}" for p in parameters)
        agree(self.here, NAME, f"of {len(parameters)} parameters, {mark(shapes)}")
        for hook in self._hooks:
            hook.remove()
        self._layout, self._parts = layout, []
        for dtype in {p._array.dtype: None for p in parameters}:
            own = [p for p in parameters if p._array.dtype == dtype]
            flat = Flat([p._array for p in own], dtype, len(own))
            self._parts.append((own, flat, Sum(self.here, flat.values, NAME)))
        self._hooks = [p.register_post_accumulate_grad_hook(self._reached) for p in parameters]

    def share_buffers(self) -> None:
        """Give every rank the buffers of rank 0."""
        for buffer in self._module.buffers():
            _from_rank(self.here, buffer)

    def _reached(self, _: Tensor) -> None:
        """A gradient was computed: the exchange follows at the end of the backward."""
        refuse(f"{NAME} exchanges gradients", "call backward outside the compiled step, or use Trainer")
        if self.enabled and not self._due:
            self._due = True
            hooks.at_end.append(self.exchange)

    def exchange(self) -> None:
        """The means of the gradients."""
        self._due, here = False, self.here
        for parameters, flat, total in self._parts:
            for i, (p, view) in enumerate(zip(parameters, flat.views, strict=True)):
                flat.numbers[i] = p._grad is not None
                if p._grad is None:
                    view[...] = 0
                else:
                    view[...] = p._grad._array
            total.add()
            for p, view, ranks in zip(parameters, flat.views, flat.numbers.tolist(), strict=True):
                mean = np.multiply(view, 1 / here.size, out=np.empty_like(view))
                p._grad = wrap(mean) if ranks else None


def _from_rank(here: World, tensor: Any) -> None:
    """Give the tensor the values that it has on rank 0."""
    array = tensor._array
    values = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    broadcast(values, 0, here)
    if values is not array:
        array[...] = values
    bump(tensor)
