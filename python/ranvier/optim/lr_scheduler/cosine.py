"""Schedules along half a cosine, once or with restarts."""

from __future__ import annotations

import math

from ranvier.optim.lr_scheduler.base import LRScheduler, require_range, require_whole
from ranvier.optim.optimizer import Optimizer

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts"]


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (initial lr - eta_min) (1 + cos(pi epoch / T_max)) / 2; after T_max it rises again.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5)
    >>> schedule = rv.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> schedule.step(); schedule.get_last_lr()
    [0.25]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        require_range("CosineAnnealingLR", "T_max", T_max, 0, math.inf, above=True)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._rates()
        epoch, length, low = self.last_epoch, self.T_max, self.eta_min
        if self._step_count == 1 and epoch > 0:
            return [
                low + (base - low) * (1 + math.cos(epoch * math.pi / length)) / 2 for base in self.base_lrs
            ]
        if (epoch - 1 - length) % (2 * length) == 0:  # the previous rate is eta_min: the ratio is undefined
            return [
                rate + (base - low) * (1 - math.cos(math.pi / length)) / 2
                for base, rate in zip(self.base_lrs, self._rates(), strict=True)
            ]
        ratio = (1 + math.cos(math.pi * epoch / length)) / (1 + math.cos(math.pi * (epoch - 1) / length))
        return [ratio * (rate - low) + low for rate in self._rates()]

    def closed_form(self) -> list[float]:
        wave = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [self.eta_min + (lr - self.eta_min) * wave / 2 for lr in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial lr to eta_min in T_0 epochs, then again in T_0 T_mult, T_0 T_mult^2 ...

    ``step(epoch + batch / batches)`` moves along it within an epoch.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5)
    >>> schedule = rv.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> [(schedule.step(), schedule.get_last_lr()[0])[1] for _ in range(2)]
    [0.25, 0.5]
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        require_whole("CosineAnnealingWarmRestarts", "T_0", T_0)
        require_whole("CosineAnnealingWarmRestarts", "T_mult", T_mult)
        self.T_0 = self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        wave = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (lr - self.eta_min) * wave / 2 for lr in self.base_lrs]

    def step(self, epoch: float | None = None) -> None:
        """Advances by one epoch, or to the given one, which may be fractional."""
        if epoch is None and self.last_epoch < 0:
            epoch = 0
        if epoch is None:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur %= self.T_i
                self.T_i *= self.T_mult
        elif epoch < 0:
            raise ValueError(f"[CosineAnnealingWarmRestarts] got epoch {epoch}; expected at least 0")
        else:
            self._find(epoch)
        self.last_epoch = math.floor(epoch)
        self._set(self.get_lr())

    def _find(self, epoch: float) -> None:
        """Sets T_i and T_cur: the cosine of an epoch, and the position in it."""
        first, factor = self.T_0, self.T_mult
        if epoch < first:
            self.T_i, self.T_cur = first, epoch
        elif factor == 1:
            self.T_cur = epoch % first
        else:
            n = int(math.log(epoch / first * (factor - 1) + 1, factor))
            self.T_cur = epoch - first * (factor**n - 1) / (factor - 1)
            self.T_i = first * factor**n
