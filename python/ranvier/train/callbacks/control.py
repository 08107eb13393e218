"""Callbacks that act on a run: EarlyStopping and Schedule.

`Monitor` has the best value so far of the quantity that EarlyStopping and Checkpoint watch.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ranvier.metrics.named import direction
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import count, flag, one_of, own_errors
from ranvier.train.attributes import Checked, Known
from ranvier.train.callbacks.base import Callback, HintWarning

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["EarlyStopping", "Schedule"]


class SchedulerLike(Protocol):
    """A learning-rate schedule: `step()` goes on to the next rate, with a measured value if it takes one."""

    @property
    def step(self) -> Callable[..., Any]: ...


def watched(owner: str, monitor: str | None, logs: Mapping[str, float]) -> float:
    """The value of `monitor` in the epoch's logs; of "val_loss", else "loss", where it is None.

    Raises:
        ValueError: no such quantity is measured.
    """
    name = _name_of(monitor, logs)
    if name not in logs:
        raise ValueError(f"[{owner}] no '{name}' is measured; expected one of {', '.join(logs)}")
    return logs[name]


def _name_of(monitor: str | None, logs: Mapping[str, float]) -> str:
    """The quantity that is watched: without a name "val_loss" where there is validation data, else "loss"."""
    if monitor is not None:
        return monitor
    if "val_loss" in logs:
        return "val_loss"
    return "loss"


def known_direction(owner: str, name: str, metrics: Mapping[str, Any]) -> str:
    """ "max" or "min" of a quantity, by its name or the metric's own word.

    Raises:
        ValueError: neither says it.
    """
    by_name = direction(name)
    if by_name is not None:
        return by_name
    rises = getattr(metrics.get(name.removeprefix("val_")), "greater_is_better", None)
    if rises is None:
        raise ValueError(
            f"[{owner}] got monitor '{name}' without mode, and whether more of it is better is not known; "
            "expected mode='max' or mode='min', or an attribute greater_is_better of the metric"
        )
    if rises:
        return "max"
    return "min"


def warn_of_nan(owner: str, monitor: str | None, logs: Mapping[str, float]) -> None:
    """Say that the watched quantity is NaN."""
    name = _name_of(monitor, logs)
    warnings.warn(
        f"[{owner}] '{name}' is NaN, which never counts as an improvement: some metrics are, for example "
        "where a class is missing in the data",
        stacklevel=5,
    )


_WATCHED = {"monitor": "watched", "mode": "began with"}


class Monitor:
    """The best value so far of one measured quantity.

    mode: "min" or "max"; "auto" takes the direction of the quantity's name (`metrics.named.direction`), else
    of the metric's attribute `greater_is_better`, and is an error at the beginning of a run without either.
    """

    def __init__(self, owner: str, monitor: str | None, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"[{owner}] got mode '{mode}'; expected 'auto', 'min' or 'max'")
        self.owner = owner  # the callback, for errors
        self.name = monitor
        self.min_delta = abs(min_delta)
        self.mode = mode
        if mode == "auto":
            self.mode = direction(monitor or "loss") or mode
        self.forget()

    def forget(self) -> None:
        self.best = math.nan
        self.best_epoch: int | None = None
        self._said = False  # whether NaN was said

    def begin(self, metrics: Mapping[str, Any]) -> None:
        """The beginning of a run with these metrics.

        Raises:
            ValueError: mode is "auto", and the direction of the quantity is not known.
        """
        self.forget()
        if self.mode == "auto":
            self.mode = known_direction(self.owner, str(self.name), metrics)

    def improved(self, epoch: int, logs: Mapping[str, float]) -> bool:
        """True if this epoch is the best so far, which is then kept; NaN, of which the first is said, is
        never the best."""
        value = watched(self.owner, self.name, logs)
        if math.isnan(value) and not self._said:
            self._said = True
            warn_of_nan(self.owner, self.name, logs)
        if self.mode == "min":
            gain = self.best - value
        else:
            gain = value - self.best
        if math.isnan(value) or not (self.best_epoch is None or gain > self.min_delta):
            return False
        self.best = value
        self.best_epoch = epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "monitor": self.name, "mode": self.mode}

    def require_state(self, state: Mapping[str, Any]) -> None:
        """Raise ValueError for the state of a run that watched another quantity."""
        ours = {"monitor": self.name, "mode": self.mode}
        for what, value in ours.items():
            if value != "auto" and state[what] != value:
                raise ValueError(
                    f"[{self.owner}] got {what} {value!r} for a run that {_WATCHED[what]} {state[what]!r}; "
                    "expected the same in a run that is resumed, since the best value so far is of that"
                )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best = state["best"]
        self.best_epoch = state["best_epoch"]


class EarlyStopping(Known, Callback):
    """Stops when a measured quantity has not improved for some epochs, and puts the best weights back.

    Args:
        monitor: the quantity to watch; "val_loss" if there is validation data, else "loss", when not given.
        patience: epochs without improvement after which the run stops.
        min_delta: the least change that counts as an improvement.
        mode: "min" or "max"; "auto" takes the direction of known names: losses and errors fall, accuracies,
            scores, r2 and the like rise. A metric of another name needs a mode.
        restore_best_weights: put the parameters and buffers of the best epoch back at the end of the run.

    Attributes:
        best, best_epoch: the best value, and the epoch (from 0) it was reached in.
        stopped_epoch: the epoch after which the run was stopped, or None.

    Raises:
        ValueError: an unknown mode, a patience below 1, a quantity that is not measured, or one whose
            direction is not known without `mode`; the last two in a run.

    >>> import ranvier as rv
    >>> rv.EarlyStopping("val_accuracy", patience=3).mode
    'max'
    """

    patience: Any = Checked(count)
    restore_best_weights: Any = Checked(flag)

    def __init__(
        self,
        monitor: str | None = None,
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        self._monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience = patience
        self.restore_best_weights = restore_best_weights
        self._forget()
        self._made = True  # `Known` refuses new attributes from here on

    @property
    def monitor(self) -> str | None:
        """The quantity that is watched; None for "val_loss" or "loss"."""
        return self._monitor.name

    @property
    def min_delta(self) -> float:
        """The least change that counts."""
        return self._monitor.min_delta

    @property
    def mode(self) -> str:
        """ "min" or "max"; "auto" before the first run, if only the metric itself can say it."""
        return self._monitor.mode

    @property
    def best(self) -> float:
        return self._monitor.best

    @property
    def best_epoch(self) -> int | None:
        return self._monitor.best_epoch

    def on_train_begin(self) -> None:
        self._monitor.begin(self.trainer.metrics)
        self._forget()

    def _forget(self) -> None:
        self.stopped_epoch: int | None = None
        self._waited = 0
        self._weights: dict[str, npt.NDArray[Any]] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._waited += 1
        if self._monitor.improved(epoch, logs):
            self._waited = 0
            if self.restore_best_weights:
                state = self.trainer.model.state_dict()
                # copies: the run goes on to change the weights
                self._weights = {name: np.array(getattr(v, "_array", v)) for name, v in state.items()}
        elif self._waited >= self.patience:
            self.stopped_epoch = epoch
            self.trainer.stop_training = True

    def on_train_end(self) -> None:
        if self._weights is not None:
            self.trainer.model.load_state_dict(self._weights)
            self._weights = None

    def state_dict(self) -> dict[str, Any]:
        own = {"waited": self._waited, "stopped_epoch": self.stopped_epoch, "weights": self._weights}
        return {**self._monitor.state_dict(), **own}

    def require_state(self, state: Mapping[str, Any]) -> None:
        self._monitor.require_state(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._monitor.load_state_dict(state)
        self._waited = state["waited"]
        self.stopped_epoch = state["stopped_epoch"]
        self._weights = state["weights"]


def _unit(owner: str, name: str, value: object) -> str:
    if value not in ("epoch", "batch"):
        raise ValueError(f"[{owner}] got {name} '{value}'; expected 'epoch' or 'batch'")
    return str(value)


class Schedule(Known, Callback):
    """Steps a learning-rate schedule after each epoch, or after each update of the weights.

    Args:
        scheduler: an object of `optim.lr_scheduler` over the Trainer's optimizer, or anything with `step()`.
        per: "epoch", or "batch" for schedules that count updates (one-cycle, warm-up); with `accumulate`
            an update takes several batches.
        monitor: the measured quantity that `step` is given; a schedule whose `step` needs a value
            (reduce-on-plateau) gets "val_loss" if there is validation data, else "loss", when not given.
        mode: "min" or "max", that of a schedule with a `mode` of its own, where the monitor's direction is
            not known, or another one is meant.

    Raises:
        TypeError: a scheduler without `step`.
        ValueError: an unknown `per`; a monitor together with per="batch", or for a schedule that takes no
            value; a quantity that is not measured; a scheduler of another optimizer than the Trainer's, or
            one whose mode is not the direction of what it watches.

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

    per: Any = Checked(_unit)

    def __init__(
        self,
        scheduler: SchedulerLike,
        *,
        per: str = "epoch",
        monitor: str | None = None,
        mode: str = "auto",
    ) -> None:
        refuse_torch("Schedule", "a schedule", scheduler)
        if not callable(getattr(scheduler, "step", None)):
            raise TypeError(
                f"[Schedule] got a scheduler of type {type(scheduler).__name__}; expected a step method"
            )
        self.per = per
        self.scheduler: Any = scheduler
        self.monitor = monitor
        self.mode = one_of("Schedule", "mode", mode, ("auto", "min", "max"))
        self._said = False  # whether NaN was said
        self._watches = monitor is not None or _needs_a_value(scheduler)
        if self._watches and per == "batch":
            raise ValueError(
                "[Schedule] got per 'batch' for a schedule that watches a value; expected 'epoch'"
            )
        if monitor is not None and not _takes_a_value(scheduler):
            raise ValueError(
                f"[Schedule] got monitor '{monitor}' for {type(scheduler).__name__}, whose step takes no "
                "value; expected a schedule such as ReduceLROnPlateau"
            )
        if mode != "auto" and not self._has_mode():
            raise ValueError(
                f"[Schedule] got mode '{mode}' for a schedule without a mode of its own; expected 'auto'"
            )
        self._made = True

    @property
    def every_batch(self) -> bool:  # type: ignore[override]
        return bool(self.per == "batch")

    def on_train_begin(self) -> None:
        self._updates = self.trainer.updates
        groups = getattr(getattr(self.scheduler, "optimizer", None), "param_groups", [])
        groups_of_trainer = getattr(self.trainer.optimizer, "param_groups", groups)
        ids_of_trainer = {id(group) for group in groups_of_trainer}
        if groups and not any(id(group) in ids_of_trainer for group in groups):
            raise ValueError(
                "[Schedule] got a scheduler of an optimizer that the Trainer does not use; expected one over "
                "trainer.optimizer"
            )
        if self._has_mode():
            self._require_mode()
        self._note_length()

    def _note_length(self) -> None:
        """Warn of a schedule whose length is that of the run in the other unit: updates with per="epoch"."""
        trainer = self.trainer
        steps = _length(self.scheduler, self.per)
        epochs = trainer.last_epoch - trainer.epoch
        updates = epochs * -(-trainer.steps_per_epoch // trainer.accumulate)
        if not trainer.gives_hints or steps is None or epochs < 1 or updates <= 1.5 * epochs:
            return
        kind = type(self.scheduler).__name__
        # a length above it is nearer, as a ratio, to the number of updates, one below to that of epochs
        middle = math.sqrt(epochs * updates)
        if self.per == "epoch" and middle < steps <= 1.5 * updates:
            text = f"it steps after each of {epochs} epochs; expected per='batch': {updates} updates"
        elif self.per == "batch" and 0.5 * epochs <= steps <= min(middle, 1.5 * epochs):
            text = f"it steps after each of {updates} updates; expected per='epoch', or {updates} steps"
        else:
            return
        warnings.warn(f"[Schedule] got {kind} of {steps} steps, and {text}", HintWarning, stacklevel=5)

    def _has_mode(self) -> bool:
        """Whether the schedule itself tells better values from worse, as ReduceLROnPlateau."""
        return self._watches and getattr(self.scheduler, "mode", None) in ("min", "max")

    def _require_mode(self) -> None:
        """Raise ValueError unless the schedule's mode is the direction of what it watches."""
        ours = self.scheduler.mode
        expected = self.mode
        if expected == "auto" and self.monitor is not None:
            # "min" is the schedule's default: it may be that nobody has thought of it.
            given = ours == "max" and direction(self.monitor) is None
            if given:
                expected = ours
            else:
                expected = known_direction("Schedule", self.monitor, self.trainer.metrics)
        if expected not in ("auto", ours):
            name = type(self.scheduler).__name__
            raise ValueError(
                f"[Schedule] got {name} with mode '{ours}' for '{self.monitor or 'the loss'}', of which the "
                f"direction is '{expected}'; expected {name}(optimizer, mode='{expected}'), or "
                f"Schedule(..., mode='{ours}')"
            )

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if self.per == "batch":
            self._follow()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.per == "batch":
            self._follow()
        elif self._watches:
            value = watched("Schedule", self.monitor, logs)
            if math.isnan(value) and not self._said:
                self._said = True
                warn_of_nan("Schedule", self.monitor, logs)
            self.scheduler.step(value)
        else:
            self.scheduler.step()

    def _follow(self) -> None:
        """A step for each update since the last call."""
        while self._updates < self.trainer.updates:
            self.scheduler.step()
            self._updates += 1

    def state_dict(self) -> dict[str, Any]:
        if hasattr(self.scheduler, "state_dict"):
            state = self.scheduler.state_dict()
        else:
            state = None
        return {"scheduler": state, "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._updates = state["updates"]
        if state["scheduler"] is not None:
            self.scheduler.load_state_dict(state["scheduler"])


def _needs_a_value(scheduler: SchedulerLike) -> bool:
    """True if the first argument of `step` must be given, as in ReduceLROnPlateau."""
    parameters = list(inspect.signature(scheduler.step).parameters.values())
    if not parameters:
        return False
    first = parameters[0]
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return first.kind in positional and first.default is inspect.Parameter.empty


def _takes_a_value(scheduler: SchedulerLike) -> bool:
    """True if `step` takes a measured value: a first argument that is not the epoch."""
    parameters = inspect.signature(scheduler.step).parameters
    return next(iter(parameters), "epoch") != "epoch"


# attributes of schedules, PyTorch's names: the length of a schedule, and of one of its cycles
_LENGTHS = ("total_steps", "T_max", "total_iters", "milestones")
_CYCLES = ("T_0", "total_size")


def _length(scheduler: SchedulerLike, per: str) -> int | None:
    """The steps after which a schedule is at its end, with per="epoch" also a cycle of one that has none;
    None for others, and for a warm-up, which may end early."""
    from ranvier.optim.lr_scheduler import SequentialLR

    if isinstance(scheduler, SequentialLR):
        last = _length(scheduler._schedulers[-1], per)
        if last is None:
            return None
        return int(scheduler._milestones[-1]) + last
    names = _LENGTHS + _CYCLES if per == "epoch" else _LENGTHS
    present = [name for name in names if hasattr(scheduler, name)]
    if not present or type(scheduler).__name__ in ("LinearLR", "ConstantLR"):
        return None
    steps = getattr(scheduler, present[0])
    if present[0] == "milestones":
        steps = max(steps, default=0)
    if isinstance(steps, (int, float)):
        return int(steps)
    return None


own_errors(globals(), __all__)
