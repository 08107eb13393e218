"""LRScheduler, the base of the schedules, and their common checks."""

from __future__ import annotations

from collections.abc import Mapping
from types import FunctionType
from typing import Any

from ranvier.autograd.recording import refuse
from ranvier.optim.optimizer import Optimizer

__all__ = ["LRScheduler"]


class LRScheduler:
    """Base of the schedules: ``step()`` after each epoch (or batch) sets the learning rates of the groups.

    Call it after ``optimizer.step()``. Several schedules may act on one optimizer: each changes the present
    rate.

    Args:
        last_epoch: -1 starts a schedule; else the groups must have the ``initial_lr`` of the run to continue.

    A subclass has ``get_lr()``, which computes the rates at ``self.last_epoch`` from the present ones, and
    may have ``closed_form()``, which computes them from the initial ones, for ``step(epoch)``.

    Raises TypeError for an object that is not an Optimizer, KeyError if initial_lr is missing.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        require_optimizer(type(self).__name__, optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise KeyError(
                    f"[{type(self).__name__}] got last_epoch {last_epoch} and param_groups[{i}] without "
                    "initial_lr; expected the groups of the run to continue"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._begin()

    def _begin(self) -> None:
        self._step_count, self._is_initial = 0, True
        self.step()
        self._is_initial = False

    def get_lr(self) -> list[float]:
        """The rates at ``last_epoch``; ``get_last_lr`` returns the present ones."""
        raise NotImplementedError

    def closed_form(self) -> list[float]:
        """The rates at ``last_epoch``, computed from the initial ones."""
        return self.get_lr()

    def get_last_lr(self) -> list[float]:
        """The rates that the last ``step()`` set, one for each group."""
        return self._last_lr

    def step(self, epoch: float | None = None) -> None:
        """Advances by one epoch, or to the given one."""
        self._step_count += 1
        self._update(epoch)

    def _update(self, epoch: float | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch  # type: ignore[assignment]
        self._set(self.get_lr() if epoch is None else self.closed_form())

    def _set(self, rates: list[float]) -> None:
        refuse("a schedule's step()", "call it after the compiled step, which sees the new rate")
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def _scaled(self, factor: float) -> list[float]:
        return [rate * factor for rate in self._rates()]

    def state_dict(self) -> dict[str, Any]:
        """All attributes except the optimizer as plain values; of callable objects their attributes."""
        return {k: _state_of(v) for k, v in vars(self).items() if k != "optimizer"}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continues from a ``state_dict``; the rates are in that of the optimizer."""
        for key, value in state_dict.items():
            own = getattr(self, key, None)
            if isinstance(own, LRScheduler) or callable(own):
                _load_into(own, value)
            elif isinstance(own, list) and any(isinstance(x, LRScheduler) or callable(x) for x in own):
                for item, saved in zip(own, value, strict=True):
                    _load_into(item, saved)
            else:
                setattr(self, key, value)


def _state_of(value: Any) -> Any:
    if isinstance(value, LRScheduler):
        return value.state_dict()
    if isinstance(value, (list, tuple)):
        return [_state_of(v) for v in value]
    if callable(value):
        return None if isinstance(value, FunctionType) else dict(vars(value))
    return value


def _load_into(own: Any, saved: Any) -> None:
    if isinstance(own, LRScheduler):
        own.load_state_dict(saved)
    elif saved is not None:
        vars(own).update(saved)


def require_optimizer(name: str, optimizer: Any) -> None:
    """Raises TypeError unless it is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"[{name}] got optimizer of type {type(optimizer).__name__}; expected an Optimizer")


def for_each_group(name: str, key: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """One value for each group; raises ValueError for a list of another length."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"[{name}] got {len(value)} values of {key}; expected one for each of {count} groups"
        )
    return list(value)


def require_range(name: str, key: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    """Raises ValueError unless low <= value <= high; with `above`, low < value."""
    if not (low <= value <= high) or (above and value == low):
        raise ValueError(
            f"[{name}] got {key} {value}; expected {low} {'<' if above else '<='} {key} <= {high}"
        )


def require_whole(name: str, key: str, value: Any, least: int = 1) -> None:
    """Raises ValueError unless value is a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"[{name}] got {key} {value}; expected a whole number, at least {least}")
