"""Schedules along a curve that goes up and down: half a cosine, OneCycleLR, CyclicLR."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ranvier.optim.lr_scheduler.base import (
    LRScheduler,
    for_each_group,
    require_numbers,
    require_whole,
    set_rate,
)
from ranvier.optim.optimizer import Group, Optimizer
from ranvier.tensors.errors import number, one_of, truth

__all__ = ["CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "OneCycleLR"]


class CosineAnnealingLR(LRScheduler):
    """lr = eta_min + (initial lr - eta_min) (1 + cos(pi epoch / T_max)) / 2; after T_max it rises again.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2)
    >>> rates = [*schedule.get_last_lr()]
    >>> for _ in range(4):
    ...     schedule.step(); rates += schedule.get_last_lr()
    >>> [round(rate, 4) for rate in rates]
    [0.5, 0.25, 0.0, 0.25, 0.5]
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        number("CosineAnnealingLR", "T_max", T_max, 0, above=True)
        number("CosineAnnealingLR", "eta_min", eta_min)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self._is_initial:
            return self._rates()
        epoch = self.last_epoch
        length = self.T_max
        low = self.eta_min
        if self._step_count == 1 and epoch > 0:
            height = 1 + math.cos(epoch * math.pi / length)
            return [low + (base - low) * height / 2 for base in self._each("base_lrs")]
        if (epoch - 1 - length) % (2 * length) == 0:  # The last rate is eta_min, so the ratio is undefined.
            rise = 1 - math.cos(math.pi / length)
            pairs = zip(self._each("base_lrs"), self._rates(), strict=True)
            return [rate + (base - low) * rise / 2 for base, rate in pairs]
        ratio = (1 + math.cos(math.pi * epoch / length)) / (1 + math.cos(math.pi * (epoch - 1) / length))
        return [ratio * (rate - low) + low for rate in self._rates()]

    def _get_closed_form_lr(self) -> list[float]:
        wave = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [self.eta_min + (lr - self.eta_min) * wave / 2 for lr in self._each("base_lrs")]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the initial lr to eta_min in T_0 epochs, then again in T_0 T_mult, T_0 T_mult^2 ...

    ``step(epoch + batch / batches)`` changes the rate within an epoch, too.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts" (2017).

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=2)
    >>> rates = [*schedule.get_last_lr()]
    >>> for _ in range(4):
    ...     schedule.step(); rates += schedule.get_last_lr()
    >>> [round(rate, 4) for rate in rates]
    [0.5, 0.25, 0.5, 0.25, 0.5]
    """

    _consumed = ("T_0",)

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        require_whole("CosineAnnealingWarmRestarts", "T_0", T_0)
        require_whole("CosineAnnealingWarmRestarts", "T_mult", T_mult)
        number("CosineAnnealingWarmRestarts", "eta_min", eta_min)
        self.T_0 = self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        wave = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (lr - self.eta_min) * wave / 2 for lr in self._each("base_lrs")]

    def step(self, epoch: float | None = None) -> None:
        """Advances by one epoch, or to the given epoch, which may be a fraction."""
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
        """Sets T_i, the length of the cosine in which an epoch lies, and T_cur, the epochs since it began."""
        first = self.T_0
        factor = self.T_mult
        if epoch < first:
            self.T_i = first
            self.T_cur = epoch
        elif factor == 1:
            self.T_cur = epoch % first
        else:
            n = int(math.log(epoch / first * (factor - 1) + 1, factor))
            self.T_cur = epoch - first * (factor**n - 1) / (factor - 1)
            self.T_i = first * factor**n


Values = float | Sequence[float]


class _WithMomentum(LRScheduler):
    """Base of schedules that also move the momentum of the groups, or beta1, between base_momentum and
    max_momentum."""

    cycle_momentum: bool
    use_beta1: bool

    def _prepare_momentum(self, optimizer: Optimizer, base: Values, most: Values, fresh: bool) -> None:
        """Sets the limits of momentum, or beta1, which falls while the rate rises. fresh: whether the
        schedule starts, or else continues a run whose groups have the limits."""
        name = type(self).__name__
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise ValueError(
                f"[{name}] got cycle_momentum with {type(optimizer).__name__}; expected an optimizer with "
                "momentum or betas"
            )
        self.use_beta1 = "betas" in optimizer.defaults
        lows = for_each_group(name, "base_momentum", optimizer, base)
        highs = for_each_group(name, "max_momentum", optimizer, most)
        if fresh:
            for low, high, group in zip(lows, highs, optimizer.param_groups, strict=True):
                group["base_momentum"] = low
                group["max_momentum"] = high
                self._set_momentum(group, high)

    def _set_momentum(self, group: Group, value: float) -> None:
        if self.use_beta1:
            group["betas"] = (value, *group["betas"][1:])
        else:
            group["momentum"] = value


class OneCycleLR(_WithMomentum):
    """One cycle over total_steps batches: up to max_lr, then below the initial rate. Call ``step()`` after
    each batch.

    The rate rises from max_lr / div_factor, the initial rate, to max_lr. This takes the share pct_start of
    the steps. Then it falls to the initial rate divided by final_div_factor; with three_phase it falls to the
    initial rate first. The momentum (or beta1) moves from max_momentum to base_momentum and back.

    Args:
        total_steps: the number of steps; or give epochs and steps_per_epoch.
        anneal_strategy: "cos" or "linear", the form of the curve.

    Raises ValueError for settings out of range, and for more steps than total_steps.
    Source: Smith and Topin, "Super-Convergence" (2017), as in PyTorch.

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.1, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10, pct_start=0.5)
    >>> for _ in range(4): schedule.step()
    >>> schedule.get_last_lr(), optimizer.param_groups[0]["momentum"]
    ([1.0], 0.85)
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Values,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Values = 0.85,
        max_momentum: Values = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        steps: dict[str, Any] = {"total_steps": total_steps}
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ValueError(
                    "[OneCycleLR] got no total_steps; expected it, or epochs and steps_per_epoch"
                )
            steps = {"epochs": epochs, "steps_per_epoch": steps_per_epoch}
        for key, count in steps.items():
            require_whole("OneCycleLR", key, count)
        self.total_steps: int = math.prod(steps.values())
        number("OneCycleLR", "pct_start", pct_start, 0, 1)
        # The two names with an underscore are PyTorch's, since state dicts have all attributes.
        self._anneal_func_type = one_of("OneCycleLR", "anneal_strategy", anneal_strategy, ("cos", "linear"))
        three = truth("OneCycleLR", "three_phase", three_phase)
        self._schedule_phases = _phases(float(pct_start), self.total_steps, three)
        require_whole("OneCycleLR", "last_epoch", last_epoch, -1)
        require_numbers("OneCycleLR", max_lr=max_lr, base_momentum=base_momentum, max_momentum=max_momentum)
        number("OneCycleLR", "div_factor", div_factor, 0, above=True)
        number("OneCycleLR", "final_div_factor", final_div_factor, 0, above=True)
        if last_epoch == -1:
            highest = for_each_group("OneCycleLR", "max_lr", optimizer, max_lr)
            for high, group in zip(highest, optimizer.param_groups, strict=True):
                group["initial_lr"] = high / div_factor
                group["max_lr"] = high
                group["min_lr"] = group["initial_lr"] / final_div_factor
        self.cycle_momentum = cycle_momentum
        if truth("OneCycleLR", "cycle_momentum", cycle_momentum):
            self._prepare_momentum(optimizer, base_momentum, max_momentum, last_epoch == -1)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_steps:
            raise ValueError(f"[OneCycleLR] got step {self.last_epoch}; expected at most {self.total_steps}")
        phases = self._schedule_phases
        # phase: the one in which the present step lies; start: the last step of the one before it
        start = 0.0
        for phase in phases[:-1]:
            if self.last_epoch <= phase["end_step"]:
                break
            start = phase["end_step"]
        else:
            phase = phases[-1]
        share = (self.last_epoch - start) / (phase["end_step"] - start)
        rates = []
        for group in self.optimizer.param_groups:
            start_lr = self._in_group(group, phase["start_lr"])
            end_lr = self._in_group(group, phase["end_lr"])
            rates.append(self._between(start_lr, end_lr, share))
            if self.cycle_momentum:
                first = self._in_group(group, phase["start_momentum"])
                last = self._in_group(group, phase["end_momentum"])
                self._set_momentum(group, self._between(first, last, share))
        return rates

    def _between(self, start: float, end: float, share: float) -> float:
        if self._anneal_func_type == "linear":
            return (end - start) * share + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


def _phases(share: float, total: int, three: bool) -> list[dict[str, Any]]:
    """A dict for each phase: its last step, and the keys of a group that have the first and last value of the
    rate and of the momentum in the phase."""
    rates = ["initial_lr", "max_lr"]
    momenta = ["max_momentum", "base_momentum"]
    ends = [share * total - 1]
    if three:
        rates = [*rates, "initial_lr"]
        momenta = [*momenta, "max_momentum"]
        ends = [*ends, 2 * ends[0]]
    rates = [*rates, "min_lr"]
    momenta = [*momenta, "max_momentum"]
    ends = [*ends, total - 1]
    keys = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
    rows = zip(ends, rates[:-1], rates[1:], momenta[:-1], momenta[1:], strict=True)
    return [dict(zip(keys, row, strict=True)) for row in rows]


class CyclicLR(_WithMomentum):
    """From base_lr up to max_lr in step_size_up steps, down in step_size_down steps, and again. Call
    ``step()`` after each batch.

    mode: "triangular"; "triangular2": each cycle is half as high as the last one; "exp_range": the height is
    multiplied by gamma^step. Or scale_fn gives the factor of the height, as a function of the cycle (from 1)
    or of the step (scale_mode "cycle" or "iterations"). The momentum (or beta1) falls from max_momentum to
    base_momentum while the rate rises.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), as in PyTorch.

    >>> import ranvier as rv
    >>> optimizer = rv.optim.SGD([rv.ones(1)], lr=0.5, momentum=0.9)
    >>> schedule = rv.optim.lr_scheduler.CyclicLR(optimizer, base_lr=0.25, max_lr=0.75, step_size_up=2)
    >>> rates = [*schedule.get_last_lr()]
    >>> for _ in range(4):
    ...     schedule.step(); rates += schedule.get_last_lr()
    >>> [round(rate, 4) for rate in rates]
    [0.25, 0.5, 0.75, 0.5, 0.25]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Values,
        max_lr: Values,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Values = 0.8,
        max_momentum: Values = 0.9,
        last_epoch: int = -1,
    ) -> None:
        modes = ("triangular", "triangular2", "exp_range")
        if scale_fn is None and not (isinstance(mode, str) and mode in modes):
            raise ValueError(f"[CyclicLR] got mode '{mode}'; expected one of {', '.join(modes)}, or scale_fn")
        require_whole("CyclicLR", "last_epoch", last_epoch, -1)
        require_numbers("CyclicLR", base_lr=base_lr, max_lr=max_lr)
        number("CyclicLR", "gamma", gamma)
        require_numbers("CyclicLR", base_momentum=base_momentum, max_momentum=max_momentum)
        number("CyclicLR", "step_size_up", step_size_up, 0, above=True)
        if step_size_down is not None:
            number("CyclicLR", "step_size_down", step_size_down, 0, above=True)
        if scale_fn is not None and not callable(scale_fn):
            raise TypeError(f"[CyclicLR] got scale_fn {scale_fn!r}; expected a function")
        rates = for_each_group("CyclicLR", "base_lr", optimizer, base_lr)
        if last_epoch == -1:
            for rate, group in zip(rates, optimizer.param_groups, strict=True):
                set_rate(group, rate)
        self.max_lrs = for_each_group("CyclicLR", "max_lr", optimizer, max_lr)
        up = float(step_size_up)
        down = up if step_size_down is None else float(step_size_down)
        self.total_size = up + down
        self.step_ratio = up / self.total_size
        self.mode = mode
        self.gamma = gamma
        self._scale_fn_custom = scale_fn
        if scale_fn:
            self.scale_mode = scale_mode
        elif mode == "exp_range":
            self.scale_mode = "iterations"
        else:
            self.scale_mode = "cycle"
        self.cycle_momentum = cycle_momentum
        if truth("CyclicLR", "cycle_momentum", cycle_momentum):
            self._prepare_momentum(optimizer, base_momentum, max_momentum, last_epoch == -1)
            self.base_momentums = for_each_group("CyclicLR", "base_momentum", optimizer, base_momentum)
            self.max_momentums = for_each_group("CyclicLR", "max_momentum", optimizer, max_momentum)
        super().__init__(optimizer, last_epoch)
        self.base_lrs = rates  # in place of the groups' initial_lr, which the base class has taken

    def scale_fn(self, x: float) -> float:
        """The factor of the height in cycle x, or at step x."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular2":
            return 1 / (2.0 ** (x - 1))
        if self.mode == "triangular":
            return 1.0
        return self.gamma**x

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        if x <= self.step_ratio:
            height = x / self.step_ratio
        else:
            height = (x - 1) / (self.step_ratio - 1)
        argument = cycle if self.scale_mode == "cycle" else self.last_epoch
        scale = self.scale_fn(argument)
        if self.cycle_momentum:
            lows = self._each("base_momentums")
            highs = self._each("max_momentums")
            for group, low, high in zip(self.optimizer.param_groups, lows, highs, strict=True):
                self._set_momentum(group, high - (high - low) * height * scale)
        limits = zip(self._each("base_lrs"), self._each("max_lrs"), strict=True)
        return [low + (high - low) * height * scale for low, high in limits]
