"""Schedules made of schedules: ChainedScheduler steps all at once, SequentialLR one after another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from ranvier.optim.lr_scheduler.base import LRScheduler, ReduceLROnPlateau, set_rate
from ranvier.optim.optimizer import Optimizer
from ranvier.tensors.errors import ordered

__all__ = ["ChainedScheduler", "SequentialLR"]


def _schedules(name: str, given: Any, optimizer: Optimizer | None) -> list[LRScheduler]:
    """The argument `schedulers` as a list; an error unless all are of one optimizer. name: for errors."""
    schedulers = [] if given is None else ordered(name, given, "schedules")
    if not schedulers:
        raise ValueError(f"[{name}] got no schedules; expected at least one")
    for i, schedule in enumerate(schedulers):
        if not isinstance(schedule, LRScheduler):
            raise TypeError(f"[{name}] got {type(schedule).__name__} at {i}; expected a schedule")
        if isinstance(schedule, ReduceLROnPlateau):
            raise ValueError(f"[{name}] got ReduceLROnPlateau at {i}, which needs a value in each step")
        if schedule.optimizer is not (optimizer or schedulers[0].optimizer):
            raise ValueError(f"[{name}] got a schedule of another optimizer at {i}; expected one for all")
    return schedulers


class ChainedScheduler(LRScheduler):
    """Schedules that step together: each changes the rate that the schedule before it has set.

    Raises ValueError for schedules of different optimizers.

    >>> import ranvier as rv
    >>> from ranvier.optim import lr_scheduler
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=1.0)
    >>> both = [lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=2),
    ...         lr_scheduler.ExponentialLR(optimizer, gamma=0.5)]
    >>> schedule = lr_scheduler.ChainedScheduler(both)
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr(); schedule.step()
    >>> rates
    [0.5, 0.25, 0.25, 0.125]
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        self._schedulers = _schedules("ChainedScheduler", schedulers, optimizer)
        self.optimizer = self._schedulers[0].optimizer
        self._last_lr = self._rates()

    def step(self, epoch: float | None = None) -> None:
        """Advances all schedules by one epoch, or to the given epoch."""
        for schedule in self._schedulers:
            if epoch is None:
                schedule.step()
            else:
                schedule.step(epoch)
        self._last_lr = self._rates()

    def _update_lr(self, epoch: float | None = None) -> None:
        self.step(epoch)


class SequentialLR(LRScheduler):
    """Schedules in sequence: at each milestone the next one begins.

    There is one milestone fewer than schedules, else ValueError, which schedules of different optimizers
    raise, too. For a warm-up see LinearLR.

    >>> import ranvier as rv
    >>> from ranvier.optim import lr_scheduler
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=1.0)
    >>> both = [lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=2),
    ...         lr_scheduler.ExponentialLR(optimizer, gamma=0.5)]
    >>> schedule = lr_scheduler.SequentialLR(optimizer, both, milestones=[2])
    >>> rates = []
    >>> for _ in range(4):
    ...     rates += schedule.get_last_lr(); schedule.step()
    >>> rates
    [0.5, 0.5, 1.0, 0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[LRScheduler],
        milestones: Sequence[int],
        last_epoch: int = -1,
    ) -> None:
        self._schedulers = _schedules("SequentialLR", schedulers, optimizer)
        if len(milestones) != len(self._schedulers) - 1:
            given = f"{len(self._schedulers)} schedules and {len(milestones)} milestones"
            raise ValueError(f"[SequentialLR] got {given}; expected {len(self._schedulers) - 1}")
        self._milestones = list(milestones)
        self.last_epoch = last_epoch + 1
        self.optimizer = optimizer
        # All schedules have made their first step. This undoes these steps, and starts the first schedule.
        for group in optimizer.param_groups:
            set_rate(group, group["initial_lr"])
        _undo_first_step(self._schedulers)
        first = self._schedulers[bisect_right(self._milestones, 0)]
        first._initial_step()
        self._last_lr = first.get_last_lr()

    def step(self, epoch: float | None = None) -> None:
        """Advances by one epoch."""
        self.last_epoch += 1
        i = bisect_right(self._milestones, self.last_epoch)
        schedule = self._schedulers[i]
        if i > 0 and self._milestones[i - 1] == self.last_epoch:
            schedule._update_lr(0)
        else:
            schedule.step()
        self._last_lr = schedule.get_last_lr()

    def _update_lr(self, epoch: float | None = None) -> None:
        if epoch is None:
            return self.step()
        self.last_epoch = epoch  # type: ignore[assignment]
        i = bisect_right(self._milestones, epoch)
        schedule = self._schedulers[i]
        start = self._milestones[i - 1] if i else 0  # the epoch at which this schedule begins
        schedule._update_lr(epoch - start)
        self._last_lr = schedule.get_last_lr()


def _undo_first_step(schedulers: Sequence[LRScheduler]) -> None:
    """Takes back the epoch of the step that each constructor has made, in schedules of schedules, too."""
    for schedule in schedulers:
        inner = getattr(schedule, "_schedulers", None)
        if inner is not None:
            _undo_first_step(inner)
        else:
            schedule.last_epoch -= 1
