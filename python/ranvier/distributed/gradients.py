"""MeanGradients: the gradients of a module as means over all ranks, at the end of each backward."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.autograd.hooks as hooks
from ranvier.autograd import Tensor, bump, wrap
from ranvier.autograd.recording import refuse
from ranvier.distributed.collectives import all_gather, broadcast, mpi_reduce
from ranvier.distributed.equal import mark
from ranvier.distributed.flat import Flat
from ranvier.distributed.join import JoinHook
from ranvier.distributed.member import World
from ranvier.distributed.tree import tree_sum
from ranvier.distributed.waiting import agree

__all__ = ["GradientHook", "MeanGradients"]

NAME = "DistributedDataParallel"


class MeanGradients:
    """Exchanges the gradients of a module's parameters after each backward that has reached one of them.

    They are copied to one buffer for each dtype, and the means are copied from it: a program may keep them.
    The buffer begins with a number for each parameter: how many ranks have a gradient for it.

    enabled: whether they are exchanged (`no_sync`). ranks: by how many the sums are divided. source: the rank
    whose buffers count; within a `Join` the first that has batches.
    """

    def __init__(self, module: Any, here: World) -> None:
        self.enabled, self._due = True, False
        self.here, self.ranks, self.source = here, here.size, 0
        self._module = module
        self._layout: list[tuple[int, Any]] = []
        self._parts: list[tuple[list[Any], Flat, Any]] = []  # these keep the parameters, so ids stay theirs
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
            self._parts.append((own, flat, np.empty_like(flat.values)))
        self._hooks = [p.register_post_accumulate_grad_hook(self._reached) for p in parameters]

    def share_buffers(self) -> None:
        """Give every rank the buffers of one."""
        for buffer in self._module.buffers():
            _from_rank(self.here, buffer, self.source)

    def share_all(self, last: bool) -> None:
        """Give every rank the parameters and buffers of one that made the last step."""
        told = np.concatenate(all_gather(np.array([last]), NAME, self.here))
        for tensor in (*self._module.parameters(), *self._module.buffers()):
            _from_rank(self.here, tensor, int(np.flatnonzero(told)[-1]))

    def _reached(self, _: Tensor) -> None:
        refuse(f"{NAME} exchanges gradients", "call backward outside the compiled step, or use Trainer")
        if self.enabled and not self._due:
            self._due = True
            hooks.at_end.append(self.exchange)

    def exchange(self, takes_part: bool = True) -> None:
        """The means of the gradients; a rank that does not take part adds nothing and keeps its own."""
        self._due, here = False, self.here
        for parameters, flat, spare in self._parts:
            for i, (p, view) in enumerate(zip(parameters, flat.views, strict=True)):
                flat.numbers[i] = takes_part and p._grad is not None
                if p._grad is None or not takes_part:
                    view[...] = 0
                else:
                    view[...] = p._grad._array
            if here.size & (here.size - 1):
                mpi_reduce(here, flat.values, "sum", NAME)
            else:
                tree_sum(here, flat.values, spare, NAME)
            flat.rest *= 1 / self.ranks
            if not takes_part:
                continue
            for p, view, ranks in zip(parameters, flat.views, flat.numbers.tolist(), strict=True):
                p._grad = wrap(view.copy("K")) if ranks else None


class GradientHook(JoinHook):
    """What a rank without further batches does for a DistributedDataParallel."""

    def __init__(self, model: Any, divides: bool) -> None:
        self._model, self._divides = model, divides

    def begin(self) -> None:
        """Take what holds for this step: whose buffers count, and by how many the sums are divided."""
        means, active = self._model._means, self._model._join.active
        means.source, means.ranks = active[0], means.here.size if self._divides else len(active)

    def main_hook(self) -> None:
        self.begin()
        if self._model.broadcast_buffers:
            self._model._means.share_buffers()
        if self._model._join.synced:
            self._model._means.exchange(takes_part=False)

    def post_hook(self, is_last_joiner: bool) -> None:
        means = self._model._means
        means.ranks, means.source = means.here.size, 0
        means.share_all(is_last_joiner)


def _from_rank(here: World, tensor: Any, source: int = 0) -> None:
    array = tensor._array
    values = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    broadcast(values, source, here)
    if values is not array:
        array[...] = values
    bump(tensor)
