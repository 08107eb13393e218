"""Schedule: a learning-rate schedule, stepped by the run."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ranvier.train.callbacks.base import Callback
from ranvier.train.callbacks.monitor import watched

__all__ = ["Schedule"]


class Schedule(Callback):
    """Steps a learning-rate schedule after each epoch, or after each update of the weights.

    Args:
        scheduler: an object of `optim.lr_scheduler` over the Trainer's optimizer, or anything with `step()`.
        per: "epoch", or "batch" for schedules that count updates (one-cycle, warm-up); with `accumulate`
            an update takes several batches.
        monitor: the measured quantity that `step` is given; a schedule whose `step` needs a value
            (reduce-on-plateau) gets "val_loss" if there is validation data, else "loss", when not given.

    Raises:
        TypeError: a scheduler without `step`.
        ValueError: an unknown `per`, a monitor together with per="batch", or a quantity that is not measured.

    >>> import ranvier as rv
    >>> class Halving:
    ...     def __init__(self, optimizer):
    ...         self.group = optimizer.param_groups[0]
    ...     def step(self):
    ...         self.group["lr"] /= 2
    >>> model = rv.nn.Linear(1, 1)
    >>> optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    >>> trainer = rv.Trainer(model, rv.nn.MSELoss(), optimizer)
    >>> history = trainer.fit([[1.0], [2.0]], [[2.0], [4.0]], epochs=2,
    ...                       callbacks=[rv.train.Schedule(Halving(optimizer))])
    >>> optimizer.param_groups[0]["lr"]
    0.025
    """

    def __init__(self, scheduler: Any, *, per: str = "epoch", monitor: str | None = None) -> None:
        if not callable(getattr(scheduler, "step", None)):
            raise TypeError(
                f"[Schedule] got a scheduler of type {type(scheduler).__name__}; expected a step method"
            )
        if per not in ("epoch", "batch"):
            raise ValueError(f"[Schedule] got per '{per}'; expected 'epoch' or 'batch'")
        self.scheduler, self.per, self.monitor = scheduler, per, monitor
        self.every_batch = per == "batch"
        self._watches = monitor is not None or _needs_a_value(scheduler)
        if self._watches and per == "batch":
            raise ValueError(
                "[Schedule] got per 'batch' for a schedule that watches a value; expected 'epoch'"
            )

    def on_train_begin(self) -> None:
        self._updates = self.trainer.updates

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if self.per == "batch":
            self._follow()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.per == "batch":
            self._follow()
        elif self._watches:
            self.scheduler.step(watched("Schedule", self.monitor, logs))
        else:
            self.scheduler.step()

    def _follow(self) -> None:
        while self._updates < self.trainer.updates:
            self.scheduler.step()
            self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        has_state = hasattr(self.scheduler, "state_dict")
        return {
            "scheduler": self.scheduler.state_dict() if has_state else None,
            "updates": self._updates,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._updates = state["updates"]
        if state["scheduler"] is not None:
            self.scheduler.load_state_dict(state["scheduler"])


def _needs_a_value(scheduler: Any) -> bool:
    """Whether the first argument of `step` must be given, as in ReduceLROnPlateau."""
    parameters = list(inspect.signature(scheduler.step).parameters.values())
    required = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return (
        bool(parameters)
        and parameters[0].kind in required
        and parameters[0].default is inspect.Parameter.empty
    )
