"""Schedules that multiply the rate by a factor: from functions of the user, in steps, linear, exponential."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from warnings import warn

from ranvier.optim.lr_scheduler.base import LRScheduler, for_each_group, require_whole
from ranvier.optim.optimizer import Optimizer
from ranvier.tensors.errors import number, ordered, require_function

__all__ = [
    "ConstantLR", "ExponentialLR", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR",
    "PolynomialLR", "StepLR",
]  # fmt: skip

Factor = Callable[[int], float]


class _OfFunctions(LRScheduler):
    """Base of schedules that get a function of the epoch, or one function for each parameter group."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Factor | Sequence[Factor], last_epoch: int = -1
    ) -> None:
        name = type(self).__name__
        self.lr_lambdas: list[Factor] = for_each_group(name, "lr_lambda", optimizer, lr_lambda)
        for function in self.lr_lambdas:
            require_function(name, "lr_lambda", function)
        super().__init__(optimizer, last_epoch)

    def _factors(self) -> list[float]:
        """What the functions return for the present epoch."""
        factors = [function(self.last_epoch) for function in self._each("lr_lambdas")]
        for factor in factors:
            number(type(self).__name__, "a result of lr_lambda,", factor)
        return factors


class LambdaLR(_OfFunctions):
    """lr = initial lr * lr_lambda(epoch); one function, or one for each group.

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    >>> rates = [*schedule.get_last_lr()]
    >>> for _ in range(4):
    ...     schedule.step(); rates += schedule.get_last_lr()
    >>> [round(rate, 4) for rate in rates]
    [0.5, 0.25, 0.125, 0.0625, 0.0312]
    """

    def get_lr(self) -> list[float]:
        factors = self._factors()
        return [lr * factor for lr, factor in zip(self._each("base_lrs"), factors, strict=True)]


class MultiplicativeLR(_OfFunctions):
    """lr *= lr_lambda(epoch), from epoch 1 on; one function, or one for each group.

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda epoch: 0.5)
    >>> rates = [*schedule.get_last_lr()]
    >>> for _ in range(4):
    ...     schedule.step(); rates += schedule.get_last_lr()
    >>> [round(rate, 4) for rate in rates]
    [0.5, 0.25, 0.125, 0.0625, 0.0312]
    """

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._rates()
        factors = self._factors()
        return [lr * factor for lr, factor in zip(self._rates(), factors, strict=True)]


class StepLR(LRScheduler):
    """lr *= gamma every step_size epochs.

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    >>> rates = [*schedule.get_last_lr()]
    >>> for _ in range(4):
    ...     schedule.step(); rates += schedule.get_last_lr()
    >>> [round(rate, 4) for rate in rates]
    [0.5, 0.5, 0.25, 0.25, 0.125]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: float, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        epochs = step_size
        if isinstance(step_size, float) and step_size.is_integer():  # PyTorch's tutorials give 1.0.
            epochs = int(step_size)
        require_whole("StepLR", "step_size", epochs)
        number("StepLR", "gamma", gamma)
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        falls = self.last_epoch != 0 and self.last_epoch % self.step_size == 0
        if falls:
            return self._scaled(self.gamma)
        return self._rates()

    def _get_closed_form_lr(self) -> list[float]:
        falls = self.last_epoch // self.step_size
        return [lr * float(self.gamma) ** falls for lr in self._each("base_lrs")]


def _epoch(milestone: float) -> float:
    """A milestone: an int if it is a whole number, else a float."""
    epoch = float(milestone)
    if epoch.is_integer():
        return int(epoch)
    return epoch


class MultiStepLR(LRScheduler):
    """lr *= gamma at each of the milestones; a milestone that is given twice counts twice.

    For a milestone between two epochs, which is never reached, there is a warning.

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 3], gamma=0.5)
    >>> rates = [*schedule.get_last_lr()]
    >>> for _ in range(4):
    ...     schedule.step(); rates += schedule.get_last_lr()
    >>> [round(rate, 4) for rate in rates]
    [0.5, 0.25, 0.25, 0.125, 0.125]
    """

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        number("MultiStepLR", "gamma", gamma)
        epochs = ordered("MultiStepLR", milestones, "milestones")
        for epoch in epochs:
            if isinstance(epoch, float) and epoch >= 0:
                if not epoch.is_integer():
                    warn(f"[MultiStepLR] got milestones {epoch}, which no epoch reaches", stacklevel=2)
            else:
                require_whole("MultiStepLR", "milestones", epoch, 0)
        self.milestones = Counter(map(_epoch, epochs))
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        times = self.milestones[self.last_epoch]
        if times:
            return self._scaled(float(self.gamma) ** times)
        return self._rates()

    def _get_closed_form_lr(self) -> list[float]:
        passed = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [lr * float(self.gamma) ** passed for lr in self._each("base_lrs")]

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        # In a state from JSON the epochs are strings.
        self.milestones = Counter({_epoch(k): v for k, v in state_dict["milestones"].items()})


class ConstantLR(LRScheduler):
    """lr = factor * initial lr for total_iters epochs, then the initial lr.

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=1)
    >>> rates = [*schedule.get_last_lr()]
    >>> for _ in range(4):
    ...     schedule.step(); rates += schedule.get_last_lr()
    >>> [round(rate, 4) for rate in rates]
    [0.25, 0.5, 0.5, 0.5, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        number("ConstantLR", "factor", factor, 0, 1)
        number("ConstantLR", "total_iters", total_iters)
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.factor)
        if self.last_epoch != self.total_iters:
            return self._rates()
        if self.factor:
            return self._scaled(1.0 / self.factor)
        return self._get_closed_form_lr()  # The rate is 0, from which no factor leads back.

    def _get_closed_form_lr(self) -> list[float]:
        over = self.last_epoch >= self.total_iters
        return [lr * (self.factor + over * (1 - self.factor)) for lr in self._each("base_lrs")]


class LinearLR(LRScheduler):
    """lr = initial lr times a factor that moves from start_factor to end_factor in total_iters epochs.

    Before another schedule, in `SequentialLR`, it is a warm-up:

    >>> import ranvier as rv
    >>> from ranvier.optim import lr_scheduler
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=1.0)
    >>> warm_up = lr_scheduler.LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> cosine = lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> schedule = lr_scheduler.SequentialLR(optimizer, [warm_up, cosine], milestones=[3])
    >>> for _ in range(6):
    ...     print(round(schedule.get_last_lr()[0], 4)); optimizer.step(); schedule.step()
    0.25
    0.5
    0.75
    1.0
    0.5
    0.0
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        number("LinearLR", "start_factor", start_factor, 0, 1, above=True)
        number("LinearLR", "end_factor", end_factor, 0, 1)
        number("LinearLR", "total_iters", total_iters)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._scaled(self.start_factor)
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._rates()
        if self.last_epoch == self.total_iters and self.end_factor == 0:
            return self._scaled(0.0)  # The quotients below would end at -2e-18.
        change = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * change
        return self._scaled(1.0 + change / before)

    def _get_closed_form_lr(self) -> list[float]:
        change = self.end_factor - self.start_factor
        done = min(self.total_iters, self.last_epoch)
        return [lr * (self.start_factor + change * done / self.total_iters) for lr in self._each("base_lrs")]


class PolynomialLR(LRScheduler):
    """lr = initial lr * (1 - epoch / total_iters)^power, 0 after total_iters epochs.

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=4)
    >>> rates = [*schedule.get_last_lr()]
    >>> for _ in range(4):
    ...     schedule.step(); rates += schedule.get_last_lr()
    >>> [round(rate, 4) for rate in rates]
    [0.5, 0.375, 0.25, 0.125, 0.0]
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        number("PolynomialLR", "total_iters", total_iters)
        number("PolynomialLR", "power", power)
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._is_initial or self.last_epoch > self.total_iters:
            return self._rates()
        left, before = (1.0 - epoch / self.total_iters for epoch in (self.last_epoch, self.last_epoch - 1))
        return self._scaled((left / before) ** self.power)

    def _get_closed_form_lr(self) -> list[float]:
        left = 1.0 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [lr * left**self.power for lr in self._each("base_lrs")]


class ExponentialLR(LRScheduler):
    """lr *= gamma in each epoch.

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    >>> rates = [*schedule.get_last_lr()]
    >>> for _ in range(4):
    ...     schedule.step(); rates += schedule.get_last_lr()
    >>> [round(rate, 4) for rate in rates]
    [0.5, 0.25, 0.125, 0.0625, 0.0312]
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        number("ExponentialLR", "gamma", gamma)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._rates()
        return self._scaled(self.gamma)

    def _get_closed_form_lr(self) -> list[float]:
        return [lr * float(self.gamma) ** self.last_epoch for lr in self._each("base_lrs")]
