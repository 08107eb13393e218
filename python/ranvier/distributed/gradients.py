"""Mean gradients of a module over ranks, and ranks that end early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier.autograd.hooks as hooks
from ranvier.autograd import Tensor, bump, wrap
from ranvier.autograd.recording import refuse
from ranvier.distributed.collectives import all_gather, broadcast, mark, mpi_reduce, tree_sum
from ranvier.distributed.exchange import Flat
from ranvier.distributed.job import world
from ranvier.distributed.messages import Work
from ranvier.distributed.ranks import World, agree

__all__ = ["GradientHook", "Join", "JoinHook", "Joinable", "MeanGradients"]


class JoinHook:
    """What a rank that has ended does for a Joinable (PyTorch's class)."""

    def main_hook(self) -> None:
        """Take part in the exchanges of one step of the other ranks."""

    def post_hook(self, is_last_joiner: bool) -> None:
        """After all have ended."""


class Joinable:
    """Base of what exchanges data in each step (PyTorch's class), such as DistributedDataParallel.

    Each step begins with `Join.notify_join_context(self)`.
    """

    def join_hook(self, **kwargs: Any) -> JoinHook:
        raise NotImplementedError


class Join:
    """Within the block, ranks may make unequal numbers of steps (PyTorch's class).

    A rank that leaves the block calls the hooks of the joinables once for each step of the others.
    `throw_on_early_termination`: RuntimeError on every rank instead, as soon as one leaves.

    >>> import ranvier as rv
    >>> model = rv.nn.parallel.DistributedDataParallel(rv.nn.Linear(2, 1))
    >>> with rv.distributed.Join([model]):
    ...     model(rv.ones(3, 2)).sum().backward()
    """

    def __init__(
        self,
        joinables: Sequence[Any],
        enable: bool = True,
        throw_on_early_termination: bool = False,
        **kwargs: Any,
    ) -> None:
        if not joinables:
            raise ValueError("[Join] got no joinables; expected at least one")
        self._joinables, self._throw = list(joinables), throw_on_early_termination
        self._hooks = [joinable.join_hook(**kwargs) for joinable in joinables]
        self._enabled = enable and world().size > 1
        self.active: list[int] = []  # the ranks that make the present step
        self.synced = True  # whether the step exchanges gradients

    def __enter__(self) -> Join:
        for joinable in self._joinables:
            joinable._join = self if self._enabled else None
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        last = True
        while self._enabled and kind is None and self._tell(0):
            last = False
            for hook in self._hooks:
                hook.main_hook()
        for joinable, hook in zip(self._joinables, self._hooks, strict=True):
            joinable._join = None
            if self._enabled and kind is None:
                hook.post_hook(last)

    @staticmethod
    def notify_join_context(joinable: Any) -> Work | None:
        """Tell the ranks that have ended that this one makes a step; the first joinable calls it."""
        join = getattr(joinable, "_join", None)
        if join is None or joinable is not join._joinables[0]:
            return None
        synced = all(getattr(one, "require_backward_grad_sync", True) for one in join._joinables)
        join._tell(2 if synced else 1)
        return Work()

    def _tell(self, step: int) -> list[int]:
        """Exchange what each rank does next, and return the ranks that make another step.

        step: 2 for a step that exchanges gradients, 1 for one within `no_sync`, 0 for none.
        """
        told = np.concatenate(all_gather(np.array([step]), "Join"))
        self.active, self.synced = np.flatnonzero(told).tolist(), bool((told == 2).any())
        if self._throw and 0 < len(self.active) < len(told):
            raise RuntimeError(
                f"[Join] got {len(told) - len(self.active)} of {len(told)} ranks without further batches; "
                "expected as many on every rank (throw_on_early_termination)"
            )
        return self.active


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
        # for each dtype: the parameters (kept, so that no other gets an id in _layout), the buffer, and one
        # of its size that the sum over ranks needs
        self._parts: list[tuple[list[Any], Flat, Any]] = []
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
        """A gradient was computed: the exchange follows at the end of the backward."""
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
            if here.size & (here.size - 1):  # tree_sum takes powers of two
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
    """Give the tensor the values that it has on one rank."""
    array = tensor._array
    values = array if array.flags.c_contiguous else np.ascontiguousarray(array)
    broadcast(values, source, here)
    if values is not array:
        array[...] = values
    bump(tensor)
