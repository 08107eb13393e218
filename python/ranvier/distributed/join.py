"""Join: ranks with fewer batches than others take part in their exchanges until all have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ranvier.distributed.collectives import all_gather
from ranvier.distributed.messages import Work
from ranvier.distributed.world import world

__all__ = ["Join", "JoinHook", "Joinable"]


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
        self.active: list[int] = []  # ranks that make the step
        self.synced = True  # whether it exchanges gradients

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
        """The ranks that make another step; step: 1 for one within `no_sync`, 0 for none."""
        told = np.concatenate(all_gather(np.array([step]), "Join"))
        self.active, self.synced = np.flatnonzero(told).tolist(), bool((told == 2).any())
        if self._throw and 0 < len(self.active) < len(told):
            raise RuntimeError(
                f"[Join] got {len(told) - len(self.active)} of {len(told)} ranks without further batches; "
                "expected as many on every rank (throw_on_early_termination)"
            )
        return self.active
