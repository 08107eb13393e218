"""LRScheduler, the base of the schedules, and ReduceLROnPlateau."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Mapping
from operator import index
from types import FunctionType
from typing import Any, ClassVar

from ranvier.extension import home_of
from ranvier.observe import refuse
from ranvier.optim.optimizer import Group, Optimizer
from ranvier.optim.optimizer_state import plain
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import number, one_of, own_errors
from ranvier.tensors.failures import OpError
from ranvier.tensors.sanitize import settable
from ranvier.tensors.tensor import Tensor

__all__ = ["LRScheduler", "ReduceLROnPlateau"]


class LRScheduler:
    """Base of the schedules: ``step()`` after each epoch (or batch) sets the learning rates of the groups.

    Call it after ``optimizer.step()``. If a rate is a Tensor, the new value is written into it; a number is
    replaced. Several schedules may act on one optimizer: each changes the present rate.

    Args:
        last_epoch: -1 starts a schedule; else the groups must have the ``initial_lr`` of the run to continue.

    A subclass has ``get_lr()``, which computes the rates at ``self.last_epoch`` from the present rates. It
    may have ``_get_closed_form_lr()``, which computes them from the initial rates, for ``step(epoch)``.

    Raises TypeError for an object that is not an Optimizer, KeyError if initial_lr is missing.
    """

    # PyTorch's names. `_is_initial` is True in the first step, which the constructor makes: get_lr() of some
    # schedules (multiplicative.py, cyclic.py) then leaves the rates as they are. get_lr() of programs reads
    # the second one.
    _is_initial = _get_lr_called_within_step = False

    # Attributes from which the constructor computes others (mode_worse of mode, T_i of T_0): a later value of
    # these alone would act in part.
    _consumed: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own_errors(cls, ["step"])

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        require_optimizer(type(self).__name__, optimizer)
        require_whole(type(self).__name__, "last_epoch", last_epoch, -1)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"[{type(self).__name__}] got last_epoch {last_epoch} and param_groups[{i}] without "
                    "initial_lr; expected the groups of the run to continue"
                )
        self.base_lrs: list[float] = [copied(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._initial_step()

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; one that only the constructor reads is refused once the schedule has begun."""
        own = vars(self)
        kind: Any = type(self)
        # An argument that is no attribute is also read once. `_last_lr` is there after the first step.
        is_read_once = name in self._consumed or name not in own
        if is_read_once and "_last_lr" in own and name in _arguments_of(kind):
            raise AttributeError(
                f"[{kind.__name__}] got a new {name}, which only the constructor reads; expected a new "
                f"{kind.__name__}"
            )
        object.__setattr__(self, name, value)

    def _initial_step(self) -> None:
        """The first step: the constructor makes it, and SequentialLR once more for its first schedule."""
        self._step_count = 0
        self._is_initial = True
        self.step()
        self._is_initial = False

    def get_lr(self) -> list[float]:
        """The rates at ``last_epoch``; ``get_last_lr`` returns the present ones."""
        raise NotImplementedError

    def _get_closed_form_lr(self) -> list[float]:
        """The rates at ``last_epoch``, computed from the initial rates."""
        return self.get_lr()

    def get_last_lr(self) -> list[float]:
        """The rates that the last ``step()`` set, one for each group."""
        return self._last_lr

    def step(self, epoch: float | None = None) -> None:
        """Advances by one epoch, or to the given one."""
        self._step_count += 1
        self._update_lr(epoch)

    def _update_lr(self, epoch: float | None = None) -> None:
        """`step` without its count; SequentialLR calls it to begin a schedule. epoch: as of `step`."""
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch  # type: ignore[assignment]
        self._get_lr_called_within_step = True  # Without it, get_lr of PyTorch programs would warn.
        try:
            if epoch is None:
                rates = self.get_lr()
            else:
                rates = self._get_closed_form_lr()
        finally:
            self._get_lr_called_within_step = False
        self._set(rates)

    def _set(self, rates: list[float]) -> None:
        refuse("a schedule's step()", "call it after the compiled step, which sees the new rate")
        groups = self.optimizer.param_groups
        if len(rates) != len(groups):
            got = self._of_groups(len(rates), "the rates of get_lr()")
            raise OpError(f"{got}; expected one for each: get_lr() that reads optimizer.param_groups")
        for group, rate in zip(groups, rates, strict=True):
            set_rate(group, rate)
        self._last_lr = self._rates()

    def _each(self, key: str) -> list[Any]:
        """The attribute `key`, a list with one value for each group. Raises ValueError if it has too few or
        too many: the program has added or removed a group."""
        values: list[Any] = getattr(self, key)
        if len(values) != len(self.optimizer.param_groups):
            got = self._of_groups(len(values), key)
            raise OpError(
                f"{got}; expected one for each: change schedule.{key}, or make the schedule after the groups"
            )
        return values

    def _in_group(self, group: Group, key: str) -> Any:
        """The value that the constructor put into each group. Raises KeyError for a group that was added
        later."""
        if key not in group:
            raise KeyError(
                f"[{type(self).__name__}] got a group without {key}: it was added later; expected a "
                f"group with {key!r}, or a schedule that is made after the groups"
            )
        return group[key]

    def _of_groups(self, count: int, what: str) -> str:
        """The first part of the error for a number of values that is not that of the groups."""
        groups = len(self.optimizer.param_groups)
        change = "added" if groups > count else "removed"
        return (
            f"[{type(self).__name__}] got {groups} groups and {what} for {count}: a group was {change} later"
        )

    def _rates(self) -> list[float]:
        return [copied(group["lr"]) for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[float]:
        return [rate * factor for rate in self._rates()]

    def state_dict(self) -> dict[str, Any]:
        """All attributes except the optimizer, as plain values. Of callable objects it has the attributes."""
        return {k: _state_of(v) for k, v in vars(self).items() if k != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continues from a ``state_dict``. The rates are in the state dict of the optimizer."""
        if not isinstance(state_dict, Mapping):
            kind = type(state_dict).__name__
            raise TypeError(f"[{type(self).__name__}] got {kind}; expected a state dict of a schedule")
        for key, value in state_dict.items():
            if key == "optimizer" or not settable(type(self), key):
                raise ValueError(
                    f"[{type(self).__name__}] got the state {key!r}; expected attributes of a schedule"
                )
            own = vars(self).get(key)
            if isinstance(own, LRScheduler) or callable(own):
                _load_into(own, value)
            elif isinstance(own, list) and any(isinstance(x, LRScheduler) or callable(x) for x in own):
                for item, saved in zip(own, value, strict=True):
                    _load_into(item, saved)
            else:
                object.__setattr__(self, key, value)


@functools.cache
def _arguments_of(kind: type) -> frozenset[str]:
    """The arguments of the constructor of a schedule of the library; none for a class of a program, which may
    set them after it has called ours."""
    if not home_of(kind).startswith("ranvier."):
        return frozenset()
    return frozenset(inspect.signature(kind).parameters)


def _state_of(value: Any) -> Any:
    """An attribute of a schedule as its state dict has it; None for a function, which cannot be saved."""
    if isinstance(value, LRScheduler):
        return value.state_dict()
    if isinstance(value, (list, tuple)):
        return [_state_of(v) for v in value]
    if callable(value):
        if isinstance(value, FunctionType):
            return None
        return dict(vars(value))
    return value


def _load_into(target: Any, saved: Any) -> None:
    """Gives a schedule or callable object what `_state_of` has made of it."""
    if isinstance(target, LRScheduler):
        target.load_state_dict(saved)
    elif saved is not None:
        attributes = {key: value for key, value in saved.items() if settable(type(target), key)}
        vars(target).update(attributes)


def copied(rate: Any) -> Any:
    """The rate; a copy if it is a Tensor, into which `set_rate` writes."""
    if isinstance(rate, Tensor):
        return rate.detach().clone()
    return rate


def set_rate(group: Group, rate: float | Tensor) -> None:
    """Sets the rate of a group. If the rate is a Tensor, the value is written into it, so that every holder
    of the Tensor sees it."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(plain(rate))
    else:
        group["lr"] = rate


def require_optimizer(name: str, optimizer: Optimizer) -> None:
    """Raises TypeError unless it is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        refuse_torch(name, "an optimizer", optimizer)
        raise TypeError(f"[{name}] got optimizer of type {type(optimizer).__name__}; expected an Optimizer")


def for_each_group(name: str, key: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """A list with one value for each group. Raises ValueError for a list of another length."""
    require_optimizer(name, optimizer)
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"[{name}] got {len(value)} values of {key}; expected one for each of {count} groups"
        )
    return list(value)


def require_numbers(name: str, **values: object) -> None:
    """Raises TypeError unless each value is a number or a list of numbers, and ValueError for nan.

    name: the schedule, for the error. values: its arguments by name, one for all groups or a list.
    """
    for key, value in values.items():
        several = value if isinstance(value, (list, tuple)) else (value,)
        for x in several:
            number(name, key, x)


def require_whole(name: str, key: str, value: Any, least: int = 1) -> None:
    """Raises ValueError unless value is a whole number of at least `least`."""
    try:
        whole = index(value)
    except TypeError:
        whole = least - 1
    if isinstance(value, bool) or whole < least:
        raise ValueError(f"[{name}] got {key} {value!r}; expected a whole number, at least {least}")


class ReduceLROnPlateau(LRScheduler):
    """lr *= factor if the values given to ``step(value)`` have not improved for more than `patience` epochs.

    Args:
        mode: "min", smaller is better, or "max".
        threshold, threshold_mode: the smallest change that counts as an improvement: a share of the best
            value ("rel"), or absolute ("abs").
        cooldown: the number of epochs after a reduction that do not count.
        min_lr: the lowest rate, or a list with one for each group.
        eps: the rate stays as it is if it would change by less than this.

    Raises ValueError for a factor of 1 or more or an unknown mode.

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5)
    >>> schedule = rv.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for loss in (1.0, 0.9, 0.9, 0.9): schedule.step(loss)
    >>> schedule.get_last_lr()
    [0.25]
    """

    mode: str
    _consumed = ("mode",)

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        require_optimizer(name, optimizer)
        if not number(name, "factor", factor) < 1.0:
            raise ValueError(f"[{name}] got factor {factor}; expected below 1")
        require_numbers(
            name, threshold=threshold, min_lr=min_lr, eps=eps, patience=patience, cooldown=cooldown
        )
        self.optimizer = optimizer
        self.factor = factor
        self.eps = eps
        self.default_min_lr = None if isinstance(min_lr, (list, tuple)) else min_lr
        self.min_lrs = for_each_group(name, "min_lr", optimizer, min_lr)
        self.patience = patience
        self.cooldown = cooldown
        self.last_epoch = 0
        self._init_is_better(mode, threshold, threshold_mode)
        self._reset()
        self._last_lr = self._rates()

    def _init_is_better(self, mode: str, threshold: float, threshold_mode: str) -> None:
        name = "ReduceLROnPlateau"
        one_of(name, "mode", mode, ("min", "max"))
        one_of(name, "threshold_mode", threshold_mode, ("rel", "abs"))
        # Past `__setattr__`: a program may call this method, which PyTorch has, and `mode` is in `_consumed`.
        vars(self)["mode"] = mode
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.mode_worse = math.inf if mode == "min" else -math.inf

    def _reset(self) -> None:
        """Starts anew: without a best value, and with 0 epochs without improvement."""
        self.best = self.mode_worse
        self.cooldown_counter = self.num_bad_epochs = 0

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Ends an epoch. metrics: the value of the watched quantity in this epoch, such as a loss."""
        value = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(value, self.best):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce_lr(self.last_epoch)
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._rates()

    @property
    def in_cooldown(self) -> bool:
        """True during a cooldown, in which epochs do not count."""
        return self.cooldown_counter > 0

    def _reduce_lr(self, epoch: int) -> None:
        """Lowers the rates of the groups."""
        groups = self.optimizer.param_groups
        if len(groups) != len(self.min_lrs):  # The program has added groups.
            if self.default_min_lr is None:
                raise RuntimeError(
                    f"[ReduceLROnPlateau] got {len(groups)} groups and min_lr for {len(self.min_lrs)}: a "
                    "group was added later; expected one for each: add to schedule.min_lrs"
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, least in zip(groups, self.min_lrs, strict=True):
            rate = max(group["lr"] * self.factor, least)
            if group["lr"] - rate > self.eps:
                set_rate(group, rate)

    def _is_better(self, a: float, best: float) -> bool:
        sign = -1.0 if self.mode == "min" else 1.0
        if self.threshold_mode == "rel":
            limit = best * (1.0 + sign * self.threshold)
        else:
            limit = best + sign * self.threshold
        if self.mode == "min":
            return a < limit
        return a > limit
